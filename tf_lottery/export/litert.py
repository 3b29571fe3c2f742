"""Run a TFLite file in a LiteRT process of its own, and turn every way in which that can fail into a reason."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import tf_lottery
from tf_lottery.export.silence import one_line

_ROOT = str(Path(tf_lottery.__file__).parents[1])
# The package's folder goes to the end of the path: at the front (PYTHONPATH), site-packages would hide the standard
# library.
_START = f"import sys; sys.path.append({_ROOT!r}); "
_PROGRAM = f"{_START}from tf_lottery.export.run_tflite import main; sys.exit(main(sys.argv[1:]))"
_RACE = f"{_START}from tf_lottery.export.race_tflite import main; sys.exit(main(sys.argv[1:]))"


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
    _start([_PROGRAM, str(file), str(given), str(made)], limit)
    with np.load(made, allow_pickle=False) as archive:
        outputs = {name.removeprefix("output/"): archive[name] for name in archive.files if name.startswith("output/")}
        return LiteRTRun(outputs, float(archive["latency_us_median"]), int(archive["sparse_tensors"]))


def race_files(files: Sequence[Path], *, scratch: Path, timeout: float = 600) -> list[float]:
    """The median latency of each file in microseconds, measured in turn in one process.

    Raises:
        LiteRTFailed: if the process fails, crashes or does not end in time.
    """
    made = scratch / "race.json"
    _start([_RACE, str(made), *(str(file) for file in files)], timeout)
    return [float(value) for value in json.loads(made.read_text(encoding="utf-8"))]


def _start(program: list[str], timeout: float) -> None:
    command = [sys.executable, "-P", "-c", *program]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise LiteRTFailed(f"the LiteRT interpreter did not finish within {timeout:.0f} seconds") from None
    text = done.stderr.decode("utf-8", "replace")
    if disk := re.search(r"^OSError: \[Errno (\d+)\] ([^:\n]+)", text, re.MULTILINE):
        raise OSError(int(disk[1]), disk[2])
    if done.returncode:
        raise LiteRTFailed(_reason(done.returncode, text))


def _reason(code: int, text: str) -> str:
    if code < 0:
        return f"the LiteRT interpreter crashed with {signal.Signals(-code).name}"
    # A message may span lines: it starts at the traceback's only line that is neither indented nor its heading.
    found = re.findall(r"^[\w.]+(?:Error|Exception): (.+)", text, re.MULTILINE)
    return f"the LiteRT interpreter failed: {one_line(found[-1] if found else text or f'exit code {code}')}"
