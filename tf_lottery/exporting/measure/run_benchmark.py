"""Load one model file, time it, and measure the memory of the process: the program that `measurement` starts.

Usage: `python -m tf_lottery.exporting.measure.run_benchmark KIND FILE OUT THREADS RUNS SECONDS SIZES [SAMPLE.npz]`.
KIND is tflite, saved_model or keras, and an empty FILE measures the process without a model. SIZES is JSON: those of
free dimensions, as the `input_shape` of `bench`. SAMPLE.npz holds one sample, by the name of the input; without it a
random one is drawn.

A process of its own for each file, because memory can't be attributed within one, because LiteRT's and TensorFlow's
runtimes can clash in one, and because a damaged file can crash it. Of a TFLite file LiteRT's interpreter with its
default delegates is timed. LiteRT's own benchmark program times another interface of the same runtime, from Python as
well, and rounds to 10 microseconds: more than a small network takes.
"""

import json
import re
import resource
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.random  # NumPy loads it when it is first used: that would count as the model's time and memory
import numpy.typing as npt

from tf_lottery.errors import DamagedError, LotteryError, UsageError
from tf_lottery.exporting.input_shapes import FreeShape, InputShape, fixed_shapes, sizes_text, with_default_sizes
from tf_lottery.exporting.measure.given_sample import fit_sample
from tf_lottery.exporting.measure.loaders import LOADERS, NotMeasurableError
from tf_lottery.utils.files import load_arrays
from tf_lottery.utils.text import one_line

_WARM_UP_RUNS, _WARM_UP_SECONDS = 20, 0.3
# What LiteRT, TensorFlow, zipfile and HDF5 report for a file that is not whole.
_DAMAGED = re.compile(
    r"flatbuffer|mmap of size 0|model identifier|could not open|not a zip|bad crc|truncat|corrupt|checksum|data ?loss|"
    r"error parsing|cannot parse|decodeerror|unable to (synchronously )?open|no such file|not ?found|subgraph",
    re.IGNORECASE,
)

_SIZES = "Give sizes that the model takes: `input_shape`, or `samples`."


def run(
    kind: str,
    file: str,
    *,
    threads: int,
    runs: int,
    seconds: float,
    sample: Mapping[str, npt.NDArray[Any]] | None = None,
    input_shape: InputShape = None,
) -> dict[str, Any]:
    """Measure one file.

    Args:
        kind: of `LOADERS`.
        file: the file or folder; empty for the process without a model.
        threads: of the runtime.
        runs: timed calls, if they end in time.
        seconds: after which no other call starts.
        sample: one sample, `(1, ...)`, by the name of the input ("" of a single one); None for a random one.
        input_shape: as of `bench`.

    Returns:
        `load_ms`: from opening the file until its first outputs, as some weights are only unpacked then, without the
        drawing of inputs; `latency_us`: a list of the times of single calls; `peak_memory_mb`: of this process, in
        10^6 bytes; `input_shapes`: of what the model was called with, by the name of the input; `free_inputs`: the
        names of those that take other sizes.
    """
    LOADERS[kind]("", threads)  # so that importing the runtime doesn't count as loading the file
    begin = time.perf_counter()
    loaded = LOADERS[kind](file, threads)
    opened = time.perf_counter() - begin
    wanted = _with_sizes(loaded.wanted, input_shape) if file else []
    inputs = fit_sample(wanted, sample) if sample and file else _inputs(wanted)
    free = [name for name, shape, _ in loaded.wanted if None in shape]
    begin = time.perf_counter()
    try:
        invoke = loaded.feed(inputs)
        invoke()
    except Exception as error:  # a runtime raises anything for a size that the network can't compute
        if not free:
            raise
        cause = f"on inputs of {sizes_text([inputs[name].shape[1:] for name in free])}, {one_line(error)}"
        raise UsageError(cause, _SIZES) if input_shape else NotMeasurableError(cause, _SIZES) from error
    load_ms = (opened + time.perf_counter() - begin) * 1e3
    end = time.perf_counter() + _WARM_UP_SECONDS
    for _ in range(_WARM_UP_RUNS if file else 0):
        invoke()
        if time.perf_counter() > end:
            break
    times: list[int] = []
    end = time.perf_counter() + seconds
    while file and len(times) < runs and (not times or time.perf_counter() < end):
        start = time.perf_counter_ns()
        invoke()
        times.append(time.perf_counter_ns() - start)
    return {
        "load_ms": load_ms,
        "latency_us": [nanoseconds / 1e3 for nanoseconds in times],
        "peak_memory_mb": peak_memory_mb(),
        "input_shapes": {name: list(array.shape) for name, array in inputs.items()},
        "free_inputs": free,
    }


