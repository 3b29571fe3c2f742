"""Read, change and write TFLite files as trees of the schema's generated objects, through LiteRT's own file tools."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

from tf_lottery.utils.regular_files import read_regular

_DTYPES = {
    schema.TensorType.FLOAT32: np.float32,
    schema.TensorType.FLOAT16: np.float16,
    schema.TensorType.INT8: np.int8,
    schema.TensorType.UINT8: np.uint8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
    schema.TensorType.BOOL: np.bool_,
}
_IDENTIFIER, _ALIGNMENT = b"TFL3", 16
MOST_MODEL = 1 << 31
"""The most bytes of a TFLite file: places in a flatbuffer are signed numbers of 32 bits."""
_OPERATORS = {code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)}


def read(content: bytes | Path) -> Any:
    """Return a file, or its content, as a `ModelT` tree: subgraphs with tensors and operators, buffers, codes."""
    data = read_regular(content, most=MOST_MODEL) if isinstance(content, Path) else content
    return flatbuffer_utils.read_model_from_bytearray(bytearray(data))


def write(model: Any) -> bytes:
    """Return the content of the `.tflite` file of a `ModelT` tree.

    The data of buffers begin at multiples of 16 bytes, as the schema asks: microcontrollers read them in place.
    """
    builder = _Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=_IDENTIFIER)
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Writes equal strings once, and aligns vectors of bytes, which the generated Python code does not do."""

    def __init__(self, size: int) -> None:
        super().__init__(size)
        self._strings: dict[str | bytes, Any] = {}

    def CreateString(self, s: str | bytes, encoding: str = "utf-8", errors: str = "strict") -> Any:  # noqa: N802
        if s not in self._strings:
            self._strings[s] = super().CreateString(s, encoding, errors)
        return self._strings[s]

    def CreateNumpyVector(self, x: np.ndarray) -> Any:  # noqa: N802
        if x.dtype != np.uint8 or x.size < _ALIGNMENT:
            return super().CreateNumpyVector(x)
        self.StartVector(1, x.size, _ALIGNMENT)
        self.head -= x.size
        self.Bytes[self.head : self.head + x.size] = x.tobytes()
        self.vectorNumElems = x.size
        return self.EndVector()


def operator_name(model: Any, operator: Any) -> str:
    """Return the schema's name of an operator, e.g. "FULLY_CONNECTED"; "CUSTOM:<name>" for a custom one.

    Args:
        model: a `ModelT` tree.
        operator: one of its `OperatorT` objects.
    """
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    if number == schema.BuiltinOperator.CUSTOM:
        return f"CUSTOM:{(code.customCode or b'').decode()}"
    return str(_OPERATORS.get(number, number))


def tensor_array(model: Any, tensor: Any) -> np.ndarray | None:
    """Return the constant stored for a dense tensor, in its shape; None for a computed or a sparse-encoded one.

    Args:
        model: a `ModelT` tree.
        tensor: one of its `TensorT` objects.
    """
    data = model.buffers[tensor.buffer].data
    if data is None or len(data) == 0 or tensor.sparsity is not None or tensor.type not in _DTYPES:
        return None
    shape = [] if tensor.shape is None else [int(size) for size in tensor.shape]
    return np.frombuffer(np.asarray(data, np.uint8).tobytes(), _DTYPES[tensor.type]).reshape(shape)


def int4_array(model: Any, tensor: Any) -> np.ndarray:
    """Return the int4 constant stored for a dense tensor, as int8 in its shape.

    Two values share a byte, the first in its lower half.

    Args:
        model: a `ModelT` tree.
        tensor: one of its `TensorT` objects, of the type INT4.
    """
    packed = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8)
    shape = [int(size) for size in tensor.shape]
    return np.stack([packed << 4 >> 4, packed >> 4], axis=-1).reshape(-1)[: int(np.prod(shape))].reshape(shape)


def item_bytes(tensor: Any) -> int:
    """Return the bytes of one value of a tensor.

    Raises:
        KeyError: its type is none that holds numbers.
    """
    return int(np.dtype(_DTYPES[tensor.type]).itemsize)


def drop_unused_buffers(model: Any) -> None:
    """Empty the buffers of a `ModelT` tree that no tensor and no metadata refers to."""
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    used |= {entry.buffer for entry in model.metadata or []}
    for index, buffer in enumerate(model.buffers):
        if index not in used:
            buffer.data = None
