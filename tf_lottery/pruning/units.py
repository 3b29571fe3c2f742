"""The units in which weights are pruned: blocks of an array that are kept or pruned as a whole.

All units of one array are blocks of one shape, so the array of its units is the array reduced over each block to one
value. A function that prunes weights prunes units if it is called with those smaller arrays.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning.masks import Masks, Scores, WeightArrays
from tf_lottery.utils.text import suggestion

UNSTRUCTURED = "unstructured"
CHANNEL = "channel"
# How many consecutive weights along the inputs a block has: what LiteRT's sparse kernels use.
BLOCK_SIZES = {"1x4": 4, "1x16": 16}
GRANULARITIES = (UNSTRUCTURED, *BLOCK_SIZES, CHANNEL)
INDIVISIBLE = ("error", "skip", UNSTRUCTURED)

Blocks: TypeAlias = dict[str, tuple[int, ...]]
"""The shape of a unit by weight path."""


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
    """

    inputs: int | None = None
    channels: tuple[int, ...] = ()
    output: bool = False
    kind: str = "a weight of unknown layout"
    follows: bool = False


# Dense layers (inputs, units) and convolutions (..., inputs, filters).
KERNEL = Axes(inputs=-2, channels=(-1,), kind="a kernel")
UNKNOWN_AXES = Axes()


@dataclass(frozen=True)
class Units:
    """How weight arrays divide into units.

    Attributes:
        blocks: The shape of a unit of every array that is pruned; all ones for units of a single weight.
        whole: Why an array is kept whole, by path; such arrays are not in `blocks`.
        singly: Why the weights of an array are pruned one by one instead of in larger units, by path.
    """

    blocks: Blocks
    whole: dict[str, str] = field(default_factory=dict)
    singly: dict[str, str] = field(default_factory=dict)

    @property
    def remarks(self) -> dict[str, str]:
        """Which arrays are not pruned in the requested units, and why, by path."""
        return {key: f"kept whole: {reason}" for key, reason in self.whole.items()} | {
            key: f"pruned weight by weight: {reason}" for key, reason in self.singly.items()
        }


def divide(
    shapes: Mapping[str, Sequence[int]],
    *,
    granularity: str = UNSTRUCTURED,
    indivisible: str = "error",
    axes: Mapping[str, Axes] | None = None,
) -> Units:
    """Divides weight arrays into units.

    Args:
        shapes: The shape of every weight array by path.
        granularity: "unstructured" (single weights), "1x4" or "1x16" (so many consecutive inputs of one output), or
            "channel" (all weights of a unit of a dense layer, or of a filter of a convolution). Arrays whose channels
            are outputs of the model, or follow those of their input, are kept whole under "channel".
        indivisible: What to do with arrays that have no such units, or do not divide into them: "error", "skip" (they
            are kept whole) or "unstructured" (their weights are pruned one by one).
        axes: What runs along the axes of every array: `discover(model).axes`. By default arrays of two and more axes
            are kernels, (..., inputs, outputs).

    Raises:
        UsageError: If a name is unknown.
        UnfitError: If an array does not divide and `indivisible` is "error", there is nothing left to prune, or axes
            are missing.

    Example:
        >>> divide({"kernel": (8, 3)}, granularity="1x4").blocks
        {'kernel': (4, 1)}
    """
    for name, value, valid in (
        ("granularity", granularity, GRANULARITIES),
        ("choice for indivisible arrays", indivisible, INDIVISIBLE),
    ):
        if value not in valid:
            raise UsageError(f"Unknown {name} {value!r}.", suggestion(str(value), valid))
    single = one_by_one(shapes)
    if granularity == UNSTRUCTURED:
        return Units(single)
    known = {key: _axes(key, shape, axes) for key, shape in shapes.items()}
    exempt = _nonempty({key: _reason_to_keep(known[key]) for key in shapes if granularity == CHANNEL})
    reasons = _nonempty(
        {key: _reason_indivisible(shapes[key], known[key], granularity) for key in shapes if key not in exempt}
    )
    if reasons and indivisible == "error":
        causes = "; ".join(f"{key} {tuple(shapes[key])}: {reason}" for key, reason in reasons.items())
        raise UnfitError(
            f"These weights do not divide into units of granularity {granularity}: {causes}.",
            "Keep them whole by `indivisible='skip'`, prune them weight by weight by `indivisible='unstructured'`, or "
            "exclude them.",
        )
    singly = reasons if indivisible == UNSTRUCTURED else {}
    whole = {key: (exempt | reasons)[key] for key in shapes if key in exempt or key in reasons.keys() - singly.keys()}
    blocks = {
        key: single[key] if key in singly else _block(shapes[key], known[key], granularity)
        for key in shapes
        if key not in whole
    }
    if shapes and not blocks:
        causes = "; ".join(f"{key} {tuple(shapes[key])}: {reason}" for key, reason in whole.items())
        raise UnfitError(
            f"Nothing is left to prune in units of granularity {granularity}: {causes}.", "Choose another granularity."
        )
    return Units(blocks, whole, singly)


def one_by_one(shapes: Mapping[str, Sequence[int]]) -> Blocks:
    """Returns the shapes of units of a single weight."""
    return {key: (1,) * len(shape) for key, shape in shapes.items()}


