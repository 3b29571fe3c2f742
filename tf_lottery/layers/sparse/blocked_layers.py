"""What layers between sparse convolutions compute of blocked tensors: the same numbers in another layout.

Blocked images are float32 tensors of shape (blocks, channels, height, width, 16): the image 16 * b + l of a batch is in
lane l of block b. Lanes beyond the batch hold any numbers, which no sum over the batch may take in.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tf_lottery.layers.sparse.blocked import batch_norm_lanes, max_pool_lanes
from tf_lottery.layers.sparse.conv_shape import ConvShape
from tf_lottery.layers.sparse.custom_call import LANES
from tf_lottery.layers.sparse.regions import Layout
from tf_lottery.layers.sparse.sparse_conv2d import SparseConv2D

_L = keras.layers
Compute: TypeAlias = Callable[..., tf.Tensor]
ROWS, COLUMNS, CHANNELS = 2, 3, 1
"""The axes of blocked tensors."""
_ACTIVATIONS = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "softplus"),
    *("softsign", "tanh", "sigmoid", "hard_sigmoid", "hard_silu", "hard_swish", "hard_tanh", "exponential"),
)
ELEMENTWISE = {getattr(keras.activations, name) for name in _ACTIVATIONS}
"""Activations that compute each number alone."""


MERGING = (_L.Add, _L.Subtract, _L.Multiply, _L.Average, _L.Maximum, _L.Minimum)
"""Layers of several inputs that compute each number alone."""


def keep_batch(blocked: tf.Tensor, batch: int) -> tf.Tensor:
    """Returns blocked images with 0 in the lanes beyond the batch, whose gradients are 0 too.

    Args:
        blocked: Of shape (blocks, channels, height, width, 16).
        batch: How many images there are.
    """
    if batch % LANES == 0:
        return blocked
    lanes = tf.range(blocked.shape[0] * LANES)
    return tf.where(tf.reshape(lanes < batch, [-1, 1, 1, 1, LANES]), blocked, 0.0)


def convolution(layer: SparseConv2D, blocked: tf.Tensor, *, batch: int, training: bool) -> tf.Tensor:
    """Returns what a sparse convolution gives.

    Args:
        layer: The layer.
        blocked: Its input.
        batch: How many images there are.
        training: Not used.
    """
    outputs = layer.call_blocked(blocked, batch)
    if layer.bias is not None:
        outputs = keep_batch(outputs + _of_channels(layer.bias.value), batch)
    return layer.original.activation(outputs)


def batch_normalization(
    layer: keras.layers.BatchNormalization, blocked: tf.Tensor, *, batch: int, training: bool
) -> tf.Tensor:
    """Returns what a batch normalization gives; in training its moving averages move.

    Args:
        layer: The layer.
        blocked: Its input.
        batch: How many images there are.
        training: Whether statistics are those of the batch.
    """
    channels = blocked.shape[CHANNELS]
    gamma = tf.ones(channels) if layer.gamma is None else layer.gamma.value
    beta = tf.zeros(channels) if layer.beta is None else layer.beta.value
    if not (training and layer.trainable):
        scale = gamma * tf.math.rsqrt(layer.moving_variance.value + layer.epsilon)
        return blocked * _of_channels(scale) + _of_channels(beta - layer.moving_mean.value * scale)
    normalized, *statistics = batch_norm_lanes(blocked, gamma, beta, layer.epsilon, batch)
    for moving, value in zip((layer.moving_mean, layer.moving_variance), statistics, strict=True):
        moving.assign(moving.value * layer.momentum + value * (1.0 - layer.momentum))
    return normalized


def elementwise(layer: keras.layers.Layer, *blocked: tf.Tensor, batch: int, training: bool) -> tf.Tensor:
    """Returns what a layer gives that computes each number alone, from one input or from several of one shape.

    Args:
        layer: The layer.
        *blocked: Its inputs.
        batch: Not used.
        training: Not used.
    """
    return layer.call(list(blocked) if type(layer) in MERGING else blocked[0])


def zero_padding(layer: keras.layers.ZeroPadding2D, blocked: tf.Tensor, *, batch: int, training: bool) -> tf.Tensor:
    """Returns padded images.

    Args:
        layer: The layer.
        blocked: Its input.
        batch: Not used.
        training: Not used.
    """
    return tf.pad(blocked, [(0, 0), (0, 0), *layer.padding, (0, 0)])


def max_pooling(layer: keras.layers.MaxPooling2D, blocked: tf.Tensor, *, batch: int, training: bool) -> tf.Tensor:
    """Returns the largest number of each window; its gradient belongs to the first one, as Keras has it.

    Args:
        layer: The layer.
        blocked: Its input.
        batch: How many images there are.
        training: Not used.
    """
    _, channels, *size, _ = blocked.shape
    shape = ConvShape(layer.pool_size, layer.strides, layer.padding, tuple(size), channels, channels)
    return max_pool_lanes(blocked, shape, batch)


def average_pooling(
    layer: keras.layers.AveragePooling2D, blocked: tf.Tensor, *, batch: int, training: bool
) -> tf.Tensor:
    """Returns the mean of each window.

    Args:
        layer: The layer; no window reaches beyond the image.
        blocked: Its input.
        batch: Not used.
        training: Not used.
    """
    (height, width), (down, right) = layer.compute_output_shape((1, *blocked.shape[2:4], 1))[1:3], layer.strides
    places = [
        blocked[:, :, row : row + (height - 1) * down + 1 : down, column : column + (width - 1) * right + 1 : right]
        for row in range(layer.pool_size[0])
        for column in range(layer.pool_size[1])
    ]
    return tf.add_n(places) / len(places)


def global_pooling(
    layer: keras.layers.GlobalAveragePooling2D, blocked: tf.Tensor, *, batch: int, training: bool
) -> tf.Tensor:
    """Returns the mean, or the largest number, of each channel of each image: plain, of shape (batch, channels).

    Args:
        layer: The layer.
        blocked: Its input.
        batch: How many images there are.
        training: Not used.
    """
    largest = isinstance(layer, keras.layers.GlobalMaxPooling2D)
    reduced = (tf.reduce_max if largest else tf.reduce_mean)(blocked, (ROWS, COLUMNS))
    rows = tf.reshape(tf.transpose(reduced, [0, 2, 1]), [-1, reduced.shape[CHANNELS]])[:batch]
    return rows[:, tf.newaxis, tf.newaxis] if layer.keepdims else rows


def _of_channels(vector: tf.Tensor) -> tf.Tensor:
    return tf.reshape(vector, [-1, 1, 1, 1])


FUNCTIONS: dict[type, Compute] = {
    SparseConv2D: convolution,
    _L.BatchNormalization: batch_normalization,
    _L.ZeroPadding2D: zero_padding,
    _L.MaxPooling2D: max_pooling,
    _L.AveragePooling2D: average_pooling,
    **dict.fromkeys((_L.GlobalAveragePooling2D, _L.GlobalMaxPooling2D), global_pooling),
    **dict.fromkeys((_L.Activation, _L.ReLU, _L.LeakyReLU, _L.ELU), elementwise),
    **dict.fromkeys(MERGING, elementwise),
}
"""What is computed of blocked tensors, by the class of the layer."""


def layout_of(layer: Any, input_shapes: Sequence[tuple[int | None, ...]]) -> Layout:
    """Returns which tensors a layer can read.

    Args:
        layer: A layer of a model, or another operation.
        input_shapes: The shapes of its inputs, as the model has them.
    """
    kind = type(layer)
    sized = all(len(shape) == 4 and None not in shape[1:] for shape in input_shapes)
    if kind not in FUNCTIONS or not sized or len(set(input_shapes)) != 1:
        return Layout.PLAIN
    if layer.compute_dtype != "float32" or layer.activity_regularizer is not None:
        return Layout.PLAIN
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return Layout.PLAIN
    if kind is SparseConv2D:
        return Layout.BLOCKED if layer.original.activation in ELEMENTWISE else Layout.PLAIN
    if kind is _L.Activation and layer.activation not in ELEMENTWISE:
        return Layout.PLAIN
    if kind is _L.BatchNormalization and not _is_of_channels(layer):
        return Layout.PLAIN
    if kind is _L.AveragePooling2D and not _inside(layer, input_shapes[0]):
        return Layout.PLAIN
    return Layout.REDUCES if FUNCTIONS[kind] is global_pooling else Layout.EITHER


def _is_of_channels(layer: keras.layers.BatchNormalization) -> bool:
    renorm = getattr(layer, "renorm", False)  # Keras 3.13 has none
    return layer.axis in (-1, 3) and not renorm and not layer.synchronized


def _inside(layer: keras.layers.AveragePooling2D, shape: tuple[int | None, ...]) -> bool:
    """Returns whether the windows of a pooling layer stay inside the images: Keras does not count what is padded."""
    positions = zip(layer.compute_output_shape(shape)[1:3], layer.strides, layer.pool_size, shape[1:3], strict=True)
    return all((count - 1) * stride + pool <= size for count, stride, pool, size in positions)
