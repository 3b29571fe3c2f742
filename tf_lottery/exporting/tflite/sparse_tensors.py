"""Arrays as TFLite's sparse tensors, and back. NumPy and the schema's objects only.

The format (`SparsityParameters` of the schema) follows Kjolstad et al. (2017, "The tensor algebra compiler"): all axes
but the last are dense, the last one is compressed (CSR: for each row where its entries begin, and their positions). In
blocks of n along the last axis, an entry is n adjacent values. Positions take the narrowest type that holds them.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

_VECTORS = (
    (1 << 8, np.uint8, schema.Uint8VectorT, schema.SparseIndexVector.Uint8Vector),
    (1 << 16, np.uint16, schema.Uint16VectorT, schema.SparseIndexVector.Uint16Vector),
    (1 << 31, np.int32, schema.Int32VectorT, schema.SparseIndexVector.Int32Vector),
)


def encode(array: np.ndarray, *, block: int = 1) -> tuple[Any, np.ndarray]:
    """Return the `SparsityParametersT` of an array and its stored values.

    Args:
        array: at least one axis, any dtype.
        block: length of the blocks along the last axis, which it must divide; then the array has two axes.

    Returns:
        The parameters, and the values of the stored entries, `(entries * block,)`.

    Example:
        >>> parameters, values = encode(np.array([[0, 3, 0], [0, 0, 0], [1, 0, 2]]))
        >>> values.tolist(), parameters.dimMetadata[1].arraySegments.values.tolist()
        ([3, 1, 2], [0, 1, 1, 3])
    """
    parameters = schema.SparsityParametersT()
    leading = [_dense(size) for size in array.shape[:-1]]
    entries = _entries(array, block)
    rows, columns = np.nonzero(entries.any(-1))
    begins = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=len(entries)))])
    parameters.dimMetadata = [*leading, _compressed(begins, columns)]
    parameters.traversalOrder = list(range(array.ndim))
    if block > 1:
        parameters.dimMetadata.append(_dense(block))
        parameters.traversalOrder.append(array.ndim)
        parameters.blockMap = [array.ndim - 1]
    return parameters, entries[rows, columns].ravel()


def decode(parameters: Any, values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the array of a sparse tensor: the inverse of `encode`, by which every written weight is checked.

    Args:
        parameters: a `SparsityParametersT` as `encode` makes it.
        values: the stored values.
        shape: of the array.

    Example:
        >>> decode(*encode(np.array([[0, 3], [1, 0]])), (2, 2)).tolist()
        [[0, 3], [1, 0]]
    """
    block = int(parameters.dimMetadata[-1].denseSize) if parameters.blockMap is not None else 1
    compressed = parameters.dimMetadata[len(shape) - 1]
    begins = np.asarray(compressed.arraySegments.values, np.int64)
    columns = np.asarray(compressed.arrayIndices.values, np.int64)
    entries = np.zeros((len(begins) - 1, shape[-1] // block, block), values.dtype)
    rows = np.repeat(np.arange(len(begins) - 1), np.diff(begins))
    entries[rows, columns] = values.reshape(-1, block)
    return entries.reshape(shape)


def encoded_bytes(array: np.ndarray, *, block: int = 1) -> int:
    """Return how many bytes the values, positions and row beginnings of the encoded array take.

    Args:
        array: at least one axis, any dtype.
        block: as of `encode`.
    """
    entries = _entries(array, block)
    count = int(np.count_nonzero(entries.any(-1)))
    width = int(np.dtype(_vector(entries.shape[1] - 1)[1]).itemsize)
    row_width = int(np.dtype(_vector(count)[1]).itemsize)
    return count * (block * array.itemsize + width) + (len(entries) + 1) * row_width


def block_density(array: np.ndarray, block: int) -> float:
    """Return the fraction of blocks along the last axis that hold a non-zero value; 1 where they do not divide it.

    Args:
        array: at least one axis, any dtype.
        block: length of a block.
    """
    if not array.size or array.shape[-1] % block:
        return 1.0
    return float(_entries(array, block).any(-1).mean())


def _entries(array: np.ndarray, block: int) -> np.ndarray:
    return array.reshape(-1, array.shape[-1] // block, block)


def _dense(size: int) -> Any:
    dimension = schema.DimensionMetadataT()
    dimension.format = schema.DimensionType.DENSE
    dimension.denseSize = int(size)
    return dimension


def _compressed(begins: np.ndarray, columns: np.ndarray) -> Any:
    dimension = schema.DimensionMetadataT()
    dimension.format = schema.DimensionType.SPARSE_CSR
    dimension.arraySegmentsType, dimension.arraySegments = _indices(begins)
    dimension.arrayIndicesType, dimension.arrayIndices = _indices(columns)
    return dimension


def _indices(values: np.ndarray) -> tuple[int, Any]:
    _, dtype, vector, kind = _vector(int(values.max(initial=0)))
    stored = vector()
    stored.values = values.astype(dtype)
    return kind, stored


def _vector(largest: int) -> tuple[int, Any, Any, int]:
    return next(vector for vector in _VECTORS if largest < vector[0])
