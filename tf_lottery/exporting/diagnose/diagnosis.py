"""`diagnose`: what a pruned model's zeros are worth at run time, operation by operation, with reasons and advice."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import NonFiniteError
from tf_lottery.exporting.diagnose.clusters import find_clusters
from tf_lottery.exporting.diagnose.delegation import NotLoadedError, delegated_positions
from tf_lottery.exporting.diagnose.diagnosis_summary import summarize
from tf_lottery.exporting.diagnose.micro import MICRO, judge_for_micro, summarize_for_micro
from tf_lottery.exporting.diagnose.operations import Operation, read_operations
from tf_lottery.exporting.diagnose.processor import Processor, describe_processor
from tf_lottery.exporting.diagnose.race import check_race, float32_files, race_export
from tf_lottery.exporting.diagnose.race import race as race_files
from tf_lottery.exporting.diagnose.runtime_rules import zero_block_share, zero_share
from tf_lottery.exporting.diagnose.subjects import convert_model, layer_names, parse_file, read_file, slimmed
from tf_lottery.exporting.diagnose.verdicts import OperationVerdict, judge_operation
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.tflite import flatbuffers
from tf_lottery.exporting.tflite.integer_io import FloatAtTheEdgeError, with_integer_io
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.utils.files import json_text
from tf_lottery.utils.html import table

SCHEMA = "tf-lottery.doctor/1"
_HTML_COLUMNS = ("op", "name", "weights_shape", "zeros", "verdict", "reasons", "advice")


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Operations with their verdicts, and what follows from them.

    Attributes:
        model: the name of the model, or the path of the file.
        operations: those of the main graph first.
        verdicts: on the operations, in equal order.
        summary: sentences.
        processor: where the model is to run.
    """

    model: str
    operations: tuple[Operation, ...]
    verdicts: tuple[OperationVerdict, ...]
    summary: tuple[str, ...]
    processor: Processor

    def __repr__(self) -> str:
        """Return one line: the model, and how many of its operations have which verdict."""
        kinds = Counter(verdict.kind for verdict in self.verdicts)
        return f"<Diagnosis of {self.model}: {', '.join(f'{count} {kind}' for kind, count in kinds.items())}>"

    def _repr_html_(self) -> str:
        """Return a table of the operations, and the sentences of the summary."""
        rows = [[_cell(record[key]) for key in _HTML_COLUMNS] for record in self.to_json()["ops"]]
        sentences = "".join(f"<p>{escape(line)}</p>" for line in self.summary)
        return table(_HTML_COLUMNS, rows, caption=self.model) + sentences

    def to_json(self) -> dict[str, Any]:
        """Return all attributes as JSON values: the document of a diagnosis."""
        pairs = zip(self.operations, self.verdicts, strict=True)
        records = [_record(operation, verdict) for operation, verdict in pairs]
        return {
            "schema": SCHEMA,
            "model": self.model,
            "processor": self.processor.name,
            "ops": records,
            "summary": list(self.summary),
        }

    def dumps(self) -> str:
        """Return the document as text."""
        return json_text(self.to_json(), indent=2)


def diagnose(
    model: keras.Model | str | Path,
    *,
    name: str = "",
    processor: Processor | None = None,
    race: bool = False,
    data: Mapping[str, Any] | None = None,
    max_drop: float = DEFAULT_MAX_DROP,
) -> Diagnosis:
    """Judge every operation of a model: how the default LiteRT interpreter will run it, why, and what to change.

    A Keras model is stripped and converted to float32 TFLite, its weights encoded as `export` encodes them. A `.tflite`
    file is read as it is.

    Args:
        model: a built functional or Sequential model, wrapped or plain; or the path of a `.tflite` file.
        name: of the model, for the report; by default the model's own, or the file's path.
        processor: where it is to run; by default this machine's.
        race: whether to time the float32 files of a Keras model on this machine, as an export does, and to recommend
            what wins; otherwise recommendations follow from rules for the processor, and say so.
        data: for a race of every precision, as an export has it: its arguments `samples`, `labels`, `calibration`.
        max_drop: the accuracy budget of that race, a fraction.

    Raises:
        UsageError: there is no such file, it is no `.tflite` file by its name, a race is asked for of another
            processor than this machine's, or data are given without a race or with a file.
        UnfitError: the model can't be converted (the message names what can't), has dynamic or string inputs, is
            subclassed, or is not built.
        NonFiniteError: a weight is NaN or infinite.
        DamagedError: the file can't be read as TFLite.

    Example:
        `diagnose(model).summary[-1]`
    """
    here = describe_processor()
    processor = processor or here
    check_race(race, processor, here, data_fit=data is None or (race and not isinstance(model, str | Path)))
    slimming, raced = "", []
    if isinstance(model, str | Path):
        content, names, label = read_file(Path(model)), {}, str(model)
        sizes = {"as it is": len(content)}
        tree = parse_file(content, label)
    else:
        plain, _ = make_deployable(model)
        dense, names, label = convert_model(plain), layer_names(plain), plain.name
        files = float32_files(dense)
        slim_model, slimming = slimmed(plain)
        if data is not None:
            raced = race_export(plain, data, max_drop=max_drop)
        elif race:
            raced = race_files(dense, slim_model)
        content = files.get("1x4") or files.get("rows") or dense
        sizes = {layout: len(file) for layout, file in files.items()}
        tree = flatbuffers.read(content)
    graphs = [read_operations(tree, subgraph=number, layers=names) for number in range(len(tree.subgraphs))]
    # Of the bodies of loops and branches, which are long, only what has weights.
    operations = [node for graph in graphs for node in graph if not node.subgraph or node.weights is not None]
    _check_finite(operations, label)
    delegated, load_failure = _delegated(content)
    verdicts = _judge(tree, graphs, operations, processor, delegated=delegated, encoded_by_export="dense" in sizes)
    summary = summarize(
        operations,
        verdicts,
        processor,
        sizes=sizes,
        delegated=delegated,
        load_failure=load_failure,
        slimming=slimming,
        raced=raced,
        max_drop=None if data is None else max_drop,
    )
    return Diagnosis(name or label, tuple(operations), tuple(verdicts), tuple(summary), processor)


