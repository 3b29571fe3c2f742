"""Which weights of a matrix are kept, as the kernels read it. NumPy only."""

from typing import TypeAlias

import numpy as np

Index: TypeAlias = dict[str, np.ndarray]
INDEX = {
    "starts": "where the values of each output begin, tile by tile",
    "inputs": "the input that a value belongs to",
    "transposed_starts": "where the values of each input begin in `outputs` and `transposed`, tile by tile",
    "outputs": "the output that a value belongs to, input by input",
    "transposed": "the place among the values of each of these",
    "places": "where a value is in the matrix, row by row",
}
"""The arrays of an index. Values are listed output by output in each tile of inputs; all arrays but the starts have as
many places as `capacity`, and those beyond the kept weights hold 0."""
TILE = 192
"""Activations of so many inputs, 64 examples of each, fit the first cache of a processor."""
LEAST_IN_TILE = 32
"""Tiles gain nothing where an output has fewer values in each."""


def tile_count(across: int, count: int, capacity: int) -> int:
    """Returns in how many tiles the one side of a matrix is cut.

    Args:
        across: The size of the side that is summed over.
        count: The size of the other side.
        capacity: How many values there may be.

    Example:
        >>> tile_count(784, 300, 117_600), tile_count(784, 300, 23_520)
        (5, 1)
    """
    tiles = -(-across // TILE)
    return tiles if capacity >= LEAST_IN_TILE * tiles * count else 1


def index_shapes(shape: tuple[int, int], capacity: int) -> dict[str, int]:
    """Returns the length of each array of an index.

    Args:
        shape: The inputs and outputs of the matrix.
        capacity: How many values there may be.
    """
    inputs, outputs = shape
    lengths = {
        "starts": tile_count(inputs, outputs, capacity) * outputs + 1,
        "transposed_starts": tile_count(outputs, inputs, capacity) * inputs + 1,
    }
    return {name: lengths.get(name, capacity) for name in INDEX}


def index_limits(shape: tuple[int, int], capacity: int) -> dict[str, int]:
    """Returns, for each array of an index, the number that all of its numbers are below.

    Args:
        shape: The inputs and outputs of the matrix.
        capacity: How many values there may be.
    """
    inputs, outputs = shape
    of_starts = {"starts": capacity + 1, "transposed_starts": capacity + 1}
    return {**of_starts, "inputs": inputs, "outputs": outputs, "transposed": capacity, "places": inputs * outputs}


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
    inputs, outputs = np.nonzero(mask)
    if len(inputs) > capacity:
        raise ValueError(f"`capacity` must be at least the {len(inputs)} kept weights. Received: {capacity}.")
    order, starts = _in_tiles(inputs, outputs, mask.shape, capacity)
    inputs, outputs = inputs[order], outputs[order]
    transposed, transposed_starts = _in_tiles(outputs, inputs, mask.shape[::-1], capacity)
    arrays = {
        "starts": starts,
        "inputs": inputs,
        "transposed_starts": transposed_starts,
        "outputs": outputs[transposed],
        "transposed": transposed,
        "places": inputs * mask.shape[1] + outputs,
    }
    return {name: padded(array, index_shapes(mask.shape, capacity)[name]) for name, array in arrays.items()}


def _in_tiles(
    across: np.ndarray, lines: np.ndarray, shape: tuple[int, ...], capacity: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of entries by tile, line and place across, and where each line of each tile begins in it."""
    tiles = tile_count(shape[0], shape[1], capacity)
    tile = across // -(-shape[0] // tiles)
    order = np.lexsort((across, lines, tile))
    counts = np.bincount(tile * shape[1] + lines, minlength=tiles * shape[1])
    return order, np.concatenate([[0], np.cumsum(counts)])


def padded(array: np.ndarray, length: int) -> np.ndarray:
    """Returns an array of an index, int32, with 0 at the end.

    Args:
        array: Of integers.
        length: Of the result.
    """
    return np.pad(array.astype(np.int32), (0, length - len(array)))
