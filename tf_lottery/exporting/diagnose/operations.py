"""The operations of a TFLite file as plain descriptions: kind, shapes, padding, and weights as NumPy arrays."""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.errors import NonFiniteError
from tf_lottery.exporting.tflite import sparse_tensors
from tf_lottery.exporting.tflite.encoding import WEIGHT_INPUTS
from tf_lottery.exporting.tflite.flatbuffers import int4_array, operator_name, tensor_array

PRECISIONS = {
    schema.TensorType.FLOAT32: "float32",
    schema.TensorType.FLOAT16: "float16",
    schema.TensorType.INT4: "int4",
    schema.TensorType.INT8: "int8",
    schema.TensorType.INT16: "int16",
    schema.TensorType.UINT8: "uint8",
}
_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
}
# Where an operation keeps its weights among its inputs.
_WEIGHTS = {kind: places[-1] for kind, places in WEIGHT_INPUTS.items()}
_WEIGHTS |= {"EMBEDDING_LOOKUP": 1, "UNIDIRECTIONAL_SEQUENCE_LSTM": 1}
# They only unpack constants: what they unpack is described with the operation that uses it.
_UNPACKING = ("DENSIFY", "DEQUANTIZE")
_SAME = 0


@dataclass(frozen=True)
class Operation:
    """One operation of a TFLite graph.

    Attributes:
        index: its number among the graph's operations that compute.
        kind: the schema's name, e.g. "CONV_2D"; "CUSTOM:<name>".
        name: the layer that it came from, as far as the file shows it.
        inputs: tensors that are computed at run time, by number.
        outputs: likewise.
        input_shape: of the first input; () if there is none.
        output_shape: of the first output; () if there is none.
        dynamic: an output whose shape, the batch aside, is known at run time only.
        computes: dtype of the first input or output: "float32", "int8", ...
        weights: the stored kernel: `(out, in)` of FULLY_CONNECTED, `(out, h, w, in)` of CONV_2D, `(1, h, w, out)` of
            DEPTHWISE_CONV_2D; float or integer. None without one.
        precision: of the stored weights.
        encoding: how the file stores them: "dense", "sparse" (single zeros left out), or blocks such as "1x4".
        constant: PAD's paddings `(dimensions, 2)`, MEAN's axes.
        padding: "same", "valid" or "".
        strides: (height, width).
        dilations: (height, width).
        multiplier: of a depthwise convolution.
        subgraph: 0 is the main graph; others are bodies of loops and branches.
        position: its place in the file, where operations that unpack weights count too.
        buffer: where the file stores the weights: operations of one number share them. None without any.
    """

    index: int
    kind: str
    name: str = ""
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    input_shape: tuple[int, ...] = ()
    output_shape: tuple[int, ...] = ()
    dynamic: bool = False
    computes: str = "float32"
    weights: npt.NDArray[Any] | None = None
    precision: str = ""
    encoding: str = ""
    constant: npt.NDArray[Any] | None = None
    padding: str = ""
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    multiplier: int = 1
    subgraph: int = 0
    position: int = 0
    buffer: int | None = None

    @property
    def kernel(self) -> tuple[int, int]:
        """Height and width of a convolution's kernel."""
        shape = () if self.weights is None else self.weights.shape
        return (shape[1], shape[2]) if len(shape) == 4 else (1, 1)

    @property
    def label(self) -> str:
        """Its number, kind and name, for messages."""
        return f"operation {self.index} ({self.kind}{f' {self.name}' if self.name else ''})"


def read_operations(model: Any, *, subgraph: int = 0, layers: Mapping[str, str] | None = None) -> list[Operation]:
    """Return the operations of one graph, without those that only unpack weights.

    Args:
        model: a `ModelT` tree, from `flatbuffers.read`.
        subgraph: which of its graphs.
        layers: by the name of a Keras layer that it was made from, the name to show: for a batch normalization, which
            the converter folds into the convolution before it, that convolution's.
    """
    graph = model.subgraphs[subgraph]
    unpacked: dict[int, int] = {}
    for operator in graph.operators:
        if operator_name(model, operator) in _UNPACKING:
            source = unpacked.get(int(operator.inputs[0]), int(operator.inputs[0]))
            if _stored(model, graph.tensors[source]):
                unpacked[int(operator.outputs[0])] = source
    kept = [
        (position, operator)
        for position, operator in enumerate(graph.operators)
        if not unpacked.keys() & {int(number) for number in operator.outputs}
    ]
    return [
        _describe(model, subgraph, index, position, operator, unpacked, layers or {})
        for index, (position, operator) in enumerate(kept)
    ]


