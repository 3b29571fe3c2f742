"""Layers that compute in float32 what int8 integers would: fake quantization, in the scheme of LiteRT.

Kernels are quantized symmetrically, with a scale for each output channel: `-127..127` times the scale, so that zero,
and with it every pruned weight, is exactly zero. What flows between layers is quantized asymmetrically, with one scale
and zero point for a tensor: 256 values between a minimum and a maximum, moved so that zero is one of them.

Gradients pass through the rounding as if it weren't there (Bengio et al. 2013, arXiv 1308.3432); those of activations
outside their range are zero. Biases are rounded to int32. Sums, and how they are rounded, are those of LiteRT's
kernels (`integer_rounding`), so a value passes with its *grid*, its scale and zero point, from layer to layer.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.layers.integer_rounding import (
    HIGHEST,
    LEAST_RANGE,
    LOWEST,
    activate,
    add,
    as_integers,
    average,
    grid_between,
    kernel_scale,
    least_range,
    regrid,
    rescale,
    round_through,
)

RANGE_SUFFIX = "_range"
"""What the name of the `FakeQuantize` behind a layer ends with."""

MOMENTUM = 0.99
"""Of the moving averages of ranges; the first batches are averaged evenly."""
_calibration = threading.local()


@contextlib.contextmanager
def calibrating() -> Iterator[None]:
    """Lets every call of a `FakeQuantize` layer inside measure ranges, also those for inference."""
    _calibration.active = True
    try:
        yield
    finally:
        _calibration.active = False


def fake_quantize_kernel(kernel: Any) -> tf.Tensor:
    """Returns a kernel rounded to `-127..127` times the scale of its output channel; its gradient passes unchanged.

    Args:
        kernel: Float32 `(..., channels)`, a tensor or variable; a masked one reads as masked.

    Example:
        >>> fake_quantize_kernel(np.array([[127.0, 0.0], [1.4, 0.0]], "float32")).numpy().tolist()
        [[127.0, 0.0], [1.0, 0.0]]
    """
    kernel = tf.convert_to_tensor(kernel)
    scale = kernel_scale(kernel)
    return round_through(kernel / scale) * scale


@keras.saving.register_keras_serializable("tf_lottery")
class FakeQuantize(keras.layers.Layer):
    """Rounds a tensor to the 256 values of int8 between a minimum and a maximum.

    The range is a moving average of the ranges of the batches that it is trained on; until it has seen a batch it
    passes values unchanged. Or it is fixed, as that of a softmax is. Then it passes values unchanged in training: a
    probability that is rounded to 0.0 would have no gradient.

    Args:
        minimum: The fixed minimum, at most 0.0; None to measure it.
        maximum: The fixed maximum, at least 0.0; None to measure it.
        stands_for: The name of the layer of the float32 model whose outputs these are; empty for none.
        **kwargs: The arguments of `keras.layers.Layer`.

    Example:
        >>> FakeQuantize(minimum=0.0, maximum=255.0)(np.array([[-3.0, 7.4, 300.0]], "float32"))[0].numpy().tolist()
        [[0.0, 7.0, 255.0]]
    """

    def __init__(
        self, *, minimum: float | None = None, maximum: float | None = None, stands_for: str = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.stands_for = stands_for
        self.supports_masking = True
        self.fixed = None if minimum is None or maximum is None else (minimum, maximum)

    def build(self, input_shape: Any) -> None:
        """Creates the range and the number of batches that it was measured on.

        Args:
            input_shape: Unused: a tensor of any shape has one range.
        """
        if self.fixed is None:
            zeros = {"shape": (), "initializer": "zeros", "trainable": False}
            self.minimum = self.add_weight(name="minimum", **zeros)
            self.maximum = self.add_weight(name="maximum", **zeros)
            self.batches = self.add_weight(name="batches", **zeros)

    @property
    def range(self) -> tuple[float, float] | None:
        """The minimum and maximum; None if they are to be measured and were not."""
        if self.fixed is not None:
            return self.fixed
        minimum, maximum = float(self.minimum.numpy()), float(self.maximum.numpy())
        return (minimum, max(maximum, minimum + LEAST_RANGE)) if float(self.batches.numpy()) else None

    def call(
        self,
        inputs: Any,
        unit: Any = None,
        addends: Any = None,
        source: Any = None,
        activation: str | None = None,
        grid: Any = None,
        averages: bool = False,
        training: bool | None = None,
    ) -> tuple[Any, Any]:
        """Returns the rounded inputs and their grid: scale and zero point, float32 `(2,)`.

        Args:
            inputs: A tensor of any shape.
            unit: What they are whole multiples of, float32 `(channels,)` or a scalar, as a kernel's sums are.
            addends: The two rounded tensors that they are the sum of, each followed by its grid.
            source: The grid of the inputs, where they are rounded already.
            activation: "relu" or "relu6", which gave the inputs, and of which the bounds are rounded too.
            grid: The grid of another tensor that this layer rounded, of which these are a part; not measured again.
            averages: Whether they are averages of that tensor.
            training: Whether to take their range into the moving average.
        """
        if grid is None:
            if self.fixed is None and (training or getattr(_calibration, "active", False)):
                grids = [*(addends or [])[1::2], *([] if source is None else [source])]
                units = [*(known[0] for known in grids), *([] if unit is None else [unit])]
                self._track(tf.stop_gradient(inputs), least_range(units))
            grid = self._grid()
        scale, zero = grid[0], grid[1]
        safe = tf.where(scale > 0, scale, 1.0)
        if addends is not None:
            integers = add((addends[0], addends[2]), (addends[1], addends[3]), safe)
        elif averages:
            integers = average(inputs, tf.stack([safe, zero]))
        elif source is not None:
            integers = (regrid if activation is None else activate)(inputs, source[0], safe)
        else:
            integers = tf.round(inputs * (1 / safe)) if unit is None else rescale(inputs, unit, safe)
        if activation is not None:
            integers = tf.maximum(integers, 0.0)
        if activation == "relu6":
            integers = tf.minimum(integers, tf.round(6 / safe))
        values = tf.clip_by_value(integers, LOWEST - zero, HIGHEST - zero) * scale
        quantized = _in_place_of(inputs, values, (LOWEST - zero) * scale, (HIGHEST - zero) * scale)
        if self.fixed is not None:
            return (inputs if training else quantized), grid
        return tf.where(scale > 0, quantized, inputs), grid

    def _grid(self) -> tf.Tensor:
        if self.fixed is not None:
            return grid_between(*map(tf.constant, self.fixed))
        highest = tf.maximum(self.maximum.value, self.minimum.value + LEAST_RANGE)
        return tf.where(self.batches.value > 0, grid_between(self.minimum.value, highest), 0.0)

    def _track(self, inputs: tf.Tensor, least: tf.Tensor) -> None:
        share = tf.maximum(1 / (self.batches.value + 1), 1 - MOMENTUM)
        # Zero is always one of the 256 values, so the range has it.
        lowest = tf.minimum(tf.reduce_min(inputs), 0.0)
        highest = tf.maximum(tf.reduce_max(inputs), lowest + least)
        highest = tf.maximum(highest, 0.0)
        self.minimum.assign(self.minimum.value + share * (lowest - self.minimum.value))
        self.maximum.assign(self.maximum.value + share * (highest - self.maximum.value))
        self.batches.assign(self.batches.value + 1)

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the specs of the rounded inputs and of their grid.

        Args:
            inputs: The spec of the inputs.
            *args: Unused.
            **kwargs: Unused.
        """
        return keras.KerasTensor(inputs.shape, inputs.dtype), keras.KerasTensor((2,), "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        minimum, maximum = self.fixed or (None, None)
        own = {"minimum": minimum, "maximum": maximum, "stands_for": self.stands_for}
        return {**super().get_config(), **own}


def _in_place_of(inputs: tf.Tensor, values: tf.Tensor, lowest: tf.Tensor, highest: tf.Tensor) -> tf.Tensor:
    """The values, with the gradient of the inputs, which is zero outside their range."""

    def replaced(inputs: tf.Tensor) -> tuple[tf.Tensor, Any]:
        inside = (inputs >= lowest) & (inputs <= highest)
        return tf.stop_gradient(values), lambda upstream: tf.where(inside, upstream, 0.0)

    return tf.custom_gradient(replaced)(inputs)


class _IntegerKernel(keras.layers.Layer):
    """A layer with a kernel, of which the sums are computed of integers."""

    def call(self, inputs: Any, grid: Any) -> tuple[Any, Any]:
        """Returns the outputs in front of their own fake quantization, and the unit of which they are multiples.

        Args:
            inputs: Float32 `(batch, ..., channels)`, rounded.
            grid: Of the inputs, float32 `(2,)`.
        """
        scale = grid[0]
        known = tf.where(scale > 0, scale, 1.0)
        kernel = self._by_channel(tf.convert_to_tensor(self.kernel))
        scales = kernel_scale(kernel, None if self.bias is None else tf.convert_to_tensor(self.bias), known)
        unit = tf.stop_gradient(known * scales)
        sums = self._sums(as_integers(inputs, scale), round_through(kernel / scales))
        if self.bias is not None:
            bias = self.bias / unit
            sums = sums + tf.where(scale > 0, round_through(bias), bias)
        return self.activation(sums * unit), unit

    def compute_output_spec(self, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        """Returns the specs of the outputs and of their unit.

        Args:
            inputs: The spec of the inputs.
            *args: Unused.
            **kwargs: Unused.
        """
        shape = self.compute_output_shape(inputs.shape)
        return keras.KerasTensor(shape, inputs.dtype), keras.KerasTensor(shape[-1:], "float32")

    def quantized_kernel(self) -> np.ndarray:
        """Returns the kernel that it computes with."""
        kernel = fake_quantize_kernel(self._by_channel(tf.convert_to_tensor(self.kernel)))
        return np.asarray(kernel).reshape(self.kernel.shape)

    def _by_channel(self, kernel: tf.Tensor) -> tf.Tensor:
        """The kernel with its output channels last."""
        return kernel


@keras.saving.register_keras_serializable("tf_lottery")
class QuantizedDense(_IntegerKernel, keras.layers.Dense):
    """A dense layer that computes with integers."""

    def _sums(self, inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
        return keras.ops.matmul(inputs, kernel)


@keras.saving.register_keras_serializable("tf_lottery")
class QuantizedConv2D(_IntegerKernel, keras.layers.Conv2D):
    """A convolution that computes with integers."""

    def _sums(self, inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
        return self.convolution_op(inputs, kernel)


@keras.saving.register_keras_serializable("tf_lottery")
class QuantizedDepthwiseConv2D(_IntegerKernel, keras.layers.DepthwiseConv2D):
    """A depthwise convolution that computes with integers."""

    def _by_channel(self, kernel: tf.Tensor) -> tf.Tensor:
        return tf.reshape(kernel, (*self.kernel_size, -1))

    def _sums(self, inputs: tf.Tensor, kernel: tf.Tensor) -> Any:
        options = {"strides": self.strides, "padding": self.padding, "dilation_rate": self.dilation_rate}
        kernel = tf.reshape(kernel, self.kernel.shape)
        return keras.ops.depthwise_conv(inputs, kernel, data_format=self.data_format, **options)


QUANTIZED_CLASSES: dict[type, Any] = {
    keras.layers.Dense: QuantizedDense,
    keras.layers.Conv2D: QuantizedConv2D,
    keras.layers.DepthwiseConv2D: QuantizedDepthwiseConv2D,
}
"""The fake-quantizing class of each layer class with a kernel that has one."""
PLAIN_CLASSES: dict[type, Any] = {quantized: plain for plain, quantized in QUANTIZED_CLASSES.items()}
"""The layer class of each fake-quantizing one."""


def is_quantization_aware(model: keras.Model) -> bool:
    """Returns whether a model has fake-quantizing layers."""
    return any(isinstance(layer, FakeQuantize) for layer in model._flatten_layers())
