"""The arrays of units: scores and masks of weights, reduced to one value for each unit, and spread out again.

A function that prunes weights prunes units if it is called with those smaller arrays. Arrays that are joined have one
array of units together, under the path of the first of them.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError
from tf_lottery.pruning.group_floors import groups_below
from tf_lottery.pruning.masks import Masks, Scores, WeightArrays
from tf_lottery.pruning.units import Units

_REMEDY = "Start from dense masks, or from masks of the same granularity."


def collapse(scores: WeightArrays, units: Units) -> Scores:
    """Returns the scores of units: the means of their weights' scores, in float64.

    Args:
        scores: Real scores of weights by path; arrays that are kept whole are left out.
        units: The units.

    Example:
        >>> collapse({"kernel": np.array([[1.0, 0.0], [3.0, 1.0]])}, Units({"kernel": (2, 1)}))
        {'kernel': array([[2. , 0.5]])}
    """
    means: Scores = {}
    for key, paths in units.members.items():
        if _single(units.blocks[key]) and len(paths) == 1:
            means[key] = scores[key]
            continue
        with np.errstate(invalid="ignore"):  # whoever ranks the units reports scores that are not finite
            parts = [_means(np.asarray(scores[path]), units.blocks[path]) for path in paths]
            sizes = [math.prod(units.blocks[path]) for path in paths]
            joint = sum(part.ravel() * size for part, size in zip(parts, sizes, strict=True)) / sum(sizes)
        means[key] = parts[0] if len(paths) == 1 else np.asarray(joint).reshape(parts[0].shape)
    return means


def collapse_masks(masks: WeightArrays, units: Units) -> Masks:
    """Returns the masks of units.

    Args:
        masks: Boolean masks of weights by path; arrays that are kept whole are left out.
        units: The units.

    Raises:
        UnfitError: If the masks keep a part of a unit, or fewer weights of a group than its pattern N:M says.
    """
    collapsed: Masks = {}
    for key, paths in units.members.items():
        if _single(units.blocks[key]) and len(paths) == 1:
            collapsed[key] = masks[key]
            floor = units.floors.get(key)
            if floor is not None and (below := groups_below(masks[key], floor)):
                raise UnfitError(
                    f"The masks of {key!r} must keep at least {floor.kept} of each {floor.size} consecutive inputs. "
                    f"Received: {below} groups that keep fewer.",
                    _REMEDY,
                )
            continue
        every = [_reduced(np.all, masks[path], units.blocks[path]).ravel() for path in paths]
        some = [_reduced(np.any, masks[path], units.blocks[path]).ravel() for path in paths]
        kept = np.logical_and.reduce(every)
        if parts := int(np.count_nonzero(np.logical_or.reduce(some) & ~kept)):
            shape = " and ".join(str(tuple(units.blocks[path])) for path in paths)
            raise UnfitError(
                f"The masks of {', '.join(map(repr, paths))} must keep or prune each unit of shape {shape} as a whole. "
                f"Received: {parts} units that are kept in part.",
                _REMEDY,
            )
        collapsed[key] = kept.reshape(_unit_shape(masks[key].shape, units.blocks[key]))
    return collapsed


def expand(unit_masks: WeightArrays, masks: Masks, units: Units) -> Masks:
    """Returns the masks of weights that keep exactly the weights of the kept units.

    Args:
        unit_masks: Boolean masks of units by path.
        masks: Masks of weights by path; those of arrays that are kept whole are returned as they are.
        units: The units.

    Example:
        >>> units = Units({"kernel": (2, 1)})
        >>> expand({"kernel": np.array([[True, False]])}, {"kernel": np.ones((2, 2), bool)}, units)
        {'kernel': array([[ True, False],
               [ True, False]])}
    """
    expanded: Masks = {}
    for key, mask in masks.items():
        block = units.blocks.get(key)
        if block is None:
            expanded[key] = mask.copy()
            continue
        kept = unit_masks[units.joined.get(key, key)]
        if _single(block) and kept.shape == mask.shape:
            expanded[key] = kept
            continue
        tiles = _tiled(mask, block).shape
        spread = np.expand_dims(kept.reshape(_unit_shape(mask.shape, block)), _inner(block))
        expanded[key] = np.array(np.broadcast_to(spread, tiles), order="C").reshape(mask.shape)
    return expanded


def _single(block: Sequence[int]) -> bool:
    return all(size == 1 for size in block)


def _reduced(function: Any, array: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    return np.asarray(function(_tiled(array, block), axis=_inner(block)))


def _means(array: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    return np.asarray(_tiled(array, block).mean(axis=_inner(block), dtype=np.float64))


def _unit_shape(shape: Sequence[int], block: Sequence[int]) -> tuple[int, ...]:
    return tuple(size // step for size, step in zip(shape, block, strict=True))


def _tiled(array: npt.NDArray[Any], block: Sequence[int]) -> npt.NDArray[Any]:
    """Returns the array with every axis split in two: the units, and the weights within a unit."""

    def split() -> Iterator[int]:
        for size, step in zip(array.shape, block, strict=True):
            yield from (size // step, step)

    return array.reshape(tuple(split()))


def _inner(block: Sequence[int]) -> tuple[int, ...]:
    """Returns the axes of a tiled array that run within a unit."""
    return tuple(range(1, 2 * len(block), 2))
