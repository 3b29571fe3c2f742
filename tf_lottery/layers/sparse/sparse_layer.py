"""What the layers that hold and compute with the kept weights alone have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers.sparse.matrix_index import Index


class SparseLayer(keras.layers.Layer):
    """A layer whose weights are the kept values of a kernel, a trainable vector, and a bias.

    A subclass says in `index_of`, `index_shapes` and `index_limits` how its kernels list the kept weights, and computes
    in `call`.

    Args:
        original: The layer that it stands for, not built.
        capacity: How many values there may be: at least as many as are kept.
        batch_size: How many examples to compute at a time where the size of a batch is not known when a function is
            traced, as in `fit`. Best a multiple of 16 that is no larger than the batches.
        **kwargs: The arguments of `keras.layers.Layer`; by default those of the layer that it stands for.

    Attributes:
        kernel_shape: The shape of the kernel, once built; its last axis is that of the outputs.
        matrix_shape: The kernel as a matrix: (inputs of an output, outputs).

    Raises:
        UsageError: If a size is not a positive integer, or the layer does not compute in float32.
    """

    STANDS_FOR: ClassVar[type[keras.layers.Layer]]
    """The class of the layer that it stands for."""
    CONFIG_KEY: ClassVar[str]
    """The argument that is the configuration of that layer."""

    def __init__(self, original: keras.layers.Layer, capacity: int, batch_size: int, **kwargs: Any) -> None:
        """Makes no variables yet."""
        for name, size in {"capacity": capacity, "batch_size": batch_size}.items():
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UsageError(f"`{name}` must be a positive integer. Received: {size!r}.", "Pass e.g. 32.")
        self.original = original
        settings = {"name": original.name, "dtype": original.dtype_policy, "trainable": original.trainable}
        super().__init__(**{**settings, **kwargs})
        if (self.compute_dtype, self.variable_dtype) != ("float32", "float32"):
            raise UsageError(
                f"A sparse layer computes in float32. Received the dtype policy {self.dtype_policy.name!r}.",
                "Leave the layer dense.",
            )
        self.capacity, self.batch_size = capacity, batch_size

    def index_of(self, mask: np.ndarray) -> Index:
        """Returns the index of the kept weights.

        Args:
            mask: Boolean, of the shape of the kernel; True keeps.
        """
        raise NotImplementedError

    def index_shapes(self) -> dict[str, int]:
        """Returns the length of each array of an index."""
        raise NotImplementedError

    def index_limits(self) -> dict[str, int]:
        """Returns, for each array of an index, the number that all of its numbers are below."""
        raise NotImplementedError

    def make_variables(self, kernel_shape: tuple[int, ...]) -> None:
        """Makes the values, all 0, the index and the bias.

        Args:
            kernel_shape: The shape of the kernel.
        """
        original = self.original
        self.kernel_shape = kernel_shape
        self.matrix_shape = (int(np.prod(kernel_shape[:-1])), kernel_shape[-1])
        self.values = self.add_weight(
            name="values", shape=(self.capacity,), initializer="zeros", regularizer=original.kernel_regularizer
        )
        self.bias = None
        if original.use_bias:
            self.bias = self.add_weight(
                name="bias",
                shape=(kernel_shape[-1],),
                initializer=original.bias_initializer,
                regularizer=original.bias_regularizer,
                constraint=original.bias_constraint,
            )
        self.index = {
            name: self.add_weight(name=name, shape=(length,), dtype="int32", initializer="zeros", trainable=False)
            for name, length in self.index_shapes().items()
        }
        for name, limit in self.index_limits().items():
            _guard(self.index[name], limit, sorted_=name.endswith("starts"))

    def index_tensors(self) -> dict[str, tf.Tensor]:
        """Returns the arrays of the index as tensors."""
        return {name: variable.value for name, variable in self.index.items()}

    def whole_kernel(self, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """Returns the kernel with 0 where it is pruned, by plain operations.

        Args:
            values: The kept values.
            index: Which values they are.
        """
        kept = tf.where(tf.range(self.capacity) < index["starts"][-1], values, 0.0)
        places = index["places"][:, tf.newaxis]
        return tf.reshape(tf.scatter_nd(places, kept, [int(np.prod(self.kernel_shape))]), self.kernel_shape)

    def set_kernel(self, kernel: np.ndarray, mask: np.ndarray) -> None:
        """Sets which weights are kept, and their values.

        Args:
            kernel: Of the shape of the kernel.
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
            mask: Boolean, of the shape of the kernel; True keeps.

        Raises:
            ValueError: If more weights are kept than the layer has room for.
        """
        index = self.index_of(mask)
        for name, variable in self.index.items():
            variable.assign(index[name])
        return index

    def get_kernel(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the kernel, with 0 where it is pruned, and its mask."""
        kept = int(self.index["starts"].value[-1])
        places = keras.ops.convert_to_numpy(self.index["places"].value)[:kept]
        kernel, mask = np.zeros(self.kernel_shape, np.float32), np.zeros(self.kernel_shape, bool)
        kernel.ravel()[places] = keras.ops.convert_to_numpy(self.values.value)[:kept]
        mask.ravel()[places] = True
        return kernel, mask

    def save_own_variables(self, store: Any) -> None:
        """Saves the kept values with their places in the kernel, from which an index is made again."""
        kept = int(self.index["starts"].value[-1])
        for name, variable in (("values", self.values), ("places", self.index["places"])):
            store[name] = keras.ops.convert_to_numpy(variable.value)[:kept]
        if self.bias is not None:
            store["bias"] = keras.ops.convert_to_numpy(self.bias.value)

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved; the kernels read only places that are checked here.

        Raises:
            ValueError: If the places or values are not those of such a kernel.
        """
        if missing := {"values", "places"} - set(store.keys()):
            raise ValueError(f"{self.name!r} is saved with its values and places. Missing: {', '.join(missing)}.")
        values, places = np.asarray(store["values"]), np.asarray(store["places"])
        size = int(np.prod(self.kernel_shape))
        fits = values.ndim == places.ndim == 1 and len(values) == len(places) <= self.capacity
        if not (fits and places.dtype.kind in "iu" and values.dtype.kind == "f"):
            raise ValueError(
                f"{self.name!r} holds up to {self.capacity} values. Received: {values.shape} and {places.shape}."
            )
        if len(places) and (places.min() < 0 or places.max() >= size or len(np.unique(places)) < len(places)):
            raise ValueError(f"Places in a matrix of {size} weights must differ, from 0 to {size - 1}.")
        kernel, mask = np.zeros(self.kernel_shape, np.float32), np.zeros(self.kernel_shape, bool)
        kernel.ravel()[places], mask.ravel()[places] = values, True
        self.set_kernel(kernel, mask)
        if self.bias is not None:
            self.bias.assign(store["bias"])

    def get_config(self) -> dict[str, Any]:
        """Returns the configuration, from which `from_config` builds the layer again."""
        own = {self.CONFIG_KEY: self.original.get_config(), "capacity": self.capacity, "batch_size": self.batch_size}
        return {**super().get_config(), **own}


def _guard(variable: keras.Variable, limit: int, *, sorted_: bool) -> None:
    """Makes a variable refuse numbers from `limit` on, such as by `set_weights`: the kernels read what they say.

    Where values begin is `sorted_`: a number below the one before it would be a negative count.
    """
    assign = variable.assign

    def assign_checked(value: Any) -> Any:
        array = keras.ops.convert_to_numpy(value)
        fits = not array.size or 0 <= array.min() <= array.max() < limit
        if not fits or (sorted_ and (array[1:] < array[:-1]).any()):
            raise UsageError(
                f"`{variable.name}` of a sparse layer must hold {'sorted ' * sorted_}numbers from 0 to {limit - 1}.",
                "Set which weights are kept by `set_kernel`, or all weights of a layer of the same size.",
            )
        return assign(value)

    variable.assign = assign_checked
