"""Which weights of a convolution are kept, as the kernels read it. NumPy only."""

import numpy as np

from tf_lottery.layers.sparse.matrix_index import Index, padded

CONV_INDEX = {
    "starts": "where the values of each filter begin, tile by tile",
    "taps": "where in the kernel of its filter a value is: (channel * height + y) * width + x",
    "transposed_starts": "where the values of each channel begin in `transposed`, phase by phase and tile by tile",
    "transposed_taps": "where in the kernel of its channel each of them is: (filter * height + y) * width + x",
    "transposed": "the place among the values of each of these",
    "places": "where a value is in the raveled kernel",
}
"""The arrays of an index. Values are listed filter by filter in each tile of channels; all arrays but the starts have
as many places as `capacity`, and those beyond the kept weights hold 0."""
TILE = 32
"""Pixels of so many channels fit the first cache of a processor."""
LEAST_IN_TILE = 16
"""Tiles gain nothing where a filter has fewer values in each."""


def conv_tile_count(across: int, lines: int, capacity: int) -> int:
    """Returns in how many tiles the channels that are summed over are cut.

    Args:
        across: The number of channels.
        lines: The number of sums.
        capacity: How many values there may be.

    Example:
        >>> conv_tile_count(64, 64, 3600), conv_tile_count(64, 64, 360)
        (2, 1)
    """
    tiles = -(-across // TILE)
    return max(1, min(tiles, capacity // (LEAST_IN_TILE * lines)))


def conv_index_shapes(
    kernel_shape: tuple[int, int, int, int], capacity: int, strides: tuple[int, int]
) -> dict[str, int]:
    """Returns the length of each array of an index.

    Args:
        kernel_shape: Height, width, inputs and filters.
        capacity: How many values there may be.
        strides: Of the convolution.
    """
    inputs, filters = kernel_shape[2:]
    phases = strides[0] * strides[1]
    lengths = {
        "starts": conv_tile_count(inputs, filters, capacity) * filters + 1,
        "transposed_starts": phases * conv_tile_count(filters, inputs, capacity) * inputs + 1,
    }
    return {name: lengths.get(name, capacity) for name in CONV_INDEX}


def conv_index_limits(kernel_shape: tuple[int, int, int, int], capacity: int) -> dict[str, int]:
    """Returns, for each array of an index, the number that all of its numbers are below.

    Args:
        kernel_shape: Height, width, inputs and filters.
        capacity: How many values there may be.
    """
    height, width, inputs, filters = kernel_shape
    of_starts = {"starts": capacity + 1, "transposed_starts": capacity + 1}
    of_taps = {"taps": height * width * inputs, "transposed_taps": height * width * filters}
    return {**of_starts, **of_taps, "transposed": capacity, "places": height * width * inputs * filters}


def conv_index_of(mask: np.ndarray, capacity: int, strides: tuple[int, int]) -> Index:
    """Returns the index of the kept weights of a convolution: int32 arrays by the names of `CONV_INDEX`.

    Args:
        mask: Boolean, of shape (height, width, inputs, filters).
        capacity: How many values there may be.
        strides: Of the convolution.

    Raises:
        ValueError: If more weights are kept than that.

    Example:
        >>> mask = np.zeros((1, 2, 1, 2), bool)
        >>> mask[0, 1, 0, :] = mask[0, 0, 0, 1] = True
        >>> index = conv_index_of(mask, capacity=3, strides=(1, 1))
        >>> index["starts"].tolist(), index["taps"].tolist(), index["places"].tolist()
        ([0, 1, 3], [1, 0, 1], [2, 1, 3])
    """
    y, x, inputs, filters = kept = np.nonzero(mask)
    if len(y) > capacity:
        raise ValueError(f"`capacity` must be at least the {len(y)} kept weights. Received: {capacity}.")
    height, width, input_count, filter_count = mask.shape
    taps = (inputs * height + y) * width + x
    tiles = conv_tile_count(input_count, filter_count, capacity)
    lines = inputs // -(-input_count // tiles) * filter_count + filters
    order, starts = _listed(lines, taps, tiles * filter_count)

    transposed_taps = ((filters * height + y) * width + x)[order]
    tiles = conv_tile_count(filter_count, input_count, capacity)
    phases = y % strides[0] * strides[1] + x % strides[1]
    lines = (phases * tiles + filters // -(-filter_count // tiles)) * input_count + inputs
    count = strides[0] * strides[1] * tiles * input_count
    transposed, transposed_starts = _listed(lines[order], transposed_taps, count)
    arrays = {
        "starts": starts,
        "taps": taps[order],
        "transposed_starts": transposed_starts,
        "transposed_taps": transposed_taps[transposed],
        "transposed": transposed,
        "places": np.ravel_multi_index(kept, mask.shape)[order],
    }
    lengths = conv_index_shapes(mask.shape, capacity, strides)
    return {name: padded(array, lengths[name]) for name, array in arrays.items()}


def _listed(lines: np.ndarray, taps: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the order of entries by line and tap, and where each line begins in it."""
    order = np.lexsort((taps, lines))
    return order, np.concatenate([[0], np.cumsum(np.bincount(lines, minlength=count))])
