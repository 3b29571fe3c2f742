"""Some classes of a data set: which examples, which labels, which fingerprint, and what is refused."""

import numpy as np
import pytest

from tf_lottery.data import Arrays, load
from tf_lottery.data.content import Content
from tf_lottery.data.subset import select_classes
from tf_lottery.errors import UnfitError, UsageError

# Examples per class of scikit-learn's digits.
DIGITS = np.array([178, 182, 177, 183, 181, 182, 181, 179, 174, 180])


def part(*labels):
    """Image i is the number 10 * i + its label."""
    y = np.array(labels, np.int32)
    return Arrays((10 * np.arange(len(y)) + y).astype(np.uint8), y)


def content(train, validation=None, test=None):
    return Content(train, validation, test, classes=5, scale=255.0, source="a folder")


def test_examples_keep_their_order_and_labels_that_of_the_classes():
    selected = select_classes(content(part(0, 3, 1, 3, 4), part(3, 3, 2), part(1, 4, 1)), (4, 1, 3))
    assert selected.classes == 3
    assert selected.scale == 255.0
    assert selected.source == "a folder"
    assert selected.train.x.tolist() == [13, 21, 33, 44]
    assert selected.train.y.tolist() == [2, 1, 2, 0]
    assert selected.validation.x.tolist() == [3, 13]
    assert selected.validation.y.tolist() == [2, 2]
    assert selected.test.x.tolist() == [1, 14, 21]
    assert selected.test.y.tolist() == [1, 0, 1]
    assert selected.train.y.dtype == np.int32


def test_names_go_with_their_classes():
    whole = Content(part(0, 1, 2), None, None, classes=3, scale=255.0, source="a folder", class_names=("a", "b", "c"))
    assert select_classes(whole, (2, 0)).class_names == ("c", "a")


def test_the_source_is_not_changed():
    train = part(0, 1, 2)
    before = train.fingerprint()
    select_classes(content(train), (2, 0))
    assert train.fingerprint() == before


def test_digits_by_halves():
    halves = [load("digits", classes=classes) for classes in (range(5), (5, 6, 7, 8, 9))]
    whole = load("digits", normalization="none")
    for data, classes in zip(halves, (range(5), range(5, 10)), strict=True):
        parts = (data.train, data.validation, data.test)
        assert data.classes == 5
        assert {int(label) for arrays in parts for label in arrays.y} == set(range(5))
        assert sum(arrays.size for arrays in parts) == DIGITS[list(classes)].sum()
        assert data.test.size == np.isin(whole.test.y, classes).sum()
        # 237 of 1437 are set aside for validation: as large a part of the half.
        assert data.validation.size == round(237 * (data.train.size + data.validation.size) / 1437)
        counts = np.bincount(np.concatenate([arrays.y for arrays in parts]))
        assert counts.tolist() == DIGITS[list(classes)].tolist()


def test_images_and_labels_stay_together():
    whole, some = load("digits", normalization="none"), load("digits", normalization="none", classes=(8, 3))
    wanted = np.isin(whole.test.y, (8, 3))
    assert np.array_equal(some.test.x, whole.test.x[wanted])
    assert np.array_equal(some.test.y, np.where(whole.test.y[wanted] == 8, 0, 1))


def test_the_validation_part_is_taken_from_what_is_left():
    data = load("digits", classes=(0, 1), validation=100, seed=3)
    assert data.validation.size == 100
    assert data.train.size == (DIGITS[:2].sum() - data.test.size) - 100
    assert load("digits", classes=(0, 1), validation=0.5).validation.size == round(0.5 * (data.train.size + 100))
    with pytest.raises(UsageError, match="validation"):
        load("digits", classes=(0, 1), validation=1200)


def test_none_and_nothing_mean_all():
    whole = load("digits")
    for classes in (None, (), []):
        data = load("digits", classes=classes)
        assert data.fingerprint == whole.fingerprint
        assert data.classes == 10
        assert np.array_equal(data.train.x, whole.train.x)


def test_fingerprints_tell_subsets_and_their_orders_apart():
    subsets = [None, (0, 1), (1, 0), (0, 1, 2), (1, 2), (0, 12 % 10)]
    prints = [load("digits", classes=classes).fingerprint for classes in subsets]
    assert len(set(prints)) == len(prints)
    assert prints[1] == load("digits", classes=np.array([0, 1]), seed=5, normalization="none").fingerprint
    assert all(len(each) == 64 for each in prints)


@pytest.mark.parametrize(
    ("classes", "word"),
    [
        ((5, 10), "Unknown class 10"),
        ((-1, 2), "Unknown class -1"),
        ((3, 4, 3), "more than once"),
        ((3,), "at least two"),
        ((1.0, 2.0), "labels"),
        (("cat", "dog"), "labels"),
        ((True, False), "labels"),
        (3, "labels"),
        ("34", "labels"),
    ],
)
def test_bad_classes_are_refused(classes, word):
    with pytest.raises(UsageError, match=word) as caught:
        load("digits", classes=classes)
    assert caught.value.remedy


def test_classes_without_examples_are_refused():
    with pytest.raises(UnfitError, match="training split in a folder holds no example of class 2"):
        select_classes(content(part(0, 1, 3)), (0, 2))
    with pytest.raises(UnfitError, match="test split in a folder"):
        select_classes(content(part(0, 1, 3), test=part(3, 3)), (0, 1))
    assert select_classes(content(part(0, 1, 3), test=part(3, 0)), (0, 1)).test.y.tolist() == [0]
