"""What layers between sparse convolutions compute of blocked tensors: the same numbers in another layout.

Blocked images are float32 tensors of shape (blocks, channels, height, width, 16): the image 16 * b + l of a batch is in
lane l of block b. Lanes beyond the batch hold any finite numbers, which no sum over the batch may take in.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import keras
import tensorflow as tf

from tf_lottery.layers.sparse.custom_call import LANES
from tf_lottery.layers.sparse.regions import Layout
from tf_lottery.layers.sparse.sparse_conv2d import SparseConv2D

_L = keras.layers
Compute: TypeAlias = Callable[..., tf.Tensor]
ROWS, COLUMNS, CHANNELS = 2, 3, 1
"""The axes of blocked tensors."""
OVER_IMAGES = (0, ROWS, COLUMNS, 4)
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
    if training and layer.trainable:
        blocked = keep_batch(blocked, batch)
        count = float(batch * blocked.shape[ROWS] * blocked.shape[COLUMNS])
        mean = tf.reduce_sum(blocked, OVER_IMAGES) / count
        centered = keep_batch(blocked - _of_channels(mean), batch)
        variance = tf.reduce_sum(tf.square(centered), OVER_IMAGES) / count
        for moving, value in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
            moving.assign(moving.value * layer.momentum + value * (1.0 - layer.momentum))
    else:
        mean, variance = layer.moving_mean.value, layer.moving_variance.value
    scale = tf.math.rsqrt(variance + layer.epsilon)
    if layer.gamma is not None:
        scale = scale * layer.gamma.value
    shift = -mean * scale
    if layer.beta is not None:
        shift = shift + layer.beta.value
    return blocked * _of_channels(scale) + _of_channels(shift)


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
        batch: Not used.
        training: Not used.
    """
    largest, *others = _windows(layer, blocked, fill=blocked.dtype.min)
    for other in others:
        largest = tf.where(tf.logical_or(other > largest, tf.math.is_nan(other)), other, largest)
    return largest


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
    places = _windows(layer, blocked, fill=0.0)
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


def _windows(layer: keras.layers.Layer, blocked: tf.Tensor, fill: float) -> list[tf.Tensor]:
    """Returns the numbers at each place of a pooling layer's windows, beginning with the first place."""
    margins = [_margins(layer, axis, int(blocked.shape[ROWS + axis])) for axis in (0, 1)]
    padded = tf.pad(blocked, [(0, 0), (0, 0), *margins, (0, 0)], constant_values=fill)
    height, width = (
        (int(padded.shape[ROWS + axis]) - layer.pool_size[axis]) // layer.strides[axis] + 1 for axis in (0, 1)
    )
    down, right = layer.strides
    return [
        padded[:, :, row : row + (height - 1) * down + 1 : down, column : column + (width - 1) * right + 1 : right]
        for row in range(layer.pool_size[0])
        for column in range(layer.pool_size[1])
    ]


def _margins(layer: keras.layers.Layer, axis: int, size: int) -> tuple[int, int]:
    """Returns how much is padded before and after an axis of the images."""
    if layer.padding == "valid":
        return 0, 0
    pool, stride = layer.pool_size[axis], layer.strides[axis]
    margin = max((-(-size // stride) - 1) * stride + pool - size, 0)
    return margin // 2, margin - margin // 2


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
    if kind is _L.BatchNormalization and (layer.axis not in (-1, 3) or layer.renorm or layer.synchronized):
        return Layout.PLAIN
    if kind is _L.AveragePooling2D and any(
        sum(_margins(layer, axis, int(size))) for axis, size in enumerate(input_shapes[0][1:3])
    ):
        return Layout.PLAIN
    return Layout.REDUCES if FUNCTIONS[kind] is global_pooling else Layout.EITHER
