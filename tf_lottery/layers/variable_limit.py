"""A limit on the variables that a stranger's architecture may ask for, checked before their memory is taken."""

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.errors import LotteryError, ResourceError, UnfitError
from tf_lottery.utils.array_archive import SMALL
from tf_lottery.utils.machine import available_memory

# Slots of an optimizer, an average and a sum of gradients may be made beside each weight that a file holds.
_VARIABLES_PER_WEIGHT = 8
_lock = threading.RLock()


@contextlib.contextmanager
def limited_variables(weights_bytes: int | None = None) -> Iterator[None]:
    """Refuses, in this thread, variables that take more memory than there is, or than belongs to the weights at hand.

    Args:
        weights_bytes: The bytes of the weights that come with the architecture; None where there are none.

    Raises:
        UnfitError: If the variables do not belong to those weights.
        ResourceError: If they do not fit in memory.
    """
    total = 0
    error: LotteryError | None = None
    thread, original = threading.get_ident(), keras.Variable.__init__
    free = available_memory() or math.inf
    most = math.inf if weights_bytes is None else max(SMALL, _VARIABLES_PER_WEIGHT * weights_bytes)

    def checked(self: Any, initializer: Any, shape: Any = None, dtype: Any = None, **options: Any) -> None:
        nonlocal total, error
        if threading.get_ident() == thread and callable(getattr(shape, "__iter__", None)):
            total += _size(shape, dtype)
            if total > min(most, free):
                error = error or _too_large(total, weights_bytes if most <= free else None, free)
                raise error
        original(self, initializer, shape=shape, dtype=dtype, **options)

    with _lock:
        own = "__init__" in vars(keras.Variable)
        keras.Variable.__init__ = checked
        try:
            yield
        except Exception:
            if error is not None:  # Keras may have put another in its place
                raise error from None
            raise
        finally:
            if own:
                keras.Variable.__init__ = original
            else:
                del keras.Variable.__init__


def _size(shape: Any, dtype: Any) -> int:
    sizes = [max(0, int(size)) for size in shape if hasattr(size, "__index__")]
    name = dtype if isinstance(dtype, str) else getattr(dtype, "name", None) or keras.config.floatx()
    try:
        width = int(tf.as_dtype(name).size)
    except TypeError:
        width = 4
    return math.prod(sizes) * width


def _too_large(total: int, weights_bytes: int | None, free: float) -> LotteryError:
    if weights_bytes is not None:
        return UnfitError(
            f"The architecture asks for {total / 1e6:,.0f} MB of variables and more, its weights have "
            f"{weights_bytes / 1e6:,.1f} MB.",
            "It does not belong to these weights: get both again from where they come from.",
        )
    return ResourceError(
        f"The architecture asks for {total / 1e9:,.1f} GB of variables and more; {free / 1e9:,.1f} GB are free.",
        "Check its sizes, or build it on a larger machine.",
    )
