"""The integers that LiteRT's int8 kernels compute, as whole numbers in float32; gradients pass their rounding.

Sums of products of int8 are exact in float32 up to 2^24. What such a sum is multiplied by, and how the product is
rounded, is what XNNPACK's kernels do, which LiteRT uses by default: so equal integers give equal integers.

A *grid* is a float32 `(2,)`: the scale and the zero point of a tensor. A scale of 0.0 means that it is not known yet.
"""

from collections.abc import Sequence

import tensorflow as tf

LOWEST, HIGHEST = -128.0, 127.0
LEAST_RANGE = 1e-4
"""Between minimum and maximum, at least. A layer that only gives zeros has a scale above 0, too."""
LEAST_KERNEL = 1e-7
"""Largest absolute value that a channel of a kernel is taken to have, at least: of a dead one, 0.0."""
_MOST_STEPS = 128
"""Of a tensor's scale, in the unit of what it is made of: XNNPACK takes less than 256, and kernels grow in training."""
_MOST_BIAS = 2.0**30 - 1
"""A bias is at most so many units; the TFLite converter enlarges the scale of the kernel else."""
_SUM_BITS = 20
"""Of the larger multiplier in the sum of two tensors."""

_LESS_THAN_A_FRACTION = 2e-4
"""Less than an average of 1,000 integers can be from a half, and more than float32 rounds."""


def grid_between(minimum: tf.Tensor, maximum: tf.Tensor) -> tf.Tensor:
    """Returns the grid of 256 values between two scalars, moved so that zero is one of them.

    Args:
        minimum: Float32, at most 0.0.
        maximum: Float32, at least 0.0 and larger.

    Example:
        >>> grid_between(tf.constant(-50.0), tf.constant(205.0)).numpy().tolist()
        [1.0, -78.0]
    """
    minimum, maximum = tf.cast(minimum, tf.float64), tf.cast(maximum, tf.float64)
    scale = (maximum - minimum) / (HIGHEST - LOWEST)
    zero = tf.clip_by_value(tf.floor(LOWEST - minimum / scale + 0.5), LOWEST, HIGHEST)
    return tf.stack([tf.cast(scale, tf.float32), tf.cast(zero, tf.float32)])


def least_range(units: Sequence[tf.Tensor]) -> tf.Tensor:
    """Returns the least range of a tensor: one that only holds zeros has a scale that LiteRT's kernels take.

    Args:
        units: What its values are made of: scales of the tensors that are added, or the units of sums of products, one
            for each channel.

    Example:
        >>> least_range([]).numpy().item(), least_range([tf.constant([1.0, 128.0])]).numpy().item()
        (9.999999747378752e-05, 255.0)
    """
    largest = tf.reduce_max([tf.reduce_max(unit) for unit in units]) if units else 0.0
    return tf.maximum(tf.constant(LEAST_RANGE), tf.stop_gradient(largest) * ((HIGHEST - LOWEST) / _MOST_STEPS))


def round_through(values: tf.Tensor) -> tf.Tensor:
    """Returns values rounded half to even; their gradient passes unchanged."""
    return tf.custom_gradient(lambda value: (tf.round(value), lambda upstream: upstream))(values)


def kernel_scale(kernel: tf.Tensor, bias: tf.Tensor | None = None, scale: tf.Tensor | float = 1.0) -> tf.Tensor:
    """Returns the scale of each output channel of a kernel: its largest absolute value is 127 times that.

    Args:
        kernel: Float32 `(..., channels)`.
        bias: Float32 `(channels,)`: its integers, in units of both scales, have to fit; None for none.
        scale: Of the inputs.
    """
    largest = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    scales = tf.maximum(largest, LEAST_KERNEL) / 127
    if bias is not None:
        scales = tf.maximum(scales, tf.abs(bias) / (scale * _MOST_BIAS))
    # The file's scale is made of the largest rounded weight, in float64.
    return tf.stop_gradient(tf.cast(tf.cast(scales * 127, tf.float64) / 127, tf.float32))


def as_integers(values: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the integers of values that are whole multiples of a scale; the values where it is not known.

    Args:
        values: Float32.
        scale: Float32, a scalar; 0.0 where it is not known.
    """
    known = scale > 0
    quotients = values / tf.where(known, scale, 1.0)
    return tf.where(known, round_through(quotients), quotients)


def rescale(values: tf.Tensor, unit: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the integers of sums: `values`, whole multiples of `unit`, in steps of `scale`.

    Args:
        values: Float32 `(..., channels)`.
        unit: Float32 `(channels,)` or a scalar.
        scale: Float32, a scalar.
    """
    return tf.round(tf.round(values / unit) * (unit / scale))


def regrid(values: tf.Tensor, source: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the integers in steps of `scale` of whole multiples of another scale: by a multiplier of eight bits.

    Args:
        values: Float32.
        source: Their scale, a scalar.
        scale: The new one, a scalar.
    """
    return tf.floor(tf.round(values / source) * tf.round(256 * (source / scale)) / 256 + 0.5)


def activate(values: tf.Tensor, source: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the integers of a ReLU that is an operator of its own: whole multiples of another scale, none negative.

    Args:
        values: Float32.
        source: Their scale, a scalar.
        scale: The new one, a scalar.
    """
    ratio = tf.cast(source / scale, tf.float64)
    return tf.cast(tf.floor(tf.cast(tf.round(values / source), tf.float64) * ratio + 0.5), tf.float32)


def add(values: tuple[tf.Tensor, tf.Tensor], grids: tuple[tf.Tensor, tf.Tensor], scale: tf.Tensor) -> tf.Tensor:
    """Returns the integers of the sum of two tensors, which is computed in fixed point and rounded half up.

    Args:
        values: Both tensors, float32.
        grids: Of both.
        scale: Of the sum, a scalar.
    """
    ratios = [grid[0] / scale for grid in grids]
    largest = tf.maximum(*ratios)
    exponent = tf.floor(tf.math.log(tf.cast(largest, tf.float64)) / tf.math.log(tf.constant(2.0, tf.float64)))
    # A power of two near 2^20 that makes the multipliers integers.
    power = tf.pow(tf.constant(2.0, tf.float64), _SUM_BITS - exponent)
    total = tf.constant(0.0, tf.float64)
    for value, grid, ratio in zip(values, grids, ratios, strict=True):
        integers = tf.cast(tf.round(value / grid[0]), tf.float64)
        total = total + integers * tf.round(tf.cast(ratio, tf.float64) * power)
    return tf.cast(tf.floor(total / power + 0.5), tf.float32)


def average(values: tf.Tensor, grid: tf.Tensor) -> tf.Tensor:
    """Returns the integers of averages of values on a grid, on the same: halves of the stored int8 go away from zero.

    Args:
        values: Float32, averages of less than 1,000 values on the grid.
        grid: The grid.
    """
    stored = values / grid[0] + grid[1]
    halves_up = tf.floor(tf.abs(stored) + (0.5 + _LESS_THAN_A_FRACTION))
    return tf.sign(stored) * halves_up - grid[1]
