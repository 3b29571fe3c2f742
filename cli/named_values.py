"""Options that have one value, or NAME=VALUE for each input or output, as the arguments of `export`."""

from pathlib import Path
from typing import TypeVar

from tf_lottery.errors import UsageError
from tf_lottery.exporting.class_names import read_class_names

Value = TypeVar("Value")


def parse_input_shape(entries: tuple[str, ...]) -> tuple[int, ...] | dict[str, tuple[int, ...]] | None:
    """What `--input-shape` says, as `export` takes it: one shape, or shapes by input."""
    pairs = []
    for entry in entries:
        name, _, sizes = entry.rpartition("=")
        try:
            pairs.append((name, tuple(int(size) for size in sizes.split(","))))
        except ValueError:
            raise UsageError(
                f"`input_shape={entry!r}` is no list of sizes.", "Give e.g. --input-shape 96,96,3."
            ) from None
    return _one_or_by_name("input_shape", pairs) if pairs else None


def class_names_argument(entries: tuple[str, ...]) -> dict[str, list[str] | dict[str, list[str]]]:
    """What `--class-names` says, as the argument of `export`; empty where it was not given."""
    pairs = [("", "=", entry) if Path(entry).exists() else entry.rpartition("=") for entry in entries]
    names = [(output, read_class_names(Path(file))) for output, _, file in pairs]
    return {"class_names": _one_or_by_name("class_names", names)} if names else {}


def parse_task(entries: tuple[str, ...] | None) -> str | dict[str, str | None] | None:
    """What `--task` says, as `export` takes it: one task for all outputs, or tasks by output."""
    if not entries:
        return None
    if len(entries) == 1 and "=" not in entries[0]:
        return entries[0]
    pairs = [entry.partition("=") for entry in entries]
    if not all(separator and name for name, separator, _ in pairs):
        raise UsageError(
            f"`task={','.join(entries)!r}` is neither one task nor OUTPUT=TASK for each output.",
            "Give e.g. --task regression, or --task scores=classification,boxes=regression.",
        )
    return _one_or_by_name("task", [(name, kind) for name, _, kind in pairs])


def _one_or_by_name(argument: str, pairs: list[tuple[str, Value]]) -> Value | dict[str, Value]:
    """The value of an option that was given once without a name, or those by name."""
    values = dict(pairs)
    if len(pairs) > 1 and ("" in values or len(values) < len(pairs)):
        raise UsageError(
            f"`{argument}` is given {len(pairs)} times, for {', '.join(name or 'no name' for name, _ in pairs)}.",
            "Give it once, or once as NAME=... for each name.",
        )
    return values.get("", values)
