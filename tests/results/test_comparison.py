"""Runs side by side: what may be compared, what is equal, what is paired, and the words for it."""

import csv
import dataclasses
import io
import json

import pytest
from pyarrow import parquet

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.results.compare.compared_runs import (
    ComparedRun,
    check_comparable,
    comparable_groups,
    differing,
    labels,
    timing_differences,
)
from tf_lottery.results.compare.comparison import differences, equal_rounds, summarize_run
from tf_lottery.results.compare.comparison_figures import early_stop_by_density
from tf_lottery.results.compare.comparison_page import write_comparison

MODEL = {"class_name": "Sequential", "config": {"units": 300, "dtype": {"class_name": "DTypePolicy", "config": {}}}}


def make_run(name="a", *, gap=0.0, densities=(1.0, 0.8, 0.4, 0.2), replicates=3, model=MODEL, data="d1", **settings):
    """Tickets of accuracy 0.9, less `gap` per round; replicates differ by two points, and all gaps by a tenth."""
    rounds = len(densities) - 1
    config = Config(steps=100, rounds=rounds, replicates=replicates, variants=("ticket",), **settings)
    rows = [
        {"replicate": replicate, "round": index, "variant": "ticket", "density": density, "steps": 100}
        | {"val_accuracy": 0.9, "test_accuracy": 0.9 + 0.02 * replicate - gap * index * (1 + 0.1 * replicate)}
        | {"early_stop_step": 50 + index}
        for replicate in range(replicates)
        for index, density in enumerate(densities)
    ]
    return ComparedRun(name, f"runs/{name}", config, rows, json.dumps(model), data)


def test_one_run_and_one_run_twice_are_refused():
    with pytest.raises(UsageError, match=r"at least two runs\. Received: 1"):
        check_comparable([make_run()])
    with pytest.raises(UsageError, match="runs/a is given twice"):
        check_comparable([make_run("a"), make_run("b"), make_run("a")])


def test_other_models_are_refused_but_not_another_precision():
    other = {"class_name": "Sequential", "config": {"units": 100}}
    with pytest.raises(UnfitError, match="different models"):
        check_comparable([make_run("a"), make_run("b", model=other)])
    half = {"class_name": "Sequential", "config": {"units": 300, "dtype": {"class_name": "DTypePolicy", "config": 16}}}
    check_comparable([make_run("a"), make_run("b", model=half)])


def test_other_data_are_refused_or_allowed_and_never_paired():
    first, other = make_run("a"), make_run("b", data="d2", gap=0.01)
    with pytest.raises(UnfitError, match="data of the runs differ") as caught:
        check_comparable([first, other])
    assert "`allow_data=True`" in caught.value.remedy
    check_comparable([first, other], allow_data=True)
    compared = differences(first, other, "test_accuracy", against="a")
    assert {comparison.outcome for comparison in compared} == {"not judged"}
    assert "the data differ" in compared[0].text()


def test_groups_are_of_one_model_and_the_same_known_data():
    other = {"class_name": "Sequential", "config": {"units": 100}}
    half = {"class_name": "Sequential", "config": {"units": 300, "dtype": {"class_name": "DTypePolicy", "config": 16}}}
    runs = [make_run("a"), make_run("b", model=other), make_run("c", data="d2"), make_run("d", model=half)]
    runs += [make_run("e", data=""), make_run("f", data=""), make_run("g", model=other)]
    assert [[run.name for run in group] for group in comparable_groups(runs)] == [
        *(["a", "d"], ["b", "g"], ["c"], ["e"], ["f"])
    ]


def test_a_run_without_its_dense_round_is_refused():
    run = make_run("b")
    empty = ComparedRun("b", "runs/b", run.config, [row for row in run.rows if row["round"]], run.model, run.data)
    with pytest.raises(UnfitError, match="no dense round 0"):
        check_comparable([make_run("a"), empty])


def test_what_differs_and_what_the_runs_are_called():
    runs = [make_run("a"), make_run("b", rewind="step:10"), make_run("c", rewind="step:10", jobs=2, search_steps=20)]
    assert differing(runs) == {"search_steps": [None, None, 20], "rewind": ["init", "step:10", "step:10"]}
    assert labels(runs) == ["rewind init", "rewind step:10", "search_steps 20, rewind step:10"]
    seeds = [make_run("a"), make_run("b", seed=1)]
    assert labels(seeds) == ["seed 0", "seed 1"]
    assert labels([make_run("a"), make_run("b")]) == ["a", "b"]


