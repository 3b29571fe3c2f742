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

Blocks exist for FULLY_CONNECTED only: 1x4 of float32, 1x16 of int8.
"""

import copy
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tf_lottery.exporting.tflite import flatbuffers, sparse_tensors
from tf_lottery.exporting.tflite.runtime_version import raise_runtime_version

# Operators whose constant weight may be encoded, and at which place of their inputs it is.
WEIGHT_INPUT = {"FULLY_CONNECTED": 1, "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1}
BLOCKS = {"float32": 4, "dynamic": 16, "int8": 16}
# A kernel multiplies all values of stored blocks, each at a third of the dense speed: measured on LeNet-300-100 with
# 60, 50, 40, 30, 20 and 10 % of its blocks stored, it takes 1.6, 1.4, 1.1, 0.85, 0.5 and 0.3 of the dense time.
MOST_BLOCKS = 0.35
# The version of FULLY_CONNECTED that stays with LiteRT's own kernel.
OWN_KERNEL = 8


# What tables, operators and names of a sparse weight add to a file: measured 290 bytes for float32, 370 for dynamic
# range; 1,130 for an int8 dense layer, and 16 per channel if it has no bias. Between safe bounds a trial decides.
_LEAST_ADDED, _MOST_ADDED, _MOST_ADDED_AS_CONVOLUTION, _MOST_ADDED_PER_CHANNEL = 200, 640, 4096, 32


def encode_weights(content: bytes, *, precision: str, blocks: bool) -> tuple[bytes, int, int]:
    """Store the weights of a dense file sparse, each of those that make the file smaller.

    Args:
        content: a `.tflite` file from the converter, all weights dense.
        precision: "float32", "float16", "dynamic" or "int8".
        blocks: whether weights of dense layers are stored in blocks where at most 35 % of the blocks hold a value.

    Returns:
        The new file, how many weights are stored as rows of single values, and how many in blocks.

    Raises:
        ArithmeticError: a stored tensor does not decode to the weight that was encoded; never seen, but checked.
    """
    return _encode(content, _worthwhile(content, precision, blocks=blocks), precision, blocks=blocks)


def _worthwhile(content: bytes, precision: str, *, blocks: bool) -> set[int]:
    """The weights that make the file smaller, by trial where the values and positions alone don't decide it."""
    model = flatbuffers.read(content)
    before, places = len(flatbuffers.write(model)), set()
    for place, tensor, array, users in _weights(model):
        kinds, name = _kinds(model, users), len(tensor.name or b"")
        block = _block_length(array, kinds, precision, blocks=blocks)
        saved = array.nbytes - sparse_tensors.encoded_bytes(array, block=block)
        most = _MOST_ADDED + 2 * name
        if precision == "int8" and kinds == {"FULLY_CONNECTED"}:
            most = _MOST_ADDED_AS_CONVOLUTION + 8 * name + _MOST_ADDED_PER_CHANNEL * array.shape[0]
        if saved > most or (
            saved > _LEAST_ADDED and len(_encode(content, {place}, precision, blocks=blocks)[0]) < before
        ):
            places.add(place)
    return places


def _block_length(array: np.ndarray, kinds: set[str], precision: str, *, blocks: bool) -> int:
    block = BLOCKS.get(precision, 1) if blocks and kinds == {"FULLY_CONNECTED"} else 1
    return block if block > 1 and sparse_tensors.block_density(array, block) <= MOST_BLOCKS else 1


def _kinds(model: Any, users: list[Any]) -> set[str]:
    return {flatbuffers.operator_name(model, user) for user in users}


def _encode(content: bytes, places: Collection[int], precision: str, *, blocks: bool) -> tuple[bytes, int, int]:
    """The file with the weights at some places stored sparse, and how many as rows and in blocks."""
    model = flatbuffers.read(content)
    graph = model.subgraphs[0]
    stored: list[tuple[Any, np.ndarray]] = []
    before: list[Any] = []
    in_blocks = 0
    for place, tensor, array, users in list(_weights(model)):
        if place not in places:
            continue
        kinds = _kinds(model, users)
        block = _block_length(array, kinds, precision, blocks=blocks)
        if block > 1:
            in_blocks += 1
            for user in users:
                user.opcodeIndex = _opcode(model, "FULLY_CONNECTED", OWN_KERNEL)
        elif array.dtype == np.int8:
            before += _int8_rows(model, place, users, kinds, precision)
        else:
            before.append(_densify(model, place, users))
        array = array.reshape(tensor.shape)  # a convolution's by now has four axes
        parameters, values = sparse_tensors.encode(array, block=block)
        tensor.sparsity, tensor.buffer = parameters, _buffer(model, values)
        stored.append((tensor, array))
    graph.operators = [*before, *graph.operators]
    flatbuffers.drop_unused_buffers(model)
    raise_runtime_version(model)
    _check(model, stored)
    return flatbuffers.write(model), len(stored) - in_blocks, in_blocks


