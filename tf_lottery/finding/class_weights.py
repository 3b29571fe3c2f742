"""`class_weight` of `fit`: a weight for each class number, made into a weight for each example."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.errors import UsageError


def with_class_weight(data: Arrays | tf.data.Dataset, class_weight: Mapping[int, float]) -> Arrays | tf.data.Dataset:
    """Return training data whose examples are weighted by their classes; a class that is not named has weight 1.

    Args:
        data: class numbers or one-hot rows as targets, without sample weights.
        class_weight: weights by class number, not negative.

    Raises:
        UsageError: the weights are no such mapping, the examples have weights already, or there are several targets.
    """
    weights = _weights(class_weight)
    if isinstance(data, Arrays):
        if data.sample_weight is not None:
            raise _both()
        if not isinstance(data.y, np.ndarray):
            raise _several()
        return replace(data, sample_weight=weights[np.minimum(_classes(data.y), len(weights) - 1)])
    specification = data.element_spec
    if isinstance(specification, tuple) and len(specification) == 3:
        raise _both()
    if isinstance(specification, tuple) and len(specification) == 2 and tf.nest.is_nested(specification[1]):
        raise _several()

    def weighted(x: Any, y: tf.Tensor) -> tuple[Any, tf.Tensor, tf.Tensor]:
        if y.shape.rank > 1 and y.shape[-1] != 1:
            classes = tf.argmax(y, axis=-1, output_type=tf.int32)
        else:
            classes = tf.cast(tf.round(tf.reshape(y, [tf.shape(y)[0]])), tf.int32)
        return x, y, tf.gather(weights, tf.minimum(classes, len(weights) - 1))

    return data.map(weighted)


def _weights(class_weight: Any) -> np.ndarray:
    """The weights of classes 0, 1, ..., as float32, and last the weight 1 of all others."""
    good = isinstance(class_weight, Mapping) and all(
        isinstance(key, int | np.integer) and key >= 0 and isinstance(value, int | float | np.number) and value >= 0
        for key, value in class_weight.items()
    )
    if not good or not class_weight:
        raise UsageError(
            f"`class_weight` must be a dictionary from class numbers to weights. Received: {class_weight!r}.",
            "Pass e.g. `class_weight={0: 1.0, 1: 5.0}`.",
        )
    return np.array([class_weight.get(number, 1.0) for number in range(max(class_weight) + 2)], np.float32)


def _classes(y: np.ndarray) -> np.ndarray:
    """The class numbers of targets: class numbers of shape (n,) or (n, 1), or one-hot rows."""
    if y.ndim > 1 and y.shape[-1] != 1:
        return np.asarray(np.argmax(y, axis=-1))
    return np.asarray(np.round(y.reshape(len(y))), np.int64)


def _both() -> UsageError:
    return UsageError(
        "`class_weight` and sample weights exclude each other.", "Multiply them into one weight for each example."
    )


def _several() -> UsageError:
    return UsageError("`class_weight` needs one array of targets. Received: several.", "Pass sample weights instead.")
