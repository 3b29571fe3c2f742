"""What a run directory costs: committing, checking whose each file is where it is used, and resuming.

    python benchmarks/run_directory.py                      LeNet-300-100, 100 rounds with a control, and a run of MNIST
    python benchmarks/run_directory.py --no-run             without that run, which alone needs TensorFlow
    python benchmarks/run_directory.py --json cost.json --check

Trainings of 100 rounds are made up (random weights, fewer in each round, 100 evaluations) and committed as a run does
it. Each figure is by the clock and of the processor; `--check` judges the one of the processor, which others on the
machine hardly change. The clock also counts the disk.
"""

import argparse
import contextlib
import functools
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from outcome import add_options, finish

from tf_lottery.experiment import presets
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory, RunReader, manifest
from tf_lottery.experiment.directory.result_files import COLUMNS
from tf_lottery.experiment.run import run

SHAPES = {"dense/kernel": (784, 300), "dense_1/kernel": (300, 100), "dense_2/kernel": (100, 10)}
CONTROL = "random_reinit"
COMMIT_TARGET, REPORT_TARGET, RESUME_TARGET, RUN_TARGET = 0.05, 0.3, 2.0, 0.05
REPEATS = 5
PINNED = ("environment.json", "model.json")
# What is done at a use to know whose a file is and that it is whole, beside reading it.
CHECKS = (
    (RunReader, "checked_manifest"),
    (RunReader, "check_pinned"),
    (RunReader, "_check_metrics"),
    (RunReader, "made_from"),
    (manifest, "check"),
    (manifest, "verify"),
)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit code is 1 if `--check` is given and a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--steps", type=int, default=5000, help="steps of a round of the run of MNIST")
    parser.add_argument("--no-run", action="store_true", help="leave out the run of MNIST")
    add_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        config = Config(rounds=options.rounds, replicates=1, variants=("ticket", CONTROL), jobs=1)
        commits = commit_rounds(RunDirectory(Path(folder, "run")), config)
        figures = {
            f"commit of a round of LeNet-300-100 (median of {len(commits)})": (
                (median(clock for clock, _ in commits), median(cpu for _, cpu in commits)),
                COMMIT_TARGET,
            ),
            "checks of what a report reads": (checks_of_a_report(Path(folder, "run")), REPORT_TARGET),
            "resume, up to the first training": (resume(Path(folder, "run"), config), RESUME_TARGET),
        }
        if not options.no_run:
            share = share_of_checks(Path(folder, "mnist"), options.steps)
            figures[f"checks in a run of {options.steps} steps a round, share"] = share, RUN_TARGET
    print(f"{'':<56}{'clock':>10}{'processor':>11}{'target':>9}")
    for name, ((clock, cpu), target) in figures.items():
        print(f"{name:<56}{clock:>10.4f}{cpu:>11.4f}{target:>9.2f}  {'held' if cpu < target else 'MISSED'}")
    document = {
        "schema": "tf-lottery.run-directory-cost/1",
        "rounds": options.rounds,
        "figures": {name: {"clock": pair[0], "cpu": pair[1], "target": aim} for name, (pair, aim) in figures.items()},
    }
    return finish(options, document, held=all(cpu < target for (_, cpu), target in figures.values()))


def commit_rounds(store: RunDirectory, config: Config) -> list[tuple[float, float]]:
    """Commit all trainings of a run, and return the seconds of each, by the clock and of the processor."""
    generator = np.random.default_rng(0)
    store.create({**config.to_json(), "hash": config.hash()})
    pinned = {name: store.write_pinned(name, json.dumps({"made": "up"} | padding()).encode()) for name in PINNED}
    seconds = []
    for number in range(config.rounds + 1):
        masks = {path: generator.random(shape) < 0.97**number for path, shape in SHAPES.items()}
        weights = {path: generator.normal(size=mask.shape).astype("float32") * mask for path, mask in masks.items()}
        for job in [Job(0, number), *([Job(0, number, CONTROL)] if number else [])]:
            begin = time.perf_counter(), time.process_time()
            made_from = store.made_from([Job(0, number - 1)] if number else [])
            store.commit(job, {"masks": masks, "weights": weights}, metrics(job, pinned), made_from=made_from)
            seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return seconds


def padding() -> dict[str, str]:
    """Makes a file of the run as a whole as large as the architecture of LeNet-300-100."""
    return {"layers": "x" * 5000}


def metrics(job: Job, pinned: dict[str, str]) -> dict[str, Any]:
    """The metrics of a made-up training of 100 evaluations."""
    names = {"replicate": job.replicate, "round": job.round, "variant": job.variant}
    record = {"train_loss": 0.1, "val_loss": 0.2, "val_accuracy": 0.9}
    return {
        "row": {**dict.fromkeys(COLUMNS, 0.5), **names},
        "history": [{"step": step, **record} for step in range(100)],
        "layers": {path: {"kept": 3, "total": 5} for path in SHAPES},
        "start_step": 0,
        "pinned": pinned,
    }


def checks_of_a_report(path: Path) -> tuple[float, float]:
    """Seconds that checks take while a new process reads what a report is made of."""
    seconds = []
    for _ in range(REPEATS):
        reader = RunReader(path)
        with timed_checks() as spent:
            reader.config(), reader.rows(), reader.curves(), reader.layers()
            reader.architecture(), reader.environment()
            for job in reader.complete_jobs()[-2:]:
                reader.masks(job), reader.weights(job)
        seconds.append(tuple(spent))
    return median(clock for clock, _ in seconds), median(cpu for _, cpu in seconds)


def resume(path: Path, config: Config) -> tuple[float, float]:
    """Seconds of what the same command does before it trains, and of the results that it writes after."""
    seconds = []
    for _ in range(REPEATS):
        begin = time.perf_counter(), time.process_time()
        store = RunDirectory(path)
        run(config, store)
        last = Job(0, config.rounds)
        store.masks(last), store.weights(last), store.made_from([last])
        seconds.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    return median(clock for clock, _ in seconds), median(cpu for _, cpu in seconds)


def share_of_checks(path: Path, steps: int) -> tuple[float, float]:
    """The part of the time of a run of LeNet-300-100 on MNIST that checks take, its start included."""
    config = presets.get("mnist-lenet-300-100").config()
    config = config.updated(steps=steps, rounds=2, replicates=1, jobs=1, threads=1)
    begin = time.perf_counter(), time.process_time()
    with timed_checks() as spent:
        run(config, RunDirectory(path))
    return spent[0] / (time.perf_counter() - begin[0]), spent[1] / (time.process_time() - begin[1])


@contextlib.contextmanager
def timed_checks() -> Iterator[list[float]]:
    """Sum up the seconds of the checks, by the clock and of the processor; a check inside another counts once."""
    spent, depth = [0.0, 0.0], 0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal depth
            depth += 1
            begin = time.perf_counter(), time.process_time()
            try:
                return function(*arguments, **options)
            finally:
                depth -= 1
                if not depth:
                    spent[0] += time.perf_counter() - begin[0]
                    spent[1] += time.process_time() - begin[1]

        return call

    originals = [getattr(place, name) for place, name in CHECKS]
    own = [name in vars(place) for place, name in CHECKS]
    for (place, name), original in zip(CHECKS, originals, strict=True):
        setattr(place, name, timed(original))
    try:
        yield spent
    finally:
        for (place, name), original, owned in zip(CHECKS, originals, own, strict=True):
            setattr(place, name, original) if owned else delattr(place, name)


if __name__ == "__main__":
    sys.exit(main())
