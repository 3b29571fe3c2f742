"""TFLite metadata: what the TFLite Task libraries, ML Kit and MediaPipe read of a file beside its graph.

It is a flatbuffer of the schema `metadata_schema.fbs` in one more buffer of the file, and a zip archive of lists of
labels behind the file's end, which no interpreter reads. The tables are written by their public field numbers: of the
libraries that have the schema, one has no builds for current versions of Python, the other brings 130 MB.
"""

import io
import zipfile
from collections.abc import Mapping
from typing import Any, TypeAlias

import flatbuffers as builders
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.file_metadata import FileMetadata, TensorDescription
from tf_lottery.exporting.tflite import flatbuffers, graph_edits

_NAME, _IDENTIFIER = b"TFLITE_METADATA", b"M001"
_PARSER = "1.0.0"  # the first version of the schema has all the fields that are written

SchemaTable: TypeAlias = Mapping[int, Any]
"""Values of a flatbuffer's table by the number of the field: texts, tables, lists of one of these or of floats, and
whole numbers of one byte (enumerations and types of unions). Empty ones and None are left out."""

# Numbers of fields and values in the schema.
_FEATURE, _IMAGE = 1, 2  # kinds of content
_COLOR_SPACES = {"RGB": 1, "GRAYSCALE": 2}
_NORMALIZATION = 1  # a kind of process unit
_AXIS_LABELS = 2  # a type of associated file


def with_metadata(content: bytes, metadata: FileMetadata) -> bytes:
    """Return a TFLite file with metadata, and with its lists of labels as a zip archive at its end.

    Args:
        content: a file with one signature and without metadata.
        metadata: of the inputs and outputs, by the names that they have in the signature.
    """
    model = flatbuffers.read(content)
    encoded = encode(_model_table(model, metadata))
    entry = schema.MetadataT()
    entry.name, entry.buffer = _NAME, graph_edits.add_buffer(model, np.frombuffer(encoded, np.uint8))
    model.metadata = [*(model.metadata or []), entry]
    return _with_files(flatbuffers.write(model), metadata.label_files())


def encode(table: SchemaTable) -> bytes:
    """Return a table of the metadata's schema as a flatbuffer."""
    builder = builders.Builder(1024)
    builder.Finish(_write(builder, table), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


def _model_table(model: Any, metadata: FileMetadata) -> SchemaTable:
    graph, signature = model.subgraphs[0], model.signatureDefs[0]
    tensors = []
    for places, entries, described in (
        (graph.inputs, signature.inputs, metadata.inputs),
        (graph.outputs, signature.outputs, metadata.outputs),
    ):
        names = {int(entry.tensorIndex): entry.name.decode() for entry in entries}
        ordered = [names.get(int(place), "") for place in places]
        tensors.append([_tensor_table(name, described.get(name, TensorDescription()), metadata) for name in ordered])
    return {
        0: metadata.name,
        1: metadata.description,
        3: [{2: tensors[0], 3: tensors[1]}],
        7: _PARSER,
    }


def _tensor_table(name: str, tensor: TensorDescription, metadata: FileMetadata) -> SchemaTable:
    color_space = _COLOR_SPACES.get(tensor.color_space)
    content = {0: _FEATURE, 1: {}} if color_space is None else {0: _IMAGE, 1: {0: color_space}}
    scaling = [{0: _NORMALIZATION, 1: {0: list(tensor.mean), 1: list(tensor.std)}}] if tensor.std else None
    known = tensor.minimum is not None and tensor.maximum is not None
    return {
        0: name,
        1: tensor.description,
        2: list(tensor.dimensions),
        3: content,
        4: scaling,
        5: {0: [tensor.maximum], 1: [tensor.minimum]} if known else None,
        6: [{0: metadata.label_file(name), 2: _AXIS_LABELS}] if tensor.labels else None,
    }


def _write(builder: Any, value: Any) -> int:
    """Write a text, a table or a list, and return its place; what it refers to is written before it."""
    if isinstance(value, str):
        return int(builder.CreateString(value))
    if isinstance(value, Mapping):
        return _write_table(builder, value)
    if isinstance(value[0], float):
        return int(builder.CreateNumpyVector(np.asarray(value, np.float32)))
    places = [_write(builder, item) for item in value]
    builder.StartVector(4, len(places), 4)
    for place in reversed(places):
        builder.PrependUOffsetTRelative(place)
    return int(builder.EndVector())


def _write_table(builder: Any, table: SchemaTable) -> int:
    present = {field: value for field, value in table.items() if value not in (None, "", [])}
    places = {field: value if isinstance(value, int) else _write(builder, value) for field, value in present.items()}
    builder.StartObject(max(table, default=-1) + 1)
    for field, place in places.items():
        if isinstance(present[field], int):
            builder.PrependUint8Slot(field, place, 0)
        else:
            builder.PrependUOffsetTRelativeSlot(field, place, 0)
    return int(builder.EndObject())


def _with_files(content: bytes, files: Mapping[str, tuple[str, ...]]) -> bytes:
    """The content with a zip archive of lists behind it, stored without compression, as readers map them."""
    if not files:
        return content
    stream = io.BytesIO(content)
    with zipfile.ZipFile(stream, "a") as archive:
        for name, lines in files.items():
            # A date that does not change: of the same model comes the same file.
            archive.writestr(zipfile.ZipInfo(name), "".join(f"{line}\n" for line in lines))
    return stream.getvalue()
