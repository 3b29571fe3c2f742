"""The units in which weights are pruned: blocks of an array that are kept or pruned as a whole.

All units of one array are blocks of one shape. Arrays that are joined, as those of one attention layer are, have their
units together.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from tf_lottery.errors import UnfitError
from tf_lottery.pruning.granularities import (
    HEAD,
    KERNEL,
    ROW,
    UNKNOWN_AXES,
    UNSTRUCTURED,
    Axes,
    block_shape,
    check_granularity,
    group_pattern,
    reason_indivisible,
    reason_to_keep,
)
from tf_lottery.pruning.group_floors import GroupFloor

Blocks: TypeAlias = dict[str, tuple[int, ...]]
"""The shape of a unit by weight path."""


@dataclass(frozen=True)
class Units:
    """How weight arrays divide into units.

    Attributes:
        blocks: The shape of a unit of every array that is pruned; all ones for units of a single weight.
        whole: Why an array is kept whole, by path; such arrays are not in `blocks`.
        singly: Why the weights of an array are pruned one by one instead of in larger units, by path.
        floors: The pattern N:M of an array that has one, by path.
        joined: The path of the array with which an array shares its units, by path; the latter comes first.
    """

    blocks: Blocks
    whole: dict[str, str] = field(default_factory=dict)
    singly: dict[str, str] = field(default_factory=dict)
    floors: dict[str, GroupFloor] = field(default_factory=dict)
    joined: dict[str, str] = field(default_factory=dict)

    @property
    def remarks(self) -> dict[str, str]:
        """Which arrays are not pruned in the requested units, and why, by path."""
        return {key: f"kept whole: {reason}" for key, reason in self.whole.items()} | {
            key: f"pruned weight by weight: {reason}" for key, reason in self.singly.items()
        }

    @cached_property
    def members(self) -> dict[str, list[str]]:
        """The paths of the arrays whose weights make up each array of units, by the path of the first."""
        members = {key: [key] for key in self.blocks if key not in self.joined}
        for path, first in self.joined.items():
            members[first].append(path)
        return members

    @cached_property
    def sizes(self) -> dict[str, int]:
        """The number of weights in a unit, by the paths of the arrays of units."""
        return {key: sum(math.prod(self.blocks[path]) for path in paths) for key, paths in self.members.items()}

    def counts(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Returns the number of units, by the paths of the arrays of units.

        Args:
            shapes: The shape of every weight array by path.
        """
        return {key: math.prod(shapes[key]) // math.prod(self.blocks[key]) for key in self.members}


def single_weights(shapes: Mapping[str, Sequence[int]]) -> Units:
    """Returns units of a single weight.

    Args:
        shapes: The shape of every weight array by path.
    """
    return Units({key: (1,) * len(shape) for key, shape in shapes.items()})


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
        granularity: "unstructured" (single weights); "1x4" or "1x16" (so many consecutive inputs of one output); a
            pattern N:M such as "2:4" (single weights, of which every M consecutive inputs of one output keep at least
            N); "channel" (all weights of a unit of a dense layer, or of a filter of a convolution); "head" (an
            attention head, in all kernels of its layer at once); or "row" (one token's vector of an embedding). Arrays
            whose channels are outputs of the model, or follow those of their input, are kept whole under "channel".
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
    check_granularity(granularity, indivisible)
    single = single_weights(shapes).blocks
    if granularity == UNSTRUCTURED:
        return Units(single)
    known = {key: _axes(key, shape, axes) for key, shape in shapes.items()}
    exempt = _nonempty({key: reason_to_keep(known[key], granularity) for key in shapes})
    reasons = _nonempty(
        {key: reason_indivisible(shapes[key], known[key], granularity) for key in shapes if key not in exempt}
    )
    if reasons and indivisible == "error":
        unknown = axes is None and granularity in (HEAD, ROW)
        missing = "Pass `axes=discover(model).axes`, which says where they are. " if unknown else ""
        raise UnfitError(
            f"These weights do not divide into units of granularity {granularity}: {_listed(reasons, shapes)}.",
            f"{missing}Keep them whole by `indivisible='skip'`, prune them weight by weight by "
            "`indivisible='unstructured'`, or exclude them.",
        )
    singly = reasons if indivisible == UNSTRUCTURED else {}
    whole = {key: (exempt | reasons)[key] for key in shapes if key in exempt or key in reasons.keys() - singly.keys()}
    divided = [key for key in shapes if key not in whole and key not in singly]
    if shapes and not divided and not singly:
        raise UnfitError(
            f"Nothing is left to prune in units of granularity {granularity}: {_listed(whole, shapes)}.",
            "Choose another granularity.",
        )
    blocks = {
        key: single[key] if key in singly else block_shape(shapes[key], known[key], granularity)
        for key in shapes
        if key not in whole
    }
    pattern = group_pattern(granularity)
    floors = {key: GroupFloor(*pattern, axis=known[key].inputs or 0) for key in divided} if pattern else {}
    joined = _joined(known, blocks, shapes, divided) if granularity == HEAD else {}
    return Units(blocks, whole, singly, floors, joined)


def _nonempty(reasons: Mapping[str, str]) -> dict[str, str]:
    return {key: reason for key, reason in reasons.items() if reason}


def _listed(reasons: Mapping[str, str], shapes: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{key} {tuple(shapes[key])}: {reason}" for key, reason in reasons.items())


def _axes(key: str, shape: Sequence[int], axes: Mapping[str, Axes] | None) -> Axes:
    """Returns the axes of an array, counted from its first."""
    if axes is not None and key not in axes:
        raise UnfitError(f"The axes of {key!r} are missing.", "Take those of all weights: `discover(model).axes`.")
    default = KERNEL if len(shape) > 1 else UNKNOWN_AXES
    own = default if axes is None else axes[key]
    if any(not -len(shape) <= number < len(shape) for number in own.numbers):
        raise UnfitError(
            f"The axes of {key!r} must be of an array of shape {tuple(shape)}. Received: {own}.",
            "Take them from the same model: `discover(model).axes`.",
        )

    def from_first(axis: int | None) -> int | None:
        return None if axis is None else axis % len(shape)

    return replace(
        own,
        inputs=from_first(own.inputs),
        channels=tuple(number % len(shape) for number in own.channels),
        heads=from_first(own.heads),
        rows=from_first(own.rows),
    )


def _joined(
    axes: Mapping[str, Axes], blocks: Blocks, shapes: Mapping[str, Sequence[int]], keys: Sequence[str]
) -> dict[str, str]:
    """Returns the first array of the same attention layer with as many units, for every later one."""
    first: dict[tuple[str, int], str] = {}
    joined: dict[str, str] = {}
    for key in sorted(keys):
        if axes[key].attention:
            count = math.prod(shapes[key]) // max(1, math.prod(blocks[key]))
            leader = first.setdefault((axes[key].attention, count), key)
            joined |= {} if leader == key else {key: leader}
    return joined
