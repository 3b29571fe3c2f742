"""How a table is fitted to a terminal: prose wraps by words; no identifier, path or number is ever broken."""

from collections.abc import Sequence
from dataclasses import dataclass

BETWEEN = 3  # columns on a terminal
_NARROWEST = 12  # column of prose
_REPEATED = 0.6  # of the width is for columns that are repeated
NUMBER = -1
"""In place of a column: the number of the row."""


@dataclass(frozen=True)
class Part:
    """Columns that are printed side by side.

    Attributes:
        places: of the columns in the table; `NUMBER` is a column of row numbers.
        widths: of the columns, in characters; the last one may go beyond the terminal, which wraps it.
    """

    places: tuple[int, ...]
    widths: tuple[int, ...]


def lay_out(columns: Sequence[Sequence[str]], numbers: Sequence[bool], width: int) -> list[Part]:
    """Return the parts of a table, to be printed one below the other; one where it fits.

    Parts repeat the first columns, which say what a row is about. Where these are too wide, rows are numbered: the
    first part has the first column, the others the numbers.

    Args:
        columns: the cells of each column, its heading first.
        numbers: which columns hold numbers.
        width: of the terminal, in characters.

    Example:
        >>> [part.places for part in lay_out([["Run", "a"], ["Bytes", "1,234"]], [False, True], 12)]
        [(0, 1)]
        >>> [part.places for part in lay_out([["File", "x" * 20], ["Bytes", "1,234"]], [False, True], 24)]
        [(-1, 0), (-1, 1)]
    """
    whole = [max(map(len, cells)) for cells in columns]
    least = [
        size if number else max(_longest_word(cells), min(size, _NARROWEST))
        for cells, size, number in zip(columns, whole, numbers, strict=True)
    ]
    every = tuple(range(len(columns)))
    if _needed(least) <= width:
        return [Part(every, _widths(whole, least, width))]
    before = _needed([*least[:-1], _NARROWEST])
    if len(every) > 1 and not numbers[-1] and before <= width and _longest_word(columns[-1]) > width // 2:
        return [Part(every, (*least[:-1], width - before + _NARROWEST))]  # a path at the end of the line
    rest = zip(whole[1:], least[1:], strict=True)
    widest = max((min(size, max(part, 2 * _NARROWEST)) for size, part in rest), default=0)
    keys: list[int] = []
    while len(keys) < len(every) - 1 and not (keys and numbers[len(keys)]):
        wider = [whole[place] for place in (*keys, len(keys))]
        if _needed(wider) > _REPEATED * width or _needed([*wider, widest]) > width:
            break
        keys.append(len(keys))
    key_sizes = [whole[place] for place in keys]
    if not keys:
        keys, key_sizes = [NUMBER], [len(str(len(columns[0]) - 1))]
    room = width - _needed([*key_sizes, 0])
    sizes = [min(whole[place], room) if not numbers[place] else whole[place] for place in every]
    parts: list[list[int]] = []
    for place in every:
        if place in keys:
            continue
        used = [sizes[other] for other in parts[-1]] if parts else []
        if not parts or _needed([*key_sizes, *used, sizes[place]]) > width:
            parts.append([])
        parts[-1].append(place)
    return [Part((*keys, *part), (*key_sizes, *(sizes[place] for place in part))) for part in parts]


def wrap_words(text: str, width: int) -> str:
    r"""Return a text with line breaks between words, so that lines fit a width where their words do.

    Args:
        text: a paragraph. What stands in backticks, or begins with `tf-lottery`, is to be copied: it is not broken.
        width: in characters.

    Example:
        >>> wrap_words("one two three", 7)
        'one two\nthree'
        >>> wrap_words("See `tf-lottery ls`.", 10)
        'See\n`tf-lottery ls`.'
    """
    lines: list[str] = []
    for word in _units(text):
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return "\n".join(lines)


def _units(text: str) -> list[str]:
    """Return the words of a text; a command between backticks or to the end of the line is one, as is `97.5 %`."""
    before, mark, command = text.partition(": tf-lottery ")
    units: list[str] = []
    for word in f"{before}:".split(" ") if mark else text.split(" "):
        if units and (units[-1].count("`") % 2 or word.startswith("%")):
            units[-1] += f" {word}"
        else:
            units.append(word)
    return [*units, f"tf-lottery {command}"] if mark else units


def _longest_word(cells: Sequence[str]) -> int:
    return max((len(word) for cell in cells for word in _units(cell)), default=0)


def _needed(widths: Sequence[int]) -> int:
    return sum(widths) + BETWEEN * (len(widths) - 1)


def _widths(whole: Sequence[int], least: Sequence[int], width: int) -> tuple[int, ...]:
    """Return the widths of columns that fit: what is left over goes to the one with the most lines."""
    widths = [*least]
    for _ in range(width - _needed(least)):
        lines = [size / max(present, 1) for size, present in zip(whole, widths, strict=True)]
        if max(lines) <= 1:
            break
        widths[lines.index(max(lines))] += 1
    return tuple(widths)
