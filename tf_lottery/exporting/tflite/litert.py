"""Run a TFLite file in a LiteRT process of its own, and turn every way in which that can fail into a reason."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tf_lottery.utils import child_process as child

_PROGRAM = child.program("tf_lottery.exporting.tflite.run_tflite")
_RACE = child.program("tf_lottery.exporting.tflite.race_tflite")


class LiteRTFailed(Exception):
    """The file did not load or run in the default LiteRT interpreter; the message is the reason, in one line."""


@dataclass(frozen=True)
class LiteRTRun:
    """Outputs by name, `(samples, ...)`; the median latency of one sample in microseconds; sparse-encoded tensors."""

    outputs: dict[str, np.ndarray]
    latency_us_median: float
    sparse_tensors: int


def run_file(file: Path, samples: dict[str, np.ndarray], *, scratch: Path, timeout: float | None = None) -> LiteRTRun:
    """Run `file` on `samples` in a new process with the default LiteRT interpreter.

    Args:
        file: a TFLite file.
        samples: one array `(samples, ...)` per input, by signature name.
        scratch: an existing folder for the exchange of arrays.
        timeout: seconds; by default two minutes and one second per sample.

    Raises:
        LiteRTFailed: if the process fails, crashes or does not end in time.
        OSError: if there is no room for the exchange of arrays.
    """
    given, made = scratch / "samples.npz", scratch / "outputs.npz"
    made.unlink(missing_ok=True)
    with given.open("wb") as stream:
        np.savez(stream, **samples)  # type: ignore[arg-type]
    limit = timeout if timeout is not None else 120 + len(next(iter(samples.values())))
    _start(_PROGRAM, [file, given, made], limit)
    with np.load(made, allow_pickle=False) as archive:
        outputs = {name.removeprefix("output/"): archive[name] for name in archive.files if name.startswith("output/")}
        return LiteRTRun(outputs, float(archive["latency_us_median"]), int(archive["sparse_tensors"]))


def race_files(files: Sequence[Path], *, scratch: Path, timeout: float = 600) -> list[float]:
    """The median latency of each file in microseconds, measured in turn in one process.

    Raises:
        LiteRTFailed: if the process fails, crashes or does not end in time.
    """
    made = scratch / "race.json"
    _start(_RACE, [made, *files], timeout)
    return [float(value) for value in json.loads(made.read_text(encoding="utf-8"))]


def _start(code: str, arguments: Sequence[Path], timeout: float) -> None:
    try:
        child.start(code, arguments, who="the LiteRT interpreter", timeout=timeout)
    except child.ChildFailed as error:
        raise LiteRTFailed(str(error)) from None
