"""The caller's arrays as a data set."""

import numpy as np
import pytest

from tf_lottery.data import Arrays, from_arrays
from tf_lottery.errors import UnfitError, UsageError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10) % 4


def test_a_part_is_set_aside():
    data = from_arrays((X, Y))
    assert (data.train.size, data.validation.size, data.test) == (9, 1, None)
    assert data.classes == 4
    assert data.input_shape == (2,)
    assert data.train.x.dtype == np.float32
    assert data.train.y.dtype == Y.dtype


def test_given_parts_are_kept_whole_and_in_order():
    data = from_arrays(Arrays(X, Y), (X[:3], Y[:3]), (X[:2], Y[:2]))
    assert np.array_equal(data.train.x, X.astype("float32"))
    assert (data.validation.size, data.test.size) == (3, 2)


def test_sample_weights_and_several_inputs():
    data = from_arrays(({"a": X, "b": X[:, :1]}, Y, np.arange(10.0)), validation_split=4, seed=1)
    assert data.input_shape == {"a": (2,), "b": (1,)}
    assert np.array_equal(data.train.sample_weight, data.train.x["a"][:, 0] / 2)
    assert data.train.sample_weight.dtype == np.float32


def test_the_seed_chooses_the_validation_part():
    chosen = [from_arrays((X, Y), validation_split=3, seed=seed).validation.x[:, 0].tolist() for seed in (5, 5, 6)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize(("y", "classes"), [(Y / 2, None), (Y - 1, None), (np.eye(4)[Y], None), (Y.astype("u1"), 4)])
def test_classes_are_told_from_class_numbers_only(y, classes):
    assert from_arrays((X, y)).classes == classes


def test_classes_count_over_all_parts():
    assert from_arrays((X, Y), (X, Y), (X, Y + 2)).classes == 6


def test_fingerprint_does_not_depend_on_the_split():
    first, second = from_arrays((X, Y), seed=0), from_arrays((X, Y), validation_split=5, seed=9)
    assert first.fingerprint == second.fingerprint != from_arrays((X + 1, Y)).fingerprint


@pytest.mark.parametrize("train", [X, [X], (X, Y, Y, Y), None, "mnist", iter([(X, Y)])])
def test_wrong_types_are_named(train):
    with pytest.raises(UsageError, match=r"\(x, y\)"):
        from_arrays(train)


def test_a_wrong_split():
    with pytest.raises(UsageError):
        from_arrays((X, Y), validation_split=10)


def test_parts_of_unequal_shape():
    with pytest.raises(UnfitError, match="test data's x"):
        from_arrays((X, Y), (X, Y), (X[:, :1], Y))
    with pytest.raises(UnfitError, match="validation data's y"):
        from_arrays((X, Y), (X, np.eye(4)[Y]))
