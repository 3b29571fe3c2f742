"""In what units weights are pruned: blocks of an array, each of which is kept or gone as a whole.

All units of one array are blocks of one shape, so the array of its units is the array itself with each block drawn
together to one number. Whatever prunes weights prunes units when it is given those smaller arrays. NumPy only.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning.masks import Masks
from tf_lottery.utils.text import suggestion

UNSTRUCTURED = "unstructured"
CHANNEL = "channel"
# How many consecutive weights along the inputs a block has: what LiteRT's sparse kernels use.
BLOCK_SIZES = {"1x4": 4, "1x16": 16}
GRANULARITIES = (UNSTRUCTURED, *BLOCK_SIZES, CHANNEL)
INDIVISIBLE = ("error", "skip", UNSTRUCTURED)

Blocks: TypeAlias = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Axes:
    """What runs along the axes of a weight array; by default of none it is known.

    Attributes:
        inputs: the axis along which the inputs of one output lie, so that a block of them can be read at once.
        channels: the axes that number its output channels (units of a dense layer, filters of a convolution).
        output: whether those channels are outputs of the model, of which none may go.
        kind: what has the array, for messages.
        follows: whether each of its channels is made of one channel of its input, as in a depthwise convolution, so
            that a channel lives only if both stay: which ones do is said by the layer before.
    """

    inputs: int | None = None
    channels: tuple[int, ...] = ()
    output: bool = False
    kind: str = "a weight of unknown layout"
    follows: bool = False


# Dense layers (inputs, units) and convolutions (..., inputs, filters).
KERNEL = Axes(inputs=-2, channels=(-1,), kind="a kernel")


@dataclass(frozen=True)
class Units:
    """How weight arrays divide into units.

    Attributes:
        blocks: shape of a unit of each array that is pruned; all ones prunes each weight by itself.
        whole: why an array that is not in `blocks` is kept whole.
        singly: why the weights of an array are pruned one by one, though larger units were asked for.
    """

    blocks: Blocks
    whole: dict[str, str] = field(default_factory=dict)
    singly: dict[str, str] = field(default_factory=dict)

    @property
    def remarks(self) -> dict[str, str]:
        """What is not pruned in the units that were asked for, and why, by key."""
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
    """Divide weight arrays into units.

    Args:
        shapes: shape of each weight array.
        granularity: "unstructured" (each weight), "1x4" or "1x16" (so many consecutive inputs of one output), or
            "channel" (all weights of a unit of a dense layer, or of a filter of a convolution). Arrays whose channels
            are outputs of the model, or follow those of their input, are kept whole under "channel".
        indivisible: what to do with arrays that have no such units, or do not divide into them: "error", "skip" (they
            are kept whole) or "unstructured" (their weights are pruned one by one).
        axes: what runs along the axes of each array, as `discover(model).axes` tells. By default arrays of two and more
            axes are kernels, (..., inputs, outputs).

    Raises:
        UsageError: a name is unknown.
        UnfitError: an array does not divide and that is an error, there is nothing left to prune, or axes are missing.

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
    exempt = {key: _exempt(known[key]) for key in shapes if granularity == CHANNEL and _exempt(known[key])}
    reasons = {key: _indivisible(shapes[key], known[key], granularity) for key in shapes if key not in exempt}
    reasons = {key: reason for key, reason in reasons.items() if reason}
    if reasons and indivisible == "error":
        found = "; ".join(f"{key} {tuple(shapes[key])}: {reason}" for key, reason in reasons.items())
        raise UnfitError(
            f"These weights do not divide into units of granularity {granularity}: {found}.",
            "Keep them whole by `indivisible='skip'`, prune them weight by weight by `indivisible='unstructured'`, or "
            "exclude them.",
        )
    fallen = reasons if indivisible == UNSTRUCTURED else {}
    whole = {key: (exempt | reasons)[key] for key in shapes if key in exempt or key in reasons and key not in fallen}
    blocks = {
        key: single[key] if key in fallen else _block(shapes[key], known[key], granularity)
        for key in shapes
        if key not in whole
    }
    if shapes and not blocks:
        found = "; ".join(f"{key} {tuple(shapes[key])}: {reason}" for key, reason in whole.items())
        raise UnfitError(
            f"Nothing is left to prune in units of granularity {granularity}: {found}.", "Choose another granularity."
        )
    return Units(blocks, whole, fallen)


