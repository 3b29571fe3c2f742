"""Activations as the kernels of convolutions read them, and what is done to them between convolutions.

Blocked activations are float32 of shape (blocks, channels, height, width, 16), where place l of block b is the example
16 * b + l. What the places beyond the batch hold reaches no result.
"""

import tensorflow as tf

from tf_lottery.layers.sparse.conv_shape import ConvShape
from tf_lottery.layers.sparse.custom_call import GRADIENTS, LANES, call, call_of_several, check_floats, sizes_of_call

TO_LANES, FROM_LANES, BATCH_NORM, MAX_POOL = "to_lanes", "from_lanes", "batch_norm", "max_pool"


def blocks(batch: int) -> int:
    """Returns how many blocks hold a batch.

    Args:
        batch: The number of examples.
    """
    return -(-batch // LANES)


def to_lanes(images: tf.Tensor) -> tf.Tensor:
    """Returns blocked activations; the places beyond the batch hold 0.

    Args:
        images: float32, of shape (batch, height, width, channels), all known.
    """
    check_floats(images)
    batch, height, width, channels = images.shape
    shape = (blocks(batch), channels, height, width, LANES)
    return call(TO_LANES, [images], (batch, height * width, channels, 0), shape)


def from_lanes(blocked: tf.Tensor, batch: int) -> tf.Tensor:
    """Returns activations as TensorFlow has them: (batch, height, width, channels).

    Args:
        blocked: Blocked activations.
        batch: The number of examples.
    """
    check_floats(blocked)
    _, channels, height, width, _ = blocked.shape
    check_blocked(blocked, (blocks(batch), channels, height, width, LANES))
    return call(FROM_LANES, [blocked], (batch, height * width, channels, 0), (batch, height, width, channels))


def max_pool_lanes(blocked: tf.Tensor, shape: ConvShape, batch: int) -> tf.Tensor:
    """Returns the largest values of windows, blocked. The gradient goes to the first of them in a window.

    Args:
        blocked: Blocked activations, of shape (blocks, inputs, height, width, 16).
        shape: Of the windows (`kernel_size`), which stay inside the inputs; as many `filters` as `inputs`.
        batch: The number of examples.
    """
    check_floats(blocked)
    if shape.filters != shape.inputs:
        raise ValueError(f"Pooling keeps its {shape.inputs} channels. Received: {shape.filters} filters.")
    check_blocked(blocked, blocked_shape(batch, shape.inputs, shape.input_size))
    return call(MAX_POOL, [blocked], sizes_of(shape, batch), blocked_shape(batch, shape.inputs, shape.output_size))


def batch_norm_lanes(
    blocked: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float, batch: int, *, relu: bool = False
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns blocked activations, normalized by the statistics of the batch, with these.

    Args:
        blocked: Blocked activations.
        gamma: The scale of each channel: float32, of shape (channels,).
        beta: The offset of each channel.
        epsilon: Added to the variance.
        batch: The number of examples.
        relu: Whether negative results become 0.

    Returns:
        The normalized activations, and the mean and variance of each channel, which have no gradient.
    """
    check_floats(blocked, gamma, beta)
    _, channels, height, width, _ = blocked.shape
    check_blocked(blocked, blocked_shape(batch, channels, (height, width)))
    for name, array in {"gamma": gamma, "beta": beta}.items():
        if tuple(array.shape) != (channels,):
            raise ValueError(f"`{name}` must hold {channels} numbers, one for each channel. Received: {array.shape}.")
    sizes = (batch, channels, height * width, int(relu), repr(float(epsilon)))
    shapes = (blocked.shape, (channels,), (channels,))
    normalized, mean, variance = call_of_several(BATCH_NORM, [blocked, gamma, beta], sizes, shapes)
    return normalized, tf.stop_gradient(mean), tf.stop_gradient(variance)


def sizes_of(shape: ConvShape, batch: int) -> tuple[int, ...]:
    """Returns the numbers of a shape that the kernels read.

    Args:
        shape: Of a convolution or a pooling.
        batch: The number of examples.
    """
    sizes = (batch, *shape.kernel_size, *shape.strides, *shape.padding_before, *shape.input_size, shape.inputs)
    return (*sizes, *shape.output_size, shape.filters)


def blocked_shape(batch: int, channels: int, size: tuple[int, int]) -> tuple[int, ...]:
    """Returns the shape of blocked activations.

    Args:
        batch: The number of examples.
        channels: Of each pixel.
        size: Height and width.
    """
    return (blocks(batch), channels, *size, LANES)


def check_blocked(blocked: tf.Tensor, shape: tuple[int, ...]) -> None:
    """Raises if activations have another shape than the kernels would read.

    Args:
        blocked: Blocked activations.
        shape: Which they must have.

    Raises:
        ValueError: If they have another.
    """
    if tuple(blocked.shape) != shape:
        raise ValueError(f"Blocked activations must have the shape {shape} here. Received: {tuple(blocked.shape)}.")


def _gradient_of_max_pool(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    (blocked,) = operation.inputs
    return [call("max_pool_gradient", [blocked, upstream], sizes_of_call(operation), blocked.shape)]


def _gradient_of_to_lanes(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    return [from_lanes(upstream, operation.inputs[0].shape[0])]


def _gradient_of_from_lanes(operation: tf.Operation, upstream: tf.Tensor) -> list[tf.Tensor | None]:
    return [to_lanes(upstream)]


def _gradient_of_batch_norm(operation: tf.Operation, upstream: tf.Tensor, *_: tf.Tensor) -> list[tf.Tensor | None]:
    _, *statistics = operation.outputs
    operands, shapes = [*operation.inputs, *statistics, upstream], [one.shape for one in operation.inputs]
    return list(call_of_several("batch_norm_gradient", operands, sizes_of_call(operation), shapes))


GRADIENTS[TO_LANES], GRADIENTS[FROM_LANES] = _gradient_of_to_lanes, _gradient_of_from_lanes
GRADIENTS[BATCH_NORM], GRADIENTS[MAX_POOL] = _gradient_of_batch_norm, _gradient_of_max_pool
