"""Masks of blocks and of m zeros in n, by hand."""

import numpy as np
import pytest

from tf_lottery.compat.tfmot.block_masks import prune_blocks, prune_m_by_n
from tf_lottery.errors import UsageError

WEIGHT = np.array([[1.0, -0.2, 0.3, 0.1, 0.9], [0.1, 0.1, -0.6, 0.2, 0.0], [0.5, 0.7, 0.1, 0.1, -0.4]])
ALL = np.ones((3, 5), bool)


def test_single_weights():
    # Of 15 weights 0.6 stay, 9: 0.0 goes, and of the five of 0.1 all; those of 0.2 and more are nine.
    mask = prune_blocks(WEIGHT, ALL, sparsity=0.4)
    np.testing.assert_array_equal(mask, np.abs(WEIGHT) >= 0.2)
    assert prune_blocks(WEIGHT, ALL, sparsity=0.999).sum() == 1  # a weight is never pruned as a whole


@pytest.mark.parametrize(
    ("pooling", "sparsity", "kept"),
    # Blocks of 2 x 2, the last ones smaller: means 0.35, 0.3, 0.45 above 0.6, 0.1, 0.4; largest 1, 0.6, 0.9 above 0.7,
    # 0.1, 0.4.
    [
        ("AVG", 0.5, [[0, 0, 1], [1, 0, 1]]),
        ("AVG", 0.9, [[0, 0, 0], [1, 0, 0]]),
        ("MAX", 0.5, [[1, 0, 1], [1, 0, 0]]),
        ("MAX", 0.9, [[1, 0, 0], [0, 0, 0]]),
    ],
)
def test_blocks(pooling, sparsity, kept):
    mask = prune_blocks(WEIGHT, ALL, sparsity=sparsity, block_size=(2, 2), pooling=pooling)
    expected = np.kron(np.array(kept, bool), np.ones((2, 2), bool))[:3, :5]
    np.testing.assert_array_equal(mask, expected)


def test_masks_only_lose_weights():
    before = prune_blocks(WEIGHT, ALL, sparsity=0.5, block_size=(2, 2))
    changed = WEIGHT.copy()
    changed[:2, :2] = 100.0  # a block that is pruned
    after = prune_blocks(changed, before, sparsity=0.67, block_size=(2, 2))
    assert not (after & ~before).any()
    assert prune_blocks(changed, before, sparsity=0.1, block_size=(2, 2)).tolist() == before.tolist()


def test_zeros_in_groups():
    dense = np.array([[0.1, 0.9], [0.5, 0.8], [-0.7, 0.1], [0.2, -0.3], [0.4, 0.2], [0.3, 0.6]])
    # Four inputs and the two that are left over, of which two may stay.
    expected = np.array([[0, 1], [1, 1], [1, 0], [0, 0], [1, 1], [1, 1]], bool)
    np.testing.assert_array_equal(prune_m_by_n(dense, np.ones((6, 2), bool), zeros=2, size=4), expected)
    convolution = dense[:4].reshape(1, 1, 4, 2).repeat(2, axis=0)
    mask = prune_m_by_n(convolution, np.ones((2, 1, 4, 2), bool), zeros=2, size=4)
    np.testing.assert_array_equal(mask[1, 0], expected[:4])
    with pytest.raises(UsageError, match="kernels of 2 or 4 axes"):
        prune_m_by_n(np.ones((3, 4, 5)), np.ones((3, 4, 5), bool), zeros=2, size=4)
