"""A run directory and a ticket that version 0.1.0 wrote are read, reported on and resumed.

`run_0_1/` holds them: one round of half of 296 weights, on the digits, with the model of `tiny_model.py`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run

STORED = Path(__file__).parent / "run_0_1"
NAME = "custom-730d8f7ed9"


@pytest.fixture
def run_dir(tmp_path):
    """A copy of the run, alone in its folder."""
    return Path(shutil.copytree(STORED / NAME, tmp_path / "runs" / NAME))


def test_it_is_read(run_dir):
    run = RunReader(run_dir)
    config = run.config()
    assert (config.normalization, config.rewind, config.rounds) == ("unit", "step:5", 1)
    assert run.complete_jobs() == [Job(0, 0), Job(0, 1), Job(0, 1, "random_reinit")]
    masks = run.masks(Job(0, 1))
    assert {path: (mask.shape, int(mask.sum())) for path, mask in masks.items()} == {
        "hidden/kernel": ((64, 4), 128),
        "output/kernel": ((4, 10), 30),
    }
    assert run.rewind_weights(0).keys() == run.weights(Job(0, 1)).keys()
    assert run.environment()["tf-lottery"] == "0.1.0"
    assert verify_run(run).problems == []
    assert read_state(run_dir).state == "complete"


def test_its_result_and_its_ticket_file_are_equal(run_dir, tmp_path):
    result = tfl.open_run(run_dir)
    ticket, saved = result.ticket(1), tfl.load_ticket(STORED / "ticket.npz")
    for ours, theirs in (
        (ticket.masks, saved.masks),
        (ticket.rewind_weights, saved.rewind_weights),
        (ticket.trained_weights, saved.trained_weights),
    ):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[path], theirs[path]) for path in ours)
    assert (saved.round, saved.replicate, saved.val_accuracy) == (1, 0, result.rows[1]["val_accuracy"])
    assert saved.recipe["config"] == ticket.recipe["config"]
    assert result.report(tmp_path / "report").is_file()


def test_it_is_extended(run_dir):
    run = RunReader(run_dir)
    before = run.rows()
    command = [sys.executable, "-m", "tf_lottery_cli", "run", "--trust", "--config", str(run_dir / "config.json")]
    # A process of its own: the run sets the threads of TensorFlow, which other tests have at work already.
    subprocess.run(
        [*command, "--rounds", "2", "--out", str(run_dir.parent), "--quiet"],
        check=True,
        env=os.environ | {"PYTHONPATH": str(STORED)},
    )
    assert [path.name for path in run_dir.parent.iterdir()] == [NAME], "the run was not taken for the one that it is"
    rows = RunReader(run_dir).rows()
    assert [row for row in rows if row["round"] < 2] == before
    assert [(row["round"], row["variant"]) for row in rows[3:]] == [(2, "ticket"), (2, "random_reinit")]
    first, second = run.masks(Job(0, 1)), run.masks(Job(0, 2))
    assert all(not np.any(second[path] & ~first[path]) for path in first)
    assert verify_run(run).problems == []
