"""What is diagnosed: a file, or a Keras model as it becomes one."""

import logging
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import DamagedError, LotteryError, UnfitError, UsageError
from tf_lottery.exporting import slim
from tf_lottery.exporting.checks.samples import random_samples
from tf_lottery.exporting.diagnose.diagnosis_summary import describe_slimming
from tf_lottery.exporting.diagnose.free_sizes import JudgedSizes, sizes_of_file, sizes_of_model
from tf_lottery.exporting.diagnose.operations import read_operations
from tf_lottery.exporting.diagnose.race import Race, float32_files, race_export
from tf_lottery.exporting.input_shapes import InputShape, sizes_text
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.signature import Signature, signature_of
from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.exporting.tflite.dense_conversion import convert_dense
from tf_lottery.layers.kinds import kind_of
from tf_lottery.utils.files import reading
from tf_lottery.utils.regular_files import open_regular
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

logger = logging.getLogger(__name__)

_IDENTIFIER = slice(4, 8)


@dataclass(frozen=True)
class Subject:
    """What is diagnosed.

    Attributes:
        content: of the file that is judged.
        tree: its `ModelT` tree.
        label: the name of the model, or the path of the file.
        sizes: bytes of the files that an export would offer, by layout, or those of the file "as it is".
        judged: the sizes of its inputs.
        resized: the shapes to give to inputs that the file leaves free, by the number of the tensor.
        layers: the name to show by the name of the layer.
        slimming: a sentence on what slimming removes; empty for a file.
        raced: the files of its export.
    """

    content: bytes
    tree: Any
    label: str
    sizes: dict[str, int]
    judged: JudgedSizes
    resized: dict[int, list[int]]
    layers: dict[str, str] = field(default_factory=dict)
    slimming: str = ""
    raced: Race = Race()  # noqa: RUF009 - it can't be changed


def subject_of_file(path: Path, input_shape: InputShape) -> Subject:
    """Return a `.tflite` file, to be judged as it is.

    Args:
        path: of the file.
        input_shape: as of `diagnose`.

    Raises:
        UsageError: there is no such file, it is no `.tflite` file by its name, or `input_shape` does not fit it.
        DamagedError: it can't be read as TFLite.
    """
    content = read_file(path)
    tree = parse_file(content, str(path))
    judged, resized = sizes_of_file(tree, input_shape)
    return Subject(content, tree, str(path), {"as it is": len(content)}, judged, resized)


def subject_of_model(
    model: keras.Model,
    data: Mapping[str, Any] | None,
    *,
    name: str,
    race: bool,
    precision: str,
    max_drop: float,
    input_shape: InputShape,
) -> Subject:
    """Return a Keras model as its sparsest fast float32 file: that of its export, where files are raced.

    Args:
        model: as of `diagnose`.
        data: as of `diagnose`.
        name: of the files.
        race: as of `diagnose`.
        precision: as of `diagnose`.
        max_drop: as of `diagnose`.
        input_shape: as of `diagnose`.

    Raises:
        LotteryError: as of `diagnose`.
    """
    plain, _ = make_deployable(model)
    judged, signature = sizes_of_model(plain, input_shape=input_shape, samples=(data or {}).get("samples"))
    raced, failure = Race(), ""
    try:
        if race:
            raced = race_export(
                *(model, data or {}),
                name=name or "model",
                precision=precision,
                max_drop=max_drop,
                input_shape=input_shape,
            )
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds
        if data is not None:
            raise
        failure = one_line(error)
    files = raced.contents or float32_files(convert_model(plain, signature))
    if failure:
        logger.warning("The files could not be timed here: %s", failure)
    content = files.get("1x4") or files.get("rows") or files["dense"]
    tree = flatbuffers.read(content)
    return Subject(
        content,
        tree,
        plain.name,
        {layout: len(file) for layout, file in files.items()},
        judged,
        sizes_of_file(tree, judged.shapes)[1],
        layer_names(plain),
        slimmed(plain)[1],
        raced,
    )


def read_file(path: Path) -> bytes:
    """Return the content of a `.tflite` file.

    Raises:
        UsageError: it is no `.tflite` file by its name, or there is none.
    """
    if path.suffix != ".tflite":
        raise UsageError(f"{path} is no .tflite file by its name.", "Give a Keras model or a .tflite file.")
    with reading(path), open_regular(path) as file:
        return file.read()


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


def convert_model(model: keras.Model, signature: Signature, *, precision: str = "float32") -> bytes:
    """Return a model as a dense TFLite file.

    Args:
        model: a plain model.
        signature: the model's, with a size for each dimension.
        precision: "float32"; or "int8", whose ranges are those of random inputs: sizes and operators are meant, not
            outputs.

    Raises:
        UnfitError: it can't be converted.
        UsageError: random inputs can't be made for it.
    """
    calibration = None
    if precision == "int8":
        calibration = dict(zip(signature.inputs, random_samples(model, signature), strict=True))
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            return convert_dense(
                *(model, Path(folder)), precision=precision, calibration=calibration, signature=signature
            )
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds, each of which means: not this model
        raise UnfitError(
            f"{model.name!r} can't be converted to TFLite: {one_line(error)}.",
            "Replace the layer that makes this operation, or deploy the SavedModel."
            if not signature_of(model).dynamic
            else f"It was tried on inputs of {sizes_text(signature.shapes)}: give others by `input_shape`.",
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
