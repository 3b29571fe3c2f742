"""Convert a model to a dense TFLite file by TensorFlow's converter.

For int8 and int16x8 the converter runs the model to find the ranges of values, and can crash in doing so (recurrent
layers): a process of its own, though it takes seconds to start, makes that a refusal.
"""

import tempfile
from pathlib import Path

import keras

from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.precision_names import CALIBRATED
from tf_lottery.exporting.signature import Signature
from tf_lottery.exporting.tflite import run_converter
from tf_lottery.exporting.tflite.run_converter import NamedArrays
from tf_lottery.exporting.tflite.tensor_names import shorten_names
from tf_lottery.utils.child_process import program, run_program
from tf_lottery.utils.files import dump_arrays
from tf_lottery.utils.tensorflow_paths import openable

_CONVERTER = program("tf_lottery.exporting.tflite.run_converter")


def convert(
    source: Path, *, precision: str = "float32", calibration: NamedArrays | None = None, batch: int = 1
) -> bytes:
    """Convert a SavedModel to a dense TFLite file, with inputs and outputs as in the SavedModel.

    Args:
        source: the folder of a SavedModel with the signature `serving_default` and a fixed batch size.
        precision: "float32"; "float16" weights; "dynamic": int8 weights, float32 between the layers; "int8" throughout;
            "int16x8": int8 weights, int16 between the layers.
        calibration: for the last two: arrays `(samples, ...)` by input name; None for a model with ranges of its own.
        batch: the batch size.

    Returns:
        The content of the file.

    Raises:
        Exception: of many kinds, by the converter; each means that the model cannot be converted so.
    """
    with openable(source) as name:
        if precision not in CALIBRATED or not calibration:
            return shorten_names(run_converter.convert(name, precision=precision, calibration={}))
        with tempfile.TemporaryDirectory(dir=source.parent) as folder:
            samples, converted = Path(folder) / "samples.npz", Path(folder) / "converted.tflite"
            samples.write_bytes(dump_arrays(calibration))
            run_program(
                _CONVERTER, [name, precision, samples, converted, str(batch)], name=f"the {precision} converter"
            )
            return shorten_names(converted.read_bytes())


def convert_dense(
    model: keras.Model,
    folder: Path,
    *,
    precision: str = "float32",
    calibration: NamedArrays | None = None,
    batch: int | None = 1,
    signature: Signature | None = None,
) -> bytes:
    """Convert a plain Keras model to a dense TFLite file.

    Args:
        model: a plain model.
        folder: an existing one, for the SavedModel between them, which is made once for all precisions.
        precision: as of `convert`.
        calibration: as of `convert`.
        batch: the batch size; None for any.
        signature: the model's, in which dynamic shapes may be fixed; by default its own.

    Returns:
        The content of the file.

    Raises:
        Exception: of many kinds, by the converter; each means that the model cannot be converted so.
    """
    source = folder / f"tflite_source{'' if batch else '_of_any_batch'}"
    if not source.exists():
        saved_model.save(model, source, batch=batch, signature=signature)
    return convert(source, precision=precision, calibration=calibration, batch=batch or 1)
