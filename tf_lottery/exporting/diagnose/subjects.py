"""What is diagnosed: a file, or a Keras model as it becomes one."""

import tempfile
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import DamagedError, LotteryError, UnfitError, UsageError
from tf_lottery.exporting import slim
from tf_lottery.exporting.checks.samples import random_samples
from tf_lottery.exporting.diagnose.diagnosis_summary import describe_slimming
from tf_lottery.exporting.diagnose.operations import read_operations
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.exporting.tflite.dense_conversion import convert_dense
from tf_lottery.layers.kinds import kind_of
from tf_lottery.utils.files import reading
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

_IDENTIFIER = slice(4, 8)


def read_file(path: Path) -> bytes:
    """Return the content of a `.tflite` file.

    Raises:
        UsageError: it is no `.tflite` file by its name, or there is none.
    """
    if path.suffix != ".tflite":
        raise UsageError(f"{path} is no .tflite file by its name.", "Give a Keras model or a .tflite file.")
    with reading(path):
        return path.read_bytes()


def parse_file(content: bytes, label: str) -> Any:
    """Return the `ModelT` tree of a file.

    Args:
        content: of the file.
        label: its name, for messages.

    Raises:
        DamagedError: it can't be read as TFLite.
    """
    remedy = "Export the model again, or take a backup."
    if content[_IDENTIFIER] != b"TFL3":
        raise DamagedError(f"{label} is no TFLite file: its bytes 4 to 7 are not 'TFL3'.", remedy)
    try:
        tree = flatbuffers.read(content)
        if not tree.subgraphs or not tree.buffers:
            raise ValueError("it holds no graph")
        read_operations(tree)
    except Exception as error:  # a flatbuffer of wrong offsets raises whatever it meets
        raise DamagedError(f"{label} is damaged: {one_line(error)}.", remedy) from error
    return tree


def convert_model(model: keras.Model, *, precision: str = "float32") -> bytes:
    """Return a model as a dense TFLite file.

    Args:
        model: a plain model.
        precision: "float32"; or "int8", whose ranges are those of random inputs: sizes and operators are meant, not
            outputs.

    Raises:
        UnfitError: it can't be converted, or its inputs have dynamic shapes.
        UsageError: random inputs can't be made for it.
    """
    signature = signature_of(model)
    if signature.dynamic:
        raise UnfitError(
            f"{model.name!r} has inputs of the shapes {list(signature.shapes)}: only the batch may be dynamic here.",
            "Give every other dimension a size in `keras.Input`.",
        )
    calibration = None
    if precision == "int8":
        calibration = dict(zip(signature.inputs, random_samples(model, signature), strict=True))
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            return convert_dense(model, Path(folder), precision=precision, calibration=calibration)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds, each of which means: not this model
        raise UnfitError(
            f"{model.name!r} can't be converted to TFLite: {one_line(error)}.",
            "Replace the layer that makes this operation, or deploy the SavedModel.",
        ) from error


def layer_names(model: keras.Model) -> dict[str, str]:
    """Return the name to show by layer name: of a folded batch normalization that of the layer before it."""
    names = {}
    for layer in model._flatten_layers():
        names[layer.name] = layer.name
        if kind_of(layer).folded_by_tflite and len(layer._inbound_nodes) == 1:
            (before,) = layer._inbound_nodes[0].parent_nodes or (None,)
            if before is not None and getattr(before.operation, "weights", None):
                names[layer.name] = before.operation.name
    return names


def slimmed(model: keras.Model) -> tuple[keras.Model | None, str]:
    """Return the slimmed model, None if nothing can be removed, and a sentence on what is removed or why not."""
    try:
        with quiet():
            slim_model, report = slim.slim(model)
    except (MemoryError, OSError):
        raise
    except LotteryError as error:
        return None, f"Slimming: not possible: {one_line(error.cause)}"
    except Exception as error:  # a layer of the user's may raise anything when it is rebuilt
        return None, f"Slimming: not possible: {type(error).__name__}: {one_line(error)}"
    return slim_model if report.parameters_after < report.parameters_before else None, describe_slimming(report)
