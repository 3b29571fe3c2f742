"""Verdicts: which intervals pass, fail, or leave a bound open, and how the parts of a claim add up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_lottery.errors import UsageError
from tf_lottery.results.statistics.intervals import Interval
from tf_lottery.studies.claims.measures import (
    ClaimFinding,
    IntervalEstimate,
    at_least,
    at_most,
    combine_verdicts,
    conclude,
    format_value,
    more_than,
    reported,
)


def estimate(low, high, *, text="gain", unit="points"):
    return IntervalEstimate(text, Interval((low + high) / 2, low, high, 5, 0.95), unit)


@pytest.mark.parametrize(
    ("low", "high", "bound", "passed"),
    [
        (-0.005, 0.010, -0.005, True),
        (-0.006, 0.010, -0.005, None),
        (-0.020, -0.005, -0.005, None),
        (-0.020, -0.006, -0.005, False),
    ],
)
def test_at_least(low, high, bound, passed):
    assert at_least(estimate(low, high), bound).passed is passed
    assert at_most(estimate(-high, -low), -bound).passed is passed


@pytest.mark.parametrize(
    ("low", "high", "passed"),
    [(0.001, 0.01, True), (0.0, 0.01, None), (-0.01, 0.01, None), (-0.01, 0.0, False), (0.0, 0.0, False)],
)
def test_more_than_zero_is_not_reached_by_zero(low, high, passed):
    assert more_than(estimate(low, high)).passed is passed


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_a_higher_bound_is_never_easier(low, width, bound):
    order = {False: 0, None: 1, True: 2}
    over = estimate(low, low + width)
    assert order[at_least(over, bound + 0.1).passed] <= order[at_least(over, bound).passed]
    assert order[at_most(over, bound - 0.1).passed] <= order[at_most(over, bound).passed]
    assert order[more_than(over, bound).passed] <= order[at_least(over, bound).passed]


@given(st.lists(st.sampled_from([True, False, None]), min_size=1), st.randoms())
def test_the_order_of_verdicts_does_not_matter(verdicts, random):
    shuffled = random.sample(verdicts, len(verdicts))
    assert combine_verdicts(verdicts) is combine_verdicts(shuffled)
    assert (combine_verdicts(verdicts) is True) == (set(verdicts) == {True})
    assert (combine_verdicts(verdicts) is False) == (False in verdicts)


def test_values_are_written_in_their_unit():
    assert format_value(0.0147, "points") == "+1.47 points"
    measure = more_than(estimate(0.01, 0.02))
    assert measure.value_in_words() == "+1.50 points (+1.00 to +2.00)"
    assert measure.wanted == "above zero"
    assert at_least(estimate(1000.0, 2000.0, unit="steps"), 500).wanted == "at least +500 steps"
    assert at_least(estimate(0.97, 0.99, unit="percent"), 0.98).value_in_words() == "98.00 % (97.00 to 99.00)"


def test_a_claim_passes_if_all_its_parts_do():
    good, open_, bad = estimate(0.01, 0.02), estimate(-0.01, 0.02, text="other"), estimate(-0.02, -0.01, text="bad")
    assert conclude([more_than(good), reported(bad)]) == ClaimFinding((more_than(good), reported(bad)), True)
    actual = conclude([more_than(good), more_than(open_)])
    assert actual.passed is None
    assert actual.reason == (
        "Other is +0.50 points (-1.00 to +2.00), wanted above zero, which the interval leaves open."
    )
    actual = conclude([more_than(open_), more_than(bad), more_than(good)])
    assert actual.passed is False
    assert actual.reason.startswith("Bad is -1.50 points (-2.00 to -1.00), wanted above zero;")
    assert actual.deciding_measure().text == "bad"


def test_the_deciding_measure_is_the_last_of_the_worst():
    first, second = more_than(estimate(0.01, 0.02, text="first")), more_than(estimate(0.01, 0.02, text="second"))
    assert conclude([first, second, reported(estimate(0, 1))]).deciding_measure() == second
    assert conclude([first, more_than(estimate(-1, 1, text="open")), second]).deciding_measure().text == "open"
    assert ClaimFinding().deciding_measure() is None


def test_outside_of_the_regime_nothing_is_passed_or_failed():
    regime = at_least(estimate(0.60, 0.70, text="dense", unit="percent"), 0.85)
    for each in (estimate(0.01, 0.02), estimate(-0.02, -0.01)):
        actual = conclude([more_than(each)], regime=regime)
        assert actual.passed is None
        assert actual.measures == (regime, more_than(each))
        assert "dense is 65.00 % (60.00 to 70.00), wanted at least 85.00 %" in actual.reason
    reached = at_least(estimate(0.86, 0.87, text="dense", unit="percent"), 0.85)
    assert conclude([more_than(estimate(0.01, 0.02))], regime=reached).passed is True


def test_a_claim_that_could_not_fail_is_refused():
    with pytest.raises(UsageError, match="measure that is judged"):
        conclude([reported(estimate(0, 1))])
