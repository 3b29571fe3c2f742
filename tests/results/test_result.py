"""What a `Result` and a `Ticket` show, and what they say where an optional package is missing."""

import shutil
import subprocess
import sys
import textwrap
from html import escape
from pathlib import Path

import pytest
from matplotlib.figure import Figure

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.utils.optional import require

STORED = Path(__file__).parent.parent / "experiment/directory/run_0_1"


@pytest.fixture
def result(tmp_path):
    return tfl.open_run(shutil.copytree(STORED / "custom-730d8f7ed9", tmp_path / "run"))


@pytest.fixture
def ticket():
    return tfl.load_ticket(STORED / "ticket.npz")


def test_a_result_shows_its_size_its_rows_and_its_verdict(result):
    assert repr(result) == f"<Result of 3 trainings, 1 round of pruning, 1 replicate in {result.run_dir}>"
    shown = result._repr_html_()
    assert shown.count("<tr>") == 1 + 3
    assert "<td>random reinit</td>" in shown
    assert escape(result.verdict) in shown
    assert "The sparsest ticket within 0.5 points of the dense network's validation accuracy" in result.verdict


def test_a_result_without_a_dense_round_still_shows_itself(result):
    shutil.rmtree(result.run_dir / "replicate_0/round_00")
    shown = tfl.open_run(result.run_dir)
    assert "needs the dense round 0" in shown._repr_html_()


def test_best_allows_half_a_point_by_default(result):
    rows = {row["round"]: row for row in result.rows if row["variant"] == "ticket"}
    assert result.best().round == 1
    rows[1]["val_accuracy"] = rows[0]["val_accuracy"] - 0.9 * DEFAULT_MAX_DROP
    assert (result.best().round, result.best(max_drop=0.0).round) == (1, 0)


def test_a_result_as_a_data_frame(result):
    import pandas

    frame = result.to_dataframe()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["variant"]) == ["ticket", "ticket", "random_reinit"]


def test_a_result_as_a_figure_and_as_a_report(result, tmp_path):
    figure = result.plot()
    assert isinstance(figure, Figure)
    assert figure.axes[0].get_ylabel() == "Test accuracy (%)"
    assert result.report() == result.run_dir / "report" / "report.html"
    page = result.report(tmp_path / "there", max_drop=0.5)
    assert page == tmp_path / "there" / "report.html"
    assert "within 50.0 points of the dense network" in page.read_text()


def test_a_ticket_shows_what_it_reached(ticket):
    assert repr(ticket) == (
        "<Ticket: round 1 of replicate 0, 158 of 296 weights (53.4 %), validation accuracy "
        f"{100 * ticket.val_accuracy:.1f} %>"
    )
    assert (ticket.val_accuracy, ticket.test_accuracy) == (ticket.row["val_accuracy"], ticket.row["test_accuracy"])
    assert "<td>hidden/kernel</td><td>64x4</td><td>128</td><td>50.0 %</td>" in ticket._repr_html_()
    bare = tfl.Ticket(ticket.masks, ticket.rewind_weights)
    assert repr(bare) == "<Ticket: 158 of 296 weights (53.4 %)>"
    assert (bare.round, bare.replicate, bare.row, bare.val_accuracy) == (None, None, {}, None)


def test_an_optional_package_is_named_where_it_is_missing():
    with pytest.raises(UsageError, match="Figures need the package no_such_package, which is not installed") as caught:
        require("no_such_package.part", "Figures")
    assert 'pip install "tf-lottery[all]"' in caught.value.remedy


def test_results_are_read_without_any_optional_package():
    code = f"""
    import sys
    for name in ("matplotlib", "pandas", "jinja2", "pyarrow"):
        sys.modules[name] = None
    import tf_lottery as tfl
    result = tfl.open_run({str(STORED / "custom-730d8f7ed9")!r})
    print(result.verdict[:10])
    result._repr_html_()
    for use in (result.plot, result.to_dataframe, result.report):
        try:
            use()
        except tfl.LotteryError as error:
            print(error.cause)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == [
        "The sparse",
        "Figures need the package matplotlib, which is not installed.",
        "Data frames need the package pandas, which is not installed.",
        "Figures need the package matplotlib, which is not installed.",
    ]
