"""Granularities by name: what is one unit of an array whose axes are known, and which arrays have no such units."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from tf_lottery.errors import UsageError
from tf_lottery.utils.text import suggestion

UNSTRUCTURED = "unstructured"
CHANNEL = "channel"
HEAD = "head"
ROW = "row"
# How many consecutive weights along the inputs a block has: what LiteRT's sparse kernels use.
BLOCK_SIZES = {"1x4": 4, "1x16": 16}
# Any other N:M is valid too; this one is what GPUs compute with.
GRANULARITIES = (UNSTRUCTURED, *BLOCK_SIZES, "2:4", CHANNEL, HEAD, ROW)
INDIVISIBLE = ("error", "skip", UNSTRUCTURED)


@dataclass(frozen=True)
class Axes:
    """What runs along the axes of a weight array; by default nothing is known.

    Attributes:
        inputs: The axis along which the inputs of one output lie, so that a block of them can be read at once.
        channels: The axes that number its output channels (units of a dense layer, filters of a convolution).
        output: Whether those channels are outputs of the model, all of which must be kept.
        kind: What the array belongs to, for messages.
        follows: Whether every channel is computed from one channel of the input, as in a depthwise convolution, so
            that the layer before determines which channels are kept.
        heads: The axis that numbers the heads of an attention layer.
        attention: The path of that layer: its heads are pruned in all of its arrays at once.
        heads_per_unit: How many consecutive heads are one unit: the query heads that read one key and value head.
        rows: The axis that numbers the rows of an embedding: the vectors of single tokens.
    """

    inputs: int | None = None
    channels: tuple[int, ...] = ()
    output: bool = False
    kind: str = "a weight of unknown layout"
    follows: bool = False
    heads: int | None = None
    attention: str = ""
    heads_per_unit: int = 1
    rows: int | None = None

    @property
    def numbers(self) -> tuple[int, ...]:
        """All axes that are known."""
        return (*self.channels, *(axis for axis in (self.inputs, self.heads, self.rows) if axis is not None))


# Dense layers (inputs, units) and convolutions (..., inputs, filters).
KERNEL = Axes(inputs=-2, channels=(-1,), kind="a kernel")
UNKNOWN_AXES = Axes()


def group_pattern(granularity: str) -> tuple[int, int] | None:
    """Returns N and M of an N:M pattern; None for a granularity of another kind.

    Raises:
        UsageError: If it is written like a pattern, and N is not between 0 and M.

    Example:
        >>> group_pattern("2:4"), group_pattern("channel")
        ((2, 4), None)
    """
    match = re.fullmatch(r"(\d+):(\d+)", granularity, re.ASCII)
    if match is None:
        return None
    kept, size = int(match[1]), int(match[2])
    if not 0 < kept < size:
        raise UsageError(
            f"A pattern N:M keeps N weights of each M: 0 < N < M. Received: {granularity!r}.", "Pass e.g. '2:4'."
        )
    return kept, size


def is_group_pattern(granularity: str) -> bool:
    """Returns whether a granularity is an N:M pattern.

    Raises:
        UsageError: If it is written like a pattern, and N is not between 0 and M.
    """
    return group_pattern(granularity) is not None


def check_granularity(granularity: str, indivisible: str) -> None:
    """Checks the names of a granularity and of what is done with arrays that do not divide.

    Args:
        granularity: A name in `GRANULARITIES`, or a pattern N:M.
        indivisible: A name in `INDIVISIBLE`.

    Raises:
        UsageError: If one is unknown, or no such pattern is possible.
    """
    if granularity not in GRANULARITIES and not (isinstance(granularity, str) and is_group_pattern(granularity)):
        raise UsageError(f"Unknown granularity {granularity!r}.", suggestion(str(granularity), (*GRANULARITIES, "N:M")))
    if indivisible not in INDIVISIBLE:
        raise UsageError(
            f"Unknown choice for indivisible arrays {indivisible!r}.", suggestion(str(indivisible), INDIVISIBLE)
        )


def reason_to_keep(axes: Axes, granularity: str) -> str:
    """Returns why all units of an array are kept, whatever the caller wants; "" if they may be pruned.

    Args:
        axes: What runs along the axes of the array.
        granularity: The granularity.
    """
    if granularity != CHANNEL:
        return ""
    if axes.follows:
        return f"the channels of {axes.kind} follow those of its input"
    return "its channels are outputs of the model" if axes.output and axes.channels else ""


def reason_indivisible(shape: Sequence[int], axes: Axes, granularity: str) -> str:
    """Returns why an array does not divide into such units; "" if it does.

    Args:
        shape: The shape of the array.
        axes: What runs along its axes.
        granularity: The granularity.
    """
    if granularity == CHANNEL:
        return "" if axes.channels else f"{axes.kind} has no output channels"
    if granularity == HEAD:
        if axes.heads is None:
            return f"{axes.kind} has no attention heads"
        heads = shape[axes.heads]
        return f"its {heads} heads are no multiple of {axes.heads_per_unit}" if heads % axes.heads_per_unit else ""
    if granularity == ROW:
        return "" if axes.rows is not None else f"{axes.kind} has no rows of an embedding"
    if axes.inputs is None:
        return f"{axes.kind} has no axis of inputs"
    inputs, size = shape[axes.inputs], _run_of_inputs(granularity)
    return f"its {inputs} inputs are no multiple of {size}" if inputs % size else ""


def block_shape(shape: Sequence[int], axes: Axes, granularity: str) -> tuple[int, ...]:
    """Returns the shape of a unit of an array that divides; under a pattern N:M a unit is a single weight.

    Args:
        shape: The shape of the array.
        axes: What runs along its axes.
        granularity: The granularity.
    """
    if granularity == CHANNEL:
        return tuple(1 if axis in axes.channels else max(1, size) for axis, size in enumerate(shape))
    if granularity == HEAD:
        return tuple(axes.heads_per_unit if axis == axes.heads else max(1, size) for axis, size in enumerate(shape))
    if granularity == ROW:
        return tuple(1 if axis == axes.rows else max(1, size) for axis, size in enumerate(shape))
    step = BLOCK_SIZES.get(granularity, 1)
    return tuple(step if axis == axes.inputs else 1 for axis in range(len(shape)))


def _run_of_inputs(granularity: str) -> int:
    """Returns how many consecutive inputs belong together: in one block, or in one group of a pattern."""
    pattern = group_pattern(granularity)
    return BLOCK_SIZES[granularity] if pattern is None else pattern[1]