def test_densities_within_a_hundredth_are_equal_once():
    first = make_run("a", densities=(1.0, 0.5, 0.25))
    other = make_run("b", densities=(1.0, 0.7, 0.504, 0.2526, 0.251))
    # 0.504 is 0.8 % from 0.5; 0.2526 is 1.03 % from 0.25, 0.251 is 0.4 %.
    assert [(a, b) for a, b, _ in equal_rounds(first, other)] == [(1, 2), (2, 4)]


def test_differences_are_paired_over_equal_densities():
    first, other = make_run("a", densities=(1.0, 0.4, 0.2)), make_run("b", gap=0.01)
    compared = {comparison.where: comparison for comparison in differences(first, other, "test_accuracy", against="a")}
    assert list(compared) == ["40.0 %", "20.0 %", "below 50 %"]
    # Rounds 2 and 3 of `b` stand against rounds 1 and 2 of `a`: -0.02 and -0.03, times 1, 1.1 and 1.2.
    assert compared["40.0 %"].difference.mean == pytest.approx(-0.022)
    assert compared["20.0 %"].difference.mean == pytest.approx(-0.033)
    assert compared["below 50 %"].difference.mean == pytest.approx(-0.0275)
    assert {comparison.outcome for comparison in compared.values()} == {"loses"}
    assert compared["below 50 %"].pairs == 3


def test_other_seeds_are_not_paired():
    (comparison, *_) = differences(make_run("a"), make_run("b", seed=1), "test_accuracy", against="a")
    assert (comparison.outcome, comparison.difference) == ("not judged", None)
    assert "the seeds differ" in comparison.text()


def test_what_a_run_came_to():
    summary = summarize_run(make_run("a", gap=0.01, pruning="one_shot"), "one shot", "test_accuracy")
    assert (summary.round, summary.density, summary.steps, summary.dense_steps) == (3, pytest.approx(0.2), 200, 100)
    # 0.9, 0.92 and 0.94 less 0.03, 0.033 and 0.036.
    assert summary.score == pytest.approx(0.92 - 0.033)
    assert summary.matching_text() == "at most 20.0 %"


def test_the_page_says_what_was_found_and_the_tables_hold_it(tmp_path):
    runs = [make_run("a"), make_run("b", gap=0.01, pruning="one_shot")]
    compared = write_comparison(runs, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*compared.files, "manifest.json"}
    # The interval: 0.025, 0.0275 and 0.03, whose ends are 2.6886 times as far from the mean as the outer two.
    assert compared.sentences == (
        "pruning one_shot against pruning iterative, test accuracy, at 3 equal densities: beats 0, ties 0, loses 3; on "
        "average below 50 % of the weights it loses, -2.75 points (95 % interval -3.42 to -2.08, 3 replicates).",
        "Matching densities (within 0.5 points of dense by validation): pruning iterative: at most 20.0 %; pruning "
        "one_shot: at most 20.0 %.",
        "Training steps to get the selected ticket: pruning one_shot: 200 (2.0 times the dense network's); pruning "
        "iterative: 400 (4.0 times the dense network's).",
    )
    text = compared.files["comparison.html"].read_text(encoding="utf-8")
    for sentence in compared.sentences:
        assert sentence.replace("'", "&#39;") in text
    assert "<script" not in text
    assert "default-src 'none'" in text
    rows = list(csv.DictReader(io.StringIO(compared.files["differences.csv"].read_text())))
    assert [row["where"] for row in rows] == ["80.0 %", "40.0 %", "20.0 %", "below 50 %"]
    assert parquet.read_table(compared.files["differences.parquet"]).column("outcome").to_pylist() == ["loses"] * 4
    costs = parquet.read_table(compared.files["costs.parquet"]).to_pylist()
    assert [line["steps"] for line in costs] == [100, 200, 300, 400, 100, 200, 200, 200]
    assert len(parquet.read_table(compared.files["jobs.parquet"])) == 24


def timed(run, *, dense, ticket, **machine):
    """The run with times of its trainings, on a machine."""
    rows = [row | {"seconds": ticket if row["round"] else dense} for row in run.rows]
    return dataclasses.replace(run, rows=rows, machine={"processor": "one", "cores": 2, **machine})


