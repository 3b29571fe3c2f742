"""Patterns N:M: of each group of M consecutive inputs of one output, at least N weights are kept.

A pattern is a floor under all rounds of pruning: a round prunes as many weights as it would without it, but never the N
best of a group. At the density N/M exactly N of each M are left, the 2:4 of NVIDIA's sparse tensor cores (Mishra et al.
2021, arXiv 2104.08378; Zhou et al. 2021, arXiv 2102.04010).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GroupFloor:
    """How many weights each group of an array keeps at least.

    Attributes:
        kept: N, the weights that a group keeps.
        size: M, the weights of a group.
        axis: The axis of the inputs, along which the weights of a group lie.
    """

    kept: int
    size: int
    axis: int

    def __str__(self) -> str:
        return f"{self.kept}:{self.size}"

    def total(self, shape: Sequence[int]) -> int:
        """Returns how many weights an array of this shape keeps at least."""
        return math.prod(shape) // self.size * self.kept


def grouped(array: npt.NDArray[Any], floor: GroupFloor) -> npt.NDArray[Any]:
    """Returns the array as a matrix (groups, M); within a row the flat index rises.

    Args:
        array: An array whose inputs divide into groups.
        floor: The pattern.

    Example:
        >>> grouped(np.array([[0, 1], [2, 3], [4, 5], [6, 7]]), GroupFloor(1, 2, axis=0)).tolist()
        [[0, 2], [4, 6], [1, 3], [5, 7]]
    """
    return np.moveaxis(array, floor.axis, -1).reshape(-1, floor.size)


def ungrouped(rows: npt.NDArray[Any], shape: Sequence[int], floor: GroupFloor) -> npt.NDArray[Any]:
    """Returns the array of this shape from which `grouped` makes `rows`.

    Args:
        rows: A matrix (groups, M).
        shape: The shape of the array.
        floor: The pattern.
    """
    last = [size for axis, size in enumerate(shape) if axis != floor.axis] + [shape[floor.axis]]
    return np.ascontiguousarray(np.moveaxis(rows.reshape(last), -1, floor.axis))


def best_of_groups(
    scores: npt.NDArray[Any], survivors: npt.NDArray[np.bool_], floor: GroupFloor
) -> npt.NDArray[np.bool_]:
    """Returns which survivors are among the N best of their group; of equal scores the last ones are.

    Args:
        scores: Real scores, finite where a weight survives.
        survivors: The mask of the array.
        floor: The pattern.

    Example:
        >>> scores = np.array([[3.0], [1.0], [2.0], [2.0]])
        >>> best_of_groups(scores, np.ones((4, 1), bool), GroupFloor(2, 4, axis=0)).ravel().tolist()
        [True, False, False, True]
    """
    alive = grouped(survivors, floor)
    values = np.where(alive, grouped(scores, floor), -np.inf)
    order = np.argsort(values, axis=1, kind="stable")[:, floor.size - floor.kept :]
    best = np.zeros(alive.shape, bool)
    np.put_along_axis(best, order, True, axis=1)
    return ungrouped(best & alive, survivors.shape, floor)


def groups_below(mask: npt.NDArray[np.bool_], floor: GroupFloor) -> int:
    """Returns how many groups keep fewer weights than the pattern says.

    Args:
        mask: The mask of an array.
        floor: The pattern.
    """
    return int(np.count_nonzero(np.count_nonzero(grouped(mask, floor), axis=1) < floor.kept))
