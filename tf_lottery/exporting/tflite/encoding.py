"""Rewrite a converted TFLite file so that its pruned weights are stored sparse, in encodings that LiteRT runs right.

The converter's own sparse encoding is right for float32 only. What the default LiteRT interpreter does with a sparse
weight was measured by running it (docs/export.md has the table):

- A DENSIFY operator restores the dense weight once, when the file is loaded. Float32 weights may take it before any
  operator that has weights, float16 ones before the DEQUANTIZE of one.
- XNNPACK, which LiteRT applies by default, does not look at the encoding of a FULLY_CONNECTED weight: it reads the
  values of a block-encoded one as if they were dense, and refuses to load a file with a DENSIFY before an int8 one. It
  leaves alone exactly version 8 of that operator, the version that the converter writes for sparse float32 weights. So
  every FULLY_CONNECTED with a block-encoded or an int8 sparse weight gets that version: LiteRT's own kernel runs it.
- An int8 CONV_2D takes a DENSIFY and stays fast, so a fully quantized FULLY_CONNECTED becomes a 1x1 convolution.
- A CONV_2D with int8 weights and float activations does not take it. A DEQUANTIZE after the DENSIFY makes its weight
  float32 when the file is loaded: int8 on disk, float32 at run time.
- With int16 activations nothing runs in XNNPACK, and LiteRT's own kernels take a DENSIFY.

Blocks exist for FULLY_CONNECTED only: 1x4 of float32, 1x16 of int8.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers, graph_edits, sparse_tensors
from tf_lottery.exporting.tflite.runtime_version import raise_runtime_version

# Operators whose constant weight may be encoded, and at which place of their inputs it is.
WEIGHT_INPUTS = {
    "FULLY_CONNECTED": (1,),
    "CONV_2D": (1,),
    "DEPTHWISE_CONV_2D": (1,),
    "TRANSPOSE_CONV": (1,),
    "CONV_3D": (1,),
    "GATHER": (0,),
    "BATCH_MATMUL": (0, 1),
}
BLOCKS = {"float32": 4, "dynamic": 16, "int8": 16}
# A kernel multiplies all values of stored blocks, each at a third of the dense speed: measured on LeNet-300-100 with
# 60, 50, 40, 30, 20 and 10 % of its blocks stored, it takes 1.6, 1.4, 1.1, 0.85, 0.5 and 0.3 of the dense time.
MOST_BLOCKS = 0.35
# The version of FULLY_CONNECTED that stays with LiteRT's own kernel.
OWN_KERNEL = 8

# What tables, operators and names of a sparse weight add to a file: measured 290 bytes for float32, 370 for dynamic
# range; 1,130 for an int8 dense layer, and 16 per channel if it has no bias. Between safe bounds a trial decides.
_LEAST_ADDED, _MOST_ADDED, _MOST_ADDED_AS_CONVOLUTION, _MOST_ADDED_PER_CHANNEL = 200, 640, 4096, 32


_Place = tuple[int, int]
"""A subgraph and a tensor in it, by their numbers."""


def encode_weights(content: bytes, *, precision: str) -> dict[str, bytes]:
    """Return the sparse forms of a dense file that pay, by layout; in each, the weights that make it smaller.

    Args:
        content: a `.tflite` file from the converter, all weights dense.
        precision: one of `precision_names.PRECISIONS`.

    Returns:
        "1x4" or "1x16": weights of dense layers are stored in blocks where at most 35 % of the blocks hold a value.
        "rows": all are stored as single values. Either is left out where the other one is better.

    Raises:
        ArithmeticError: a stored tensor does not decode to the weight that was encoded; never seen, but checked.
    """
    stored_as = "dynamic" if precision == "mixed" else precision
    rows, blocks = _worthwhile(content, stored_as)
    files = {"rows": _encode(content, rows, stored_as)} if rows else {}
    if not any(length > 1 for length in blocks.values()):
        return files
    in_blocks = _encode(content, blocks, stored_as)
    layout = {f"1x{BLOCKS[stored_as]}": in_blocks}
    if not rows or len(in_blocks) <= len(files["rows"]):
        return layout
    # Blocks are faster than rows but for int8, whose rows run as dense convolutions.
    return files if precision == "int8" else layout | files


def _worthwhile(content: bytes, precision: str) -> tuple[dict[_Place, int], dict[_Place, int]]:
    """The weights that make the file smaller, with the lengths of their blocks: as rows alone, and with blocks.

    A trial decides where the values and positions alone don't.
    """
    model = flatbuffers.read(content)
    before = len(flatbuffers.write(model))
    rows: dict[_Place, int] = {}
    blocks: dict[_Place, int] = {}
    for number, graph in enumerate(model.subgraphs):
        for place, tensor, array, users in weight_arrays(model, graph):
            kinds, name = _kinds(model, users), len(tensor.name or b"")
            stored = _as_stored(model, graph, array, users)
            most = _MOST_ADDED + 2 * name
            if precision == "int8" and kinds == {"FULLY_CONNECTED"}:
                most = _MOST_ADDED_AS_CONVOLUTION + 8 * name + _MOST_ADDED_PER_CHANNEL * array.shape[0]
            block = BLOCKS.get(precision, 1) if kinds == {"FULLY_CONNECTED"} else 1
            if block > 1 and sparse_tensors.block_density(array, block) > MOST_BLOCKS:
                block = 1
            for length in {1, block}:
                weight = {(number, place): length}
                saved = array.nbytes - sparse_tensors.encoded_bytes(stored, block=length)
                if saved > most or (saved > _LEAST_ADDED and len(_encode(content, weight, precision)) < before):
                    rows |= weight if length == 1 else {}
                    blocks |= weight if length == block else {}
    return rows, blocks


def _kinds(model: Any, users: list[Any]) -> set[str]:
    return {flatbuffers.operator_name(model, user) for user in users}


def _encode(content: bytes, lengths: Mapping[_Place, int], precision: str) -> bytes:
    """The file with some weights stored sparse, by the lengths of their blocks; 1 for rows of single values."""
    model = flatbuffers.read(content)
    stored: list[tuple[Any, np.ndarray]] = []
    for number, graph in enumerate(model.subgraphs):
        before: list[Any] = []
        for place, tensor, array, users in list(weight_arrays(model, graph)):
            block = lengths.get((number, place), 0)
            if not block:
                continue
            if block > 1:
                _keep_own_kernel(model, users)
            elif array.dtype == np.int8:
                before += _int8_rows(model, graph, place, users, precision)
            elif _reads_a_table(model, graph, users):
                array = _float32_table(model, tensor, array, users)
            else:
                before.append(_densify(model, graph, place, users))
            array = array.reshape(tensor.shape)  # a convolution's by now has four axes
            parameters, values = sparse_tensors.encode(array, block=block)
            tensor.sparsity, tensor.buffer = parameters, graph_edits.add_buffer(model, values)
            stored.append((tensor, array))
        graph.operators = [*before, *graph.operators]
    flatbuffers.drop_unused_buffers(model)
    raise_runtime_version(model)
    _check(model, stored)
    return flatbuffers.write(model)


def weight_arrays(model: Any, graph: Any) -> Iterator[tuple[int, Any, np.ndarray, list[Any]]]:
    """Each constant that is nothing but a weight of operators that can take a sparse one: index, tensor, array, users.

    Weights of 1-D arrays are left alone.

    Args:
        model: a `ModelT` tree.
        graph: one of its subgraphs.
    """
    for place, tensor in enumerate(list(graph.tensors)):
        users = [operator for operator in graph.operators if place in operator.inputs]
        array = flatbuffers.tensor_array(model, tensor) if users else None
        if array is None or array.ndim < 2 or array.dtype not in (np.float32, np.float16, np.int8):
            continue
        if place in graph.outputs or not all(_is_weight(model, graph, user, place) for user in users):
            continue
        yield place, tensor, array, users


def _is_weight(model: Any, graph: Any, operator: Any, place: int) -> bool:
    if flatbuffers.operator_name(model, operator) == "DEQUANTIZE":  # of a float16 weight
        restored = int(operator.outputs[0])
        users = [reader for reader in graph.operators if restored in reader.inputs]
        return restored not in graph.outputs and all(_reads_weight(model, user, restored) for user in users)
    return _reads_weight(model, operator, place)


def _reads_weight(model: Any, operator: Any, place: int) -> bool:
    positions = WEIGHT_INPUTS.get(flatbuffers.operator_name(model, operator), ())
    read_at = [index for index, tensor in enumerate(operator.inputs) if tensor == place]
    return len(read_at) == 1 and read_at[0] in positions


def _as_stored(model: Any, graph: Any, array: np.ndarray, users: list[Any]) -> np.ndarray:
    """A weight in the type in which its rows are stored: tables of float16 in float32."""
    return array.astype(np.float32) if _reads_a_table(model, graph, users) else array


def _reads_a_table(model: Any, graph: Any, users: list[Any]) -> bool:
    """Whether a weight is a float16 table: a GATHER gets garbage from a DENSIFY before its DEQUANTIZE."""
    if _kinds(model, users) != {"DEQUANTIZE"}:
        return False
    restored = {int(user.outputs[0]) for user in users}
    readers = [reader for reader in graph.operators if restored & set(map(int, reader.inputs))]
    return "GATHER" in _kinds(model, readers)


def _float32_table(model: Any, tensor: Any, array: np.ndarray, users: list[Any]) -> np.ndarray:
    """Make a float16 table a float32 one, and the operators that dequantize it ones that restore its rows."""
    tensor.type = schema.TensorType.FLOAT32
    for user in users:
        user.opcodeIndex = graph_edits.operator_code(model, "DENSIFY", 1)
        user.builtinOptionsType, user.builtinOptions = schema.BuiltinOptions.NONE, None
    return array.astype(np.float32)


def _keep_own_kernel(model: Any, users: list[Any]) -> None:
    for user in users:
        user.opcodeIndex = graph_edits.operator_code(model, "FULLY_CONNECTED", OWN_KERNEL)


def _int8_rows(model: Any, graph: Any, place: int, users: list[Any], precision: str) -> list[Any]:
    """The operators that restore an int8 weight, in the form that its users take."""
    if precision == "int16x8":  # none of it runs in XNNPACK, whose rules are what the rest is about
        return [_densify(model, graph, place, users)]
    kinds = _kinds(model, users)
    quantized = all(graph.tensors[_data_of(model, user, place)].type == schema.TensorType.INT8 for user in users)
    if kinds == {"FULLY_CONNECTED"} and quantized and precision == "int8":
        densify = _densify(model, graph, place, users)
        for user in users:
            _as_convolution(model, graph, user)
        weight, restored = graph.tensors[place], graph.tensors[densify.outputs[0]]
        rows, columns = weight.shape
        weight.shape = restored.shape = [rows, 1, 1, columns]
        return [densify]
    if kinds == {"FULLY_CONNECTED"}:
        _keep_own_kernel(model, users)
        return [_densify(model, graph, place, users)]
    densify = _densify(model, graph, place, users)
    return [densify] if quantized else [densify, _dequantize(model, graph, densify.outputs[0], users)]


def _data_of(model: Any, operator: Any, weight: int) -> int:
    """The tensor that an operator computes on with a weight; of a GATHER, which only looks values up, the weight."""
    kind = flatbuffers.operator_name(model, operator)
    if kind == "BATCH_MATMUL":
        return int(sum(operator.inputs) - weight)
    return int(operator.inputs[2 if kind == "TRANSPOSE_CONV" else 0])


def _as_convolution(model: Any, graph: Any, operator: Any) -> None:
    """Make a FULLY_CONNECTED operator a 1x1 CONV_2D, between two reshapes; its weight gets four axes elsewhere."""
    source, target = operator.inputs[0], operator.outputs[0]
    outputs, inputs = (int(size) for size in graph.tensors[operator.inputs[1]].shape)
    rows = int(np.prod(graph.tensors[source].shape)) // inputs
    image = graph_edits.add_tensor_like(graph, source, "image", shape=[1, 1, rows, inputs])
    result = graph_edits.add_tensor_like(graph, target, "result", shape=[1, 1, rows, outputs])
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
    operator.opcodeIndex = graph_edits.operator_code(
        model, "CONV_2D", graph_edits.newest_version(model, "CONV_2D", at_least=3)
    )
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    bias = [int(index) for index in operator.inputs[2:] if index >= 0] or [_zero_bias(model, graph, operator)]
    operator.inputs, operator.outputs = [image, operator.inputs[1], *bias], [result]
    place = next(index for index, other in enumerate(graph.operators) if other is operator)
    before, after = (
        graph_edits.reshape_operator(model, graph, source, image, free=2),
        graph_edits.reshape_operator(model, graph, result, target, free=0),
    )
    graph.operators = [*graph.operators[:place], before, operator, after, *graph.operators[place + 1 :]]


def _zero_bias(model: Any, graph: Any, operator: Any) -> int:
    """The bias that an int8 convolution must have: zeros, in units of the input's times the weight's."""
    data, weight = (graph.tensors[place].quantization for place in operator.inputs[:2])
    name = (graph.tensors[operator.outputs[0]].name or b"") + b"/bias"
    outputs = int(graph.tensors[operator.inputs[1]].shape[0])
    bias = graph_edits.add_constant(model, graph, name, np.zeros(outputs, np.int32))
    quantization = graph.tensors[bias].quantization = schema.QuantizationParametersT()
    quantization.scale = [float(data.scale[0]) * float(scale) for scale in weight.scale]
    quantization.zeroPoint = [0] * len(weight.scale)
    return bias


def _densify(model: Any, graph: Any, place: int, users: list[Any]) -> Any:
    operator = graph_edits.insert_operator(model, graph, place, users, "DENSIFY", "dense")
    # The restored tensor has the scales, one per channel; with the stored one's, a small file would be a tenth larger.
    graph.tensors[place].quantization = None
    return operator


def _dequantize(model: Any, graph: Any, place: int, users: list[Any]) -> Any:
    operator = graph_edits.insert_operator(model, graph, place, users, "DEQUANTIZE", "float", version=2)
    restored = graph.tensors[operator.outputs[0]]
    restored.type, restored.quantization = schema.TensorType.FLOAT32, None
    return operator


def _check(model: Any, stored: list[tuple[Any, np.ndarray]]) -> None:
    for tensor, array in stored:
        values = np.frombuffer(model.buffers[tensor.buffer].data.tobytes(), array.dtype)
        if not np.array_equal(sparse_tensors.decode(tensor.sparsity, values, array.shape), array):
            raise ArithmeticError(f"the weight {tensor.name!r} does not decode to what was encoded")