def peak_memory_mb() -> float:
    """Return the largest resident memory that this process ever had, in 10^6 bytes.

    Linux hands the `ru_maxrss` of the process that started this one on to it; `VmHWM` is of this program alone.
    """
    status = Path("/proc/self/status")
    if status.exists():
        match = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(), re.MULTILINE)
        if match:
            return int(match[1]) * 1024 / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main(arguments: list[str]) -> int:
    """Run the program. What went wrong with the file is in OUT, see `_failure`; the exit code is 0."""
    kind, file, out, threads, runs, seconds, sizes, *samples = arguments
    try:
        sample = load_arrays(Path(samples[0])) if samples else None
        counts: dict[str, Any] = {"threads": int(threads), "runs": int(runs), "seconds": float(seconds)}
        result = run(kind, file, **counts, sample=sample, input_shape=json.loads(sizes))
    except NotMeasurableError as error:
        result = _failure(str(error), remedy=error.remedy)
    except LotteryError as error:
        kinds = {"damaged": isinstance(error, DamagedError), "wrong_argument": isinstance(error, UsageError)}
        result = _failure(error.cause, remedy=error.remedy, **kinds)
    except Exception as error:  # a runtime raises anything for a bad file
        text = f"{type(error).__name__}: {error}"
        result = _failure(text, damaged=bool(_DAMAGED.search(text)))
    Path(out).write_text(json.dumps(result), encoding="utf-8")
    return 0


def _failure(reason: str, *, damaged: bool = False, remedy: str = "", wrong_argument: bool = False) -> dict[str, Any]:
    """A `measurement.MeasurementFailure` as JSON values."""
    return {"error": reason, "damaged": damaged, "remedy": remedy, "wrong_argument": wrong_argument}


def _with_sizes(wanted: list[tuple[str, FreeShape, Any]], input_shape: InputShape) -> list[tuple[str, FreeShape, Any]]:
    """The inputs with the shapes that are given; the batch stays."""
    names, shapes = [name for name, _, _ in wanted], [shape[1:] for _, shape, _ in wanted]
    fixed = fixed_shapes(names, shapes, input_shape)
    return [(name, (*shape[:1], *sizes), dtype) for (name, shape, dtype), sizes in zip(wanted, fixed, strict=True)]


def _inputs(wanted: list[tuple[str, FreeShape, Any]]) -> dict[str, npt.NDArray[Any]]:
    """Random values; free dimensions get the default size."""
    generator = np.random.default_rng(0)
    arrays = {}
    for name, free_shape, dtype in wanted:
        shape = with_default_sizes(free_shape)
        kind = np.dtype(dtype)
        if kind.kind not in "biuf":
            raise NotMeasurableError(f"its input {name!r} takes {kind}: only numbers can be drawn at random")
        if kind.kind in "iu" and kind.itemsize == 1:
            limits = np.iinfo(kind)
            arrays[name] = generator.integers(limits.min, limits.max, shape, kind, endpoint=True)
        elif kind.kind in "biu":  # indices of an embedding, perhaps: these two are valid in any
            arrays[name] = generator.integers(0, 2, shape).astype(kind)
        else:
            arrays[name] = generator.standard_normal(shape, np.float32).astype(kind, copy=False)
    return arrays


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
