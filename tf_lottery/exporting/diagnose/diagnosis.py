"""What will a pruned model's zeros be worth at run time? Operation by operation, with reasons and advice."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import DamagedError, LotteryError, NonFiniteError, ResourceError, UnfitError, UsageError
from tf_lottery.exporting import slim as slimming
from tf_lottery.exporting.diagnose import summary
from tf_lottery.exporting.diagnose.clusters import find_clusters
from tf_lottery.exporting.diagnose.delegation import NotLoaded, delegated
from tf_lottery.exporting.diagnose.operations import Operation, operations
from tf_lottery.exporting.diagnose.processor import Processor, processor
from tf_lottery.exporting.diagnose.runtime_rules import zeros, zeros_in_blocks
from tf_lottery.exporting.diagnose.verdicts import Verdict, judge
from tf_lottery.exporting.plain import deployable
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.tflite import encoding, flatbuffers
from tf_lottery.exporting.tflite import tflite_writer as tflite
from tf_lottery.layers.kinds import kind_of
from tf_lottery.utils.files import json_text
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line

SCHEMA = "tf-lottery.doctor/1"
_IDENTIFIER = slice(4, 8)


@dataclass(frozen=True)
class Diagnosis:
    """Operations with their verdicts, and what they come to.

    Attributes:
        model: what was diagnosed.
        operations, verdicts: in equal order, those of the main graph first.
        summary: sentences.
        processor: of the machine.
    """

    model: str
    operations: tuple[Operation, ...]
    verdicts: tuple[Verdict, ...]
    summary: tuple[str, ...]
    processor: Processor

    def to_json(self) -> dict[str, Any]:
        """Return the diagnosis as JSON values."""
        records = [_record(each, verdict) for each, verdict in zip(self.operations, self.verdicts, strict=True)]
        return {
            "schema": SCHEMA,
            "model": self.model,
            "processor": self.processor.name,
            "ops": records,
            "summary": list(self.summary),
        }

    def dumps(self) -> str:
        """The document as text."""
        return json_text(self.to_json(), indent=2)


def diagnose(model: keras.Model | str | Path, *, name: str = "", machine: Processor | None = None) -> Diagnosis:
    """Say of every operation of a model how the default LiteRT interpreter will run it.

    A Keras model is stripped and converted to float32 TFLite, its weights encoded as `export` encodes them. A `.tflite`
    file is read as it is.

    Args:
        model: a built functional or Sequential model, wrapped or plain; or the path of a `.tflite` file.
        name: what it is called; by default the model's name or the file's path.
        machine: the processor to speak of; by default this machine's.

    Raises:
        UsageError: there is no such file, or it is no `.tflite` file by its name.
        UnfitError: the model can't be converted (the message names what can't), has dynamic or string inputs, is
            subclassed, or is not built.
        NonFiniteError: a weight is NaN or infinite.
        DamagedError: the file can't be read as TFLite.

    Example:
        `print(*diagnose(model).summary, sep="\\n")`
    """
    machine = machine or processor()
    plain = None
    if isinstance(model, str | Path):
        content, layers, label = _read(Path(model)), {}, str(model)
        sizes = {"as it is": len(content)}
        tree = _tree(content, label)
    else:
        plain, _ = deployable(model)
        dense, layers, label = _converted(plain), _names(plain), plain.name
        files = _files(dense)
        content = files.get("1x4") or files.get("rows") or dense
        sizes = {name: len(file) for name, file in files.items()}
        tree = flatbuffers.read(content)
    graphs = {number: operations(tree, subgraph=number, layers=layers) for number in range(len(tree.subgraphs))}
    # Of the bodies of loops and branches, which are long, only what has weights.
    found = [each for number, graph in graphs.items() for each in graph if not number or each.weights is not None]
    _check_finite(found, label)
    taken, trouble = _delegated(content)
    clusters = {
        number: find_clusters(graph, [int(tensor) for tensor in tree.subgraphs[number].outputs])
        for number, graph in graphs.items()
    }
    some_sparse = any(each.encoding not in ("", "dense") for each in found)
    verdicts = [
        judge(
            each,
            clusters[each.subgraph],
            machine,
            encoded=some_sparse,
            chosen="dense" in sizes,
            taken=_is_taken(each, taken),
        )
        for each in found
    ]
    lines = summary.sentences(
        found,
        verdicts,
        machine,
        sizes=sizes,
        taken=taken,
        trouble=trouble,
        slimmed="" if plain is None else _slimmed(plain),
    )
    return Diagnosis(name or label, tuple(found), tuple(verdicts), tuple(lines), machine)


def _files(dense: bytes) -> dict[str, bytes]:
    """The float32 files that `export` offers, by their layouts."""
    rows, row_count, _ = encoding.encode(dense, precision="float32", blocks=False)
    blocks, _, block_count = encoding.encode(dense, precision="float32", blocks=True)
    files = {"dense": dense}
    if block_count and len(blocks) < len(dense):
        files["1x4"] = blocks
    if row_count and len(rows) < len(dense) and (not block_count or len(rows) < len(blocks)):
        files["rows"] = rows
    return files


def _slimmed(model: keras.Model) -> str:
    """What slimming would remove; it is one line of several, so its failure is told there."""
    try:
        with quiet():
            return summary.slimming(slimming.slim(model)[1])
    except (MemoryError, OSError):
        raise
    except LotteryError as error:
        return f"Slimming: not possible: {one_line(error.cause)}"
    except Exception as error:  # a layer of the user's may raise anything when it is rebuilt
        return f"Slimming: not possible: {type(error).__name__}: {one_line(error)}"


def _record(operation: Operation, verdict: Verdict) -> dict[str, Any]:
    weights = operation.weights
    return {
        "index": operation.index,
        "subgraph": operation.subgraph,
        "op": operation.kind,
        "name": operation.name,
        "weights_shape": None if weights is None else list(weights.shape),
        "precision": operation.precision or None,
        "encoding": operation.encoding or None,
        "zeros": None if weights is None else round(zeros(weights), 6),
        "blocks_1x4": _rounded(zeros_in_blocks(operation, 4)),
        "blocks_1x16": _rounded(zeros_in_blocks(operation, 16)),
        "verdict": verdict.kind,
        "reasons": [finding.reason for finding in verdict.findings],
        "advice": [finding.advice for finding in verdict.findings if finding.advice],
    }


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _read(path: Path) -> bytes:
    if path.suffix != ".tflite":
        raise UsageError(f"{path} is no .tflite file by its name.", "Give a Keras model or a .tflite file.")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"The file {path} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder, not a .tflite file.", "Give the path of the file.") from error
    except PermissionError as error:
        raise ResourceError(f"The file {path} may not be read.", "Give yourself the right to read it.") from error


def _tree(content: bytes, label: str) -> Any:
    remedy = "Export the model again, or take a backup."
    if content[_IDENTIFIER] != b"TFL3":
        raise DamagedError(f"{label} is no TFLite file: its bytes 4 to 7 are not 'TFL3'.", remedy)
    try:
        tree = flatbuffers.read(content)
        if not tree.subgraphs or not tree.buffers:
            raise ValueError("it holds no graph")
        operations(tree)
    except Exception as error:  # a flatbuffer of wrong offsets raises whatever it meets
        raise DamagedError(f"{label} is damaged: {one_line(error)}.", remedy) from error
    return tree


def _converted(model: keras.Model) -> bytes:
    signature = signature_of(model)
    if signature.dynamic:
        raise UnfitError(
            f"{model.name!r} has inputs of the shapes {list(signature.shapes)}: only the batch may be dynamic here.",
            "Give every other dimension a size in `keras.Input`.",
        )
    try:
        with tempfile.TemporaryDirectory() as folder, quiet():
            return tflite.convert_dense(model, Path(folder))
    except (MemoryError, OSError):
        raise
    except Exception as error:  # the converter raises many kinds, each of which means: not this model
        raise UnfitError(
            f"{model.name!r} can't be converted to TFLite: {one_line(error)}.",
            "Replace the layer that makes this operation, or deploy the SavedModel.",
        ) from error


def _names(model: keras.Model) -> dict[str, str]:
    """Layer names, each with the one to tell: a folded batch normalisation's is that of the layer before it."""
    names = {}
    for layer in model._flatten_layers():
        names[layer.name] = layer.name
        if kind_of(layer).folded_by_tflite and len(layer._inbound_nodes) == 1:
            (before,) = layer._inbound_nodes[0].parent_nodes or (None,)
            if before is not None and getattr(before.operation, "weights", None):
                names[layer.name] = before.operation.name
    return names


def _check_finite(found: Sequence[Operation], label: str) -> None:
    for each in found:
        if each.weights is not None and each.weights.dtype.kind == "f":
            bad = int((~np.isfinite(each.weights)).sum())
            if bad:
                raise NonFiniteError(
                    f"{label}: {each.label} has {bad} NaN or infinite of {each.weights.size} weights.",
                    "Export an earlier round, or train again with a smaller learning rate.",
                )


def _delegated(content: bytes) -> tuple[set[int] | None, str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(content)
        try:
            return delegated(file), ""
        except NotLoaded as error:
            return None, str(error)


def _is_taken(operation: Operation, taken: set[int] | None) -> bool | None:
    return None if taken is None or operation.subgraph else operation.position in taken
