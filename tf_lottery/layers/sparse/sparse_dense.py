"""`SparseDense`: a dense layer that holds and computes with the kept weights alone."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.layers.sparse.custom_call import compiled
from tf_lottery.layers.sparse.matrix_index import Index, index_limits, index_of, index_shapes
from tf_lottery.layers.sparse.native import kernels
from tf_lottery.layers.sparse.sparse_layer import SparseLayer
from tf_lottery.layers.sparse.sparse_matmul import in_batches, sparse_matmul


@keras.saving.register_keras_serializable("tf_lottery")
class SparseDense(SparseLayer):
    """A dense layer whose weights are the kept values of a matrix, a trainable vector.

    It computes by the compiled kernels (`TF_LOTTERY_KERNELS`), forward and backward, as `keras.layers.Dense` does with
    the pruned weights at 0: outputs and gradients differ by the order of their sums alone. Where there are no kernels,
    it makes the whole matrix at each call. What is trained are the kept values; which they are is set by `set_kernel`.

    Args:
        dense: The configuration of the `keras.layers.Dense` that it stands for.
        capacity: How many values there may be: at least as many as are kept.
        batch_size: How many examples to compute at a time where the size of a batch is not known when a function is
            traced, as in `fit`. Best a multiple of 16 that is no larger than the batches.
        **kwargs: The arguments of `keras.layers.Layer`; by default those of the layer that it stands for.

    Raises:
        UsageError: If a size is not a positive integer, or the layer does not compute in float32.

    Example:
        >>> layer = SparseDense(keras.layers.Dense(2).get_config(), capacity=3)
        >>> layer.build((None, 2))
        >>> kernel = np.array([[1.0, 2.0], [3.0, 4.0]])
        >>> layer.set_kernel(kernel, np.array([[True, False], [True, True]]))
        >>> layer(np.ones((1, 2))).numpy().tolist()
        [[4.0, 4.0]]
    """

    STANDS_FOR, CONFIG_KEY = keras.layers.Dense, "dense"

    def __init__(self, dense: Mapping[str, Any], capacity: int, batch_size: int = 32, **kwargs: Any) -> None:
        """Makes no variables yet."""
        super().__init__(keras.layers.Dense.from_config(dict(dense)), capacity, batch_size, **kwargs)
        self.supports_masking = True
        self._eager_product = compiled(self._multiply)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the values, all 0, the index and the bias.

        Args:
            input_shape: Of the inputs; the last axis is known.
        """
        if input_shape[-1] is None:
            raise ValueError(f"The last axis of the inputs must be known. Received the shape {input_shape}.")
        self.make_variables((int(input_shape[-1]), self.original.units))

    def call(self, inputs: Any) -> Any:
        """Returns activation(inputs @ kernel + bias).

        Args:
            inputs: Of shape (batch, ..., inputs).
        """
        rows = inputs = keras.ops.cast(inputs, "float32")  # integers, which Keras leaves as they are
        if len(inputs.shape) != 2:
            rows = keras.ops.reshape(inputs, (-1, self.matrix_shape[0]))
        product = self._whole
        if kernels():
            product = compiled(self._multiply) if tf.inside_function() else self._eager_product
        product = product(rows, self.values.value, self.index_tensors())
        if len(inputs.shape) != 2:
            product = keras.ops.reshape(product, (*keras.ops.shape(inputs)[:-1], self.original.units))
        if self.bias is not None:
            product = keras.ops.add(product, self.bias)
        return self.original.activation(product)

    def _multiply(self, rows: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
        outputs = self.matrix_shape[1]

        def product(rows: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
            return sparse_matmul(rows, values, index, outputs)

        if rows.shape[0] is not None:
            return product(rows, values)
        return in_batches(product, rows, values, outputs, size=self.batch_size)

    def _whole(self, rows: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return tf.matmul(rows, self.whole_kernel(values, index))

    def index_of(self, mask: np.ndarray) -> Index:
        """Returns the index of the kept weights.

        Args:
            mask: Boolean, of the shape of the kernel; True keeps.
        """
        return index_of(mask, self.capacity)

    def index_shapes(self) -> dict[str, int]:
        """Returns the length of each array of an index."""
        return index_shapes(self.matrix_shape, self.capacity)

    def index_limits(self) -> dict[str, int]:
        """Returns, for each array of an index, the number that all of its numbers are below."""
        return index_limits(self.matrix_shape, self.capacity)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs.

        Args:
            input_shape: Of the inputs.
        """
        return (*input_shape[:-1], self.original.units)
