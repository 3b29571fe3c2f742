"""Which formats an export writes, where precisions are asked for."""

from collections.abc import Sequence

from tf_lottery.errors import UsageError


def narrow_formats(formats: Sequence[str], precisions: Sequence[str], *, tflite: bool = False) -> list[str] | str:
    """Return the formats to write: TFLite alone has precisions, so one that is asked for rules the others out.

    Args:
        formats: names of formats, or "all"; none for all.
        precisions: names of precisions, or "all".
        tflite: whether something else is asked for that TFLite files alone have.

    Raises:
        UsageError: precisions are asked for of formats that have none.

    Example:
        >>> narrow_formats([], ["int8"]), narrow_formats(["keras", "tflite"], ["all"])
        (['tflite'], ['keras', 'tflite'])
    """
    every_format = not formats or "all" in formats
    if "all" in precisions and not (tflite and every_format):
        return "all" if every_format else list(formats)
    if every_format:
        return ["tflite"]
    if set(formats) <= {"keras", "onnx", "saved_model"}:
        raise UsageError(
            f"`precision={list(precisions)!r}` is of TFLite files, received `format={list(formats)!r}`.",
            "Add tflite to the formats, or drop `precision`: other formats keep float32.",
        )
    return list(formats)
