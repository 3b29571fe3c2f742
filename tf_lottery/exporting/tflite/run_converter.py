"""Convert a SavedModel to a dense TFLite file.

Usage: `python -m tf_lottery.exporting.tflite.run_converter SAVED_MODEL PRECISION SAMPLES.npz OUT.tflite [BATCH]`.

It is a program of its own for int8 and int16x8: the converter then runs the model, to find the ranges of its values,
in an interpreter that crashes on some models, recurrent ones among them. That must not take the export down.

SAMPLES.npz holds one array `(samples, ...)` per input, by signature name.
"""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy.typing as npt

from tf_lottery.utils.child_process import wrong_usage
from tf_lottery.utils.files import load_arrays
from tf_lottery.utils.program_server import end_with_parent

NamedArrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Arrays `(samples, ...)` by the name of the input."""


def convert(source: str, *, precision: str, calibration: NamedArrays, batch: int = 1) -> bytes:
    """Convert a SavedModel to a dense TFLite file by TensorFlow's converter, in this process.

    Args:
        source: a name by which TensorFlow can open the SavedModel, which has the signature `serving_default`.
        precision: "float32", "float16", "dynamic", "int8" or "int16x8".
        calibration: for the last two: arrays `(samples, ...)` by input name; none for a model with ranges of its own,
            in operators of fake quantization.
        batch: the batch size of the SavedModel.

    Returns:
        The content of the file.

    Raises:
        Exception: of many kinds, by the converter; each means that the model cannot be converted so.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(source)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision in ("int8", "int16x8") and calibration:
        converter.representative_dataset = _batches(calibration, batch)
        kernels = tf.lite.OpsSet.TFLITE_BUILTINS_INT8
        if precision == "int16x8":
            kernels = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        converter.target_spec.supported_ops = [kernels, tf.lite.OpsSet.TFLITE_BUILTINS]
    with warnings.catch_warnings():
        # The converter calibrates with TensorFlow's own interpreter, which warns that LiteRT's should be used.
        warnings.filterwarnings("ignore", "[^A-Z]*Warning: tf.lite.Interpreter is deprecated", UserWarning)
        return cast(bytes, converter.convert())


def _batches(calibration: NamedArrays, batch: int) -> Callable[[], Iterator[dict[str, npt.NDArray[Any]]]]:
    """The calibration samples in batches, as the converter wants them; the last one is filled up by the first ones."""
    count = len(next(iter(calibration.values()), ()))
    return lambda: (
        {name: array.take(range(at, at + batch), axis=0, mode="wrap") for name, array in calibration.items()}
        for at in range(0, count, batch)
    )


def main(arguments: list[str]) -> int:
    """Run the program; the exit code is 0, or 2 for wrong arguments. Errors end with a traceback on stderr."""
    if len(arguments) not in (4, 5):
        expected = "SAVED_MODEL PRECISION SAMPLES.npz OUT.tflite [BATCH]"
        return wrong_usage("tf_lottery.exporting.tflite.run_converter", expected)
    end_with_parent()
    source, precision, samples, out, *batch = arguments
    calibration = load_arrays(Path(samples))
    content = convert(source, precision=precision, calibration=calibration, batch=int(batch[0]) if batch else 1)
    Path(out).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
