"""A copy of a model that computes in another precision: files hold float32, and float64 shows how far that rounds."""

import contextlib
import functools
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.layers.remaking import copy_subclassed
from tf_lottery.layers.sublayers import is_made_from_own_config

OTHER_FLOATS = ("float16", "bfloat16", "float64")
"""The floats that a model may compute in beside float32."""
_FLOATS = (*OTHER_FLOATS, "float32")
_POLICIES = (*_FLOATS, *(f"mixed_{dtype}" for dtype in _FLOATS))


def other_floats(model: keras.Model) -> tuple[str, ...]:
    """Returns the floats other than float32 that layers of a model compute in, sorted."""
    return tuple(sorted({layer.compute_dtype for layer in model._flatten_layers()} & set(OTHER_FLOATS)))


def copy_in_precision(model: keras.Model, dtype: str) -> keras.Model:
    """Returns a copy of a model whose inputs, layers and variables are of one dtype, with its weights and other state.

    Args:
        model: A built Sequential or functional model, plain. It is not changed.
        dtype: A float, e.g. "float32".

    Raises:
        UsageError: If its class can't be made again from its configuration.
        UnfitError: If a layer can't be.
    """
    change = functools.partial(_in_precision, dtype)
    with _global_policy(dtype):
        if is_made_from_own_config(model):
            return copy_subclassed(model, share=True, change=change)
        return rebuild(model, lambda layer: copy_layer(layer, change), share_attributes=True, change=change)


def _in_precision(dtype: str, config: Any) -> Any:
    """Returns a configuration with one dtype for every dtype and dtype policy of floats; an array in that dtype."""
    change = functools.partial(_in_precision, dtype)
    if isinstance(config, np.ndarray) and str(config.dtype) in _FLOATS:
        return config.astype(dtype)
    if isinstance(config, tf.Tensor) and config.dtype.name in _FLOATS:
        return tf.cast(config, dtype)
    if isinstance(config, keras.DTypePolicy):
        return keras.dtype_policies.get(change(keras.dtype_policies.serialize(config)))
    if isinstance(config, list | tuple):
        items = [change(item) for item in config]
        return tuple(items) if isinstance(config, tuple) else items
    if not isinstance(config, Mapping):
        return config
    if str(config.get("class_name")).endswith("DTypePolicy"):
        return {**config, "config": {key: _policy(dtype, value) for key, value in config["config"].items()}}
    return {key: _policy(dtype, value) if key.endswith("dtype") else change(value) for key, value in config.items()}


def _policy(dtype: str, value: Any) -> Any:
    """Returns the dtype for the name of a policy or dtype; what is no such name is treated as a configuration."""
    return dtype if isinstance(value, str) and value in _POLICIES else _in_precision(dtype, value)


@contextlib.contextmanager
def _global_policy(dtype: str) -> Iterator[None]:
    """Makes a dtype the policy of the layers that a constructor makes without one."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
