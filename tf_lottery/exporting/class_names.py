"""The names of a model's classes: read from a text file, and checked against the outputs that they are for."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.named_values import values_by_name
from tf_lottery.exporting.output_kinds import OutputKind
from tf_lottery.utils.regular_files import read_regular
from tf_lottery.utils.text import one_line

ClassNames: TypeAlias = Sequence[str] | Mapping[str, Sequence[str]] | None
"""The names of the classes of the only output, in their order, or by the name of the output; None for nothing."""


def read_class_names(path: Path) -> list[str]:
    """Return the names of classes in a text file: one a line, in the order of the classes.

    Raises:
        UsageError: there is no such file.
        UnfitError: it is no text in UTF-8.
    """
    try:
        return read_regular(path).decode("utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise UsageError(
            f"The names of classes in {path} can't be read: {one_line(error)}.", "Give a text file, one name a line."
        ) from error
    except UnicodeDecodeError as error:
        raise UnfitError(f"{path} is no text in UTF-8.", "Give a text file, one name a line.") from error


def check_class_names(
    class_names: ClassNames, kinds: Mapping[str, OutputKind], widths: Mapping[str, int]
) -> dict[str, tuple[str, ...]]:
    """Return the names of classes by the name of the output that they are for.

    Args:
        class_names: as of `export`.
        kinds: what the outputs hold, by their names.
        widths: the length of the last axis of each output, likewise.

    Raises:
        UsageError: an output is unknown or holds no classes, one list is given for several, or a name is no line
            of text.
        UnfitError: there is not one name per class.

    Example:
        >>> check_class_names(["cat", "dog"], {"animal": OutputKind("logits")}, {"animal": 2})
        {'animal': ('cat', 'dog')}
    """
    by_output = {}
    for output, given in values_by_name("class_names", class_names, list(kinds), edge="outputs").items():
        kind, names = kinds[output], _names(given)
        if kind.kind in ("regression", "image"):
            raise UsageError(
                f"`class_names` are given for the output {output!r}, which is {kind.kind} (known by {kind.evidence}).",
                "Drop them, or say what the output holds by `task=`.",
            )
        if len(names) != widths[output]:
            raise UnfitError(
                f"`class_names` has {len(names):,} names; the output {output!r} has {widths[output]:,} values.",
                "Give one name for each value along the last axis, in the order of the classes.",
            )
        by_output[output] = names
    return by_output


def _names(given: Any) -> tuple[str, ...]:
    names = tuple(given) if isinstance(given, Iterable) and not isinstance(given, str) else (None,)
    if not all(isinstance(name, str) for name in names):
        raise UsageError(f"`class_names` must be a list of names. Received: {given!r}.", "Pass e.g. ['cat', 'dog'].")
    for place, name in enumerate(names):
        if not name.strip() or len(name.splitlines()) > 1 or not _is_text(name):
            raise UsageError(
                f"`class_names` has the name {name!r} for class {place}.", "Give each class a name of one line."
            )
    return tuple(map(str, names))


def _is_text(name: str) -> bool:
    """Whether UTF-8 has the characters of a name, and readers of texts that end with a zero read all of it."""
    return "\0" not in name and not any("\ud800" <= character <= "\udfff" for character in name)
