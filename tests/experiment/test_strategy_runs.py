"""Runs under strategies by the command line: two parts of the processor, and two processes on the loopback."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tf_lottery.experiment.directory import Job, RunReader

pytestmark = pytest.mark.slow
RUN = ["run", "digits-mlp", "--replicates", "1", "--variants", "ticket", "--steps", "100", "--eval-every", "50"]
SIDES = ["--xla", "off", "--sparse", "off"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}  # for `strategy_models`
COMMAND = [sys.executable, "-m", "tf_lottery_cli"]
# As the command line, in a process that has another release of Keras.
OTHER_VERSION = """
import sys
from tf_lottery.utils import machine
described = machine.describe
machine.describe = lambda packages: {**described(packages), "keras": "3.0.0"}
from tf_lottery_cli.__main__ import main
sys.exit(main())
"""


def free_addresses(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    return addresses


class Processes:
    """Two processes of one cluster, each with its arguments and output."""

    def __init__(self, folder: Path, *arguments, commands=(COMMAND, COMMAND), others=()):
        addresses = free_addresses(2)
        self.outputs, self.processes = [], []
        for index, command in enumerate(commands):
            task = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            self.outputs.append(folder / f"output-{index}.txt")
            with self.outputs[-1].open("w") as output:
                self.processes.append(
                    subprocess.Popen(
                        [*command, *RUN, "--strategy", "multi-worker", *arguments, *(others if index else ())],
                        env={**ENVIRONMENT, "TF_CONFIG": json.dumps(task)},
                        stdout=output,
                        stderr=subprocess.STDOUT,
                    )
                )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for process in self.processes:
            process.kill()
            process.wait()

    def wait(self):
        return [process.wait(300) for process in self.processes]

    def output(self, index):
        return self.outputs[index].read_text()


def train(*arguments):
    done = subprocess.run([*COMMAND, *RUN, *arguments], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


def the_run(out):
    (path,) = (path for path in Path(out).iterdir() if (path / "config.json").exists())
    return RunReader(path)


def results(out):
    with (the_run(out).path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if "second" not in key} for row in rows]


def check_close(out, other):
    for number in range(4):
        first, second = the_run(out), the_run(other)
        masks, others = first.masks(Job(0, number)), second.masks(Job(0, number))
        assert all(np.array_equal(masks[path], others[path]) for path in masks)
        weights, others = first.weights(Job(0, number)), second.weights(Job(0, number))
        for path, weight in weights.items():
            assert np.abs(weight - others[path]).max() <= 1e-5 * np.abs(weight).max(), (number, path)


def check_equal(out, other):
    assert results(out) == results(other)
    for number in range(2):
        for name in ("masks.npz", "weights.npz"):
            files = [the_run(one).path / f"replicate_0/round_{number:02d}/{name}" for one in (out, other)]
            assert files[0].read_bytes() == files[1].read_bytes()


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    out = tmp_path_factory.mktemp("single")
    train("--rounds", "3", "--out", out, *SIDES)
    return out


def test_two_parts_of_the_processor_train_what_the_whole_does(single, tmp_path):
    train("--rounds", "3", "--out", tmp_path, "--strategy", "mirrored", "--strategy-devices", "2")
    check_close(single, tmp_path)
    assert the_run(tmp_path).environment()["replicas"] == 2


def test_two_processes_train_what_one_does(single, tmp_path):
    with Processes(tmp_path, "--rounds", "3", "--out", tmp_path / "runs") as both:
        assert both.wait() == [0, 0], both.output(0)
    check_close(single, tmp_path / "runs")


def test_batch_normalization_is_synchronized_among_processes(tmp_path):
    model = ["--rounds", "3", "--model", "strategy_models:normalized"]
    train(*model, "--out", tmp_path / "one", *SIDES)
    with Processes(tmp_path, *model, "--synchronized-batch-norm", "--out", tmp_path / "two") as both:
        assert both.wait() == [0, 0], both.output(0)
    check_close(tmp_path / "one", tmp_path / "two")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    out = tmp_path_factory.mktemp("uninterrupted")
    with Processes(out, *SAVED, "--out", out / "runs") as both:
        assert both.wait() == [0, 0], both.output(0)
    return out / "runs"


SAVED = ["--model", "strategy_models:with_dropout", "--steps", "3000", "--eval-every", "1000"]
SAVED += ["--rounds", "1", "--checkpoint-every", "0.1"]


@pytest.mark.parametrize("victim", [0, 1])
def test_where_one_is_killed_the_other_ends_and_the_run_resumes(victim, uninterrupted, tmp_path, wait_until, patience):
    out = tmp_path / "runs"
    with Processes(tmp_path, *SAVED, "--out", out) as both:
        wait_until(lambda: list(out.glob("*/replicate_0/round_00/partial.npz")), both.processes[0])
        both.processes[victim].send_signal(signal.SIGKILL)
        assert both.processes[1 - victim].wait(patience) == 6
        assert "A process of the strategy is gone" in both.output(1 - victim)
    assert not list(the_run(out).complete_jobs())
    with Processes(tmp_path, *SAVED, "--out", out) as both:
        assert both.wait() == [0, 0], both.output(0)
    check_equal(uninterrupted, out)


@pytest.mark.parametrize(
    ("settings", "code", "expected"),
    [
        ({"others": ["--out", "elsewhere"]}, 6, "Process 1 does not see what process 0 writes into"),
        ({"others": ["--seed", "5"]}, 2, "Other than in process 0: the configuration (process 1)"),
        ({"others": ["--rounds", "2"]}, 2, "Other than in process 0: its rounds, replicates and variants (process 1)"),
        ({"commands": (COMMAND, [sys.executable, "-c", OTHER_VERSION])}, 2, "the versions (process 1)"),
    ],
    ids=["folder", "configuration", "rounds", "versions"],
)
def test_processes_that_differ_train_nothing(settings, code, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Processes(tmp_path, "--rounds", "1", "--out", "runs", **settings) as both:
        assert both.wait() == [code, code], both.output(0)
        assert expected in both.output(0)
        assert expected in both.output(1)
    assert not Path("runs").exists()
    assert not Path("elsewhere").exists()
