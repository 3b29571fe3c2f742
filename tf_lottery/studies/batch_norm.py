"""Batch-norm statistics of weights that were never trained: taken anew from training data.

Between two trained networks, or under noise on the weights, the stored means and variances are of other activations.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from tf_lottery.layers import named_variables

BATCH = 1000
# What draws random numbers in training; it must not while statistics are taken.
NOISE = {"rate": 0.0, "stddev": 0.0}


def layers(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch-norm layers of a model, wherever they are."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]


def reestimate(model: keras.Model, x: Any, *, batch: int = BATCH) -> None:
    """Set the moving mean and variance of every batch-norm layer to those of its inputs over `x`.

    Frankle et al. (2019, arXiv 1912.05671) do so for each network on a line between two. Each batch is normalised by
    its own statistics on its way; a layer's variance over all batches is mean(var_i + mean_i^2) - mean(mean_i)^2, which
    is exact for the first such layer, and for all of them where one batch holds all examples. Examples beyond a
    multiple of the batch are left out. Frozen layers keep their statistics, as in training. Nothing else is changed.

    Args:
        model: a built model.
        x: inputs, shape (examples, ...), or a nest of such arrays.
        batch: examples that are looked at together, at most.
    """
    normalised = [layer for layer in layers(model) if layer.trainable]
    if not normalised:
        return
    size = len(keras.tree.flatten(x)[0])
    batch = min(batch, size)
    statistics = {id(v) for layer in normalised for v in (layer.moving_mean, layer.moving_variance)}
    others = [v for v in named_variables(model).values() if not v.trainable and id(v) not in statistics]
    before = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in others]
    sums = [[np.zeros(layer.moving_mean.shape), np.zeros(layer.moving_mean.shape)] for layer in normalised]
    count = size // batch
    with _as_in_training(model, normalised):
        for start in range(0, count * batch, batch):
            model(keras.tree.map_structure(lambda a, start=start: a[start : start + batch], x), training=True)
            for layer, total in zip(normalised, sums, strict=True):
                mean, variance = (_value(v) for v in (layer.moving_mean, layer.moving_variance))
                total[0] = total[0] + mean / count
                total[1] = total[1] + (variance + mean**2) / count
    for layer, (mean, square) in zip(normalised, sums, strict=True):
        layer.moving_mean.assign(mean.astype("float32"))
        layer.moving_variance.assign(np.maximum(square - mean**2, 0.0).astype("float32"))
    for variable, value in zip(others, before, strict=True):
        variable.assign(value)


def _value(variable: keras.Variable) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable.value), np.float64)


@contextlib.contextmanager
def _as_in_training(model: keras.Model, normalised: list[Any]) -> Iterator[None]:
    """Batch-norm layers keep the statistics of the last batch alone, and layers that draw noise draw none."""
    changed = [(layer, "momentum", layer.momentum, 0.0) for layer in normalised]
    for layer in model._flatten_layers():
        if type(layer).__name__.endswith(("Dropout", "Dropout1D", "Dropout2D", "Dropout3D", "Noise")):
            changed += [(layer, n, getattr(layer, n), value) for n, value in NOISE.items() if hasattr(layer, n)]
    try:
        for layer, name, _, value in changed:
            setattr(layer, name, value)
        yield
    finally:
        for layer, name, value, _ in changed:
            setattr(layer, name, value)
