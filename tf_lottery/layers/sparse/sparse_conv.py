"""Convolutions whose kernels are mostly zero, by the compiled kernels, with their gradients."""

from collections.abc import Mapping

import tensorflow as tf

from tf_lottery.layers.sparse.blocked import (
    batch_norm_lanes,
    blocked_shape,
    check_blocked,
    from_lanes,
    max_pool_lanes,
    sizes_of,
    to_lanes,
)
from tf_lottery.layers.sparse.conv_index import conv_index_shapes, conv_tile_count
from tf_lottery.layers.sparse.conv_shape import ConvShape
from tf_lottery.layers.sparse.custom_call import GRADIENTS, call, check_floats, sizes_of_call

__all__ = ["ConvShape", "batch_norm_lanes", "from_lanes", "max_pool_lanes", "sparse_conv", "to_lanes"]

CONVOLUTION = "convolution"


def sparse_conv(
    blocked: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor], shape: ConvShape, batch: int
) -> tf.Tensor:
    """Returns the convolution with a kernel of which only some values are kept, blocked.

    To be called in a function that XLA compiles.

    Args:
        blocked: Blocked activations, of shape (blocks, inputs, height, width, 16).
        values: The kept values: float32, of shape (capacity,).
        index: Which values they are, as `conv_index_of` returns it.
        shape: Of the convolution.
        batch: The number of examples.

    Returns:
        Blocked activations, of shape (blocks, filters, height, width, 16).
    """
    check_floats(blocked, values)
    check_blocked(blocked, blocked_shape(batch, shape.inputs, shape.input_size))
    sizes = sizes_of(shape, batch)
    capacity = int(values.shape[0])
    _check_index(index, conv_index_shapes(shape.kernel_shape, capacity, shape.strides))
    sizes += (capacity, *(conv_tile_count(*side, capacity) for side in shape.sides))
    # The kernel reads the first four. The gradient needs the others, and finds them here.
    operands = [blocked, values, index["starts"], index["taps"]]
    operands += [index["transposed_starts"], index["transposed_taps"], index["transposed"]]
    result = blocked_shape(batch, shape.filters, shape.output_size)
    return call(CONVOLUTION, operands, sizes, result)


def _check_index(index: Mapping[str, tf.Tensor], lengths: Mapping[str, int]) -> None:
    found = {name: int(index[name].shape[0]) for name in lengths}
    if found != lengths:
        raise ValueError(
            f"The index is not one of such a convolution: its arrays must be of the lengths {lengths}. "
            f"Received: {found}."
        )


def _gradient(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    """Returns the gradients of the operands of a convolution."""
    blocked, values, starts, taps, *transposed = operation.inputs
    sizes = sizes_of_call(operation)
    of_inputs = call("convolution_gradient_of_inputs", [upstream, values, *transposed], sizes, blocked.shape)
    of_values = call("convolution_gradient_of_values", [blocked, upstream, starts, taps], sizes, values.shape)
    return [of_inputs, of_values, None, None, None, None, None]


GRADIENTS[CONVOLUTION] = _gradient
