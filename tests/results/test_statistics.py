"""Intervals over few replicates, and differences paired by replicate."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.results.statistics.intervals import interval, pair_by_replicate, paired_difference


def row(replicate, index, value, variant="ticket"):
    return {"replicate": replicate, "round": index, "variant": variant, "test_accuracy": value}


def test_an_interval_of_three_values_by_hand():
    # Of the 27 resamples of three values, one has the mean 0 and one the mean 6, 3.7 % each: so these are the
    # percentiles at 2.5 %. They are widened by sqrt(3 / 2) * 4.302653 / 1.959964.
    result = interval([0.0, 3.0, 6.0])
    wider = 1.5**0.5 * 4.302652730 / 1.959963985
    assert (result.mean, result.count, result.confidence) == (3.0, 3, 0.95)
    assert (result.low, result.high) == pytest.approx((3 - 3 * wider, 3 + 3 * wider), rel=1e-8)


def test_a_skewed_sample_has_a_skewed_interval():
    result = interval([0.0, 0.0, 3.0])
    assert result.high - result.mean == pytest.approx(2 * (result.mean - result.low))


@pytest.mark.parametrize("count", [3, 5])
def test_the_interval_holds_the_true_mean_as_often_as_it_says(count):
    # The plain percentile bootstrap holds it in 75 % (3 values) and 84 % (5): this is what the widening is for.
    draws = np.random.default_rng(7).normal(0.9, 0.01, size=(1500, count))
    held = np.mean([result.low <= 0.9 <= result.high for result in map(interval, draws)])
    assert 0.93 <= held <= 0.97


def test_intervals_widen_with_confidence_and_narrow_with_count():
    def width(result):
        return result.high - result.low

    values = [0.1, 0.2, 0.4]
    assert width(interval(values, 0.8)) < width(interval(values)) < width(interval(values, 0.99))
    assert width(interval(values * 3)) < width(interval(values))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=3, max_size=8), st.randoms())
def test_order_does_not_matter_and_the_mean_is_inside(values, shuffler):
    mixed = list(values)
    shuffler.shuffle(mixed)
    result = interval(values)
    assert result == interval(mixed)
    slack = 1e-9 * max(map(abs, values))
    assert result.low - slack <= result.mean <= result.high + slack


def test_equal_values_have_an_interval_of_no_width():
    # Warnings are errors here: the degenerate sample must not raise one.
    result = interval([0.1, 0.1, 0.1])
    assert (result.low, result.mean, result.high) == (0.1, 0.1, 0.1)


def test_the_seed_decides_the_resamples():
    values = random.Random(0).sample(range(1000), 9)
    assert interval(values, seed=1) == interval(values, seed=1)
    assert interval(values, seed=1) != interval(values, seed=2)


@pytest.mark.parametrize("values", [[], [1.0, 2.0], [1.0, 2.0, None, float("nan")]])
def test_too_few_replicates_are_refused_with_their_number(values):
    with pytest.raises(UsageError, match=rf"at least 3 replicates. Received: {min(len(values), 2)}") as caught:
        interval(values)
    assert "`replicates=3`" in caught.value.remedy


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95])
def test_confidence_is_a_fraction(confidence):
    with pytest.raises(UsageError, match=r"`confidence` must be in \(0, 1\)"):
        interval([1, 2, 3], confidence)


def test_differences_are_paired_by_replicate():
    # The replicates differ by far more than ticket and dense: unpaired, nothing would be seen.
    rows = [row(r, 0, 0.5 + r / 10) for r in range(4)] + [row(r, 5, 0.5 + r / 10 - 0.01) for r in (3, 1, 0, 2)]
    result = paired_difference(rows, ("ticket", 5), ("ticket", 0), "test_accuracy")
    assert result.mean == pytest.approx(-0.01)
    assert result.high - result.low < 1e-9
    assert [replicate for replicate, _ in result.values] == [0, 1, 2, 3]


def test_missing_replicates_are_left_out_and_counted():
    rows = [row(r, 0, 0.5) for r in range(5)] + [row(r, 1, 0.4) for r in range(3)] + [row(4, 1, None)]
    result = paired_difference(rows, ("ticket", 1), ("ticket", 0), "test_accuracy")
    assert (result.count, result.unpaired) == (3, 2)
    with pytest.raises(UsageError, match="Received: 2"):
        paired_difference(rows[:7], ("ticket", 1), ("ticket", 0), "test_accuracy")


def test_whole_row_lists_can_be_compared():
    ours, theirs = [row(r, 3, 0.9) for r in range(3)], [row(r, 8, 0.8, "random_reinit") for r in range(3)]
    assert paired_difference([], ours, theirs, "test_accuracy").mean == pytest.approx(0.1)


def test_several_rounds_count_once_per_replicate():
    ticket = [row(r, k, 0.9) for r in range(3) for k in (4, 5)]
    control = [row(r, k, 0.9 - 0.01 * k - 0.001 * r, "random_reinit") for r in range(3) for k in (4, 5)]
    result = paired_difference([], ticket, control, "test_accuracy", by=("replicate", "round"))
    assert result.count == 3
    assert dict(result.values) == pytest.approx({0: 0.045, 1: 0.046, 2: 0.047})
    with pytest.raises(UnfitError, match="Two rows have replicate 0"):
        pair_by_replicate(ticket, control, "test_accuracy")


def test_an_unknown_variant_is_named_with_the_valid_ones():
    with pytest.raises(UsageError, match="random_reinit") as caught:
        paired_difference([row(0, 0, 1.0)], ("random_reinit", 1), ("ticket", 0), "test_accuracy")
    assert "Valid: ticket" in caught.value.remedy


def test_a_replicate_that_lacks_a_round_is_no_pair():
    """Its mean over the rounds that it has was once taken beside the means of others over all rounds."""
    ticket = [row(r, k, 0.9) for r in range(5) for k in (4, 5)]
    control = [row(r, k, 0.9 - 0.01 * k, "random_reinit") for r in range(5) for k in (4, 5) if (r, k) != (3, 5)]
    values, unpaired = pair_by_replicate(ticket, control, "test_accuracy", by=("replicate", "round"))
    assert values == pytest.approx(dict.fromkeys((0, 1, 2, 4), 0.045))
    assert unpaired == 1
    # A round that no replicate has on both sides is none that one could lack.
    early = [line for line in control if line["round"] == 4]
    values, unpaired = pair_by_replicate(ticket, early, "test_accuracy", by=("replicate", "round"))
    assert values == pytest.approx(dict.fromkeys(range(5), 0.04))
    assert unpaired == 0
