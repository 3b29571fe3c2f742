"""Which weights of a matrix are kept, as the kernels read it. NumPy only."""

from typing import TypeAlias

import numpy as np

Index: TypeAlias = dict[str, np.ndarray]
INDEX = {
    "starts": "where the values of each output begin",
    "inputs": "the input that a value belongs to",
    "transposed_starts": "where the values of each input begin in `outputs` and `transposed`",
    "outputs": "the output that a value belongs to, input by input",
    "transposed": "the place among the values of each of these",
    "places": "where a value is in the matrix, row by row",
}
"""The arrays of an index. Values are listed output by output; all arrays but the starts have as many places as
`capacity`, and those beyond the kept weights hold 0."""


def index_shapes(shape: tuple[int, int], capacity: int) -> dict[str, int]:
    """Returns the length of each array of an index.

    Args:
        shape: The inputs and outputs of the matrix.
        capacity: How many values there may be.
    """
    lengths = {"starts": shape[1] + 1, "transposed_starts": shape[0] + 1}
    return {name: lengths.get(name, capacity) for name in INDEX}


def index_of(mask: np.ndarray, capacity: int) -> Index:
    """Returns the index of the kept weights of a matrix: int32 arrays by the names of `INDEX`.

    Args:
        mask: Boolean, of shape (inputs, outputs).
        capacity: How many values there may be.

    Raises:
        ValueError: If more weights are kept than that.

    Example:
        >>> index = index_of(np.array([[True, False], [True, True]]), capacity=4)
        >>> index["starts"].tolist(), index["inputs"].tolist(), index["places"].tolist()
        ([0, 2, 3], [0, 1, 1, 0], [0, 2, 3, 0])
    """
    outputs, inputs = np.nonzero(mask.T)
    if len(inputs) > capacity:
        raise ValueError(f"`capacity` must be at least the {len(inputs)} kept weights. Received: {capacity}.")
    order = np.argsort(inputs, kind="stable")
    arrays = {
        "starts": _starts(mask.sum(axis=0)),
        "inputs": inputs,
        "transposed_starts": _starts(mask.sum(axis=1)),
        "outputs": outputs[order],
        "transposed": order,
        "places": inputs * mask.shape[1] + outputs,
    }
    return {name: _padded(array, index_shapes(mask.shape, capacity)[name]) for name, array in arrays.items()}


def _starts(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)])


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    return np.pad(array.astype(np.int32), (0, length - len(array)))
