"""Which weights of a convolution are kept (placeholder)."""

import numpy as np

from tf_lottery.layers.sparse.matrix_index import Index


def conv_index_shapes(kernel_shape, capacity, strides):
    return {"starts": kernel_shape[-1] + 1, "places": capacity}


def conv_index_limits(kernel_shape, capacity):
    return {"starts": capacity + 1, "places": int(np.prod(kernel_shape))}


def conv_index_of(mask, capacity, strides) -> Index:
    flat = np.asarray(mask).reshape(-1, mask.shape[-1])
    filters, rows = np.nonzero(flat.T)
    if len(rows) > capacity:
        raise ValueError(f"`capacity` must be at least the {len(rows)} kept weights. Received: {capacity}.")
    starts = np.concatenate([[0], np.cumsum(flat.sum(0))])
    places = np.pad(rows * flat.shape[1] + filters, (0, capacity - len(rows)))
    return {"starts": starts.astype(np.int32), "places": places.astype(np.int32)}
