"""Latency, load time and peak memory of model files, each in processes of its own, measured in turn.

All files are measured once in each of several rounds (A B C, A B C, ...), every time in a new process, and the times of
the rounds are put together: what disturbs the machine for a while, or the place where one process happens to have its
memory, then doesn't fall on one file alone.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from tf_lottery.exporting.input_shapes import InputShape
from tf_lottery.exporting.measure.model_files import model_format
from tf_lottery.utils.child_process import ProgramError, program, run_program
from tf_lottery.utils.files import dump_arrays
from tf_lottery.utils.text import one_line

ROUNDS = 3
RUNS = 1500
_SECONDS = 2.0  # of timed calls per file and round
_TIMEOUT = 300.0
_PROGRAM = program("tf_lottery.exporting.measure.run_benchmark")


@dataclass(frozen=True)
class Measurement:
    """What was measured of one file.

    Attributes:
        load_ms: milliseconds from opening the file until its first outputs; the median over the rounds.
        latency_us: microseconds of single calls with one sample, of all rounds.
        peak_memory_mb: the most resident memory of its process, in 10^6 bytes; the median over the rounds.
        model_memory_mb: the same without that of a process that loads the runtime and no model.
        threads: of the runtime.
        input_shapes: of what the model was called with, the batch too, by the name of the input.
        free_inputs: the names of those that take other sizes.
    """

    load_ms: float
    latency_us: tuple[float, ...]
    peak_memory_mb: float
    model_memory_mb: float
    threads: int
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    free_inputs: tuple[str, ...] = ()

    def percentile(self, percent: float) -> float:
        """Return a percentile of the latency, in microseconds."""
        return float(np.percentile(self.latency_us, percent))


@dataclass(frozen=True)
class MeasurementFailure:
    """Why a file could not be measured.

    Attributes:
        reason: in one line.
        damaged: whether the file is not whole, as far as one can see.
        remedy: what to do, where that is known.
        wrong_argument: whether the caller asked for what the model can't take.
    """

    reason: str
    damaged: bool
    remedy: str = ""
    wrong_argument: bool = False


def measure(
    files: Sequence[Path],
    *,
    threads: int = 1,
    runs: int = RUNS,
    rounds: int = ROUNDS,
    sample: Mapping[str, npt.NDArray[Any]] | None = None,
    input_shape: InputShape = None,
) -> dict[Path, Measurement | MeasurementFailure]:
    """Measure files in turn, on one sample: the one given, or a random one of a fixed seed.

    Args:
        files: TFLite and Keras files and SavedModel folders.
        threads: of the runtimes.
        runs: timed calls per file over all rounds; slow models stop after two seconds per round.
        rounds: how often each file is measured, each time in a new process.
        sample: arrays `(1, ...)` by the name of the input; by "" for files of models with one input.
        input_shape: as of `bench`.

    Returns:
        A measurement or a failure for each file.

    Example:
        `measure([Path("a.tflite"), Path("b.tflite")])[Path("a.tflite")].percentile(50)`
    """
    runs_per_round = -(-runs // rounds)
    formats = {file: str(model_format(file)) for file in files}
    empty = {name: _measure_once(name, None, threads, 0) for name in set(formats.values())}
    failures: dict[Path, MeasurementFailure] = {}
    results_by_file: dict[Path, list[dict[str, Any]]] = {file: [] for file in files}
    for _ in range(rounds):
        for file in files:
            if file not in failures:
                result = _measure_once(formats[file], file, threads, runs_per_round, sample, input_shape)
                if isinstance(result, MeasurementFailure):
                    failures[file] = result
                else:
                    results_by_file[file].append(result)
    return {
        file: failures[file] if file in failures else _pool(results, empty[formats[file]], threads)
        for file, results in results_by_file.items()
    }


def _measure_once(
    kind: str,
    file: Path | None,
    threads: int,
    runs: int,
    sample: Mapping[str, npt.NDArray[Any]] | None = None,
    input_shape: InputShape = None,
) -> dict[str, Any] | MeasurementFailure:
    """What `run_benchmark` measured of one file in a process of its own; of no file: of a process without a model."""
    with tempfile.TemporaryDirectory() as scratch:
        results_file = Path(scratch) / "out.json"
        link = ""
        if file is not None:
            # TensorFlow takes a name for a pattern, and takes UTF-8 only: a link has a name that it can open.
            link = str(Path(scratch) / f"model{file.suffix}")
            os.symlink(file.absolute(), link)
            if file.is_file() and not file.stat().st_size:
                return MeasurementFailure("it is empty", damaged=True)
        numbers = [str(number) for number in (threads, runs, _SECONDS)]
        arguments: list[str | Path] = [kind, link, results_file, *numbers, json.dumps(input_shape)]
        if sample:
            sample_file = Path(scratch) / "sample.npz"
            sample_file.write_bytes(dump_arrays(sample))
            arguments.append(sample_file)
        environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "KERAS_BACKEND": "tensorflow"}
        try:
            run_program(_PROGRAM, arguments, name="its process", timeout=_TIMEOUT, environment=environment)
        except ProgramError as error:
            # Memory that the system takes back ends a process by SIGKILL: that is no fault of the file.
            return MeasurementFailure(str(error), damaged=error.crashed_with not in ("", "SIGKILL"))
        if not results_file.exists():
            return MeasurementFailure("its process wrote no result", damaged=False)
        result = json.loads(results_file.read_text(encoding="utf-8"))
    if "error" in result:
        text = result["error"] if file is None else result["error"].replace(link, file.name)
        return MeasurementFailure(one_line(text), result["damaged"], result["remedy"], result["wrong_argument"])
    return cast(dict[str, Any], result)


def _pool(
    results: list[dict[str, Any]], empty: dict[str, Any] | MeasurementFailure, threads: int
) -> Measurement | MeasurementFailure:
    if isinstance(empty, MeasurementFailure):
        return empty
    peak = float(np.median([result["peak_memory_mb"] for result in results]))
    return Measurement(
        load_ms=float(np.median([result["load_ms"] for result in results])),
        latency_us=tuple(time for result in results for time in result["latency_us"]),
        peak_memory_mb=peak,
        model_memory_mb=max(0.0, peak - empty["peak_memory_mb"]),
        threads=threads,
        input_shapes={name: tuple(shape) for name, shape in results[0]["input_shapes"].items()},
        free_inputs=tuple(results[0]["free_inputs"]),
    )