def diagnose_for_micro(model: keras.Model | str | Path, *, name: str = "") -> Diagnosis:
    """Judge every operation of a model: whether TensorFlow Lite Micro runs it on whole numbers, and what to change.

    A Keras model is slimmed, and converted to int8 with integer inputs and outputs on random ranges. A `.tflite` file
    is read as it is.

    Args:
        model: as of `diagnose`.
        name: of the model, for the report; by default the model's own, or the file's path.

    Raises:
        UsageError: there is no such file, or it is no `.tflite` file by its name.
        UnfitError: the model can't be converted to int8.
        NonFiniteError: a weight is NaN or infinite.
        DamagedError: the file can't be read as TFLite.

    Example:
        `diagnose_for_micro(model).summary[-1]`
    """
    is_slim, slimming = False, ""
    if isinstance(model, str | Path):
        content, names, label = read_file(Path(model)), {}, str(model)
    else:
        plain, _ = make_deployable(model)
        slim_model, slimming = slimmed(plain)
        is_slim = slim_model is not None
        content, names, label = _for_micro(slim_model or plain), layer_names(plain), plain.name
    tree = parse_file(content, label)
    operations = [
        node for number in range(len(tree.subgraphs)) for node in read_operations(tree, subgraph=number, layers=names)
    ]
    _check_finite(operations, label)
    verdicts = tuple(judge_for_micro(operation) for operation in operations)
    summary = summarize_for_micro(content, is_slim=is_slim, slimming=slimming)
    return Diagnosis(name or label, tuple(operations), verdicts, tuple(summary), MICRO)


def _for_micro(model: keras.Model) -> bytes:
    content = convert_model(model, precision="int8")
    try:
        return with_integer_io(content)
    except FloatAtTheEdgeError:
        return content  # the operators that compute in float32 are named


def _judge(
    tree: Any,
    graphs: Sequence[Sequence[Operation]],
    operations: Sequence[Operation],
    processor: Processor,
    *,
    delegated: set[int] | None,
    encoded_by_export: bool,
) -> list[OperationVerdict]:
    clusters = [
        find_clusters(graph, [int(tensor) for tensor in subgraph.outputs])
        for graph, subgraph in zip(graphs, tree.subgraphs, strict=True)
    ]
    return [
        judge_operation(
            operation,
            clusters[operation.subgraph],
            processor,
            any_sparse=any(node.encoding not in ("", "dense") for node in operations),
            encoded_by_export=encoded_by_export,
            delegated=None if delegated is None or operation.subgraph else operation.position in delegated,
        )
        for operation in operations
    ]


def _record(operation: Operation, verdict: OperationVerdict) -> dict[str, Any]:
    weights = operation.weights
    return {
        "index": operation.index,
        "subgraph": operation.subgraph,
        "op": operation.kind,
        "name": operation.name,
        "weights_shape": None if weights is None else list(weights.shape),
        "precision": operation.precision or None,
        "encoding": operation.encoding or None,
        "zeros": None if weights is None else round(zero_share(weights), 6),
        "blocks_1x4": _rounded(zero_block_share(operation, 4)),
        "blocks_1x16": _rounded(zero_block_share(operation, 16)),
        "verdict": verdict.kind,
        "reasons": [finding.reason for finding in verdict.findings],
        "advice": [finding.advice for finding in verdict.findings if finding.advice],
    }


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else value


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _check_finite(operations: Sequence[Operation], label: str) -> None:
    for operation in operations:
        if operation.weights is not None and operation.weights.dtype.kind == "f":
            bad = int((~np.isfinite(operation.weights)).sum())
            if bad:
                raise NonFiniteError(
                    f"{label}: {operation.label} has {bad} NaN or infinite of {operation.weights.size} weights.",
                    "Export an earlier round, or train again with a smaller learning rate.",
                )


def _delegated(content: bytes) -> tuple[set[int] | None, str]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(content)
        try:
            return delegated_positions(file), ""
        except NotLoadedError as error:
            return None, str(error)
