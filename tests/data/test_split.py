"""The validation part: exact counts, no overlap, a pure function of the seed."""

import numpy as np
import pytest

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.split import split, validation_count
from tf_lottery.errors import UsageError

ARRAYS = Arrays(np.arange(10), np.arange(10) * 2)


def test_parts_are_disjoint_complete_and_matched():
    train, validation = split(ARRAYS, validation=3, seed=0)
    assert validation.size == 3
    assert sorted([*train.x.tolist(), *validation.x.tolist()]) == list(range(10))
    assert train.x.tolist() == sorted(train.x.tolist())
    assert np.array_equal(train.y, train.x * 2)


def test_same_seed_same_parts_other_seed_other_parts():
    chosen = [split(ARRAYS, validation=3, seed=seed)[1].x.tolist() for seed in (0, 0, 1, 2)]
    assert chosen[0] == chosen[1]
    assert len({tuple(part) for part in chosen}) == 3


def test_counts_and_fractions():
    assert validation_count(10, 3) == 3
    assert validation_count(10, 0.25) == 2
    assert validation_count(60_000, 1 / 12) == 5_000
    assert validation_count(10, np.int64(9)) == 9


@pytest.mark.parametrize("validation", [0, 10, -1, 0.0, 1.0, 1.5, float("nan"), 0.001, True, "3", None])
def test_out_of_range(validation):
    with pytest.raises(UsageError):
        split(ARRAYS, validation=validation, seed=0)
