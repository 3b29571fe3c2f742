"""What a file of a model is: its format, and how it stores its weights, by its export's report or by its tensors."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.checks.checksums import digest
from tf_lottery.exporting.export_report import REPORT, FileRecord
from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.regular_files import read_regular

BASELINE_PRECISIONS = ("float32", "int8")
"""The precisions of the dense TFLite files that others are compared with."""

_WEIGHTS = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.FLOAT16: "float16",
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT4: "int4",
}


@dataclass(frozen=True)
class FileIdentity:
    """How a file stores its weights; None where that isn't known.

    Attributes:
        precision: one of `precision_names.PRECISIONS`; "mixed" only by a report, else "int4".
        encoding: "dense", "sparse", "slim" or "slim-sparse". A slim file that no report lists passes for dense.
    """

    precision: str | None = None
    encoding: str | None = None

    @property
    def baseline(self) -> str | None:
        """The precision of which the file can be the dense baseline, of `BASELINE_PRECISIONS`; None if of none."""
        return self.precision if self.encoding == "dense" and self.precision in BASELINE_PRECISIONS else None


def model_format(path: Path) -> str | None:
    """Return what a path holds: "tflite", "saved_model", "keras", or None."""
    if path.is_dir():
        return "saved_model" if (path / "saved_model.pb").is_file() else None
    return {".tflite": "tflite", ".keras": "keras"}.get(path.suffix)


def identify(path: Path) -> FileIdentity:
    """Return how a file stores its weights, by the report of its export where that lists these very bytes.

    Else by its tensors. Never fails: of a file that can't be read nothing is known.
    """
    if record := export_record(path):
        return FileIdentity(record.get("precision"), record.get("encoding"))
    if model_format(path) != "tflite":
        return FileIdentity()
    try:
        return _identify_by_tensors(flatbuffers.read(path))
    except Exception:  # what the reader raises for bytes that are no flatbuffer is anything
        return FileIdentity()


def export_record(path: Path) -> FileRecord | None:
    """Return the entry for these very bytes in the report of an export beside a file; None where there is none."""
    listed = [record for record in export_records(path.parent) if Path(str(record.get("path"))).name == path.name]
    return next((record for record in listed if record.get("sha256") == digest(path)), None)


def export_records(folder: Path) -> list[FileRecord]:
    """Return the files that the report of an export to a folder lists; none if it is missing or broken."""
    try:
        listed = parse_json(read_regular(folder / REPORT))["files"]
        return [record for record in listed if isinstance(record, Mapping)]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def stored_weights(model: Any) -> Iterator[tuple[Any, int, int]]:
    """Yield each stored weight of a `ModelT` tree that is no bias: the tensor, how many values and bytes it has."""
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            data = model.buffers[tensor.buffer].data
            shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
            if data is not None and len(data) and tensor.type in _WEIGHTS and len(shape) > 1:
                yield tensor, math.prod(shape), len(data)


def _identify_by_tensors(model: Any) -> FileIdentity:
    present = {_WEIGHTS[tensor.type] for tensor, _, _ in stored_weights(model)}
    tensors = [(tensor, model.buffers[tensor.buffer].data) for graph in model.subgraphs for tensor in graph.tensors]
    # Some weights stay as they are where others are rounded: embeddings in a float16 file, say.
    precision = next((name for name in ("int4", "int8", "float16") if name in present), "float32")
    computed = {
        graph.tensors[place].type
        for graph in model.subgraphs
        for operator in graph.operators
        if flatbuffers.operator_name(model, operator) != "DENSIFY"  # which restores weights
        for place in operator.outputs
    }
    if precision == "int8" and schema.TensorType.INT8 not in computed:
        precision = "int16x8" if schema.TensorType.INT16 in computed else "dynamic"
    sparse = any(tensor.sparsity is not None for tensor, data in tensors if data is not None and len(data))
    return FileIdentity(precision, "sparse" if sparse else "dense")


def models_in(folder: Path) -> list[Path]:
    """Return the models in a folder, in the order of their names; none where it is no folder."""
    children = sorted(folder.iterdir()) if folder.is_dir() else []
    return [child for child in children if model_format(child)]
