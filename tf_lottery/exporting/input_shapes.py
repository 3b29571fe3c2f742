"""Sizes for the dimensions that a model's inputs leave free. Loads neither TensorFlow nor Keras."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

from tf_lottery.errors import UsageError
from tf_lottery.exporting.named_values import values_by_name

if TYPE_CHECKING:
    from tf_lottery.exporting.signature import Signature

InputShape: TypeAlias = Sequence[int] | Mapping[str, Sequence[int]] | None
"""The shape of the only input, or shapes by the names of inputs, without the batch; None to fix nothing."""

FreeShape: TypeAlias = tuple[int | None, ...]
"""A shape with None for each dimension that takes any size."""

DEFAULT_SIZE = 64
"""What a free dimension gets where nothing says its size."""


def fix_shapes(signature: "Signature", input_shape: InputShape) -> "Signature":
    """Return a signature in which the inputs have the shapes that are given; others stay as they are.

    Args:
        signature: a model's.
        input_shape: without the batch dimension.

    Raises:
        UsageError: as of `fixed_shapes`.

    Example:
        >>> from tf_lottery.exporting.signature import Signature
        >>> image = Signature(("image",), ((None, None, 3),), ("float32",), ("output",))
        >>> fix_shapes(image, (96, 96, 3)).shapes
        ((96, 96, 3),)
    """
    return replace(signature, shapes=fixed_shapes(signature.inputs, signature.shapes, input_shape))


def fixed_shapes(names: Sequence[str], shapes: Sequence[FreeShape], input_shape: InputShape) -> tuple[FreeShape, ...]:
    """Return the shapes of inputs, with those that are given in the place of free ones.

    Args:
        names: of the inputs.
        shapes: of the inputs, in equal order, without the batch.
        input_shape: without the batch dimension.

    Raises:
        UsageError: a name is unknown, several inputs have no names, a size is no positive whole number, or a shape does
            not fit the input.
    """
    check_sizes(input_shape)
    fixed = dict(zip(names, shapes, strict=True))
    for name, wanted in values_by_name("input_shape", input_shape, names).items():
        known, wanted = fixed[name], tuple(wanted)
        fits = len(wanted) == len(known) and all(size in (None, got) for size, got in zip(known, wanted, strict=True))
        if not fits:
            raise UsageError(
                f"`input_shape` {wanted} does not fit the input {name!r} of shape {known}.",
                "Give a size for each None, and the model's own sizes elsewhere.",
            )
        fixed[name] = wanted
    return tuple(fixed.values())


def with_default_sizes(shape: FreeShape) -> tuple[int, ...]:
    """Return a shape in which free dimensions have the size that they get where nothing says another.

    Example:
        >>> with_default_sizes((None, 3))
        (64, 3)
    """
    return tuple(DEFAULT_SIZE if size is None else size for size in shape)


def sizes_text(shapes: Sequence[FreeShape]) -> str:
    """Return shapes as text.

    Example:
        >>> sizes_text([(96, 96, 3), (10,)])
        '96x96x3, 10'
    """
    return ", ".join("x".join(map(str, shape)) for shape in shapes)


def check_sizes(input_shape: InputShape) -> None:
    """Check the sizes of shapes, whatever inputs they are for.

    Raises:
        UsageError: a size is no positive whole number.
    """
    given: Any = input_shape
    for shape in [] if given is None else given.values() if isinstance(given, Mapping) else [given]:
        sizes = shape if isinstance(shape, list | tuple) else [None]
        if not all(isinstance(size, int) and not isinstance(size, bool) and size > 0 for size in sizes):
            raise UsageError(
                f"`input_shape` has sizes that are no positive whole numbers: {shape}.",
                "Give every dimension but the batch, e.g. (96, 96, 3).",
            )
