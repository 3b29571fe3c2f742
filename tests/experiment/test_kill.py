"""Killed at any moment and started again by the same command, a run ends as if nothing had happened, bit for bit."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from run_content import assert_same, content

CHILD = Path(__file__).with_name("run_child.py")
MODEL = """
import keras
from keras import layers as L


def small(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape), L.Flatten(), L.Dense(24), L.BatchNormalization(), L.ReLU(), L.Dropout(0.3),
        L.Dense(classes),
    ])
"""
CONFIG = {
    "dataset": "digits",
    "model": "kill_model:small",
    "steps": 400,
    "eval_every": 40,
    "batch_size": 32,
    "rounds": 2,
    "rewind": "step:60",
    "xla": "off",
    "jobs": 1,
    "seed": 3,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("kill")
    (path / "kill_model.py").write_text(MODEL)
    return path


def start(folder, name, *, last=None, **changes):
    """Start the run; after the line `last` it waits to be killed."""
    command = [sys.executable, str(CHILD), name, json.dumps(CONFIG | changes), "0.05", *([last] if last else [])]
    with open(folder / f"{name}.log", "a") as log:
        return subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=log, text=True)


def finish(process, folder, name):
    process.communicate()
    assert process.returncode == 0, (folder / f"{name}.log").read_text()[-3000:]


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def whole(folder, sparse):
    """The content of the uninterrupted run."""
    name = f"whole-{sparse}"
    finish(start(folder, name, sparse=sparse), folder, name)
    actual = content(folder / name)
    assert ("kernels" in json.loads(actual["environment.json"])) == (sparse == "on")
    # Round 0 and two rounds of ticket and control, their curves, the rewind state.
    assert sum(name.endswith("weights.npz") for name in actual) == 5
    assert len(actual["results.csv"]) == 5
    assert actual["metrics.jsonl"].count(b"\n") == 10 + 2 * (9 + 10)
    assert not any("partial" in name or name.endswith(".tmp") for name in actual)
    return actual


def kill_until_done(folder, name, *, generator, sparse):
    """Start, kill at a random moment, and so on until it is done. Returns how often, and how often mid-training."""
    kills, partials = 0, 0
    while True:
        process = start(folder, name, sparse=sparse)
        if generator.random() < 0.8:  # mostly while it works, sometimes while it starts
            for _ in range(generator.randint(1, 40)):  # of about 50 lines
                process.stdout.readline()
            time.sleep(generator.uniform(0, 0.02))
        else:
            time.sleep(generator.uniform(0, 5))
        if process.poll() is not None:
            finish(process, folder, name)
            return kills, partials
        kill(process)
        kills += 1
        partials += any((folder / name).rglob("partial.npz"))
        if kills >= 6:
            process = start(folder, name, sparse=sparse)
            finish(process, folder, name)
            return kills, partials


def test_a_killed_run_goes_on_to_the_same_bytes(folder, whole, sparse):
    generator, name = random.Random(1), f"killed-{sparse}"
    for number in (
        0,
        2,
    ):  # in the dense round and the last, at a random moment of the 80 steps after a random evaluation
        step = 40 * generator.randint(2, 8)
        last = f"at replicate 0, round {number}, ticket {step + 80}"
        process = start(folder, name, last=last, sparse=sparse)
        assert f"at replicate 0, round {number}, ticket {step}\n" in iter(process.stdout.readline, "")
        time.sleep(generator.uniform(0, 0.02))
        kill(process)
    finish(start(folder, name, sparse=sparse), folder, name)
    assert_same(content(folder / name), whole)


@pytest.mark.slow
def test_killed_at_twenty_random_moments(folder, whole, sparse):
    generator = random.Random(2)
    kills = partials = attempt = 0
    while kills < 20:
        attempt += 1
        more, cut = kill_until_done(folder, f"random-{sparse}-{attempt}", generator=generator, sparse=sparse)
        kills, partials = kills + more, partials + cut
        assert_same(content(folder / f"random-{sparse}-{attempt}"), whole)
    assert partials >= 3, "some kills were in the middle of a training whose state had been saved"


def test_the_same_seed_gives_the_same_bits_with_any_number_of_jobs(folder, whole, sparse):
    name = f"jobs-{sparse}"
    process = start(folder, name, jobs=2, sparse=sparse)
    finish(process, folder, name)
    actual = content(folder / name)
    for files in (actual, expected := dict(whole)):
        document = json.loads(files["config.json"])
        assert document.pop("jobs")
        assert document.pop("digest")
        files["config.json"] = document
    assert_same(actual, expected)


@pytest.mark.slow
def test_a_killed_run_in_blocks_goes_on_to_the_same_bytes(folder):
    """Blocks of four inputs: 64 x 24 and 24 x 10 weights are 384 and 60 blocks, of which 0.8 (output: 0.9) stay."""
    blocks = {"granularity": "1x4", "steps": 200, "rounds": 2, "variants": ["ticket"]}
    finish(start(folder, "blocks", **blocks), folder, "blocks")
    actual = content(folder / "blocks")
    # 384, 307, 246 and 60, 54, 49 blocks: 76.8, 61.4 and 6, 5.4 go.
    assert [int(row["weights_kept"]) for row in actual["results.csv"]] == [4 * 444, 4 * 361, 4 * 295]
    process = start(folder, "blocks-killed", last="at replicate 0, round 1, ticket 200", **blocks)
    assert any("round 1" in line for line in process.stdout)
    kill(process)
    assert not (folder / "blocks-killed" / "replicate_0" / "round_02" / "manifest.json").exists()
    process = start(folder, "blocks-killed", **blocks)
    assert "round 0" not in process.stdout.readline()  # it is not trained again
    finish(process, folder, "blocks-killed")
    assert_same(content(folder / "blocks-killed"), actual)
