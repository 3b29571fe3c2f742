"""Batch-norm statistics of weights that were never trained, estimated from training data.

Between two trained networks, or under noise on the weights, the stored means and variances belong to other activations.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_lottery.layers import named_variables

BATCH_SIZE = 1000
# Attributes of layers that draw random numbers in training, and the value at which they draw none.
NOISE_OFF = {"rate": 0.0, "stddev": 0.0}


def batch_norm_layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """Return the batch-norm layers of a model, nested ones too."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def reestimate_statistics(model: keras.Model, x: Any, *, batch_size: int = BATCH_SIZE) -> None:
    """Set the moving mean and variance of every batch-norm layer to those of its inputs over `x`.

    Frankle et al. (2019, arXiv 1912.05671) do so for each network on a line between two. Each batch is normalized by
    its own statistics on the forward pass; a layer's variance over all batches is
    mean(var_i + mean_i^2) - mean(mean_i)^2, which is exact for the first such layer, and for all of them where one
    batch holds all examples. Examples beyond a multiple of the batch size are left out. Frozen layers keep their
    statistics, as in training. Nothing else is changed.

    Args:
        model: a built model.
        x: inputs, shape (examples, ...), or a nest of such arrays.
        batch_size: the most examples in one forward pass.
    """
    normalizing = [layer for layer in batch_norm_layers(model) if layer.trainable]
    if not normalizing:
        return
    size = len(keras.tree.flatten(x)[0])
    batch_size = min(batch_size, size)
    statistics = {id(v) for layer in normalizing for v in (layer.moving_mean, layer.moving_variance)}
    others = [v for v in named_variables(model).values() if not v.trainable and id(v) not in statistics]
    before = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in others]
    sums = [[np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)] for layer in normalizing]
    count = size // batch_size
    with _as_in_training(model, normalizing):
        for start in range(0, count * batch_size, batch_size):
            batch = keras.tree.map_structure(lambda a, start=start: a[start : start + batch_size], x)
            model(batch, training=True)
            for layer, total in zip(normalizing, sums, strict=True):
                mean, variance = (_value(v) for v in (layer.moving_mean, layer.moving_variance))
                total[0] = total[0] + mean / count
                total[1] = total[1] + (variance + mean**2) / count
    for layer, (mean, square) in zip(normalizing, sums, strict=True):
        layer.moving_mean.assign(mean.astype("float32"))
        layer.moving_variance.assign(np.maximum(square - mean**2, 0.0).astype("float32"))
    for variable, value in zip(others, before, strict=True):
        variable.assign(value)


def _value(variable: keras.Variable) -> np.ndarray:
    """The value of a variable, float64."""
    return np.asarray(keras.ops.convert_to_numpy(variable.value), np.float64)


@contextlib.contextmanager
def _as_in_training(model: keras.Model, normalizing: list[Any]) -> Iterator[None]:
    """Let batch-norm layers keep the statistics of the last batch only, and layers that draw noise draw none."""
    changed = [(layer, "momentum", layer.momentum, 0.0) for layer in normalizing]
    for layer in model._flatten_layers():
        if type(layer).__name__.endswith(("Dropout", "Dropout1D", "Dropout2D", "Dropout3D", "Noise")):
            changed += [(layer, n, getattr(layer, n), value) for n, value in NOISE_OFF.items() if hasattr(layer, n)]
    try:
        for layer, name, _, value in changed:
            setattr(layer, name, value)
        yield
    finally:
        for layer, name, value, _ in changed:
            setattr(layer, name, value)
