"""The order of the data: fresh permutations, whole batches, a pure function of the seed."""

import numpy as np
import pytest

from tf_lottery.errors import UsageError
from tf_lottery.training.order import Order


def test_an_epoch_is_floor_n_over_batch_steps_without_a_repeated_example():
    order = Order(23, 5, seed=1)
    assert order.steps_per_epoch == 4
    for epoch in range(3):
        seen = order.steps(4 * epoch, 4 * epoch + 4)
        assert seen.shape == (4, 5)
        assert seen.dtype == np.int32
        assert len(set(seen.ravel())) == 20
        assert 0 <= seen.min() <= seen.max() < 23


def test_epochs_are_fresh_permutations():
    order = Order(20, 5, seed=1)
    first, second = order.steps(0, 4).ravel(), order.steps(4, 8).ravel()
    assert sorted(first) == sorted(second) == list(range(20))
    assert list(first) != list(second)


def test_over_epochs_every_example_is_seen_though_an_epoch_leaves_some_out():
    order = Order(23, 5, seed=1)
    assert set(order.steps(0, 40).ravel()) == set(range(23))


def test_any_cut_of_the_steps_gives_the_same_batches_in_any_order():
    whole = Order(23, 5, seed=2).steps(0, 15)
    again = Order(23, 5, seed=2)
    late, early = again.steps(7, 15), again.steps(0, 7)
    np.testing.assert_array_equal(np.concatenate([early, late]), whole)
    np.testing.assert_array_equal(again.steps(9, 10), whole[9:10])
    assert not np.array_equal(Order(23, 5, seed=3).steps(0, 15), whole)


def test_a_batch_of_all_examples_and_none():
    assert Order(4, 4, seed=0).steps_per_epoch == 1
    assert Order(4, 2, seed=0).steps(3, 3).shape == (0, 2)


@pytest.mark.parametrize("batch", [0, 5, -1])
def test_a_batch_that_does_not_fit_is_an_error(batch):
    with pytest.raises(UsageError, match="between 1 and the number of training examples"):
        Order(4, batch, seed=0)
