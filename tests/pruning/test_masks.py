"""Masks: hand arrays, and what is refused."""

import numpy as np
import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.pruning import masks as masking

MASKS = {"a": np.array([True, False, True]), "b": np.array([[False, True]])}


def test_counts_and_density():
    assert (masking.kept(MASKS), masking.total(MASKS), masking.density(MASKS)) == (3, 5, 0.6)
    assert (masking.kept({}), masking.total({}), masking.density({})) == (0, 0, 1.0)


def test_ones_keep_everything():
    dense = masking.ones({"a": np.zeros((2, 2)), "b": [1.0, 2.0]})
    assert {key: (mask.shape, mask.dtype.name, mask.all()) for key, mask in dense.items()} == {
        "a": ((2, 2), "bool", True),
        "b": ((2,), "bool", True),
    }


def test_apply_gives_exact_zeros_and_keeps_dtypes():
    weights = {
        "a": np.array([-1.0, -2.0, np.inf], "float16"),
        "b": np.array([[np.nan, -4.0]], "float64"),
        "c": np.array([5.0]),
    }
    applied = masking.apply(weights, MASKS)
    np.testing.assert_array_equal(applied["a"], np.array([-1, 0, np.inf], "float16"))
    np.testing.assert_array_equal(applied["b"], [[0.0, -4.0]])
    assert applied["a"].dtype == "float16"
    assert applied["c"] is weights["c"]
    assert not np.signbit(applied["a"][1])
    assert np.isnan(weights["b"][0, 0])


def test_overlap_by_hand():
    first = {"a": np.array([True, True, False, False]), "b": np.array([True])}
    second = {"a": np.array([True, False, True, False]), "b": np.array([True])}
    assert masking.overlap(first, second) == 2 / 4
    assert masking.overlap(first, first) == 1.0
    nothing = {key: np.zeros_like(mask) for key, mask in first.items()}
    assert masking.overlap(first, nothing) == 0.0
    assert masking.overlap(nothing, nothing) == 1.0
    with pytest.raises(UnfitError, match="missing: b"):
        masking.overlap(first, {"a": first["a"]})


@pytest.mark.parametrize("mask", [np.array([1, 0, 1]), np.array([1.0, 0.0, 1.0]), [True, False, True]])
def test_numbers_that_are_0_or_1_are_masks(mask):
    checked = masking.validate({"a": mask}, {"a": (3,)})
    assert checked["a"].dtype == bool
    np.testing.assert_array_equal(checked["a"], MASKS["a"])


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({}, "missing: a"),
        ({"a": MASKS["a"], "z": MASKS["a"]}, "unexpected: z"),
        ({"a": np.ones(4, bool)}, r"must have shape \(3,\). Received: \(4,\)"),
        ({"a": np.array([0, 1, 2])}, "must be boolean"),
        ({"a": np.array([0, 1, np.nan])}, "must be boolean"),
        ({"a": np.array(["0", "1", "1"])}, "must be boolean"),
        ({"a": np.array([None, 1, 0])}, "must be boolean"),
        ({"a": None}, "shape"),
    ],
)
def test_masks_that_do_not_fit(masks, message):
    with pytest.raises(UnfitError, match=message):
        masking.validate(masks, {"a": (3,)})
