"""Masks of dynamic sparse training, by hand."""

import numpy as np
import pytest

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning.rewiring import cosine_fraction, distribute, random_masks, rewire

SHAPES = {"a": (4, 5), "b": (3,)}


def test_rewiring_by_hand():
    weights = {"a": np.array([0.5, -0.1, 0.3, -0.9, 0.0, 0.0, 0.0])}
    masks = {"a": np.array([True, True, True, True, False, False, False])}
    growth = {"a": np.array([9.0, 0.2, 9.0, 9.0, 0.1, 0.3, 0.4])}
    # Two of four go: -0.1 and 0.3. Candidates are those two and the last three; the largest of 0.2, 9, 0.1, 0.3, 0.4.
    assert rewire(weights, masks, growth, fraction=0.5)["a"].tolist() == [True, False, True, True, False, False, True]
    # One of four goes: -0.1; the largest of 0.2, 0.1, 0.3, 0.4 comes.
    assert rewire(weights, masks, growth, fraction=0.25)["a"].tolist() == [True, False, True, True, False, False, True]
    assert rewire(weights, masks, growth, fraction=0.0)["a"].tolist() == masks["a"].tolist()
    assert rewire(weights, masks, growth, fraction=1.0)["a"].tolist() == [True, False, True, True, False, False, True]


def test_arrays_are_rewired_alone():
    weights = {"a": np.array([3.0, 2.0, 0.0]), "b": np.array([0.2, 0.1, 0.0])}
    masks = {"a": np.array([True, True, False]), "b": np.array([True, True, False])}
    growth = {"a": np.array([0.0, 0.0, 1.0]), "b": np.array([0.0, 0.0, 1.0])}
    rewired = rewire(weights, masks, growth, fraction=0.5)
    assert rewired["a"].tolist() == rewired["b"].tolist() == [True, False, True]


def test_ties():
    ones = {"a": np.ones(6)}
    masks = {"a": np.array([True, True, True, True, False, False])}
    # The first two go, the last two of those that are left come.
    assert rewire(ones, masks, ones, fraction=0.5)["a"].tolist() == [False, False, True, True, True, True]


def test_a_score_that_is_not_finite():
    weights, masks = {"a": np.array([1.0, 0.0])}, {"a": np.array([True, False])}
    with pytest.raises(NonFiniteError, match="'a' must be finite"):
        rewire(weights, masks, {"a": np.array([0.0, np.nan])}, fraction=1.0)


def test_random_masks():
    masks = random_masks(SHAPES, {"a": 0.25, "b": 0.5}, seed=1)
    assert (int(masks["a"].sum()), int(masks["b"].sum())) == (5, 2)  # 1.5 is rounded half to even
    again = random_masks({"b": (3,), "a": (4, 5)}, {"a": 0.25, "b": 0.5}, seed=1)
    assert all((masks[path] == again[path]).all() for path in masks)
    other = random_masks(SHAPES, {"a": 0.25, "b": 0.5}, seed=2)
    assert (masks["a"] != other["a"]).any()
    assert int(random_masks(SHAPES, {"a": 0.0, "b": 1.0}, seed=0)["a"].sum()) == 1


@pytest.mark.parametrize(("step", "fraction"), [(0, 0.3), (25, 0.256066), (50, 0.15), (100, 0.0)])
def test_the_fraction_that_is_dropped(step, fraction):
    # cos(pi / 4) = 0.707107: 0.15 * 1.707107.
    assert cosine_fraction(step, alpha=0.3, end_step=100) == pytest.approx(fraction, abs=1e-6)


def test_distributions():
    assert distribute(SHAPES, 0.75) == {"a": 0.25, "b": 0.25}
    assert distribute(SHAPES, {"a": 0.5, "b": 0.0}) == {"a": 0.5, "b": 1.0}
    assert distribute(SHAPES, 0.5, lambda shapes, density: {"a": density / 2, "b": 1.0}) == {"a": 0.25, "b": 1.0}
    with pytest.raises(UsageError, match=r"Unknown `distribution` 'unifrom'.*Did you mean 'uniform'"):
        distribute(SHAPES, 0.5, "unifrom")
    with pytest.raises(UsageError, match=r"sparsity of 'b' must be in \[0, 1\)"):
        distribute(SHAPES, {"a": 0.5, "b": 1.0})
    with pytest.raises(UnfitError, match="keys of the sparsities do not fit"):
        distribute(SHAPES, {"a": 0.5})
    with pytest.raises(UnfitError, match="densities of the distribution must be in"):
        distribute(SHAPES, 0.5, lambda shapes, density: {"a": 1.5, "b": 1.0})


def test_erk_by_hand():
    # 3100 of 31000 weights in proportion to 400 : 110, which are 2431.4 and 668.6.
    shapes = {"first": (300, 100), "second": (100, 10)}
    assert distribute(shapes, 0.9, "erk") == {"first": 2431 / 30000, "second": 669 / 1000}
    # Of 700 weights the small array can take no more than its 8.
    assert distribute({"large": (40, 20), "small": (2, 4)}, 1 - 700 / 808, "erk") == {"large": 692 / 800, "small": 1.0}
