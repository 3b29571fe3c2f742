"""`diagnose`: what a pruned model's zeros are worth at run time, operation by operation, with reasons and advice."""

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.exporting.diagnose.clusters import find_clusters
from tf_lottery.exporting.diagnose.delegation import LoadedGraph, NotLoadedError, load_graph
from tf_lottery.exporting.diagnose.diagnosis_summary import summarize
from tf_lottery.exporting.diagnose.free_sizes import JudgedSizes, set_shapes, sizes_of_model
from tf_lottery.exporting.diagnose.micro import MICRO, judge_for_micro, summarize_for_micro
from tf_lottery.exporting.diagnose.operations import Operation, check_finite, read_operations
from tf_lottery.exporting.diagnose.processor import Processor, describe_processor
from tf_lottery.exporting.diagnose.race import check_race
from tf_lottery.exporting.diagnose.runtime_rules import zero_block_share, zero_share
from tf_lottery.exporting.diagnose.subjects import (
    convert_model,
    layer_names,
    parse_file,
    read_file,
    slimmed,
    subject_of_file,
    subject_of_model,
)
from tf_lottery.exporting.diagnose.verdicts import OperationVerdict, judge_operation
from tf_lottery.exporting.input_shapes import InputShape
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.signature import Signature
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
        input_shapes: of the inputs for one sample, by name: those at which the model was judged.
    """

    model: str
    operations: tuple[Operation, ...]
    verdicts: tuple[OperationVerdict, ...]
    summary: tuple[str, ...]
    processor: Processor
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

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
            "input_shapes": {name: list(shape) for name, shape in self.input_shapes.items()},
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
    precision: str | None = None,
    max_drop: float = DEFAULT_MAX_DROP,
    input_shape: InputShape = None,
) -> Diagnosis:
    """Judge every operation of a model: how the default LiteRT interpreter will run it, why, and what to change.

    A Keras model is stripped and converted to float32 TFLite, its weights encoded as `export` encodes them. A `.tflite`
    file is read as it is.

    Args:
        model: a built functional or Sequential model, wrapped or plain; or the path of a `.tflite` file.
        name: of the model, for the report; by default the model's own, or the file's path.
        processor: where it is to run; by default this machine's.
        race: whether to export a Keras model for a moment, time the files on this machine, as an export does, and
            recommend what wins; otherwise recommendations follow from rules for the processor, and say so.
        data: for that export: its arguments `samples`, `labels`, `calibration` and others.
        precision: of that export, as of `export`; by default "all" with data, "float32" without.
        max_drop: the accuracy budget of a race of more than float32, a fraction.
        input_shape: the shape at which inputs of free size are judged, without the batch, e.g. `(96, 96, 3)`; for
            several inputs a dict by name. A Keras model is exported with it. By default the shape of the samples, else
            64 for each free dimension; the summary says which.

    Raises:
        UsageError: there is no such file, it is no `.tflite` file by its name, a race is asked for of another
            processor than this machine's, data are given without a race or with a file, or `input_shape` does not fit.
        UnfitError: the model can't be converted (the message names what can't), has string inputs, is subclassed, or is
            not built; or the data do not fit it.
        NonFiniteError: a weight is NaN or infinite.
        DamagedError: the file can't be read as TFLite.

    Example:
        `diagnose(model).summary[-1]`
    """
    here = describe_processor()
    processor = processor or here
    check_race(race, processor, here, data_fit=data is None or (race and not isinstance(model, str | Path)))
    if isinstance(model, str | Path):
        subject = subject_of_file(Path(model), input_shape)
    else:
        precision = precision or ("float32" if data is None else "all")
        subject = subject_of_model(
            *(model, data),
            name=name,
            race=race,
            precision=precision,
            max_drop=max_drop,
            input_shape=input_shape,
        )
    tree, names = subject.tree, subject.layers
    loaded, load_failure = _load(subject.content, subject.resized)
    set_shapes(tree, loaded.shapes if loaded else subject.resized)
    graphs = [read_operations(tree, subgraph=number, layers=names) for number in range(len(tree.subgraphs))]
    # Of the bodies of loops and branches, which are long, only what has weights.
    operations = [node for graph in graphs for node in graph if not node.subgraph or node.weights is not None]
    check_finite(operations, subject.label)
    delegated = loaded.delegated if loaded else None
    verdicts = _judge(
        tree, graphs, operations, processor, delegated=delegated, encoded_by_export="dense" in subject.sizes
    )
    summary = summarize(
        operations,
        verdicts,
        processor,
        sizes=subject.sizes,
        delegated=delegated,
        load_failure=load_failure,
        slimming=subject.slimming,
        raced=subject.raced if subject.raced.files else None,
        max_drop=None if precision == "float32" else max_drop,
    )
    lines = (*subject.judged.sentences(), *summary)
    shapes = subject.judged.shapes
    return Diagnosis(name or subject.label, tuple(operations), tuple(verdicts), lines, processor, shapes)


def diagnose_for_micro(
    model: keras.Model | str | Path, *, name: str = "", input_shape: InputShape = None, samples: Any = None
) -> Diagnosis:
    """Judge every operation of a model: whether TensorFlow Lite Micro runs it on whole numbers, and what to change.

    A Keras model is slimmed, and converted to int8 with integer inputs and outputs on random ranges. A `.tflite` file
    is read as it is.

    Args:
        model: as of `diagnose`.
        name: of the model, for the report; by default the model's own, or the file's path.
        input_shape: of a Keras model, as of `diagnose`.
        samples: real inputs of a Keras model, whose sizes are taken.

    Raises:
        UsageError: there is no such file, it is no `.tflite` file by its name, or `input_shape` does not fit the model.
        UnfitError: the model can't be converted to int8, or the samples do not fit it.
        NonFiniteError: a weight is NaN or infinite.
        DamagedError: the file can't be read as TFLite.

    Example:
        `diagnose_for_micro(model).summary[-1]`
    """
    is_slim, slimming, judged = False, "", JudgedSizes({})
    if isinstance(model, str | Path):
        if input_shape is not None:
            raise UsageError(
                "`input_shape` is of a Keras model: TensorFlow Lite Micro runs files of fixed sizes alone.",
                "Drop it, or give the model.",
            )
        content, names, label = read_file(Path(model)), {}, str(model)
    else:
        plain, _ = make_deployable(model)
        judged, signature = sizes_of_model(plain, input_shape=input_shape, samples=samples)
        slim_model, slimming = slimmed(plain)
        is_slim = slim_model is not None
        content, names, label = _for_micro(slim_model or plain, signature), layer_names(plain), plain.name
    tree = parse_file(content, label)
    operations = [
        node for number in range(len(tree.subgraphs)) for node in read_operations(tree, subgraph=number, layers=names)
    ]
    check_finite(operations, label)
    verdicts = tuple(judge_for_micro(operation) for operation in operations)
    summary = summarize_for_micro(content, is_slim=is_slim, slimming=slimming)
    lines = (*(f"{line} An export for it needs `input_shape`." for line in judged.sentences()), *summary)
    return Diagnosis(name or label, tuple(operations), verdicts, lines, MICRO, judged.shapes)


def _for_micro(model: keras.Model, signature: Signature) -> bytes:
    content = convert_model(model, signature, precision="int8")
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


def _load(content: bytes, sizes: Mapping[int, list[int]]) -> tuple[LoadedGraph | None, str]:
    """What the interpreter reports of a file; or why it does not load it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(content)
        try:
            return load_graph(file, sizes), ""
        except NotLoadedError as error:
            return None, str(error)
