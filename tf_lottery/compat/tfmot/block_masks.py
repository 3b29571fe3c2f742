"""Masks as tfmot's options describe them: of blocks of any size, and of m zeros in n consecutive weights."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UsageError
from tf_lottery.pruning.ranking import remove_lowest

Mask = npt.NDArray[np.bool_]
POOLING = ("AVG", "MAX")


def prune_blocks(
    weight: npt.NDArray[Any], mask: Mask, *, sparsity: float, block_size: Sequence[int] = (1, 1), pooling: str = "AVG"
) -> Mask:
    """Returns a subset of a mask that keeps `round((1 - sparsity) * blocks)` blocks of a weight, and at least one.

    Blocks rank by the mean or the largest magnitude in them. The last blocks of an axis that the size does not divide
    are smaller. A mask that keeps fewer blocks already stays as it is.

    Args:
        weight: The weight, of two axes unless the blocks are single weights.
        mask: Its mask.
        sparsity: The fraction of the blocks to prune, in [0, 1).
        block_size: The height and the width of a block: along the first and along the second axis.
        pooling: "AVG" or "MAX".

    Example:
        >>> weight = np.array([[1.0, 0.1, 0.2], [0.2, 0.1, 0.3]])
        >>> prune_blocks(weight, np.ones((2, 3), bool), sparsity=0.5, block_size=(2, 2))
        array([[ True,  True, False],
               [ True,  True, False]])
    """
    magnitude = np.abs(weight)
    single = tuple(block_size) == (1, 1)
    scores = magnitude if single else _pooled(magnitude, block_size, pooling)
    units = mask if single else _pooled(mask.astype(np.float32), block_size, "MAX") > 0
    wanted = max(1, round((1 - sparsity) * units.size))
    count = int(np.count_nonzero(units)) - wanted
    kept = remove_lowest({"": scores}, {"": units}, keys=[""], count=count)[""]
    return mask & (kept if single else _spread(kept, block_size, weight.shape))


def prune_m_by_n(weight: npt.NDArray[Any], mask: Mask, *, zeros: int, size: int) -> Mask:
    """Returns a subset of a mask that prunes the lowest `zeros` of every `size` consecutive inputs of an output.

    Args:
        weight: The kernel of a dense layer (inputs, units) or of a convolution (height, width, inputs, filters).
        mask: Its mask.
        zeros: The number of weights to prune in a group; the last group of an output may be smaller.
        size: The number of weights in a group.

    Raises:
        UsageError: If the weight has another number of axes.

    Example:
        >>> weight = np.array([[0.1], [0.5], [-0.7], [0.2]])
        >>> prune_m_by_n(weight, np.ones((4, 1), bool), zeros=2, size=4).ravel()
        array([False,  True,  True, False])
    """
    if weight.ndim not in (2, 4):
        raise UsageError(
            f"`sparsity_m_by_n` needs kernels of 2 or 4 axes. Received: one of shape {weight.shape}.",
            "Leave its layer out: prune the other layers one by one.",
        )
    rows = np.moveaxis(np.abs(weight), -2, -1)  # inputs last
    flat = rows.reshape(-1, rows.shape[-1])
    padded = np.full((len(flat), -(-flat.shape[1] // size) * size), -1.0)
    padded[:, : flat.shape[1]] = flat
    groups = padded.reshape(len(flat), -1, size)
    order = np.argsort(-groups, axis=-1, kind="stable")
    kept = np.zeros(groups.shape, bool)
    np.put_along_axis(kept, order[..., : size - zeros], True, axis=-1)
    whole = kept.reshape(padded.shape)[:, : flat.shape[1]].reshape(rows.shape)
    return mask & np.moveaxis(whole, -1, -2)


def _pooled(values: npt.NDArray[Any], block_size: Sequence[int], pooling: str) -> npt.NDArray[Any]:
    starts = [np.arange(0, length, step) for length, step in zip(values.shape, block_size, strict=True)]
    reduce = np.maximum if pooling == "MAX" else np.add
    pooled = reduce.reduceat(reduce.reduceat(values.astype(np.float64), starts[0], axis=0), starts[1], axis=1)
    if pooling == "MAX":
        return np.asarray(pooled)
    sizes = [np.diff([*start, length]) for start, length in zip(starts, values.shape, strict=True)]
    return np.asarray(pooled / np.outer(*sizes))


def _spread(blocks: Mask, block_size: Sequence[int], shape: Sequence[int]) -> Mask:
    whole = blocks.repeat(block_size[0], axis=0).repeat(block_size[1], axis=1)
    return np.asarray(whole[: shape[0], : shape[1]])
