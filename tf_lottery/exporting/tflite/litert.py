"""Run and time TFLite files in LiteRT processes of their own, and give every way in which that can fail a reason."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tf_lottery.utils.child_process import ProgramError, program, run_program
from tf_lottery.utils.files import dump_arrays, load_arrays

_RUN_FILE = program("tf_lottery.exporting.tflite.run_tflite")
_TIME_FILES = program("tf_lottery.exporting.tflite.time_tflite")


class LiteRTError(Exception):
    """The file did not load or run in the default LiteRT interpreter; the message is the reason, in one line."""


@dataclass(frozen=True)
class LiteRTRun:
    """What a run of a file yielded.

    Attributes:
        outputs: arrays `(samples, ...)` by name.
        latency_us_median: median microseconds of one sample.
        sparse_tensors: the number of sparse-encoded tensors of the file.
    """

    outputs: dict[str, npt.NDArray[Any]]
    latency_us_median: float
    sparse_tensors: int


def run_file(
    file: Path,
    samples: dict[str, npt.NDArray[Any]],
    *,
    scratch: Path,
    timeout: float | None = None,
    reference_kernels: bool = False,
    batch: int = 1,
) -> LiteRTRun:
    """Run `file` on `samples` in a new process with the default LiteRT interpreter.

    Samples are quantized for integer inputs, and integer outputs are dequantized, by the file's scales and zero points.

    Args:
        file: a TFLite file.
        samples: one array `(samples, ...)` per input, by signature name.
        scratch: an existing folder for the exchange of arrays.
        timeout: seconds; by default two minutes and one second per sample.
        reference_kernels: whether to run LiteRT's plain kernels, which TensorFlow Lite Micro's are made from, without
            delegates.
        batch: how many samples a file takes at a time that takes any number.

    Raises:
        LiteRTError: if the process fails, crashes or does not end in time.
        OSError: if there is no room for the exchange of arrays.
    """
    samples_file, results_file = scratch / "samples.npz", scratch / "outputs.npz"
    results_file.unlink(missing_ok=True)
    samples_file.write_bytes(dump_arrays(samples))
    limit = timeout if timeout is not None else 120 + len(next(iter(samples.values())))
    kernels = "reference" if reference_kernels else "default"
    _run(_RUN_FILE, [file, samples_file, results_file, kernels, str(batch)], limit)
    results = load_arrays(results_file)
    outputs = {name.removeprefix("output/"): array for name, array in results.items() if name.startswith("output/")}
    return LiteRTRun(outputs, float(results["latency_us_median"]), int(results["sparse_tensors"]))


def time_files(
    files: Sequence[Path], *, sizes: Mapping[str, Sequence[int]] | None = None, timeout: float = 600
) -> list[float]:
    """Measure the median latency of files in turn, in one process.

    Args:
        files: TFLite files.
        sizes: the shape of one sample by input name, for inputs of dimensions that the files leave free.
        timeout: in seconds.

    Returns:
        Microseconds of one sample, in the order of the files.

    Raises:
        LiteRTError: if the process fails, crashes or does not end in time.
    """
    shapes = json.dumps({name: list(shape) for name, shape in (sizes or {}).items()})
    return [float(value) for value in json.loads(_run(_TIME_FILES, [shapes, *files], timeout))]


def _run(code: str, arguments: Sequence[Path | str], timeout: float) -> str:
    try:
        return run_program(code, arguments, name="the LiteRT interpreter", timeout=timeout)
    except ProgramError as error:
        raise LiteRTError(str(error)) from None