def _weights(model: Any) -> Iterator[tuple[int, Any, np.ndarray, list[Any]]]:
    """Each constant that is nothing but a weight of operators that can take a sparse one: index, tensor, array, users.

    Weights of 1-D arrays and of control-flow bodies are left alone.
    """
    graph = model.subgraphs[0]
    for place, tensor in enumerate(list(graph.tensors)):
        users = [operator for operator in graph.operators if place in operator.inputs]
        array = flatbuffers.tensor_array(model, tensor) if users else None
        if array is None or array.ndim < 2 or array.dtype not in (np.float32, np.float16, np.int8):
            continue
        if place in graph.outputs or not all(_is_weight(model, user, place) for user in users):
            continue
        yield place, tensor, array, users


def _is_weight(model: Any, operator: Any, place: int) -> bool:
    if flatbuffers.operator_name(model, operator) == "DEQUANTIZE":  # of a float16 weight
        # Other readers, such as GATHER, get garbage from a DENSIFY before it.
        graph, restored = model.subgraphs[0], int(operator.outputs[0])
        users = [reader for reader in graph.operators if restored in reader.inputs]
        return restored not in graph.outputs and all(_reads_weight(model, user, restored) for user in users)
    return _reads_weight(model, operator, place)


def _reads_weight(model: Any, operator: Any, place: int) -> bool:
    position = WEIGHT_INPUT.get(flatbuffers.operator_name(model, operator))
    return position is not None and [index for index, tensor in enumerate(operator.inputs) if tensor == place] == [
        position
    ]


def _int8_rows(model: Any, place: int, users: list[Any], kinds: set[str], precision: str) -> list[Any]:
    """The operators that restore an int8 weight, in the form that its users take."""
    graph = model.subgraphs[0]
    quantized = all(
        graph.tensors[user.inputs[_data_input(model, user)]].type == schema.TensorType.INT8 for user in users
    )
    if kinds == {"FULLY_CONNECTED"} and quantized and precision == "int8":
        densify = _densify(model, place, users)
        for user in users:
            _as_convolution(model, user)
        weight, restored = graph.tensors[place], graph.tensors[densify.outputs[0]]
        rows, columns = weight.shape
        weight.shape = restored.shape = [rows, 1, 1, columns]
        return [densify]
    if kinds == {"FULLY_CONNECTED"}:
        for user in users:
            user.opcodeIndex = _opcode(model, "FULLY_CONNECTED", OWN_KERNEL)
        return [_densify(model, place, users)]
    densify = _densify(model, place, users)
    return [densify] if quantized else [densify, _dequantize(model, densify.outputs[0], users)]


def _data_input(model: Any, operator: Any) -> int:
    return 2 if flatbuffers.operator_name(model, operator) == "TRANSPOSE_CONV" else 0


def _as_convolution(model: Any, operator: Any) -> None:
    """Make a FULLY_CONNECTED operator a 1x1 CONV_2D, between two reshapes; its weight gets four axes elsewhere."""
    graph = model.subgraphs[0]
    source, target = operator.inputs[0], operator.outputs[0]
    outputs, inputs = (int(size) for size in graph.tensors[operator.inputs[1]].shape)
    rows = int(np.prod(graph.tensors[source].shape)) // inputs
    image = _tensor_like(model, source, "image", shape=[1, 1, rows, inputs])
    result = _tensor_like(model, target, "result", shape=[1, 1, rows, outputs])
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
    operator.opcodeIndex = _opcode(model, "CONV_2D", _version(model, "CONV_2D", at_least=3))
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    bias = [int(index) for index in operator.inputs[2:] if index >= 0] or [_zero_bias(model, operator)]
    operator.inputs, operator.outputs = [image, operator.inputs[1], *bias], [result]
    place = next(index for index, other in enumerate(graph.operators) if other is operator)
    before, after = _reshape(model, source, image), _reshape(model, result, target)
    graph.operators = [*graph.operators[:place], before, operator, after, *graph.operators[place + 1 :]]


