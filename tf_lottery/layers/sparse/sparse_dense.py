"""`SparseDense`: a dense layer that holds and computes with the kept weights alone."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers.sparse.custom_call import compiled
from tf_lottery.layers.sparse.matrix_index import INDEX, Index, index_limits, index_of, index_shapes
from tf_lottery.layers.sparse.native import kernels
from tf_lottery.layers.sparse.sparse_matmul import in_batches, sparse_matmul


@keras.saving.register_keras_serializable("tf_lottery")
class SparseDense(keras.layers.Layer):
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

    def __init__(self, dense: Mapping[str, Any], capacity: int, batch_size: int = 32, **kwargs: Any) -> None:
        """Makes no variables yet."""
        for name, size in {"capacity": capacity, "batch_size": batch_size}.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UsageError(f"`{name}` must be a positive integer. Received: {size!r}.", "Pass e.g. 32.")
        self.dense = keras.layers.Dense.from_config(dict(dense))
        settings = {"name": self.dense.name, "dtype": self.dense.dtype_policy, "trainable": self.dense.trainable}
        super().__init__(**{**settings, **kwargs})
        if (self.compute_dtype, self.variable_dtype) != ("float32", "float32"):
            raise UsageError(
                f"A sparse layer computes in float32. Received the dtype policy {self.dtype_policy.name!r}.",
                "Leave the layer dense.",
            )
        self.capacity, self.batch_size = capacity, batch_size
        self.supports_masking = True
        self._eager_product = compiled(self._multiply)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Makes the values, all 0, the index and the bias.

        Args:
            input_shape: Of the inputs; the last axis is known.
        """
        dense = self.dense
        if input_shape[-1] is None:
            raise ValueError(f"The last axis of the inputs must be known. Received the shape {input_shape}.")
        self.matrix_shape = (int(input_shape[-1]), dense.units)
        self.values = self.add_weight(
            name="values", shape=(self.capacity,), initializer="zeros", regularizer=dense.kernel_regularizer
        )
        self.bias = None
        if dense.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(dense.units,),
                initializer=dense.bias_initializer,
                regularizer=dense.bias_regularizer,
                constraint=dense.bias_constraint,
            )
        self.index = {
            name: self.add_weight(name=name, shape=(length,), dtype="int32", initializer="zeros", trainable=False)
            for name, length in index_shapes(self.matrix_shape, self.capacity).items()
        }
        for name, limit in index_limits(self.matrix_shape, self.capacity).items():
            _guard(self.index[name], limit)

    def call(self, inputs: Any) -> Any:
        """Returns activation(inputs @ kernel + bias).

        Args:
            inputs: Of shape (batch, ..., inputs).
        """
        rows = inputs = keras.ops.cast(inputs, "float32")  # integers, which Keras leaves as they are
        if len(inputs.shape) != 2:
            rows = keras.ops.reshape(inputs, (-1, self.matrix_shape[0]))
        index = {name: variable.value for name, variable in self.index.items()}
        product = self._whole
        if kernels():
            product = compiled(self._multiply) if tf.inside_function() else self._eager_product
        product = product(rows, self.values.value, index)
        if len(inputs.shape) != 2:
            product = keras.ops.reshape(product, (*keras.ops.shape(inputs)[:-1], self.dense.units))
        if self.bias is not None:
            product = keras.ops.add(product, self.bias)
        return self.dense.activation(product)

    def _multiply(self, rows: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
        outputs = self.matrix_shape[1]
        if rows.shape[0] is not None:
            return sparse_matmul(rows, values, index, outputs)
        return in_batches(rows, values, index, outputs, size=self.batch_size)

    def _whole(self, rows: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
        kept = tf.where(tf.range(self.capacity) < index["starts"][-1], values, 0.0)
        places = index["places"][:, tf.newaxis]
        matrix = tf.scatter_nd(places, kept, [self.matrix_shape[0] * self.matrix_shape[1]])
        return tf.matmul(rows, tf.reshape(matrix, self.matrix_shape))

    def set_kernel(self, kernel: np.ndarray, mask: np.ndarray) -> None:
        """Sets which weights are kept, and their values.

        Args:
            kernel: Of shape (inputs, outputs).
            mask: Boolean, of the same shape; True keeps.

        Raises:
            ValueError: If more weights are kept than the layer has room for.
        """
        index = self.set_mask(mask)
        kept = int(index["starts"][-1])
        values = np.zeros(self.capacity, np.float32)
        values[:kept] = np.asarray(kernel).ravel()[index["places"][:kept]]
        self.values.assign(values)

    def set_mask(self, mask: np.ndarray) -> Index:
        """Sets which weights are kept, and returns their index; the values stay as they are.

        Args:
            mask: Boolean, of shape (inputs, outputs); True keeps.

        Raises:
            ValueError: If more weights are kept than the layer has room for.
        """
        index = index_of(mask, self.capacity)
        for name in INDEX:
            self.index[name].assign(index[name])
        return index

    def get_kernel(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel, with 0 where it is pruned, and its mask."""
        kept = int(self.index["starts"].value[-1])
        places = keras.ops.convert_to_numpy(self.index["places"].value)[:kept]
        kernel, mask = np.zeros(self.matrix_shape, np.float32), np.zeros(self.matrix_shape, bool)
        kernel.ravel()[places] = keras.ops.convert_to_numpy(self.values.value)[:kept]
        mask.ravel()[places] = True
        return kernel, mask

    def save_own_variables(self, store: Any) -> None:
        """Saves the kept values with their places in the matrix, from which an index is made again."""
        kept = int(self.index["starts"].value[-1])
        for name, variable in (("values", self.values), ("places", self.index["places"])):
            store[name] = keras.ops.convert_to_numpy(variable.value)[:kept]
        if self.bias is not None:
            store["bias"] = keras.ops.convert_to_numpy(self.bias.value)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved; the kernels read only places that are checked here.

        Raises:
            ValueError: If the places or values are not those of such a matrix.
        """
        if missing := {"values", "places"} - set(store.keys()):
            raise ValueError(f"{self.name!r} is saved with its values and places. Missing: {', '.join(missing)}.")
        values, places = np.asarray(store["values"]), np.asarray(store["places"])
        size = self.matrix_shape[0] * self.matrix_shape[1]
        fits = values.ndim == places.ndim == 1 and len(values) == len(places) <= self.capacity
        if not (fits and places.dtype.kind in "iu" and values.dtype.kind == "f"):
            raise ValueError(
                f"{self.name!r} holds up to {self.capacity} values. Received: {values.shape} and {places.shape}."
            )
        if len(places) and (places.min() < 0 or places.max() >= size or len(np.unique(places)) < len(places)):
            raise ValueError(f"Places in a matrix of {size} weights must differ, from 0 to {size - 1}.")
        kernel, mask = np.zeros(self.matrix_shape, np.float32), np.zeros(self.matrix_shape, bool)
        kernel.ravel()[places], mask.ravel()[places] = values, True
        self.set_kernel(kernel, mask)
        if self.bias is not None:
            self.bias.assign(store["bias"])

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Returns the shape of the outputs.

        Args:
            input_shape: Of the inputs.
        """
        return (*input_shape[:-1], self.dense.units)

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        config = super().get_config()
        own = {"dense": self.dense.get_config(), "capacity": self.capacity, "batch_size": self.batch_size}
        return {**config, **own}


def _guard(variable: keras.Variable, limit: int) -> None:
    """Makes a variable refuse numbers from `limit` on, such as by `set_weights`: the kernels read what they say."""
    assign = variable.assign

    def assign_checked(value: Any) -> Any:
        array = keras.ops.convert_to_numpy(value)
        if array.size and not 0 <= array.min() <= array.max() < limit:
            raise UsageError(
                f"`{variable.name}` of a sparse layer must hold numbers from 0 to {limit - 1}.",
                "Set which weights are kept by `set_kernel`, or all weights of a layer of the same size.",
            )
        return assign(value)

    variable.assign = assign_checked