def one_by_one(shapes: Mapping[str, Sequence[int]]) -> Blocks:
    """Units of one weight each."""
    return {key: (1,) * len(shape) for key, shape in shapes.items()}


def collapse(scores: Mapping[str, np.ndarray], blocks: Mapping[str, Sequence[int]]) -> dict[str, np.ndarray]:
    """The score of each unit: the mean of its weights' scores, in float64, so that the size of a unit does not count.

    Args:
        scores: scores of weights, real numbers; arrays without a block are left out.
        blocks: the shape of a unit of each array.

    Example:
        >>> collapse({"kernel": np.array([[1.0, 0.0], [3.0, 1.0]])}, {"kernel": (2, 1)})
        {'kernel': array([[2. , 0.5]])}
    """
    with np.errstate(invalid="ignore"):  # what is not finite is told by who ranks the units
        return {
            key: scores[key]
            if _single(block)
            else _tiled(np.asarray(scores[key]), block).mean(axis=_inner(block), dtype=np.float64)
            for key, block in blocks.items()
        }


def collapse_masks(masks: Mapping[str, np.ndarray], blocks: Mapping[str, Sequence[int]]) -> Masks:
    """Which units are kept; arrays without a block are left out.

    Raises:
        UnfitError: the masks keep a part of a unit.
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


def expand(units: Mapping[str, np.ndarray], masks: Masks, blocks: Mapping[str, Sequence[int]]) -> Masks:
    """The masks of weights that keep exactly the units that are kept; arrays without a block stay as in `masks`.

    Example:
        >>> expand({"kernel": np.array([[True, False]])}, {"kernel": np.ones((2, 2), bool)}, {"kernel": (2, 1)})
        {'kernel': array([[ True, False],
               [ True, False]])}
    """
    grown: Masks = {}
    for key, mask in masks.items():
        if key not in blocks or _single(blocks[key]):
            grown[key] = units[key] if key in blocks else mask.copy()
            continue
        tiles = _tiled(mask, blocks[key]).shape
        spread = np.expand_dims(units[key], _inner(blocks[key]))
        grown[key] = np.array(np.broadcast_to(spread, tiles), order="C").reshape(mask.shape)
    return grown


def _axes(key: str, shape: Sequence[int], axes: Mapping[str, Axes] | None) -> Axes:
    """The axes of an array, counted from its first."""
    if axes is not None and key not in axes:
        raise UnfitError(f"The axes of {key!r} are missing.", "Take those of all weights: `discover(model).axes`.")
    found = axes[key] if axes is not None else KERNEL if len(shape) > 1 else Axes()
    numbers = [*found.channels, *([] if found.inputs is None else [found.inputs])]
    if any(not -len(shape) <= number < len(shape) for number in numbers):
        raise UnfitError(
            f"The axes of {key!r} must be of an array of shape {tuple(shape)}. Received: {found}.",
            "Take them from the same model: `discover(model).axes`.",
        )
    inputs = None if found.inputs is None else found.inputs % len(shape)
    return replace(found, inputs=inputs, channels=tuple(number % len(shape) for number in found.channels))


def _exempt(axes: Axes) -> str:
    """Why an array keeps its channels whatever is chosen for others; "" where they may go."""
    if axes.follows:
        return f"the channels of {axes.kind} follow those of its input"
    return "its channels are outputs of the model" if axes.output and axes.channels else ""


def _indivisible(shape: Sequence[int], axes: Axes, granularity: str) -> str:
    """Why an array does not divide into such units; "" where it does."""
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


def _tiled(array: np.ndarray, block: Sequence[int]) -> np.ndarray:
    """The array with each axis split in two: the units, and the weights within a unit."""

    def split() -> Iterator[int]:
        for size, step in zip(array.shape, block, strict=True):
            yield from (size // step, step)

    return array.reshape(tuple(split()))


def _inner(block: Sequence[int]) -> tuple[int, ...]:
    """The axes of a tiled array that run within a unit."""
    return tuple(range(1, 2 * len(block), 2))
