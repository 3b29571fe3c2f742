"""What an export for a target, or with integer inputs and outputs, takes of what is asked for."""

from collections.abc import Sequence

from tf_lottery.errors import UsageError
from tf_lottery.exporting.file_formats import ENCODINGS
from tf_lottery.exporting.precision_names import PRECISIONS
from tf_lottery.utils.text import suggestion

TARGETS = ("micro",)
"""Where files may have to run, if not wherever LiteRT does."""


def select(argument: str, value: str | Sequence[str], known: Sequence[str]) -> list[str]:
    """Return the names that the value of an argument stands for, in the order of the known ones.

    Args:
        argument: the name of the argument.
        value: a name, several, or "all".
        known: the names that there are.

    Raises:
        UsageError: a name is unknown, or there is none.
    """
    if value == "all":
        return list(known)
    names = [value] if isinstance(value, str) else list(value)
    for name in names:
        if name not in known:
            raise UsageError(f"Unknown export {argument} {name!r}.", suggestion(str(name), [*known, "all"]))
    if not names:
        raise UsageError(f"`{argument}` is empty.", f"Valid: {', '.join([*known, 'all'])}.")
    return [name for name in known if name in names]


def with_whole_numbers(formats: list[str], precision: str | Sequence[str], precisions: list[str]) -> list[str]:
    """Return the precisions of an export with integer inputs and outputs.

    Args:
        formats: the names of the formats that are asked for.
        precision: as of `export`.
        precisions: the names that it stands for.

    Raises:
        UsageError: neither TFLite nor int8 is among them.
    """
    if "tflite" not in formats:
        raise UsageError(
            f"`io='int8'` is of TFLite files, received `format={formats!r}`.",
            "Add tflite to the formats, or drop `io`: other formats take float32.",
        )
    if "int8" not in precisions:
        raise UsageError(
            f"`io='int8'` is of int8 files, received `precision={precisions!r}`.",
            "Add int8 to the precisions, or drop `io`.",
        )
    return ["int8"] if precision == "all" else precisions


def for_target(
    target: str,
    *,
    formats: list[str],
    precision: str | Sequence[str],
    encoding: str | Sequence[str],
    io: str | None,
    goal: str,
) -> tuple[list[str], list[str]]:
    """Return the precisions and encodings that a target takes of those that are asked for.

    Args:
        target: one of `TARGETS`.
        formats: the names of the formats that are asked for.
        precision: as of `export`.
        encoding: as of `export`.
        io: as of `export`.
        goal: for the best file, `best` of `export`.

    Raises:
        UsageError: the target is unknown, or takes nothing of what is asked for.
    """
    if target not in TARGETS:
        raise UsageError(f"Unknown export target {target!r}.", suggestion(str(target), TARGETS))
    encodings = select("encoding", encoding, ENCODINGS)
    dense = [name for name in encodings if not name.endswith("sparse")]
    wrong = {
        "format": ",".join(formats) if formats != ["tflite"] else "",
        "precision": ",".join(select("precision", precision, PRECISIONS)) if precision != "all" else "",
        "encoding": ",".join(encodings) if encoding != "all" and dense != encodings else "",
        "io": io if io == "float32" else "",
        "best": goal if goal == "latency" else "",
    }
    takes = {
        "format": "TFLite files",
        "precision": "int8",
        "encoding": "dense and slim: it has no sparse weights",
        "io": "int8 inputs and outputs: it computes on whole numbers",
        "best": "size, download or balanced: the time on this machine says nothing of a microcontroller",
    }
    for argument, value in wrong.items():
        if value and (argument, value) != ("precision", "int8"):
            raise UsageError(
                f"`target={target!r}` takes {takes[argument]}; received `{argument}={value!r}`.",
                f"Drop `{argument}`, or `target`.",
            )
    return ["int8"], dense
