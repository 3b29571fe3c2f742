"""Text for messages: the reason of an exception in one line, suggestions for unknown names, times in words."""

import contextlib
import difflib
import re
from collections.abc import Iterable
from typing import TypeVar

_Value = TypeVar("_Value")
# What a terminal obeys instead of showing it: control characters, those that turn the order of letters round, ends of
# lines, and the parts of names that are no UTF-8, which no stream takes.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
# With what spreadsheets let a formula begin; some take the wide forms of its first character too.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# Colors, and TensorFlow's names of nodes.
_COLORS = re.compile(r"\x1b\[[0-9;]*m")
_MARKS = re.compile(rf"{_COLORS.pattern}|\{{\{{.*?\}}\}}\s*")
# A line of a traceback and the code below it.
_CODE = re.compile(r'^[ \t]*File ".*\n(?:.*\S.*\n)?', re.MULTILINE)
# What Keras and TensorFlow write above the reason.
_HEADING = re.compile(
    r"(?:\w+: )?[\"']?Exception encountered when calling |in user code:|Graph execution error:|Detected at node "
    r"|Could not automatically infer .*Error encountered:$|Error when deserializing class |<stack traces unavailable>"
)


def suggestion(name: str, valid: Iterable[str]) -> str:
    """A remedy for an unknown name: the nearest valid ones, and all of them.

    Args:
        name: the unknown name.
        valid: the names that are known.
    """
    names = list(valid)
    near = related_names(name, names)
    start = f"Did you mean {' or '.join(map(repr, near))}? " if near else ""
    return f"{start}Valid: {', '.join(names)}."


def related_names(name: str, valid: Iterable[str]) -> list[str]:
    """Return at most three valid names that a name may stand for, the likeliest first.

    Those that continue it with a new part come before others that begin with it. Where none has a new part, it is the
    one that is spelled most alike.

    Args:
        name: what was typed.
        valid: the names that are known.

    Example:
        >>> related_names("mnist-lenet", ["digits-mlp", "mnist-lenet5-35", "mnist-lenet-300-100"])
        ['mnist-lenet-300-100', 'mnist-lenet5-35']
    """
    names = list(valid)
    beginning = [known for known in names if name and known.startswith(name)]
    by_part = [known for known in beginning if not known[len(name) :][:1].isalnum()]
    nearest = [] if by_part else difflib.get_close_matches(name, names, n=1)
    return nearest or list(dict.fromkeys([*by_part, *beginning]))[:3]


def printable(text: str) -> str:
    r"""Return a text with escapes for the characters that a terminal obeys: names from a disk may hold them.

    Example:
        >>> print(printable("run\x1b[31m"))
        run\x1b[31m
    """
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def without_colors(text: str) -> str:
    r"""Return a text without the sequences by which a terminal changes its colors: Keras puts them into messages.

    Example:
        >>> without_colors("\x1b[1mno such shape\x1b[0m")
        'no such shape'
    """
    return _COLORS.sub("", text)


def inert_cell(value: _Value) -> _Value | str:
    """Return the value of a table's cell, with an apostrophe before text that a spreadsheet would take for a formula.

    Args:
        value: numbers, and text that is one, stay as they are.

    Example:
        >>> inert_cell("=1+1"), inert_cell(-0.5), inert_cell("ticket")
        ("'=1+1", -0.5, 'ticket')
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA):
        return value
    with contextlib.suppress(ValueError):
        float(value)
        return value
    return f"'{value}"


def one_line(error: BaseException | str, *, limit: int = 300) -> str:
    r"""The line of an exception's message that states the reason; the name of its class if the message is empty.

    Headings, tracebacks and colors that Keras and TensorFlow put around the reason are left out.

    Args:
        error: an exception, or a message of any number of lines.
        limit: the longest result, in characters; a longer line ends in "...".

    Example:
        >>> one_line("Exception encountered when calling Dense.call().\n\n\x1b[1mno such shape\x1b[0m")
        'no such shape'
        >>> one_line("<unknown>:0: error: loc(callsite(x)): 'tf.Foo' op is neither a custom op nor a flex op\nmore")
        "'tf.Foo' op is neither a custom op nor a flex op"
    """
    text = _CODE.sub("", _MARKS.sub("", _message(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()] or [type(error).__name__]
    lines = [line for line in lines if not _HEADING.match(line)] or lines
    reason = next((line for line in lines if "error:" in line.lower()), _unwrapped(lines))
    reason = reason.rsplit("error: ", 1)[-1].removeprefix("Exception encountered: ")
    if reason.startswith("loc("):
        reason = reason.split("): ", 1)[-1]
    return reason if len(reason) <= limit else reason[: limit - 3] + "..."


def _unwrapped(lines: list[str]) -> str:
    """Returns the first line, with those behind it into which its sentence was wrapped: they begin in lower case."""
    sentence, *rest = lines
    for line in rest:
        if sentence.endswith((".", "!", ":")) or not line[0].islower():
            break
        sentence = f"{sentence} {line}"
    return sentence


def _message(error: BaseException | str) -> str:
    if isinstance(error, KeyError) and len(error.args) == 1:
        return str(error.args[0])  # its `str` is the `repr` of the message, line breaks and all
    return str(error) if str(error).strip() else type(error).__name__


def duration(seconds: float) -> str:
    """Return a time in words.

    Example:
        >>> duration(4.2), duration(95), duration(8000), duration(200000)
        ('4.2 s', '1 min 35 s', '2 h 13 min', '2 d 7 h')
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, smaller_size, smaller_unit in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // smaller_size} {smaller_unit}"
    return f"{whole} s"
