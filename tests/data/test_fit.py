"""Data against a model's shapes and outputs."""

import numpy as np
import pytest

from tf_lottery.data.fit import check_fits
from tf_lottery.data.user import from_arrays
from tf_lottery.errors import UnfitError


def dataset(x=None, y=None):
    x = np.zeros((10, 4, 4, 1), "float32") if x is None else x
    return from_arrays((x, np.arange(10) % 3 if y is None else y))


def test_what_fits():
    check_fits(dataset(), input_shape=(4, 4, 1), outputs=3, sparse_labels=True)
    check_fits(dataset(), input_shape=(None, None, 1), outputs=10, sparse_labels=True)
    check_fits(dataset(y=np.zeros((10, 3))), input_shape=(4, 4, 1), outputs=3, sparse_labels=False)
    check_fits(dataset(y=np.zeros(10)), input_shape=(4, 4, 1), outputs=1, sparse_labels=False)
    check_fits(dataset(y=np.zeros((10, 1), int)), input_shape=(4, 4, 1), outputs=2, sparse_labels=True)
    check_fits(dataset(y=(np.zeros(10), np.zeros(10))), input_shape=(4, 4, 1), outputs=None, sparse_labels=False)


def test_several_inputs():
    data = dataset(x={"image": np.zeros((10, 4)), "size": np.zeros((10, 1))})
    check_fits(data, input_shape={"size": (1,), "image": (4,)}, outputs=3, sparse_labels=True)
    with pytest.raises(UnfitError, match="1 input: "):
        check_fits(data, input_shape=(4,), outputs=3, sparse_labels=True)
    with pytest.raises(UnfitError, match="names"):
        check_fits(data, input_shape={"sizes": (1,), "image": (4,)}, outputs=3, sparse_labels=True)
    pair = dataset(x=(np.zeros((10, 4)), np.zeros((10, 1))))
    check_fits(pair, input_shape=[(4,), (1,)], outputs=3, sparse_labels=True)
    with pytest.raises(UnfitError):
        check_fits(pair, input_shape=[(1,), (4,)], outputs=3, sparse_labels=True)


@pytest.mark.parametrize("shape", [(5, 4, 1), (4, 4), (16,), (4, 4, 3)])
def test_wrong_input_shape(shape):
    with pytest.raises(UnfitError) as caught:
        check_fits(dataset(), input_shape=shape, outputs=3, sparse_labels=True)
    assert "(4, 4, 1)" in caught.value.cause
    assert str(shape) in caught.value.cause


@pytest.mark.parametrize(
    ("y", "outputs", "sparse", "words"),
    [
        (np.arange(10), 5, True, r"\[0, 5\)"),
        (np.arange(10) - 1, 10, True, "-1"),
        (np.zeros((10, 3)), 3, True, "class numbers"),
        (np.zeros((10, 3)), 4, False, "4 outputs"),
        (np.zeros(10), 3, False, "3 outputs"),
        ((np.zeros(10), np.zeros(10)), 3, True, "2 targets"),
    ],
)
def test_wrong_targets(y, outputs, sparse, words):
    with pytest.raises(UnfitError, match=words):
        check_fits(dataset(y=y), input_shape=(4, 4, 1), outputs=outputs, sparse_labels=sparse)


def test_every_part_is_looked_at():
    x, y = np.zeros((4, 2)), np.zeros(4, int)
    data = from_arrays((x, y), (x, y), (x, y + 7))
    with pytest.raises(UnfitError, match="test part"):
        check_fits(data, input_shape=(2,), outputs=3, sparse_labels=True)
