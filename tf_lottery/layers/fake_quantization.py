"""Layers that compute in float32 what int8 integers would: fake quantization, in the scheme of LiteRT.

Kernels are quantized symmetrically, with a scale for each output channel: `-127..127` times the scale, so that zero,
and with it every pruned weight, is exactly zero. What flows between layers is quantized asymmetrically, with one scale
and zero point for a tensor: 256 values between a minimum and a maximum, moved so that zero is one of them.

Gradients pass through the rounding as if it weren't there (Bengio et al. 2013, arXiv 1308.3432); those of activations
outside their range are zero. Biases stay in float32: int8 files hold them as int32, whose rounding does not show.
"""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

RANGE_SUFFIX = "_range"
"""What the name of the `FakeQuantize` behind a layer ends with."""

MOMENTUM = 0.99
"""Of the moving averages of ranges; the first batches are averaged evenly."""
LEAST_RANGE = 1e-4
"""Between minimum and maximum. A layer that only gives zeros has a scale above 0, too."""
LEAST_KERNEL = 1e-7
"""Largest absolute value that a channel of a kernel is taken to have, at least: of a dead one, 0.0."""
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
    return tf.custom_gradient(_rounded)(tf.convert_to_tensor(kernel))


def _rounded(kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    largest = tf.reduce_max(tf.abs(kernel), axis=list(range(len(kernel.shape) - 1)))
    scale = tf.maximum(largest, LEAST_KERNEL) / 127
    return tf.round(kernel / scale) * scale, lambda upstream: upstream


def fake_quantize_depthwise(kernel: Any) -> tf.Tensor:
    """Returns the kernel of a depthwise convolution, fake-quantized with a scale for each of its output channels.

    Args:
        kernel: Float32 `(height, width, channels, multiplier)`, a tensor or variable.
    """
    height, width, channels, multiplier = kernel.shape
    by_channel = tf.reshape(kernel, (height, width, channels * multiplier))
    return tf.reshape(fake_quantize_kernel(by_channel), (height, width, channels, multiplier))


@keras.saving.register_keras_serializable("tf_lottery")
class FakeQuantize(keras.layers.Layer):
    """Rounds a tensor to the 256 values of int8 between a minimum and a maximum.

    The range is a moving average of the ranges of the batches that it is trained on; until it has seen a batch it
    passes values unchanged. Or it is fixed, as that of a softmax is. Then it passes values unchanged in training: a
    probability that is rounded to 0.0 would have no gradient.

    Args:
        minimum: The fixed minimum, at most 0.0; None to measure it.
        maximum: The fixed maximum, at least 0.0; None to measure it.
        **kwargs: The arguments of `keras.layers.Layer`.

    Example:
        >>> FakeQuantize(minimum=0.0, maximum=255.0)(np.array([[-3.0, 7.4, 300.0]], "float32")).numpy().tolist()
        [[0.0, 7.0, 255.0]]
    """

    def __init__(self, *, minimum: float | None = None, maximum: float | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
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
        return (float(self.minimum.numpy()), float(self.maximum.numpy())) if float(self.batches.numpy()) else None

    def call(self, inputs: Any, training: bool | None = None, track: bool = True) -> Any:
        """Returns the rounded inputs.

        Args:
            inputs: A tensor of any shape.
            training: Whether to take their range into the moving average.
            track: Whether that is done at all: not for a second tensor of the same range.
        """
        if self.fixed is not None:
            return inputs if training else tf.quantization.fake_quant_with_min_max_vars(inputs, *self.fixed)
        if track and (training or getattr(_calibration, "active", False)):
            self._track(tf.stop_gradient(inputs))
        quantized = tf.quantization.fake_quant_with_min_max_vars(
            inputs, self.minimum.value, tf.maximum(self.maximum.value, self.minimum.value + LEAST_RANGE)
        )
        return tf.where(self.batches.value > 0, quantized, inputs)

    def _track(self, inputs: tf.Tensor) -> None:
        share = tf.maximum(1 / (self.batches.value + 1), 1 - MOMENTUM)
        # Zero is always one of the 256 values, so the range has it.
        lowest = tf.minimum(tf.reduce_min(inputs), 0.0)
        highest = tf.maximum(tf.reduce_max(inputs), lowest + LEAST_RANGE)
        highest = tf.maximum(highest, 0.0)
        self.minimum.assign(self.minimum.value + share * (lowest - self.minimum.value))
        self.maximum.assign(self.maximum.value + share * (highest - self.maximum.value))
        self.batches.assign(self.batches.value + 1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Returns the shape of the inputs.

        Args:
            input_shape: That shape.
        """
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        minimum, maximum = self.fixed or (None, None)
        return {**super().get_config(), "minimum": minimum, "maximum": maximum}


@keras.saving.register_keras_serializable("tf_lottery")
class QuantizedDense(keras.layers.Dense):
    """A dense layer that computes with its kernel fake-quantized."""

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Returns the outputs in front of their own fake quantization.

        Args:
            inputs: Float32 `(..., features)`.
            training: Unused.
        """
        outputs = keras.ops.matmul(inputs, fake_quantize_kernel(self.kernel))
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def quantized_kernel(self) -> np.ndarray:
        """Returns the kernel that it computes with."""
        return np.asarray(fake_quantize_kernel(self.kernel))


@keras.saving.register_keras_serializable("tf_lottery")
class QuantizedConv2D(keras.layers.Conv2D):
    """A convolution that computes with its kernel fake-quantized."""

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:
        """Returns the convolution with the fake-quantized kernel.

        Args:
            inputs: Float32 `(batch, height, width, channels)`.
            kernel: The kernel, not quantized.
        """
        return super().convolution_op(inputs, fake_quantize_kernel(kernel))

    def quantized_kernel(self) -> np.ndarray:
        """Returns the kernel that it computes with."""
        return np.asarray(fake_quantize_kernel(self.kernel))


@keras.saving.register_keras_serializable("tf_lottery")
class QuantizedDepthwiseConv2D(keras.layers.DepthwiseConv2D):
    """A depthwise convolution that computes with its kernel fake-quantized."""

    def call(self, inputs: Any) -> Any:
        """Returns the outputs in front of their own fake quantization.

        Args:
            inputs: Float32 `(batch, height, width, channels)`.
        """
        kernel = fake_quantize_depthwise(self.kernel)
        options = {"strides": self.strides, "padding": self.padding, "dilation_rate": self.dilation_rate}
        outputs = keras.ops.depthwise_conv(inputs, kernel, data_format=self.data_format, **options)
        return self.activation(outputs if self.bias is None else outputs + self.bias)

    def quantized_kernel(self) -> np.ndarray:
        """Returns the kernel that it computes with."""
        return np.asarray(fake_quantize_depthwise(self.kernel))


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
