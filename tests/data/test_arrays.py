"""Examples as arrays: structure, selection, fingerprints and what is refused."""

import numpy as np
import pytest

from tf_lottery.data.arrays import Arrays
from tf_lottery.errors import UnfitError, UsageError


def test_size_and_take_keep_everything_together():
    arrays = Arrays(np.arange(8).reshape(4, 2), np.array([0, 1, 2, 3]), np.array([1.0, 2, 3, 4]))
    part = arrays.take([3, 0])
    assert arrays.size == 4
    assert part.x.tolist() == [[6, 7], [0, 1]]
    assert part.y.tolist() == [3, 0]
    assert part.sample_weight.tolist() == [4.0, 1.0]


def test_nested_inputs():
    arrays = Arrays({"b": np.zeros((3, 2)), "a": (np.ones(3), np.array([1, 2, 3]))}, [np.arange(3), np.arange(3)])
    assert isinstance(arrays.y, tuple)
    part = arrays.take([1])
    assert part.x["b"].shape == (1, 2)
    assert part.x["a"][1].tolist() == [2]
    assert part.y[0].tolist() == [1]


def test_a_list_of_numbers_is_one_array():
    arrays = Arrays([[1, 2], [3, 4], [5, 6]], [0, 1, 0])
    assert arrays.x.shape == (3, 2)
    assert arrays.y.shape == (3,)


def test_fingerprint_sees_contents_dtype_shape_and_structure():
    x, y = np.array([[1, 2], [3, 4]], "int32"), np.array([0, 1])
    base = Arrays(x, y).fingerprint()
    assert Arrays(x.copy(), y).fingerprint() == base
    assert len(base) == 64
    others = [
        Arrays(x + 1, y),
        Arrays(x.astype("uint32"), y),
        Arrays(x[:, :, None], y),
        Arrays({"x": x}, y),
        Arrays(x, y, np.ones(2)),
        Arrays(x.T, y),
    ]
    assert len({base, *(other.fingerprint() for other in others)}) == 7
    assert Arrays(np.asfortranarray(x), y).fingerprint() == base


@pytest.mark.parametrize(
    ("x", "y", "weight", "words"),
    [
        (np.zeros((3, 2)), np.zeros(4), None, "x: 3, y: 4"),
        (np.zeros((3, 2)), np.zeros(3), np.ones(2), "sample_weight: 2"),
        (np.zeros((0, 2)), np.zeros(0), None, "no examples"),
        (np.zeros((3, 0)), np.zeros(3), None, "empty shape"),
        (np.array([1.0, np.nan, 0.0]), np.zeros(3), None, "example 1"),
        (np.zeros(3), np.array([0.0, 0.0, np.inf]), None, "example 2"),
        (np.zeros(3), np.zeros(3), np.array([1.0, np.nan, 1.0]), "sample_weight"),
        (np.zeros(3), np.zeros(3), np.array([1.0, -1.0, 1.0]), "non-negative"),
        (np.float32(3.0), np.zeros(3), None, "a scalar"),
    ],
)
def test_unfit_arrays(x, y, weight, words):
    with pytest.raises(UnfitError, match=words) as caught:
        Arrays(x, y, weight)
    assert caught.value.remedy


@pytest.mark.parametrize("x", [["a", "b"], [None, None], {}, [[1, 2], [3]], object()])
def test_things_that_are_no_arrays_of_numbers(x):
    with pytest.raises(UsageError):
        Arrays(x, [0, 1])
