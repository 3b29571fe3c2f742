"""Run an ONNX file in ONNX Runtime.

Usage: `python -m tf_lottery.exporting.formats.run_onnx FILE SAMPLES.npz OUT.npz`.

It is a program of its own because a bad file can crash the runtime, which must not take the export down. It imports
NumPy and ONNX Runtime only. SAMPLES.npz holds one array `(samples, ...)` per input, by name; OUT.npz receives those of
the outputs.
"""

import sys
from pathlib import Path

import numpy as np

from tf_lottery.utils.child_process import wrong_usage
from tf_lottery.utils.files import dump_arrays, load_arrays

_CHUNK = 256


def run(file: str, samples: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Run a file on samples, in batches of 256.

    Args:
        file: an ONNX file that takes any batch.
        samples: one array `(samples, ...)` per input, by name.

    Returns:
        Arrays `(samples, ...)` by the name of the output.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    count = len(next(iter(samples.values())))
    parts = [
        session.run(names, {name: array[start : start + _CHUNK] for name, array in samples.items()})
        for start in range(0, count, _CHUNK)
    ]
    return {name: np.concatenate(column) for name, column in zip(names, zip(*parts, strict=True), strict=True)}


def main(arguments: list[str]) -> int:
    """Run the program; the exit code is 0, or 2 for wrong arguments. Errors end with a traceback on stderr."""
    if len(arguments) != 3:
        return wrong_usage("tf_lottery.exporting.formats.run_onnx", "FILE SAMPLES.npz OUT.npz")
    file, samples, out = arguments
    Path(out).write_bytes(dump_arrays(run(file, load_arrays(Path(samples)))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
