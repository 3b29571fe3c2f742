"""Numbers out of rows, and their text."""

import math

import pytest

from tf_lottery.results.statistics.values import Spread, first_recorded, number, spread, variants
from tf_lottery.results.tables import formats


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 1.0),
        ("0.25", 0.25),
        (None, None),
        (math.nan, None),
        (math.inf, None),
        ("", None),
        ("n/a", None),
        (True, None),
    ],
)
def test_only_finite_numbers_are_numbers(value, expected):
    assert number(value) == expected


def test_spread_leaves_out_what_is_missing():
    assert spread([0.5, None, 1.0, math.nan]) == Spread(mean=0.75, low=0.5, high=1.0, count=2)
    assert spread([None, math.nan]) is None


def test_spread_does_not_depend_on_the_order_of_replicates():
    values = [0.1, 0.2, 0.3, 0.7, 0.9]
    assert spread(values) == spread(values[::-1])


def test_first_recorded_passes_over_empty_columns():
    rows = [{"test_accuracy": None, "val_accuracy": 0.5}, {"test_accuracy": math.nan}]
    assert first_recorded(rows, ["test_accuracy", "val_accuracy"]) == "val_accuracy"
    assert first_recorded(rows, ["test_loss"]) is None


def test_the_ticket_comes_before_its_controls():
    assert variants([{"variant": "random_reinit"}, {"variant": "ticket"}, {"variant": "a"}]) == [
        "ticket",
        "a",
        "random_reinit",
    ]


def test_density_has_the_digits_of_the_literature():
    densities = (1.0, 0.9999, 0.4107, 0.169, 0.0702, 0.0361, 0.0051, 0.00049)
    assert [formats.density_percent(d) for d in densities] == [
        "100",
        "100",
        "41.1",
        "16.9",
        "7.0",
        "3.6",
        "0.51",
        "0.049",
    ]


def test_points_are_percentage_points_without_their_sign():
    assert [formats.points(d) for d in (0.005, 0.01, -0.0125, 0.2)] == [
        "0.5 points",
        "1 point",
        "1.2 points",
        "20.0 points",
    ]


def test_a_spread_names_its_range_only_with_several_replicates():
    assert formats.spread_text(Spread(0.98, 0.98, 0.98, 1), kind="percent") == "98.00 %"
    assert formats.spread_text(Spread(0.98, 0.97, 0.99, 2), kind="percent") == "98.00 % (97.00-99.00)"
    assert formats.spread_text(Spread(2500, 2000, 3000, 2), kind="count") == "2,500 (2,000-3,000)"
    assert formats.spread_text(Spread(0.123456, 0.1, 0.2, 2), kind="loss") == "0.1235 (0.1-0.2)"
    assert formats.spread_text(None, kind="loss") == "-"


def test_a_finished_training_in_words():
    row = {"density": 0.5, "val_accuracy": 0.9, "test_accuracy": None, "seconds": 1.0}
    assert formats.row_words(row) == "50.0 % of the weights, validation accuracy 90.0 %, 1.0 s"
    row = {"density": 0.125, "val_accuracy": None, "val_loss": 0.5, "test_accuracy": 0.75, "seconds": 61.0}
    assert formats.row_words(row) == "12.5 % of the weights, test accuracy 75.0 %, validation loss 0.5, 1 min 1 s"
