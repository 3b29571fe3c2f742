"""Edits of a TFLite file's tree: new operators between a tensor and its users, new tensors, buffers and codes."""

import copy
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema


def insert_operator(
    model: Any, graph: Any, place: int, users: list[Any], kind: str, suffix: str, *, version: int = 1
) -> Any:
    """Return a new operator that reads the tensor at `place`, whose users now read the new operator's output.

    The operator is not yet in the graph's list.

    Args:
        model: a `ModelT` tree.
        graph: one of its subgraphs.
        place: the index of a tensor of the graph.
        users: operators of the graph.
        kind: the schema's name of the operator, e.g. "DENSIFY".
        suffix: what the name of its output ends with.
        version: of the operator.
    """
    output = add_tensor_like(graph, place, suffix)
    for user in users:
        user.inputs = [output if index == place else index for index in user.inputs]
    operator = schema.OperatorT()
    operator.opcodeIndex = operator_code(model, kind, version)
    operator.inputs, operator.outputs = [place], [output]
    return operator


def reshape_operator(model: Any, graph: Any, source: int, target: int, *, free: int) -> Any:
    """Return a new RESHAPE of one tensor into the shape of another, which is its output.

    Args:
        model: a `ModelT` tree.
        graph: one of its subgraphs.
        source: the index of the tensor to reshape.
        target: the index of a computed tensor.
        free: the axis of the target whose size follows from the others, so that it takes any batch.
    """
    sizes = [-1 if axis == free else int(size) for axis, size in enumerate(graph.tensors[target].shape)]
    name = (graph.tensors[target].name or b"") + b"/shape"
    operator = schema.OperatorT()
    operator.opcodeIndex = operator_code(model, "RESHAPE", 1)
    operator.inputs = [source, add_constant(model, graph, name, np.asarray(sizes, np.int32))]
    operator.outputs = [target]
    options = schema.ReshapeOptionsT()
    options.newShape = sizes
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.ReshapeOptions, options
    return operator


def add_tensor_like(graph: Any, place: int, suffix: str, *, shape: list[int] | None = None) -> int:
    """Add a computed tensor of the type and quantization of another one, and return its index.

    Args:
        graph: a subgraph.
        place: the index of the other tensor.
        suffix: what its name ends with.
        shape: its shape; by default the other's.
    """
    tensor = copy.copy(graph.tensors[place])
    tensor.name = (tensor.name or b"") + b"/" + suffix.encode()
    tensor.buffer, tensor.sparsity = 0, None
    if shape is not None:
        tensor.shape, tensor.shapeSignature = shape, None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_constant(model: Any, graph: Any, name: bytes, values: np.ndarray) -> int:
    """Add a constant of whole numbers, and return its index.

    Args:
        model: a `ModelT` tree.
        graph: one of its subgraphs.
        name: of the tensor.
        values: an array of int32.
    """
    tensor = schema.TensorT()
    tensor.name, tensor.type = name, schema.TensorType.INT32
    tensor.shape, tensor.hasRank = list(values.shape), True
    tensor.buffer = add_buffer(model, values)
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def add_buffer(model: Any, values: np.ndarray) -> int:
    """Add a buffer with the bytes of an array, and return its index.

    Args:
        model: a `ModelT` tree.
        values: any array.
    """
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def operator_code(model: Any, kind: str, version: int) -> int:
    """Return the index of an operator's code, which is added where the file has none.

    Args:
        model: a `ModelT` tree.
        kind: the schema's name of the operator.
        version: of the operator.
    """
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


def newest_version(model: Any, kind: str, *, at_least: int) -> int:
    """Return the highest version of an operator that a file names, or `at_least` where that is more.

    Args:
        model: a `ModelT` tree.
        kind: the schema's name of the operator.
        at_least: a version.
    """
    number = getattr(schema.BuiltinOperator, kind)
    known: list[int] = [code.version for code in model.operatorCodes if code.builtinCode == number]
    return max([at_least, *known])