def test_the_page_tells_what_tickets_cost_in_time(tmp_path):
    runs = [
        timed(make_run("a"), dense=10.0, ticket=40.0),
        timed(make_run("b", pruning="one_shot"), dense=10.0, ticket=5.0),
    ]
    compared = write_comparison(runs, tmp_path)
    assert compared.sentences[-1] == (
        "Training time to get the selected ticket: pruning one_shot: 15 s (1.5 times the dense network's); pruning "
        "iterative: 2 min 10 s (13.0 times the dense network's)."
    )
    assert [(row["seconds"], row["dense_seconds"]) for row in compared.to_json()["runs"]] == [
        (130.0, 10.0),
        (15.0, 10.0),
    ]
    assert {"cost.svg", "cost_seconds.svg"} <= set(compared.files)
    costs = parquet.read_table(compared.files["costs.parquet"]).to_pylist()
    assert [line["seconds"] for line in costs] == [10.0, 50.0, 90.0, 130.0, 10.0, 15.0, 15.0, 15.0]
    text = compared.files["comparison.html"].read_text(encoding="utf-8")
    assert "<th" in text
    assert "Training time" in text
    assert "2 min 10 s" in text


def test_times_of_other_machines_or_jobs_are_no_comparison(tmp_path):
    first = timed(make_run("a", jobs=1), dense=10.0, ticket=40.0)
    other = timed(make_run("b", pruning="one_shot", jobs=2), dense=10.0, ticket=5.0, processor="two")
    assert timing_differences([first, first]) == []
    assert timing_differences([first, other]) == ["processor", "jobs"]
    (*_, last) = write_comparison([first, other], tmp_path).sentences
    assert last.endswith("They are no comparison: the runs differ in processor, jobs.")


def test_equal_input_gives_equal_bytes(tmp_path):
    runs = [make_run("a"), make_run("b", gap=0.01)]
    first, second = write_comparison(runs, tmp_path / "1"), write_comparison(runs, tmp_path / "2")
    for name, path in first.files.items():
        assert second.files[name].read_bytes() == path.read_bytes(), name


def test_two_replicates_are_compared_without_intervals(tmp_path):
    compared = write_comparison([make_run("a", replicates=2), make_run("b", replicates=2, gap=0.01)], tmp_path)
    assert "not judged at 3 equal densities, an interval needs 3 replicates and 2 came." in compared.sentences[0]


def test_nothing_is_written_where_runs_do_not_fit(tmp_path):
    with pytest.raises(UnfitError):
        write_comparison([make_run("a"), make_run("b", data="d2")], tmp_path / "page")
    assert not (tmp_path / "page").exists()
    runs = [make_run("a"), make_run("b")]
    for row in runs[1].rows:
        for column in ("val_accuracy", "test_accuracy"):
            row.pop(column)
    with pytest.raises(UnfitError, match="no score in common"):
        write_comparison(runs, tmp_path / "page")


def test_data_that_are_not_known_are_no_equal_data():
    """Two runs on streams, whose fingerprints are both empty, once counted as runs on the same data."""
    first, other = make_run("a", data=""), make_run("b", data="", gap=0.01)
    for runs in ([first, other], [first, make_run("c")], [make_run("c"), other]):
        with pytest.raises(UnfitError, match="is not known: there is no fingerprint of what") as caught:
            check_comparable(runs)
        assert "`allow_data=True`" in caught.value.remedy
        check_comparable(runs, allow_data=True)
        compared = differences(*runs, "test_accuracy", against="a")
        assert {comparison.outcome for comparison in compared} == {"not judged"}
        assert "whether the data are the same is not known" in compared[0].text()


def test_replicates_without_a_match_are_counted_in_the_sentence(tmp_path):
    """`At most 46.4 %` once stood beside `No ticket within the tolerance` without a word on how both can be."""
    runs = [make_run("a"), make_run("b", pruning="one_shot")]
    for row in runs[1].rows:
        if row["replicate"] and row["round"]:
            row["val_accuracy"] -= 0.2
    sentences = write_comparison(runs, tmp_path).sentences
    # One replicate reaches 20 %, two stay at 100 %: the geometric mean is 0.2 ** (1 / 3).
    assert "pruning one_shot: at most 58.5 %, with a pruned round in 1 of 3 replicates." in sentences[1]
    assert "pruning iterative: at most 20.0 %; " in sentences[1]
    assert sentences[-1] == "No round is within the tolerance by its mean over replicates: pruning one_shot."


def test_the_speed_of_tickets_with_a_trained_start_is_not_drawn(tmp_path):
    """Fine-tuned tickets once stood in the figure of how fast tickets learn."""
    runs = [make_run("a"), make_run("b", rewind="finetune")]
    page = write_comparison(runs, tmp_path).files["comparison.html"].read_text(encoding="utf-8")
    assert "Left out, as they start from trained weights: the tickets of rewind finetune." in page
    drawn = early_stop_by_density({"a": runs[0].rows, "b": runs[1].rows}, without=["b"]).axes[0]
    assert [text.get_text() for text in drawn.get_legend().get_texts()] == ["a"]
