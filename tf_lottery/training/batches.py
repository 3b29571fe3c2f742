"""Batches as the engine sees them: inputs, targets and sample weights, each an array or a nest of arrays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.errors import UnfitError


class Batch(NamedTuple):
    """Some examples: `x` and `y` are tensors or nests of tensors, `weight` is a tensor of shape (examples,) or None.

    `y` is None where a model's own steps need no targets.
    """

    x: Any
    y: Any
    weight: Any = None

    @property
    def size(self) -> int:
        """The number of examples."""
        return int(tf.nest.flatten(self.x)[0].shape[0])


def on_device(arrays: Arrays) -> Batch:
    """A whole split as tensors, in the memory of the device that computes."""
    return map_tensors(tf.convert_to_tensor, Batch(arrays.x, arrays.y, arrays.sample_weight))


def as_batch(element: Any) -> Batch:
    """A batch from an element of a user's `tf.data.Dataset`: (x, y) or (x, y, sample_weight); x alone has no targets.

    Raises:
        UnfitError: the element is of another form.
    """
    if tf.is_tensor(element):
        return Batch(element, None)
    if not isinstance(element, tuple) or len(element) not in (1, 2, 3):
        raise UnfitError(
            f"A tf.data.Dataset must yield (x, y) or (x, y, sample_weight). Received: {type(element).__name__}.",
            "Map it to such tuples, in batches.",
        )
    return Batch(element[0], *(element[1:] or (None,)))


def map_tensors(function: Callable[[Any], Any], batch: Batch) -> Batch:
    """Apply a function to every tensor of a batch; missing targets and weights stay None.

    Args:
        function: from a tensor to a tensor.
        batch: the examples.
    """
    weight = None if batch.weight is None else function(batch.weight)
    y = None if batch.y is None else tf.nest.map_structure(function, batch.y)
    return Batch(tf.nest.map_structure(function, batch.x), y, weight)


def gather(batch: Batch, indices: tf.Tensor) -> Batch:
    """Return the examples at some indices.

    Args:
        batch: all examples.
        indices: int32, shape (n,).
    """

    def rows(tensor: tf.Tensor) -> tf.Tensor:
        # Rows of plain numbers are copied faster than rows of images.
        flat = tf.reshape(tensor, [tensor.shape[0], -1]) if tensor.shape.rank > 2 else tensor
        return tf.reshape(tf.gather(flat, indices), [*indices.shape, *tensor.shape[1:]])

    return map_tensors(rows, batch)


def piece(batch: Batch, start: tf.Tensor, length: int) -> Batch:
    """Return consecutive examples: a slice of fixed size, as XLA needs it.

    Args:
        batch: all examples.
        start: index of the first one, an int32 scalar.
        length: how many.
    """

    def cut(tensor: tf.Tensor) -> tf.Tensor:
        begin = tf.concat([[start], tf.zeros(tensor.shape.rank - 1, tf.int32)], 0)
        return tf.slice(tensor, begin, [length, *tensor.shape[1:]])

    return map_tensors(cut, batch)
