"""Fix the dynamic dimensions of a model's inputs for a file that needs fixed ones."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any, TypeAlias

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.named_values import values_by_name
from tf_lottery.exporting.signature import Signature

InputShape: TypeAlias = Sequence[int] | Mapping[str, Sequence[int]] | None
"""The shape of the only input, or shapes by the names of inputs, without the batch; None to fix nothing."""


def fix_shapes(signature: Signature, input_shape: InputShape) -> Signature:
    """Return a signature in which the inputs have the shapes that are given; others stay as they are.

    Args:
        signature: a model's.
        input_shape: without the batch dimension.

    Raises:
        UsageError: a name is unknown, several inputs have no names, or a size is no positive whole number.
        UnfitError: a shape does not fit the model's input.

    Example:
        >>> image = Signature(("image",), ((None, None, 3),), ("float32",), ("output",))
        >>> fix_shapes(image, (96, 96, 3)).shapes
        ((96, 96, 3),)
    """
    shapes = dict(zip(signature.inputs, signature.shapes, strict=True))
    for name, wanted in values_by_name("input_shape", input_shape, signature.inputs).items():
        shapes[name] = _checked(name, wanted, shapes[name])
    return replace(signature, shapes=tuple(shapes.values()))


def _checked(name: str, wanted: Any, known: tuple[int | None, ...]) -> tuple[int, ...]:
    sizes = tuple(wanted) if isinstance(wanted, Iterable) and not isinstance(wanted, str) else (wanted,)
    if not all(isinstance(size, Integral) and not isinstance(size, bool) and int(size) > 0 for size in sizes):
        raise UsageError(
            f"`input_shape` must be positive whole numbers. Received: {wanted!r}.",
            "Give every dimension but the batch, e.g. (96, 96, 3).",
        )
    sizes = tuple(int(size) for size in sizes)
    if len(sizes) != len(known) or not all(size in (None, got) for size, got in zip(known, sizes, strict=True)):
        raise UnfitError(
            f"`input_shape` {sizes} does not fit the input {name!r} of shape {known}.",
            "Give a size for each None, and the model's own sizes elsewhere.",
        )
    return sizes