def collapse(scores: WeightArrays, blocks: Mapping[str, Sequence[int]]) -> Scores:
    """Returns the scores of units: the means of their weights' scores, in float64.

    Args:
        scores: Real scores of weights by path; arrays without a block are left out.
        blocks: The shape of a unit by path.

    Example:
        >>> collapse({"kernel": np.array([[1.0, 0.0], [3.0, 1.0]])}, {"kernel": (2, 1)})
        {'kernel': array([[2. , 0.5]])}
    """
    with np.errstate(invalid="ignore"):  # whoever ranks the units reports scores that are not finite
        return {
            key: scores[key]
            if _single(block)
            else _tiled(np.asarray(scores[key]), block).mean(axis=_inner(block), dtype=np.float64)
            for key, block in blocks.items()
        }


def collapse_masks(masks: WeightArrays, blocks: Mapping[str, Sequence[int]]) -> Masks:
    """Returns the masks of units.

    Args:
        masks: Boolean masks of weights by path; arrays without a block are left out.
        blocks: The shape of a unit by path.

    Raises:
        UnfitError: If the masks keep a part of a unit.
    """
    units: Masks = {}
    for key, block in blocks.items():
        if _single(block):
            units[key] = masks[key]
            continue
        tiles = _tiled(masks[key], block)
        units[key] = np.asarray(tiles.all(axis=_inner(block)))
        parts = int(np.count_nonzero(tiles.any(axis=_inner(block)) & ~units[key]))
        if parts:
            raise UnfitError(
                f"The masks of {key!r} must keep or prune each unit of shape {tuple(block)} as a whole. Received: "
                f"{parts} units that are kept in part.",
                "Start from dense masks, or from masks of the same granularity.",
            )
    return units


def expand(units: WeightArrays, masks: Masks, blocks: Mapping[str, Sequence[int]]) -> Masks:
    """Returns the masks of weights that keep exactly the weights of the kept units.

    Args:
        units: Boolean masks of units by path.
        masks: Masks of weights by path; those of arrays without a block are returned as they are.
        blocks: The shape of a unit by path.

    Example:
        >>> expand({"kernel": np.array([[True, False]])}, {"kernel": np.ones((2, 2), bool)}, {"kernel": (2, 1)})
        {'kernel': array([[ True, False],
               [ True, False]])}
    """
    expanded: Masks = {}
    for key, mask in masks.items():
        if key not in blocks or _single(blocks[key]):
            expanded[key] = units[key] if key in blocks else mask.copy()
            continue
        tiles = _tiled(mask, blocks[key]).shape
        spread = np.expand_dims(units[key], _inner(blocks[key]))
        expanded[key] = np.array(np.broadcast_to(spread, tiles), order="C").reshape(mask.shape)
    return expanded


def _nonempty(reasons: Mapping[str, str]) -> dict[str, str]:
    return {key: reason for key, reason in reasons.items() if reason}


def _axes(key: str, shape: Sequence[int], axes: Mapping[str, Axes] | None) -> Axes:
    """Returns the axes of an array, counted from its first."""
    if axes is not None and key not in axes:
        raise UnfitError(f"The axes of {key!r} are missing.", "Take those of all weights: `discover(model).axes`.")
    default = KERNEL if len(shape) > 1 else UNKNOWN_AXES
    own = default if axes is None else axes[key]
    numbers = [*own.channels, *([] if own.inputs is None else [own.inputs])]
    if any(not -len(shape) <= number < len(shape) for number in numbers):
        raise UnfitError(
            f"The axes of {key!r} must be of an array of shape {tuple(shape)}. Received: {own}.",
            "Take them from the same model: `discover(model).axes`.",
        )
    inputs = None if own.inputs is None else own.inputs % len(shape)
    return replace(own, inputs=inputs, channels=tuple(number % len(shape) for number in own.channels))


def _reason_to_keep(axes: Axes) -> str:
    """Returns why all channels of an array are kept; "" if they may be pruned."""
    if axes.follows:
        return f"the channels of {axes.kind} follow those of its input"
    return "its channels are outputs of the model" if axes.output and axes.channels else ""


def _reason_indivisible(shape: Sequence[int], axes: Axes, granularity: str) -> str:
    """Returns why an array does not divide into such units; "" if it does."""
    if granularity == CHANNEL:
        return "" if axes.channels else f"{axes.kind} has no output channels"
    if axes.inputs is None:
        return f"{axes.kind} has no axis of inputs"
    inputs, size = shape[axes.inputs], BLOCK_SIZES[granularity]
    return f"its {inputs} inputs are no multiple of {size}" if inputs % size else ""


def _block(shape: Sequence[int], axes: Axes, granularity: str) -> tuple[int, ...]:
    if granularity == CHANNEL:
        return tuple(1 if axis in axes.channels else max(1, size) for axis, size in enumerate(shape))
    return tuple(BLOCK_SIZES[granularity] if axis == axes.inputs else 1 for axis in range(len(shape)))


def _single(block: Sequence[int]) -> bool:
    return all(size == 1 for size in block)


def _tiled(array: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    """Returns the array with every axis split in two: the units, and the weights within a unit."""

    def split() -> Iterator[int]:
        for size, step in zip(array.shape, block, strict=True):
            yield from (size // step, step)

    return array.reshape(tuple(split()))


def _inner(block: Sequence[int]) -> tuple[int, ...]:
    """Returns the axes of a tiled array that run within a unit."""
    return tuple(range(1, 2 * len(block), 2))