def _zero_bias(model: Any, operator: Any) -> int:
    """The bias that an int8 convolution must have: zeros, in units of the input's times the weight's."""
    graph = model.subgraphs[0]
    data, weight = (graph.tensors[place].quantization for place in operator.inputs[:2])
    tensor = schema.TensorT()
    tensor.name = (graph.tensors[operator.outputs[0]].name or b"") + b"/bias"
    outputs = [graph.tensors[operator.inputs[1]].shape[0]]
    tensor.type, tensor.shape, tensor.hasRank = schema.TensorType.INT32, outputs, True
    tensor.buffer = _buffer(model, np.zeros(int(tensor.shape[0]), np.int32))
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = [float(data.scale[0]) * float(scale) for scale in weight.scale]
    tensor.quantization.zeroPoint = [0] * len(weight.scale)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _densify(model: Any, place: int, users: list[Any]) -> Any:
    operator = _between(model, place, users, "DENSIFY", "dense")
    # The restored tensor has the scales, one per channel; with the stored one's, a small file would be a tenth larger.
    model.subgraphs[0].tensors[place].quantization = None
    return operator


def _dequantize(model: Any, place: int, users: list[Any]) -> Any:
    operator = _between(model, place, users, "DEQUANTIZE", "float", version=2)
    restored = model.subgraphs[0].tensors[operator.outputs[0]]
    restored.type, restored.quantization = schema.TensorType.FLOAT32, None
    return operator


def _between(model: Any, place: int, users: list[Any], kind: str, suffix: str, *, version: int = 1) -> Any:
    """A new operator that reads the tensor at `place`; the users of that tensor now read the new operator's output."""
    output = _tensor_like(model, place, suffix)
    for user in users:
        user.inputs = [output if index == place else index for index in user.inputs]
    operator = schema.OperatorT()
    operator.opcodeIndex = _opcode(model, kind, version)
    operator.inputs, operator.outputs = [place], [output]
    return operator


def _reshape(model: Any, source: int, target: int) -> Any:
    graph = model.subgraphs[0]
    sizes = [int(size) for size in graph.tensors[target].shape]
    shape = schema.TensorT()
    shape.name = (graph.tensors[target].name or b"") + b"/shape"
    shape.type, shape.shape, shape.hasRank = schema.TensorType.INT32, [len(sizes)], True
    shape.buffer = _buffer(model, np.asarray(sizes, np.int32))
    graph.tensors.append(shape)
    operator = schema.OperatorT()
    operator.opcodeIndex = _opcode(model, "RESHAPE", 1)
    operator.inputs, operator.outputs = [source, len(graph.tensors) - 1], [target]
    options = schema.ReshapeOptionsT()
    options.newShape = sizes
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.ReshapeOptions, options
    return operator


def _tensor_like(model: Any, place: int, suffix: str, *, shape: list[int] | None = None) -> int:
    """A new computed tensor of the same type and quantization; its index."""
    graph = model.subgraphs[0]
    tensor = copy.copy(graph.tensors[place])
    tensor.name = (tensor.name or b"") + b"/" + suffix.encode()
    tensor.buffer, tensor.sparsity = 0, None
    if shape is not None:
        tensor.shape, tensor.shapeSignature = shape, None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _opcode(model: Any, kind: str, version: int) -> int:
    number = getattr(schema.BuiltinOperator, kind)
    for index, code in enumerate(model.operatorCodes):
        if max(code.builtinCode, code.deprecatedBuiltinCode) == number and code.version == version:
            return index
    code = schema.OperatorCodeT()
    code.builtinCode, code.version = number, version
    # The older, narrower field: readers take the larger of the two.
    code.deprecatedBuiltinCode = min(number, schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES)
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _version(model: Any, kind: str, *, at_least: int) -> int:
    number = getattr(schema.BuiltinOperator, kind)
    return max(at_least, *(int(code.version) for code in model.operatorCodes if code.builtinCode == number), 0)


def _buffer(model: Any, values: np.ndarray) -> int:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def _check(model: Any, stored: list[tuple[Any, np.ndarray]]) -> None:
    for tensor, array in stored:
        values = np.frombuffer(model.buffers[tensor.buffer].data.tobytes(), array.dtype)
        if not np.array_equal(sparse_tensors.decode(tensor.sparsity, values, array.shape), array):
            raise ArithmeticError(f"the weight {tensor.name!r} does not decode to what was encoded")
