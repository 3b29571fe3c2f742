"""Transfer: a run with another run's tickets, beside the native one; and runs that can't be compared."""

import keras
import numpy as np
import pytest

from tf_lottery.data import Arrays
from tf_lottery.errors import UnfitError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.run import run
from tf_lottery.experiment.transferred_tickets import transferred
from tf_lottery.studies import StudyRun, analyze
from tf_lottery.studies.transfer import _difference
from toys import classifying_problem

BASE = Config(steps=10, eval_every=5, batch_size=10, rounds=2, rate=0.5, xla="off", jobs=1, replicates=1)


def make(seed, hidden=8):
    def make_model(replicate):
        keras.utils.set_random_seed(replicate)
        return keras.Sequential([keras.Input((4,)), keras.layers.Dense(hidden, "relu"), keras.layers.Dense(2)])

    generator = np.random.default_rng(seed)
    data = Arrays(generator.normal(size=(40, 4)).astype("float32"), generator.integers(0, 2, 40))
    return classifying_problem(make_model, train=data, validation=data, test=data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transfer")
    source, target, native, wide = (RunDirectory(folder / name) for name in ("source", "target", "native", "wide"))
    run(BASE, source, make_problem=lambda: make(0))
    config = Config.from_json(transferred(source) | {"variants": ["ticket", "random_reinit"]})
    run(config, target, make_problem=lambda: make(1))
    run(BASE, native, make_problem=lambda: make(1))
    run(BASE, wide, make_problem=lambda: make(1, hidden=9))
    steep = RunDirectory(folder / "steep")
    run(BASE.updated(rate=0.75), steep, make_problem=lambda: make(1))
    return {store.path.name: StudyRun(store.path) for store in (source, target, native, wide, steep)}


def test_transferred_native_and_redrawn_stand_side_by_side(runs):
    outcome = analyze("transfer", runs["target"], runs["native"])
    rows = outcome.tables["transfer"]
    assert [(row["round"], row["kind"]) for row in rows if row["round"] == 2] == [
        (2, "transferred ticket"),
        (2, "native ticket"),
        (2, "transferred masks, new weights"),
    ]
    for name, kind, variant in (
        ("target", "transferred ticket", "ticket"),
        ("native", "native ticket", "ticket"),
        ("target", "transferred masks, new weights", "random_reinit"),
    ):
        (expected,) = [r["test_accuracy"] for r in runs[name].rows() if (r["round"], r["variant"]) == (2, variant)]
        (actual,) = [row["test_accuracy"] for row in rows if (row["round"], row["kind"]) == (2, kind)]
        assert actual == expected
    assert "source" in outcome.sentences[0]
    assert "transfer" in outcome.figures
    assert all("too few replicates for an interval: 1" in sentence for sentence in outcome.sentences[-2:])


def test_a_paired_difference_has_an_interval_from_three_replicates_on():
    ours = [{"replicate": index, "score": score} for index, score in enumerate((0.5, 0.6, 0.7))]
    theirs = [{"replicate": index, "score": score} for index, score in enumerate((0.4, 0.5, 0.6))]
    (sentence,) = _difference(ours, theirs, "score", "native ticket")
    assert sentence == (
        "The transferred ticket is 10.0 points above the native ticket "
        "(95 % interval of the difference 10.00 to 10.00 points)."
    )
    assert list(_difference(ours, [], "score", "native ticket")) == []


def test_without_a_native_run_the_control_is_what_there_is(runs):
    outcome = analyze("transfer", runs["target"])
    assert {row["kind"] for row in outcome.tables["transfer"]} == {
        "transferred ticket",
        "transferred masks, new weights",
    }
    assert "native run" in outcome.sentences[-1]


def test_runs_that_can_not_be_compared_are_refused(runs):
    with pytest.raises(UnfitError, match="found its own tickets"):
        analyze("transfer", runs["native"])
    with pytest.raises(UnfitError, match="different models: dense/kernel has shape"):
        analyze("transfer", runs["target"], runs["wide"])
    with pytest.raises(UnfitError, match="transferred tickets, too"):
        analyze("transfer", runs["target"], runs["target"])
    with pytest.raises(UnfitError, match="must have shape"):
        analyze("overlap", runs["native"], runs["wide"])


def test_rounds_of_other_densities_are_refused(runs):
    """Round 2 of one run was once set against round 2 of the other, of a fourth of its weights."""
    with pytest.raises(UnfitError, match=r"Round 1 keeps 5[0-9.]+ % of the weights .* only equal densities") as caught:
        analyze("transfer", runs["target"], runs["steep"])
    assert "`rounds`" in caught.value.remedy
    dense = [StudyRun(runs[name].path, rounds=[0]) for name in ("target", "steep")]
    assert analyze("transfer", *dense).tables["transfer"]


def test_other_data_of_the_same_name_are_refused_where_both_are_known(runs, monkeypatch):
    """Data sets were once compared by their names alone."""
    prints = {"target": "a" * 64, "native": "b" * 64}
    for name, fingerprint in prints.items():
        monkeypatch.setattr(runs[name].store, "environment", lambda value=fingerprint: {"data_fingerprint": value})
    with pytest.raises(UnfitError, match=r"fingerprint aaaaaaaaaa.* bbbbbbbbbb"):
        analyze("transfer", runs["target"], runs["native"])
    monkeypatch.setattr(runs["native"].store, "environment", lambda: {"data_fingerprint": ""})
    assert analyze("transfer", runs["target"], runs["native"]).tables["transfer"]
