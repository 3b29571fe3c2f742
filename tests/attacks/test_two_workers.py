"""Two workers, killed at any change that they make to the disk: the run comes to the same bytes.

A worker alone is replaced by its run; after the whole group was killed, the same command resumes. Every change that a
training makes is tried, by one of the two replicates, which make the same: in each run, each training is killed at one.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from forked_workers import use_forked_workers
from killing_disk import VARIABLE, counted_changes, killed_at, plan_kills
from run_content import assert_same, content

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.run import run

pytestmark = pytest.mark.slow
TESTS = Path(__file__).parents[1]
CONFIG = {
    "dataset": "digits",
    "model": "killing_disk:small",
    "steps": 4,
    "eval_every": 2,
    "batch_size": 32,
    "rounds": 1,
    "replicates": 2,
    "rewind": "step:1",
    "xla": "off",
    "jobs": 2,
}
JOB = re.compile(r"\S+ replicate_0/(?:[.]?rewind|(round_\d+(?:/variants/\w+)?))")


def job_of(change):
    """The training of replicate 0 that makes a change; "" for changes of replicate 1 and of the run."""
    match = JOB.match(change)
    return (match[1] or "round_00") if match else ""


@pytest.fixture(scope="module")
def go(tmp_path_factory):
    """Does a run in this process, whose workers are killed at some changes; returns where they were."""
    current = tmp_path_factory.mktemp("kills") / "current"  # the workers' environment is always the same

    def go(run_dir, points):
        current.unlink(missing_ok=True)
        current.symlink_to(run_dir.with_name("kills"))
        plan_kills(run_dir.with_name("kills"), run_dir, points)
        run(Config.from_json(CONFIG), RunDirectory(run_dir), checkpoint_every=0.0)
        return killed_at(current)

    with pytest.MonkeyPatch.context() as patch:
        use_forked_workers(patch, {VARIABLE: str(current)})
        yield go


@pytest.fixture(scope="module")
def whole(tmp_path_factory, go):
    """The content of an undisturbed run, and the changes of each training, in an order of their own."""
    folder = tmp_path_factory.mktemp("whole")
    assert go(folder / "run", []) == []
    changes = {}
    for name, number in counted_changes(folder / "kills"):
        changes.setdefault(job_of(name), []).append((name, number))
    assert sorted(changes) == ["", "round_00", "round_01", "round_01/variants/random_reinit"]
    return content(folder / "run"), changes


def is_certain(point):
    """Whether a change happens in every run: who makes a folder that two trainings share, and how often, varies."""
    return not point[0].startswith("os.mkdir")


def halves(points):
    """The first half of the points of a training, and the second one as points of the other replicate."""
    middle = (len(points) + 1) // 2
    return points[:middle], [(name.replace("replicate_0", "replicate_1"), number) for name, number in points[middle:]]


def test_a_worker_killed_at_every_change_is_replaced(tmp_path, whole, go):
    expected, changes = whole
    jobs = [half for job, points in changes.items() if job for half in halves(points)]
    runs, kills = max(map(len, jobs)), 0
    for number in range(runs):
        points = [points[number] for points in jobs if number < len(points)]
        folder = tmp_path / str(number)
        folder.mkdir()
        killed = go(folder / "run", points)
        assert set(filter(is_certain, points)) <= set(killed) <= set(points)
        assert_same(content(folder / "run"), expected)
        kills += len(killed)
    assert kills > 60
    print(f"killed at {kills} of {sum(map(len, jobs))} changes, in {runs} runs: equal")


def plain_environment():
    """The environment of processes that find the modules of the tests, and kill nothing."""
    return {**{key: value for key, value in os.environ.items() if "_TEST_" not in key}, "PYTHONPATH": str(TESTS)}


def start(run_dir, environment):
    """Start the run in a process group of its own, and return its exit code."""
    command = [sys.executable, str(TESTS / "experiment" / "run_child.py"), str(run_dir), json.dumps(CONFIG), "0"]
    environment = {**plain_environment(), **environment}
    options = {"stdout": subprocess.DEVNULL, "start_new_session": True, "timeout": 900, "check": False}
    return subprocess.run(command, env=environment, **options).returncode


def test_killed_three_times_a_training_is_left_out(tmp_path):
    """By the command line; the same command does the rest later, to the same bytes."""
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    words = ["run", "--config", str(tmp_path / "config.json"), "--model", CONFIG["model"], "--checkpoint-every", "0"]

    def command(out, **more):
        words_of_run = [*words, "--out", str(tmp_path / out)]
        line = [sys.executable, "-m", "tf_lottery_cli", *words_of_run]
        variables = {**plain_environment(), **more}
        done = subprocess.run(line, env=variables, cwd=tmp_path, capture_output=True, text=True, check=False)
        return done, shlex.join(["tf-lottery", *words_of_run])

    assert command("whole")[0].returncode == 0
    (whole,) = (tmp_path / "whole").iterdir()
    run_dir = tmp_path / "killed" / whole.name
    save = "os.rename replicate_0/round_01/.partial.npz.tmp"  # each time that it would save its state once more
    kills = plan_kills(tmp_path / "kills", run_dir, [(save, number) for number in (1, 2, 3)])
    done, line = command("killed", **kills)
    assert done.returncode == 6, done.stderr
    error, remedy = done.stderr.splitlines()[-2:]
    assert error.startswith(
        "error: 1 of 6 trainings is missing: replicate 0, round 1, ticket (its process died 3 times:"
    )
    assert remedy.endswith(f"Run the same command again to resume: {line}")
    warnings = [text for text in done.stderr.splitlines() if text.startswith("warning: The process that trained")]
    assert len(warnings) == 3
    assert len(RunDirectory(run_dir).complete_jobs()) == 5
    done, _ = command("killed")
    assert done.returncode == 0, done.stderr
    assert_same(content(run_dir), content(whole))


def test_all_killed_at_some_changes_resume(tmp_path, whole):
    every = [
        point for points in whole[1].values() for point in points if is_certain(point) and "replicate_" in point[0]
    ]
    start(tmp_path / "whole", {})  # its configuration names a user's model
    expected = content(tmp_path / "whole")
    for number in sorted(np.random.default_rng(0).choice(len(every), 6, replace=False)):
        folder = tmp_path / str(number)
        kill = plan_kills(folder / "kills", folder / "run", [every[number]], whole_group=True)
        code = start(folder / "run", kill)
        assert (code, killed_at(folder / "kills")) == (-signal.SIGKILL, [every[number]])
        assert start(folder / "run", {}) == 0
        assert_same(content(folder / "run"), expected)
