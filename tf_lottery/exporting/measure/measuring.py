"""Latency, load time and peak memory of model files, each in processes of its own, measured in turn.

All files are measured once in each of several rounds (A B C, A B C, ...), every time in a new process, and the times of
the rounds are put together: what disturbs the machine for a while, or the place where one process happens to have its
memory, then doesn't fall on one file alone.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.utils.child_process import program
from tf_lottery.utils.silence import one_line

ROUNDS = 3
RUNS = 1500
_SECONDS = 2.0  # of timed calls per file and round
_TIMEOUT = 300.0
_PROGRAM = program("tf_lottery.exporting.measure.run_benchmark")


@dataclass(frozen=True)
class Measurement:
    """What was measured of one file.

    Attributes:
        load_ms: milliseconds from opening the file until its first answer; the median over the rounds.
        latency_us: microseconds of single calls with one sample, of all rounds.
        peak_memory_mb: the most resident memory of its process, in 10^6 bytes; the median over the rounds.
        model_memory_mb: the same without that of a process that loads the runtime and no model.
        threads: of the runtime.
    """

    load_ms: float
    latency_us: tuple[float, ...]
    peak_memory_mb: float
    model_memory_mb: float
    threads: int

    def percentile(self, percent: float) -> float:
        """A percentile of the latency, in microseconds."""
        return float(np.percentile(self.latency_us, percent))


@dataclass(frozen=True)
class Failure:
    """Why a file could not be measured, in one line; `damaged`: the file is not whole, so far as one can tell.

    `remedy` says what to do, where that is known.
    """

    reason: str
    damaged: bool
    remedy: str = ""


def kind_of(path: Path) -> str | None:
    """What a path holds: "tflite", "saved_model", "keras", or None."""
    if path.is_dir():
        return "saved_model" if (path / "saved_model.pb").is_file() else None
    return {".tflite": "tflite", ".keras": "keras"}.get(path.suffix)


def measure(
    files: Sequence[Path], *, threads: int = 1, runs: int = RUNS, rounds: int = ROUNDS
) -> dict[Path, Measurement | Failure]:
    """Measure files in turn, on one random sample of a fixed seed.

    Args:
        files: TFLite and Keras files and SavedModel folders.
        threads: of the runtimes.
        runs: timed calls per file over all rounds; slow models stop after two seconds per round.
        rounds: how often each file is measured, each time in a new process.

    Returns:
        A measurement or a failure for each file.

    Example:
        `measure([Path("a.tflite"), Path("b.tflite")])[Path("a.tflite")].percentile(50)`
    """
    each = -(-runs // rounds)
    empty = {kind: _child(kind, None, threads, 0) for kind in {str(kind_of(file)) for file in files}}
    failures: dict[Path, Failure] = {}
    found: dict[Path, list[dict[str, Any]]] = {file: [] for file in files}
    for _ in range(rounds):
        for file in files:
            if file not in failures:
                result = _child(str(kind_of(file)), file, threads, each)
                if isinstance(result, Failure):
                    failures[file] = result
                else:
                    found[file].append(result)
    return {
        file: failures[file] if file in failures else _pooled(results, empty[str(kind_of(file))], threads)
        for file, results in found.items()
    }


def measure_saved_model(folder: Path, samples: Mapping[str, np.ndarray], *, threads: int = 1, runs: int = 500) -> float:
    """The median latency of a SavedModel in microseconds, on the first sample, in a process of its own.

    Args:
        folder: the SavedModel.
        samples: one array `(samples, ...)` per input, by name.
        threads: of TensorFlow.
        runs: timed calls; a slow model stops after two seconds.

    Raises:
        RuntimeError: if it does not load or run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        given = Path(scratch) / "samples.npz"
        np.savez(given, **{name: array[:1] for name, array in samples.items()})  # type: ignore[arg-type]
        result = _child("saved_model", folder, threads, runs, given)
    if isinstance(result, Failure):
        raise RuntimeError(result.reason)
    return float(np.median(result["latency_us"]))


def _child(
    kind: str, file: Path | None, threads: int, runs: int, samples: Path | None = None
) -> dict[str, Any] | Failure:
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "out.json"
        opened = ""
        if file is not None:
            # TensorFlow takes a name for a pattern, and takes UTF-8 only: a link has a name that it can open.
            opened = str(Path(scratch) / f"model{file.suffix}")
            os.symlink(file.absolute(), opened)
            if file.is_file() and not file.stat().st_size:
                return Failure("it is empty", damaged=True)
        numbers = [str(number) for number in (threads, runs, _SECONDS)]
        command = [sys.executable, "-P", "-c", _PROGRAM, kind, opened, str(out), *numbers]
        command += [] if samples is None else [str(samples)]
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": "tensorflow"}
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TIMEOUT, check=False, env=environment
            )
        except subprocess.TimeoutExpired:
            return Failure(f"it did not finish within {_TIMEOUT:.0f} seconds", damaged=False)
        if done.returncode < 0:
            # Memory that the system takes back ends a process by SIGKILL: that is no fault of the file.
            name = signal.Signals(-done.returncode).name
            return Failure(f"its process crashed with {name}", damaged=name != "SIGKILL")
        if done.returncode or not out.exists():
            text = done.stderr.decode("utf-8", "replace").strip()
            return Failure(one_line(text.rsplit("\n", 1)[-1] or f"exit code {done.returncode}"), damaged=False)
        result = json.loads(out.read_text(encoding="utf-8"))
    if "error" in result:
        text = result["error"] if file is None else result["error"].replace(opened, file.name)
        return Failure(one_line(text), result["damaged"], result["remedy"])
    return result


def _pooled(results: list[dict[str, Any]], empty: dict[str, Any] | Failure, threads: int) -> Measurement | Failure:
    if isinstance(empty, Failure):
        return empty
    peak = float(np.median([result["peak_memory_mb"] for result in results]))
    return Measurement(
        load_ms=float(np.median([result["load_ms"] for result in results])),
        latency_us=tuple(time for result in results for time in result["latency_us"]),
        peak_memory_mb=peak,
        model_memory_mb=max(0.0, peak - empty["peak_memory_mb"]),
        threads=threads,
    )
