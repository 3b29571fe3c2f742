"""Make the dense baselines of a network that lacks them: a dense float32 and a dense int8 TFLite file.

A pruned file earns its place only where it beats both: int8 alone makes a file four times smaller, and mostly faster.
"""

from pathlib import Path

import keras

from tf_lottery.exporting.checks.samples import random_samples
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.tflite.tflite_writer import convert_dense

_CALIBRATION_SAMPLES = 64


def make_baseline(model: keras.Model, folder: Path, precision: str) -> Path:
    """Convert a plain model to a dense TFLite file, int8 with ranges measured on random samples.

    That is enough for a baseline of size and speed, and shows nothing about the accuracy of such a file.

    Args:
        model: a plain model.
        folder: an existing folder to write to.
        precision: "float32" or "int8".

    Raises:
        Exception: of many kinds, by the converter; each means that the model can't be converted so.
    """
    signature = signature_of(model)
    arrays = [array[:_CALIBRATION_SAMPLES] for array in random_samples(model, signature)]
    calibration = dict(zip(signature.inputs, arrays, strict=True))
    file = folder / f"baseline_{precision}_dense.tflite"
    file.write_bytes(convert_dense(model, folder, precision=precision, calibration=calibration))
    return file