def _describe(
    model: Any,
    subgraph: int,
    index: int,
    position: int,
    operator: Any,
    unpacked: dict[int, int],
    layers: Mapping[str, str],
) -> Operation:
    graph = model.subgraphs[subgraph]
    kind, options = operator_name(model, operator), operator.builtinOptions
    sources = [int(number) for number in operator.inputs]
    outputs = tuple(int(number) for number in operator.outputs if number >= 0)
    constant = {n for n in sources if n >= 0 and (n in unpacked or _stored(model, graph.tensors[n]))}
    inputs = tuple(n for n in sources if n >= 0 and n not in constant)
    place = _WEIGHTS.get(kind)
    stored = None
    if place is not None and place < len(sources) and sources[place] in constant:
        stored = graph.tensors[unpacked.get(sources[place], sources[place])]
    names = [
        _text(graph.tensors[n].name) for n in (*outputs, *([sources[place]] if stored is not None and place else ()))
    ]
    first = [graph.tensors[n] for n in (*inputs, *outputs)]
    padding = getattr(options, "padding", None)
    last = sources[-1] if sources and sources[-1] in constant and kind in ("PAD", "PADV2", "MEAN", "SUM") else None
    if kind == "PADV2":
        last = sources[1] if sources[1] in constant else None
    return Operation(
        index=index,
        position=position,
        subgraph=subgraph,
        kind=kind,
        name=_layer(names, layers),
        inputs=inputs,
        outputs=outputs,
        input_shape=_shape(graph.tensors[inputs[0]]) if inputs else (),
        output_shape=_shape(graph.tensors[outputs[0]]) if outputs else (),
        dynamic=any(_dynamic(graph.tensors[n]) for n in outputs),
        computes=PRECISIONS.get(first[0].type, "other") if first else "other",
        weights=None if stored is None else stored_array(model, stored),
        precision="" if stored is None else PRECISIONS.get(stored.type, "other"),
        encoding="" if stored is None else _encoding(stored),
        buffer=None if stored is None else int(stored.buffer),
        constant=None if last is None else tensor_array(model, graph.tensors[last]),
        padding="" if padding is None else "same" if padding == _SAME else "valid",
        strides=(getattr(options, "strideH", 1), getattr(options, "strideW", 1)),
        dilations=(getattr(options, "dilationHFactor", 1), getattr(options, "dilationWFactor", 1)),
        multiplier=getattr(options, "depthMultiplier", 1),
    )


def stored_array(model: Any, tensor: Any) -> npt.NDArray[Any] | None:
    """Return the values of a stored tensor in its shape, with the zeros of a sparse encoding; None if that fails.

    It fails for a computed tensor, types that are no weights, and encodings with more than one compressed axis.

    Args:
        model: a `ModelT` tree.
        tensor: one of its `TensorT` objects.
    """
    if tensor.sparsity is None:
        return int4_array(model, tensor) if tensor.type == schema.TensorType.INT4 else tensor_array(model, tensor)
    if tensor.type not in _DTYPES:
        return None
    values = np.frombuffer(np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes(), _DTYPES[tensor.type])
    parameters = tensor.sparsity
    if parameters.blockMap is not None and len(parameters.blockMap) == 0:
        parameters = copy.copy(parameters)
        parameters.blockMap = None
    try:
        return sparse_tensors.decode(parameters, values, _shape(tensor))
    except (AttributeError, IndexError, TypeError, ValueError):
        return None


def check_finite(operations: Sequence[Operation], label: str) -> None:
    """Check the weights of operations.

    Args:
        operations: any.
        label: what they are of, for the message.

    Raises:
        NonFiniteError: a weight is NaN or infinite.
    """
    for operation in operations:
        if operation.weights is not None and operation.weights.dtype.kind == "f":
            bad = int((~np.isfinite(operation.weights)).sum())
            if bad:
                raise NonFiniteError(
                    f"{label}: {operation.label} has {bad} NaN or infinite of {operation.weights.size} weights.",
                    "Export an earlier round, or train again with a smaller learning rate.",
                )


def _encoding(tensor: Any) -> str:
    parameters = tensor.sparsity
    if parameters is None:
        return "dense"
    blocks = parameters.blockMap
    return "sparse" if blocks is None or len(blocks) == 0 else f"1x{int(parameters.dimMetadata[-1].denseSize)}"


def _stored(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _shape(tensor: Any) -> tuple[int, ...]:
    return () if tensor.shape is None else tuple(int(size) for size in tensor.shape)


def _dynamic(tensor: Any) -> bool:
    signature = tensor.shapeSignature
    return signature is not None and any(int(size) < 0 for size in list(signature)[1:])


def _text(name: Any) -> str:
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name or "")


def _layer(names: list[str], layers: Mapping[str, str]) -> str:
    """The layer that a tensor was named for: `model_1/stem_1/convolution` of the layer "stem"."""
    paths = [path for name in reversed(names) for path in reversed(name.split(";")) if path.count("/")]
    for path in paths:
        parts = path.split("/")[1:-1]
        known = [layer for part in parts if (layer := _known(part, layers))]
        if known:
            return "/".join(known)
    return "/".join(filter(None, paths[0].split("/")[1:-1])) if paths and not layers else ""


def _known(part: str, layers: Mapping[str, str]) -> str:
    # A layer's second call appends a number to its name.
    shortened = re.sub(r"_\d+$", "", part)
    return layers.get(shortened) or layers.get(part, "")
