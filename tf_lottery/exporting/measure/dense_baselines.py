"""Make the dense baselines of a network that lacks them: a dense float32 and a dense int8 TFLite file.

A pruned file earns its place only where it beats both: int8 alone makes a file four times smaller, and mostly faster.
"""

from pathlib import Path
from typing import Any

import keras
import numpy.typing as npt

from tf_lottery.exporting.checks.samples import flat_samples, random_samples
from tf_lottery.exporting.input_shapes import InputShape, fix_shapes
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.tflite.dense_conversion import convert_dense

_CALIBRATION_SAMPLES = 64


def check_calibration(model: keras.Model, calibration: Any) -> list[npt.NDArray[Any]]:
    """Return calibration samples in the order of a model's inputs, in their dtypes.

    Args:
        model: a plain model.
        calibration: inputs `(samples, ...)`, by name for several.

    Raises:
        UsageError: the names are not those of the model's inputs.
        UnfitError: a shape or a dtype does not fit the model.
        NonFiniteError: a sample has NaN or infinite values.
    """
    return flat_samples(model, signature_of(model), calibration, part="Calibration samples")


def make_baseline(
    model: keras.Model, folder: Path, precision: str, *, calibration: Any = None, input_shape: InputShape = None
) -> Path:
    """Convert a plain model to a dense TFLite file, int8 with ranges measured on samples.

    Random ones are enough for a baseline of size and speed, and show nothing about the accuracy of such a file.

    Args:
        model: a plain model.
        folder: an existing folder to write to.
        precision: "float32" or "int8".
        calibration: inputs `(samples, ...)`, by name for several; None for random ones.
        input_shape: of random ones, as of `bench`. The file takes the sizes that the model takes.

    Raises:
        Exception: of many kinds, by the converter; each means that the model can't be converted so.
    """
    signature = signature_of(model)
    if calibration is None:
        arrays = [array[:_CALIBRATION_SAMPLES] for array in random_samples(model, fix_shapes(signature, input_shape))]
    else:
        arrays = check_calibration(model, calibration)
    ranges = dict(zip(signature.inputs, arrays, strict=True))
    file = folder / f"baseline_{precision}_dense.tflite"
    file.write_bytes(convert_dense(model, folder, precision=precision, calibration=ranges))
    return file
