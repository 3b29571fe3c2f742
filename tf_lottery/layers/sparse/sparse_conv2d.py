"""`SparseConv2D`: a convolution that holds and computes with the kept weights alone."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers.sparse.blocked import from_lanes, to_lanes
from tf_lottery.layers.sparse.conv_index import conv_index_limits, conv_index_of, conv_index_shapes
from tf_lottery.layers.sparse.conv_shape import ConvShape
from tf_lottery.layers.sparse.custom_call import compiled
from tf_lottery.layers.sparse.matrix_index import Index
from tf_lottery.layers.sparse.native import kernels
from tf_lottery.layers.sparse.sparse_conv import sparse_conv
from tf_lottery.layers.sparse.sparse_layer import SparseLayer
from tf_lottery.layers.sparse.sparse_matmul import in_batches


@keras.saving.register_keras_serializable("tf_lottery")
class SparseConv2D(SparseLayer):
    """A convolution whose weights are the kept values of a kernel, a trainable vector.

    It computes by the compiled kernels (`TF_LOTTERY_KERNELS`), forward and backward, as `keras.layers.Conv2D` does with
    the pruned weights at 0: outputs and gradients differ by the order of their sums alone. Where there are no kernels,
    it makes the whole kernel at each call. What is trained are the kept values; which they are is set by `set_kernel`.

    Args:
        convolution: The configuration of the `keras.layers.Conv2D` that it stands for: channels last, not dilated, of
            one group.
        capacity: How many values there may be: at least as many as are kept.
        batch_size: How many examples to compute at a time where the size of a batch is not known when a function is
            traced, as in `fit`. Best a multiple of 16 that is no larger than the batches.
        **kwargs: The arguments of `keras.layers.Layer`; by default those of the layer that it stands for.

    Raises:
        UsageError: If a size is not a positive integer, or the layer is not covered.

    Example:
        >>> layer = SparseConv2D(keras.layers.Conv2D(1, 2).get_config(), capacity=3)
        >>> layer.build((None, 2, 2, 1))
        >>> kernel = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
        >>> layer.set_kernel(kernel, kernel != 2)
        >>> layer(np.ones((1, 2, 2, 1))).numpy().ravel().tolist()
        [8.0]
    """

    STANDS_FOR, CONFIG_KEY = keras.layers.Conv2D, "convolution"

    def __init__(self, convolution: Mapping[str, Any], capacity: int, batch_size: int = 32, **kwargs: Any) -> None:
        """Makes no variables yet."""
        original = keras.layers.Conv2D.from_config(dict(convolution))
        if reason := reason_of_convolution(original):
            raise UsageError(f"The convolution {original.name!r} is not covered: {reason}.", "Leave the layer dense.")
        super().__init__(original, capacity, batch_size, **kwargs)
        self._eager_convolve = compiled(self._convolve)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the values, all 0, the index and the bias.

        Args:
            input_shape: Of the images: (batch, height, width, channels); all but the batch are known.
        """
        if None in input_shape[1:]:
            raise ValueError(f"The size of the images must be known. Received the shape {input_shape}.")
        kernel_shape = (*self.original.kernel_size, int(input_shape[-1] or 0), self.original.filters)
        self.conv_kernel_shape: tuple[int, int, int, int] = kernel_shape
        self.make_variables(kernel_shape)

    def conv_shape(self, input_size: tuple[int, int]) -> ConvShape:
        """Returns the sizes of the convolution, as the kernels take them.

        Args:
            input_size: Height and width of the images.
        """
        original, (_, _, inputs, filters) = self.original, self.kernel_shape
        return ConvShape(original.kernel_size, original.strides, original.padding, input_size, inputs, filters)

    def call(self, inputs: Any) -> Any:
        """Returns activation(convolution of the images + bias).

        Args:
            inputs: Images of shape (batch, height, width, channels).
        """
        images = keras.ops.cast(inputs, "float32")  # integers, which Keras leaves as they are
        convolve = self._whole
        if kernels() and None not in images.shape[1:]:
            convolve = compiled(self._convolve) if tf.inside_function() else self._eager_convolve
        outputs = convolve(images, self.values.value, self.index_tensors(), tuple(images.shape[1:3]))
        if self.bias is not None:
            outputs = keras.ops.add(outputs, self.bias)
        return self.original.activation(outputs)

    def call_blocked(self, blocked: tf.Tensor, batch: int) -> tf.Tensor:
        """Returns the convolution, without bias and activation, of blocked images.

        To be called in a function that XLA compiles.

        Args:
            blocked: float32, of shape (blocks, channels, height, width, 16).
            batch: How many images there are.
        """
        shape = self.conv_shape(tuple(blocked.shape[2:4]))
        return sparse_conv(blocked, self.values.value, self.index_tensors(), shape, batch)

    def _convolve(
        self, images: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor], size: tuple[int, int]
    ) -> tf.Tensor:
        # Called with images of several sizes, TensorFlow traces a function for all sizes: `size` makes each its own.
        shape, image_shape = self.conv_shape(size), (*size, self.kernel_shape[2])
        images = tf.ensure_shape(images, (None, *image_shape))
        batch = images.shape[0]

        def convolve(images: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
            blocked = sparse_conv(to_lanes(images), values, index, shape, images.shape[0])
            return from_lanes(blocked, images.shape[0])

        if batch is not None:
            return convolve(images, values)

        def convolve_rows(rows: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
            outputs = convolve(tf.reshape(rows, [rows.shape[0], *image_shape]), values)
            return tf.reshape(outputs, [rows.shape[0], -1])

        of_image = (*shape.output_size, shape.filters)
        rows = tf.reshape(images, [-1, int(np.prod(image_shape))])
        outputs = in_batches(convolve_rows, rows, values, int(np.prod(of_image)), size=self.batch_size)
        return tf.reshape(outputs, [-1, *of_image])

    def _whole(
        self, images: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor], _: tuple[int | None, ...]
    ) -> tf.Tensor:
        original = self.original
        kernel = self.whole_kernel(values, index)
        return tf.nn.conv2d(images, kernel, original.strides, original.padding.upper())

    def index_of(self, mask: np.ndarray) -> Index:
        """Returns the index of the kept weights.

        Args:
            mask: Boolean, of the shape of the kernel; True keeps.
        """
        return conv_index_of(mask, self.capacity, self.original.strides)

    def index_shapes(self) -> dict[str, int]:
        """Returns the length of each array of an index."""
        return conv_index_shapes(self.conv_kernel_shape, self.capacity, self.original.strides)

    def index_limits(self) -> dict[str, int]:
        """Returns, for each array of an index, the number that all of its numbers are below."""
        return conv_index_limits(self.conv_kernel_shape, self.capacity)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs.

        Args:
            input_shape: Of the images.
        """
        shape: tuple[int | None, ...] = self.original.compute_output_shape(input_shape)
        return shape


def reason_of_convolution(layer: keras.layers.Conv2D) -> str:
    """Returns why the kernels do not cover a convolution, whatever its weights are; "" where they do.

    Args:
        layer: Built or not.
    """
    if layer.groups != 1:
        return f"it has {layer.groups} groups of channels"
    if tuple(layer.dilation_rate) != (1, 1):
        return "it is dilated"
    if layer.data_format != "channels_last":
        return "its channels come first"
    return ""
