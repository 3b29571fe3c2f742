"""The sparsest round that is as good as dense, by validation data only."""

import math

import pytest

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.directory import Job
from tf_lottery.results.statistics.selection import judge_rounds, select_replicate, select_round, select_ticket


def row(index, value, *, replicate=0, variant="ticket", column="val_accuracy", **extra):
    density = 0.8**index
    base = {"replicate": replicate, "round": index, "variant": variant, "density": density, column: value}
    return {**base, "weights_kept": round(1000 * density), **extra}


def test_the_sparsest_within_the_drop_even_after_a_worse_one():
    rows = [row(0, 0.90), row(1, 0.91), row(2, 0.88), row(3, 0.895), row(4, 0.80)]
    assert select_round(rows, max_drop=0.0) == 1
    assert select_round(rows) == select_round(rows, max_drop=0.005) == 3
    assert select_round(rows, max_drop=0.2) == 4


def test_a_drop_of_exactly_the_bound_is_within_it():
    # 0.98 - 0.975 is 0.0050000000000000044 in floating point.
    assert select_round([row(0, 0.98), row(1, 0.975)], max_drop=0.005) == 1
    assert select_round([row(0, 0.98), row(1, 0.9749)], max_drop=0.005) == 0


def test_the_mean_over_replicates_decides():
    rows = [row(0, 0.9), row(0, 0.8, replicate=1), row(1, 1.0), row(1, 0.7, replicate=1), row(2, 0.9)]
    rows.append(row(2, 0.79, replicate=1))
    assert select_round(rows, max_drop=0.0) == 1


def test_test_data_are_never_looked_at():
    better_on_test = [row(0, 0.9, test_accuracy=0.5), row(1, 0.8, test_accuracy=0.9)]
    assert select_round(better_on_test) == 0
    worse_on_test = [row(0, 0.8, test_accuracy=0.9), row(1, 0.9, test_accuracy=0.1)]
    assert select_round(worse_on_test) == 1
    with pytest.raises(UnfitError, match="validation"):
        select_round([row(0, 0.9, column="test_accuracy"), row(1, 0.9, column="test_accuracy")])


def test_controls_do_not_count():
    assert select_round([row(0, 0.9), row(1, 0.8), row(2, 0.99, variant="random_reinit")]) == 0


def test_an_unfinished_replicate_is_compared_with_its_own_dense():
    # Replicate 1 is better throughout and has only its round 0: it must not make round 1 of replicate 0 look worse.
    rows = [row(0, 0.80), row(1, 0.80), row(0, 0.90, replicate=1)]
    assert select_round(rows) == 1
    assert judge_rounds(rows)[1].replicates == 1


def test_a_missing_value_does_not_help_a_round():
    rows = [row(0, 0.8), row(0, 0.8, replicate=1), row(1, 0.9), row(1, math.nan, replicate=1)]
    assert select_round(rows) == 0


def test_regression_goes_by_the_relative_increase_of_the_loss():
    rows = [row(index, loss, column="val_loss", val_accuracy=None) for index, loss in enumerate([2.0, 1.9, 2.1, 2.3])]
    assert select_round(rows) == 1
    assert select_round(rows, max_drop=0.05) == 2
    assert select_round(rows, max_drop=0.2) == 3


def test_a_negative_loss_that_rises_is_worse():
    rows = [row(index, loss, column="val_loss") for index, loss in enumerate([-2.0, -1.9, -1.0])]
    assert select_round(rows) == 0
    assert select_round(rows, max_drop=0.05) == 1


def test_a_dense_loss_of_zero_has_no_relative_increase():
    rows = [row(index, loss, column="val_loss") for index, loss in enumerate([0.0, 0.0, 0.001])]
    assert select_round(rows, max_drop=10.0) == 1


def test_rows_read_from_a_text_file_select_the_same():
    rows = [row(0, 0.90), row(1, 0.91), row(2, 0.88)]
    assert select_round([{key: str(value) for key, value in entry.items()} for entry in rows]) == 1


@pytest.mark.parametrize("max_drop", [-0.1, math.nan, math.inf])
def test_the_drop_must_be_a_fraction(max_drop):
    with pytest.raises(UsageError, match="max_drop"):
        select_round([row(0, 0.9)], max_drop=max_drop)


@pytest.mark.parametrize("rows", [[], [row(1, 0.9)]])
def test_without_the_dense_round_nothing_can_be_compared(rows):
    with pytest.raises(UnfitError, match="round 0"):
        select_round(rows)


def test_the_replicate_is_the_best_by_validation_accuracy():
    rows = [row(0, 0.9), row(0, 0.9, replicate=1), row(1, 0.91), row(1, 0.93, replicate=1), row(1, None, replicate=2)]
    rows.append(row(1, 0.99, replicate=0, variant="random_reinit"))
    assert select_replicate(rows, 1) == 1
    assert select_replicate(rows, 0) == 0, "the first of equals"
    assert select_replicate([row(1, 0.3, column="val_loss"), row(1, 0.2, column="val_loss", replicate=4)], 1) == 4
    assert select_replicate(rows, 7) == 0


def test_a_ticket_is_chosen_by_round_and_then_by_replicate():
    rows = [row(index, 0.9 - 0.002 * index + 0.01 * r, replicate=r) for index in range(4) for r in (0, 1)]
    assert select_ticket(rows) == Job(1, 2)
    assert select_ticket(rows, max_drop=0.0) == Job(1, 0)
    assert select_ticket(rows, round=3) == Job(1, 3)
    assert select_ticket(rows, replicate=0) == Job(0, 2)
