"""Matching densities, the top of Occam's hill, and metrics by round."""

import math

import pytest

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.results.statistics.intervals import Interval
from tf_lottery.results.statistics.matching import matches, matching_density, peak
from tf_lottery.results.statistics.values import Spread


def chain(replicate, *accuracies, test=0.0, variant="ticket"):
    return [
        {"replicate": replicate, "round": index, "variant": variant, "density": 0.5**index, "val_accuracy": value}
        | {"test_accuracy": test, "early_stop_step": 1000 - 100 * index - replicate}
        for index, value in enumerate(accuracies)
    ]


def test_each_replicate_is_judged_against_its_own_dense_network():
    # The mean over both would call round 2 a match of 0.91 against 0.91.
    rows = chain(0, 0.95, 0.95, 0.92) + chain(1, 0.87, 0.87, 0.90)
    matching = matches(rows, tolerance=0.005)
    assert [(match.replicate, match.round, match.density, match.last) for match in matching] == [
        (0, 1, 0.5, False),
        (1, 2, 0.25, True),
    ]


def test_a_sparse_round_that_matches_again_counts():
    assert matches(chain(0, 0.9, 0.8, 0.9, 0.7))[0].round == 2


def test_nothing_matches_but_the_dense_network():
    (match,) = matches(chain(0, 0.9, 0.8))
    assert (match.round, match.density, match.last) == (0, 1.0, False)


def test_the_mean_is_geometric_and_its_interval_above_zero():
    rows = chain(0, 0.9, 0.9, 0.8) + chain(1, 0.9, 0.9, 0.9) + chain(2, 0.9, 0.8, 0.8)
    matching = matching_density(rows, tolerance=0.0)
    # Densities 0.5, 0.25 and 1: the geometric mean is their middle one.
    assert matching.density.mean == pytest.approx(0.5)
    assert isinstance(matching.density, Interval)
    assert 0 < matching.density.low < 0.25 < matching.density.high <= 1.0
    assert (matching.last, matching.unfinished) == (1, 0)


def test_two_replicates_have_a_range():
    matching = matching_density(chain(0, 0.9, 0.9, 0.8) + chain(1, 0.9, 0.9, 0.9))
    assert isinstance(matching.density, Spread)
    assert (matching.density.low, matching.density.high) == pytest.approx((0.25, 0.5))
    assert matching.density.mean == pytest.approx(math.sqrt(0.125))


def test_a_replicate_that_still_runs_is_left_out_and_counted():
    matching = matching_density(chain(0, 0.9, 0.9, 0.9) + chain(1, 0.9, 0.9))
    assert (matching.density.count, matching.unfinished) == (1, 1)


def test_losses_are_judged_where_there_are_no_accuracies():
    rows = [
        {"replicate": 0, "round": index, "variant": "ticket", "density": 0.5**index, "val_loss": loss}
        for index, loss in enumerate((0.5, 0.51, 0.6))
    ]
    assert matches(rows, tolerance=0.05)[0].round == 1
    assert matches(rows, tolerance=0.01)[0].round == 0


def test_test_data_never_matter():
    rows = chain(0, 0.9, 0.9, 0.8)
    for row in rows:
        row["test_accuracy"] = 1.0 if row["round"] == 2 else 0.0
    assert matches(rows)[0].round == 1


def test_bad_input():
    with pytest.raises(UsageError, match="max_drop"):
        matches(chain(0, 0.9), tolerance=-1)
    with pytest.raises(UnfitError, match="all its rounds"):
        matches([])


def test_the_peak_is_the_best_mean_and_of_equals_the_sparsest():
    rows = chain(0, 0.90, 0.95, 0.93, 0.7) + chain(1, 0.90, 0.91, 0.93, 0.7)
    best = peak(rows)
    assert (best.round, best.value, best.dense) == (2, pytest.approx(0.93), pytest.approx(0.90))
