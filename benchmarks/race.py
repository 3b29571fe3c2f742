"""Contenders in processes of their own, one at work at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker import CONTENDERS

HERE = Path(__file__).resolve().parent


class Worker:
    """A contender's process, which trains on request."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name = name
        self.log = (folder / f"{name}.log").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", name, folder, str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        )

    def answer(self) -> dict[str, Any]:
        """The next answer.

        Raises:
            RuntimeError: the process died; the message ends in what it said last.
        """
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.process.wait()
            self.log.seek(0)
            raise RuntimeError(
                f"{self.name} failed with exit code {self.process.returncode}:\n{self.log.read()[-3000:]}"
            )
        return json.loads(line)

    def train(self) -> dict[str, Any]:
        """Have it train once, and wait for the measurement."""
        if self.process.stdin:
            self.process.stdin.write("train\n")
            self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End the process, which stops when its stdin ends."""
        if self.process.stdin:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()
        self.log.close()


def disturbed(run: dict[str, Any]) -> bool:
    """Whether other processes had more than a twentieth of the cores' time during a run."""
    return run["others"] > 0.05


def race(
    names: list[str], folder: Path, *, repeats: int, patience: int, threads: int, progress: Callable[[str], None]
) -> dict[str, dict[str, Any]]:
    """Start each contender, warm it up, then let them train in turn; one at a time all the way.

    Args:
        names: keys of `CONTENDERS`.
        folder: holds the workload; takes the logs.
        repeats: trainings of each after the warm-up.
        patience: how often a training may be repeated at once because other processes disturbed it.
        threads: threads and cores of each process.
        progress: called with each line of progress.

    Returns:
        For each name: what it is, the validation loss before, the measurement of the warm-up, and those of the repeats.
    """
    workers: dict[str, Worker] = {}
    results: dict[str, dict[str, Any]] = {}
    try:
        for name in names:
            progress(f"{name}: {CONTENDERS[name].what}: start and warm-up")
            workers[name] = Worker(name, folder, threads)
            start = workers[name].answer()
            results[name] = {"what": CONTENDERS[name].what, **start, "warm_up": workers[name].train(), "runs": []}
        for repeat in range(repeats):
            progress(f"repeat {repeat + 1} of {repeats}, load {os.getloadavg()[0]:.1f}")
            for name in names:
                runs = results[name]["runs"]
                for _ in range(1 + patience):
                    runs.append(workers[name].train())
                    if not disturbed(runs[-1]):
                        break
    finally:
        for worker in workers.values():
            worker.close()
    return results
