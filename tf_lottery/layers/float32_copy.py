"""A copy of a model that computes in float32: mixed precision is for training, and files hold float32."""

import contextlib
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
_POLICIES = (*OTHER_FLOATS, *(f"mixed_{dtype}" for dtype in OTHER_FLOATS))


def other_floats(model: keras.Model) -> tuple[str, ...]:
    """Returns the floats other than float32 that layers of a model compute in, sorted."""
    return tuple(sorted({layer.compute_dtype for layer in model._flatten_layers()} & set(OTHER_FLOATS)))


def float32_copy(model: keras.Model) -> keras.Model:
    """Returns a copy of a model whose inputs, layers and variables are float32, with its weights and other state.

    Args:
        model: A built Sequential or functional model, plain. It is not changed.

    Raises:
        UsageError: If its class can't be made again from its configuration.
        UnfitError: If a layer can't be.
    """
    with _global_float32():
        if is_made_from_own_config(model):
            return copy_subclassed(model, share=True, change=_in_float32)
        return rebuild(model, lambda layer: copy_layer(layer, _in_float32), share_attributes=True, change=_in_float32)


def _in_float32(config: Any) -> Any:
    """Returns a configuration with float32 for every dtype and dtype policy of floats; an array as float32."""
    if isinstance(config, np.ndarray) and str(config.dtype) in OTHER_FLOATS:
        return config.astype("float32")
    if isinstance(config, tf.Tensor) and config.dtype.name in OTHER_FLOATS:
        return tf.cast(config, "float32")
    if isinstance(config, keras.DTypePolicy):
        return keras.dtype_policies.get(_in_float32(keras.dtype_policies.serialize(config)))
    if isinstance(config, list | tuple):
        items = [_in_float32(item) for item in config]
        return tuple(items) if isinstance(config, tuple) else items
    if not isinstance(config, Mapping):
        return config
    if str(config.get("class_name")).endswith("DTypePolicy"):
        return {**config, "config": {key: _float32_policy(value) for key, value in config["config"].items()}}
    return {
        key: _float32_policy(value) if key.endswith("dtype") else _in_float32(value) for key, value in config.items()
    }


def _float32_policy(value: Any) -> Any:
    """Returns the name of a policy or dtype in float32; what is no such name is treated as a configuration."""
    return "float32" if isinstance(value, str) and value in _POLICIES else _in_float32(value)


@contextlib.contextmanager
def _global_float32() -> Iterator[None]:
    """Makes float32 the policy of the layers that a constructor makes without one."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)
