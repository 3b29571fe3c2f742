"""Cheaper ways to a ticket: searches that stop or are short, masks at once, and criteria that need data."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tf_lottery.experiment import plan, round_masks
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.problem import from_config
from tf_lottery.experiment.run import locate
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.experiment.workers.trainer import MasksConverged
from tf_lottery.pruning.masks import density

BASE = {"dataset": "digits", "model": "mlp", "steps": 60, "eval_every": 5, "rounds": 2, "rate": 0.5, "jobs": 1}


def trained(folder, **changes):
    config = Config(**{**BASE, "variants": ("ticket",), **changes})
    store = locate(config, folder)
    experiment.run(config, store, make_problem=lambda: from_config(config))
    assert not verify_run(store).problems
    return config, store


def test_an_early_bird_stops_when_its_masks_have_converged(tmp_path):
    config, store = trained(tmp_path, pruning="early_bird", mask_distance=0.2)
    for number in (1, 2):
        search = Job(0, number, "search")
        row = store.metrics(search)["row"]
        assert row["density"] == 1
        assert 25 < row["steps"] < 60
        assert row["steps"] % 5 == 0
        ticket = store.masks(Job(0, number))
        drawn = round_masks.next_masks(
            config,
            round_number=number,
            replicate=0,
            roles={key: "output" if key.startswith("output") else "dense" for key in ticket},
            weights=store.weights(search),
            masks=store.masks(search),
        )
        assert all(np.array_equal(drawn[key], ticket[key]) for key in ticket)
        assert store.metrics(Job(0, number))["row"]["steps"] == 60
    _, strict = trained(tmp_path, pruning="early_bird", mask_distance=0.0001)
    assert strict.metrics(Job(0, 1, "search"))["row"]["steps"] == 60  # never converged: the whole training


def test_masks_have_converged_when_the_last_five_are_near_the_newest():
    a, b = {"x": np.array([True, True, False, False])}, {"x": np.array([True, False, True, False])}
    masks = iter([a, b, a, a, a, a, a, a, b])
    converged = MasksConverged(lambda: next(masks), 0.1)
    # The window of five before the newest is free of b from the eighth mask on.
    assert [converged() for _ in range(9)] == [False] * 7 + [True, False]


def test_short_searches_find_masks_and_the_last_round_is_a_full_one(tmp_path):
    config, store = trained(tmp_path, search_steps=15, rewind="step:5", replicates=1)
    rows = {(row["round"], row["variant"]): row["steps"] for row in store.rows()}
    assert rows == {(0, "search"): 15, (0, "ticket"): 60, (1, "search"): 10, (2, "ticket"): 55}
    assert density(store.masks(Job(0, 2))) < density(store.masks(Job(0, 1, "search"))) < 1
    assert config.search_steps == 15


def test_one_shot_masks_come_from_the_trained_dense_network(tmp_path):
    _, store = trained(tmp_path, pruning="one_shot")
    dense = store.weights(Job(0, 0))
    for number in (1, 2):
        for key, mask in store.masks(Job(0, number)).items():
            assert np.abs(dense[key][mask]).min() >= np.abs(dense[key][~mask]).max()


@pytest.mark.parametrize(
    "criterion",
    ["snip", *(pytest.param(name, marks=pytest.mark.slow) for name in ("grasp", "synflow")), "random", "magnitude"],
)
def test_masks_made_before_training_score_what_is_then_trained(tmp_path, criterion):
    scope = "global" if criterion == "synflow" else "layerwise"
    changes = {"criterion": criterion, "scope": scope, "score_examples": 200, "rounds": 1}
    _, store = trained(tmp_path, pruning="before_training", learning_rate=0.0, **changes)
    masks, start = store.masks(Job(0, 1)), store.weights(Job(0, 0))  # a learning rate of 0: what was started from
    assert all(np.array_equal(store.weights(Job(0, 1))[key], start[key] * mask) for key, mask in masks.items())
    if criterion == "magnitude":
        for key, mask in masks.items():
            assert np.abs(start[key][mask]).min() >= np.abs(start[key][~mask]).max()
    # The weights do not depend on how the masks are made: these are the same initial weights as without any pruning.
    _, other = trained(tmp_path, pruning="before_training", learning_rate=0.0, criterion="magnitude", rounds=1)
    assert all(np.array_equal(other.weights(Job(0, 0))[key], value) for key, value in start.items())


def test_the_sum_of_changes_is_that_of_the_steps(tmp_path):
    _, store = trained(tmp_path, criterion="iteration_change", steps=1, eval_every=1, rounds=1, optimizer="sgd")
    _, still = trained(tmp_path, criterion="magnitude", learning_rate=0.0, steps=1, eval_every=1, rounds=1)
    changes, after, before = store.changes(Job(0, 0)), store.weights(Job(0, 0)), still.weights(Job(0, 0))
    for key, change in changes.items():
        np.testing.assert_array_equal(change, np.abs(after[key] - before[key]))
    for key, mask in store.masks(Job(0, 1)).items():
        assert changes[key][mask].min() >= changes[key][~mask].max()


@pytest.mark.slow
def test_the_number_of_processes_changes_no_result(tmp_path, sparse):
    names = ("ticket", "shuffled_masks", "small_dense", "dense_longer", "other_order", "noise_1")
    config = Config(**{**BASE, "variants": names, "rewind": "lr:step:10", "replicates": 2, "steps": 20})
    config = config.updated(criterion="snip", score_examples=100, sparse=sparse)
    documents = []
    for jobs in (1, 2):
        store = locate(config, tmp_path / str(jobs))
        given = [sys.executable, "-m", "tf_lottery_cli", "run", "--out", str(tmp_path / str(jobs)), "--quiet"]
        (tmp_path / "config.json").write_text(json.dumps(config.to_json()))
        subprocess.run([*given, "--config", str(tmp_path / "config.json"), "--jobs", str(jobs)], check=True)
        documents.append(
            {
                str(job): [
                    {key: value.tobytes() for key, value in store.weights(job).items()},
                    json.dumps(store.metrics(job)["history"]),
                ]
                for job in plan.jobs(config)
            }
        )
    assert documents[0] == documents[1]
    assert len(documents[0]) == 2 * (2 + 2 * 6)
