"""Mean and variance whose second derivatives are right."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest import mock

import tensorflow as tf

_ONE_AT_A_TIME = threading.Lock()


@contextlib.contextmanager
def twice_differentiable_moments() -> Iterator[None]:
    """Let normalization layers take their statistics by `moments` of this module, inside this context.

    `tf.nn.moments`, by which Keras computes them, holds the mean fixed in the variance. To first order that is right,
    as the variance has no slope in the mean; to second order it is not, and every Hessian of a network with batch norm
    is off by some percent, without a word. Values and first derivatives are the same by both.
    """
    with _ONE_AT_A_TIME, mock.patch.object(tf.nn, "moments", moments):
        yield


def moments(x: Any, axes: Any, shift: Any = None, keepdims: bool = False, name: str | None = None) -> tuple[Any, Any]:
    """Return the mean and the variance of a tensor, with the signature of `tf.nn.moments`.

    Args:
        x: a tensor of real numbers.
        axes: the axes that are averaged over.
        shift: ignored, as in `tf.nn.moments`.
        keepdims: whether averaged axes stay, with size 1.
        name: ignored.

    Returns:
        (mean, variance), in the dtype of `x`.
    """
    values = tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x
    mean = tf.reduce_mean(values, axes, keepdims=True)
    variance = tf.reduce_mean(tf.square(values - mean), axes, keepdims=True)
    if not keepdims:
        mean, variance = tf.squeeze(mean, axes), tf.squeeze(variance, axes)
    return tf.cast(mean, x.dtype), tf.cast(variance, x.dtype)
