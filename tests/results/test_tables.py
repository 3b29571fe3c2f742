"""Rows summarized over replicates, and as text."""

import math

import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.results.tables.summary import render_rows, summarize, summary_table


def row(replicate, index, variant="ticket", **values):
    kept = 100 - 20 * index
    base = {"replicate": replicate, "round": index, "variant": variant, "density": kept / 100}
    return {**base, "sparsity": 1 - kept / 100, "weights_kept": kept, "weights_total": 100, **values}


def test_mean_and_range_over_replicates():
    rows = [row(0, 0, test_accuracy=0.5, early_stop_step=100), row(1, 0, test_accuracy=0.75, early_stop_step=300)]
    (line,) = summarize(rows)
    assert (line["round"], line["variant"], line["replicates"]) == (0, "ticket", 2)
    assert (line["density"], line["weights_kept"], line["weights_total"]) == (1.0, 100, 100)
    assert (line["test_accuracy_mean"], line["test_accuracy_min"], line["test_accuracy_max"]) == (0.625, 0.5, 0.75)
    assert (line["early_stop_step_mean"], line["early_stop_step_min"], line["early_stop_step_max"]) == (200, 100, 300)
    assert line["val_accuracy_mean"] is None


def test_sorted_by_round_with_the_ticket_first():
    rows = [row(0, 1, "random_reinit"), row(0, 2), row(0, 1), row(0, 0)]
    assert [(line["round"], line["variant"]) for line in summarize(rows)] == [
        (0, "ticket"),
        (1, "ticket"),
        (1, "random_reinit"),
        (2, "ticket"),
    ]


def test_searches_are_no_results():
    rows = [row(0, 0, test_accuracy=0.5)]
    search = row(0, 0, "search", test_accuracy=0.1)
    assert summarize([*rows, search]) == summarize(rows)
    assert render_rows([*rows, search]) == render_rows(rows)


def test_the_table_for_files_has_intervals_of_three_replicates():
    rows = [row(replicate, 0, test_accuracy=value) for replicate, value in enumerate((0.5, 0.6, 0.7))]
    (line,) = summary_table([*rows, row(0, 0, "search")])
    assert line["test_accuracy_low"] < 0.5 < line["test_accuracy_mean"] < 0.7 < line["test_accuracy_high"]
    (line,) = summary_table(rows[:2])
    assert (line["test_accuracy_low"], line["test_accuracy_min"]) == (None, 0.5)


def test_nan_and_none_do_not_count():
    rows = [row(0, 0, test_accuracy=math.nan), row(1, 0, test_accuracy=None), row(2, 0, test_accuracy=0.5)]
    assert summarize(rows)[0]["test_accuracy_mean"] == 0.5


def test_the_argument_is_not_changed():
    rows = [row(0, 0, test_accuracy=0.5)]
    before = [dict(entry) for entry in rows]
    summarize(rows), render_rows(rows)
    assert rows == before


def test_no_rows_give_no_lines():
    assert summarize([]) == []
    assert render_rows([]).rows == ()


@pytest.mark.parametrize("column", ["round", "variant", "density"])
def test_a_row_that_does_not_say_what_it_is_is_refused(column):
    broken = row(0, 1) | {column: None}
    with pytest.raises(UnfitError, match=rf"Row 1 lacks {column}\."):
        summarize([row(0, 0), broken])


def test_text_of_a_classification():
    rows = [
        row(0, 0, val_accuracy=0.9, test_accuracy=0.875, val_loss=0.1, early_stop_step=1500),
        row(0, 1, "random_reinit", val_accuracy=0.5, test_accuracy=None, val_loss=0.1, early_stop_step=2000),
    ]
    table = render_rows(rows)
    assert table.headers[:4] == ("Round", "Variant", "Weights left", "Weights kept")
    assert table.headers[4:] == ("Validation accuracy", "Test accuracy", "Early-stop step")
    assert table.rows == (
        ("0", "ticket", "100 %", "100", "90.00 %", "87.50 %", "1,500"),
        ("1", "random reinit", "80.0 %", "80", "50.00 %", "-", "2,000"),
    )
    assert table.right == (True, False, True, True, True, True, True)


def test_text_of_a_regression_has_losses_and_its_own_metrics():
    rows = [row(0, 0, val_accuracy=None, val_loss=0.25, test_loss=0.5, val_mean_absolute_error=0.125)]
    table = render_rows(rows)
    assert table.headers[4:] == ("Validation loss", "Test loss", "Validation mean absolute error")
    assert table.rows[0][4:] == ("0.25", "0.5", "0.125")
