"""The rulers of a benchmark: the dense float32 and dense int8 TFLite file of a network, which others are held against.

A pruned file earns its place only where it beats both: int8 alone makes a file four times smaller, and mostly faster.
A file of another network is no ruler, so `networks` sorts the files first.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.exporting.checks.checksums import digest
from tf_lottery.exporting.export_report import REPORT
from tf_lottery.exporting.measure.measuring import kind_of
from tf_lottery.exporting.tflite import flatbuffers

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
    if record := _exported(path):
        return Identity(record.get("precision"), record.get("encoding"))
    if kind_of(path) != "tflite":
        return Identity()
    try:
        return _of_tensors(flatbuffers.read(path))
    except Exception:  # what the reader raises for bytes that are no flatbuffer is anything
        return Identity()


@dataclass
class Network:
    """Files that are of one network, as far as one can tell.

    Attributes:
        files: in the order given.
        rulers: path by precision, of a file among them or exported beside them; missing ones are left out.
        border: shapes of its inputs and of its outputs, None where no file tells.
    """

    files: list[Path]
    rulers: dict[str, Path]
    border: Any = None


def networks(files: Sequence[Path]) -> list[Network]:
    """Sort files by the network that they store, and find the rulers of each.

    Files are of one network if one export wrote them, or if shapes of inputs and outputs and sizes of all weights are
    equal: sparse encoding and precision change neither, slimming does. A file that tells nothing of this (Keras files,
    SavedModels) belongs to the only network in its folder, or to the only one at all.

    Args:
        files: to be measured; dense files that were exported to their folders come along where they are needed.
    """
    neighbours = [
        folder / Path(str(record.get("path"))).name
        for folder in dict.fromkeys(file.parent for file in files)
        for record in _records(folder)
        if record.get("format") == "tflite" and record.get("encoding") == "dense"
    ]
    groups: list[tuple[set[Any], list[Path]]] = []
    silent = []
    for file in dict.fromkeys([*files, *neighbours]):
        clues = _clues(file) if file.exists() else set()
        if not clues:
            silent.append(file)
            continue
        same = [group for group in groups if group[0] & clues]
        groups = [group for group in groups if not group[0] & clues]
        groups.append((clues.union(*(group[0] for group in same)), [*(f for group in same for f in group[1]), file]))
    for file in silent:
        near = [group for group in groups if any(other.parent == file.parent for other in group[1])]
        (chosen,) = near if len(near) == 1 else groups if len(groups) == 1 else [(set(), [])]
        if not chosen[1]:
            groups.append(chosen)
        chosen[1].append(file)
    found = [_network(clues, members, files) for clues, members in groups]
    return sorted((network for network in found if network.files), key=lambda each: files.index(each.files[0]))


def border_of(path: Path) -> Any:
    """The shapes of a TFLite file's inputs and of its outputs without the batch, in any order; None if unreadable."""
    return next((clue[0] for clue in _clues(path) if isinstance(clue, tuple)), None)


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
    from tf_lottery.exporting.checks.samples import random_samples
    from tf_lottery.exporting.signature import signature_of
    from tf_lottery.exporting.tflite.tflite_writer import convert_dense

    signature = signature_of(model)
    arrays = [array[:_CALIBRATION_SAMPLES] for array in random_samples(model, signature)]
    calibration = dict(zip(signature.inputs, arrays, strict=True))
    file = folder / f"ruler_{precision}_dense.tflite"
    file.write_bytes(convert_dense(model, folder, precision=precision, calibration=calibration))
    return file


def _network(clues: set[Any], members: Sequence[Path], files: Sequence[Path]) -> Network:
    given = [file for file in files if file in members]
    rulers: dict[str, Path] = {}
    for file in [*given, *(file for file in members if file not in given)]:
        if kind_of(file) == "tflite" and file.is_file() and (precision := identify(file).ruler):
            rulers.setdefault(precision, file)
    border = next((clue[0] for clue in clues if isinstance(clue, tuple)), None)
    return Network(given, rulers, border)


def _clues(path: Path) -> set[Any]:
    """What tells a file's network: the folder of its export; the shapes at its border with the sizes of its weights."""
    record = _exported(path)
    clues: set[Any] = {path.parent.absolute()} if record else set()
    if kind_of(path) != "tflite" or not path.is_file():
        return clues
    try:
        model = flatbuffers.read(path)
        graph = model.subgraphs[0]
        border = tuple(
            tuple(sorted(tuple(int(size) for size in graph.tensors[place].shape[1:]) for place in places))
            for places in (graph.inputs, graph.outputs)
        )
    except Exception:  # what the reader raises for bytes that are no flatbuffer is anything
        return clues
    slim = record is not None and "slim" in str(record.get("encoding"))
    weights = () if slim else tuple(sorted(size for _, size, _ in _weights(model)))
    return clues | {(border, path.parent.absolute() if slim else weights)}


def _weights(model: Any) -> Iterator[tuple[Any, int, int]]:
    """Each stored weight that is no bias: the tensor, how many values it has, how many bytes it takes."""
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is not None and len(data) and tensor.type in _WEIGHTS and len(_shape(tensor)) > 1:
                yield tensor, math.prod(_shape(tensor)), len(data)


def _shape(tensor: Any) -> list[int]:
    return [] if tensor.shape is None else [int(size) for size in tensor.shape]


def _of_tensors(model: Any) -> Identity:
    stored: dict[str, int] = {}
    for tensor, _, count in _weights(model):
        stored[_WEIGHTS[tensor.type]] = stored.get(_WEIGHTS[tensor.type], 0) + count
    tensors = [(tensor, model.buffers[tensor.buffer].data) for graph in model.subgraphs for tensor in graph.tensors]
    precision = max(stored, key=lambda name: stored[name], default="float32")
    computed = [tensor.type for tensor, data in tensors if data is None or not len(data)]
    if precision == "int8" and flatbuffers.schema.TensorType.INT8 not in computed:
        precision = "dynamic"
    sparse = any(tensor.sparsity is not None for tensor, data in tensors if data is not None and len(data))
    return Identity(precision, "sparse" if sparse else "dense")


def _exported(path: Path) -> Mapping[str, Any] | None:
    """What the report of an export beside a file says of these very bytes."""
    listed = [record for record in _records(path.parent) if Path(str(record.get("path"))).name == path.name]
    return next((record for record in listed if record.get("sha256") == digest(path)), None)


def _records(folder: Path) -> list[Mapping[str, Any]]:
    """The files that the report of an export to the folder lists; none if there is no such report, or a broken one."""
    try:
        listed = json.loads((folder / REPORT).read_text(encoding="utf-8"))["files"]
        return [record for record in listed if isinstance(record, Mapping)]
    except (OSError, ValueError, KeyError, TypeError):
        return []
