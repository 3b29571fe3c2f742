"""The rulers of a benchmark: the dense float32 and the dense int8 TFLite file that all others are held against.

A pruned file earns its place only where it beats both: int8 alone makes a file four times smaller, and mostly faster.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.export import flatbuffers
from tf_lottery.export.integrity import digest
from tf_lottery.export.report import REPORT
from tf_lottery.measurement.measuring import kind_of

if TYPE_CHECKING:
    import keras

PRECISIONS = ("float32", "int8")
_WEIGHTS = {
    flatbuffers.schema.TensorType.FLOAT32: "float32",
    flatbuffers.schema.TensorType.FLOAT16: "float16",
    flatbuffers.schema.TensorType.INT8: "int8",
}
_CALIBRATION_SAMPLES = 64


@dataclass(frozen=True)
class Identity:
    """How a file stores its weights; None where that isn't known.

    Attributes:
        precision: "float32", "float16", "dynamic" or "int8".
        encoding: "dense", "sparse", "slim" or "slim-sparse". A slim file that no report tells of passes for dense.
    """

    precision: str | None = None
    encoding: str | None = None

    @property
    def ruler(self) -> str | None:
        """The precision of which the file can be the ruler."""
        return self.precision if self.encoding == "dense" and self.precision in PRECISIONS else None


def identify(path: Path) -> Identity:
    """What a file is, by the report of its export where that lists these very bytes, else by its tensors.

    Never fails: of a file that can't be read nothing is known.
    """
    for record in _records(path.parent):
        if Path(str(record.get("path"))).name == path.name and record.get("sha256") == digest(path):
            return Identity(record.get("precision"), record.get("encoding"))
    if kind_of(path) != "tflite":
        return Identity()
    try:
        return _of_tensors(flatbuffers.read(path))
    except Exception:  # what the reader raises for bytes that are no flatbuffer is anything
        return Identity()


def find_rulers(files: Sequence[Path]) -> dict[str, Path]:
    """The first ruler of each precision among the files, else among what was exported to their folders.

    Returns:
        Paths by precision; those that are missing are left out.
    """
    neighbours = [
        folder / Path(str(record.get("path"))).name
        for folder in dict.fromkeys(file.parent for file in files)
        for record in _records(folder)
        if record.get("format") == "tflite" and record.get("encoding") == "dense"
    ]
    found: dict[str, Path] = {}
    for file in [*files, *neighbours]:
        if kind_of(file) == "tflite" and file.is_file():
            ruler = identify(file).ruler
            if ruler is not None:
                found.setdefault(ruler, file)
    return found


def make_ruler(model: "keras.Model", folder: Path, precision: str) -> Path:
    """Convert a plain model to a dense TFLite file, int8 with ranges found on random samples.

    That is enough for a ruler of size and speed, and says nothing about the accuracy of such a file.

    Args:
        model: a plain model.
        folder: an existing folder to write to.
        precision: "float32" or "int8".

    Raises:
        Exception: of many kinds, by the converter; each means that the model can't be converted so.
    """
    from tf_lottery.export.samples import random_samples
    from tf_lottery.export.signature import signature_of
    from tf_lottery.export.tflite import convert_dense

    signature = signature_of(model)
    arrays = [array[:_CALIBRATION_SAMPLES] for array in random_samples(model, signature)]
    calibration = dict(zip(signature.inputs, arrays, strict=True))
    file = folder / f"ruler_{precision}_dense.tflite"
    file.write_bytes(convert_dense(model, folder, precision=precision, calibration=calibration))
    return file


def _of_tensors(model: Any) -> Identity:
    stored: dict[str, int] = {}
    sparse, computed_int8 = False, False
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data):
                computed_int8 = computed_int8 or tensor.type == flatbuffers.schema.TensorType.INT8
                continue
            sparse = sparse or tensor.sparsity is not None
            if tensor.type in _WEIGHTS and tensor.shape is not None and len(tensor.shape) > 1:  # no biases
                stored[_WEIGHTS[tensor.type]] = stored.get(_WEIGHTS[tensor.type], 0) + len(data)
    precision = max(stored, key=lambda name: stored[name], default="float32")
    if precision == "int8" and not computed_int8:
        precision = "dynamic"
    return Identity(precision, "sparse" if sparse else "dense")


def _records(folder: Path) -> list[Mapping[str, Any]]:
    """The files that the report of an export to the folder lists; none if there is no such report, or a broken one."""
    try:
        listed = json.loads((folder / REPORT).read_text(encoding="utf-8"))["files"]
        return [record for record in listed if isinstance(record, Mapping)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
