"""How models are compared, and random networks with dead parts."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

L = keras.layers
ACTIVATIONS = ("linear", "relu", "relu", "relu6", "tanh", "sigmoid", "elu", "leaky_relu", "softplus", "exponential")


@pytest.fixture(scope="session", name="difference")
def _difference() -> Callable[[keras.Model, keras.Model], float]:
    return difference


@pytest.fixture(scope="session", name="random_model")
def _random_model() -> Callable[[int], keras.Model]:
    return random_model


@pytest.fixture(scope="session", name="randomize")
def _randomize() -> Callable[..., None]:
    return randomize


def outputs(model: keras.Model, seed: int = 0, count: int = 4) -> list[np.ndarray]:
    """The model's outputs on random inputs, flat."""
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(size=(count, *tensor.shape[1:])).astype("float32") for tensor in model.inputs]
    if isinstance(model, keras.Sequential):
        result = model(inputs[0], training=False)
    else:
        result = model(keras.tree.pack_sequence_as(model.input, inputs), training=False)
    return [keras.ops.convert_to_numpy(tensor) for tensor in keras.tree.flatten(result)]


def difference(one: keras.Model, other: keras.Model) -> float:
    """The largest difference between two models' outputs, relative to the largest output."""
    pairs = list(zip(outputs(one), outputs(other), strict=True))
    assert all(a.shape == b.shape and np.isfinite(a).all() and np.isfinite(b).all() for a, b in pairs)
    largest = max(float(np.abs(a).max()) for a, _ in pairs)
    return max(float(np.abs(a - b).max()) for a, b in pairs) / max(largest, 1e-30)


def random_model(seed: int) -> keras.Model:
    """A small network of random layers whose weights are random, with random dead units, rows and single zeros."""
    rng = np.random.default_rng(seed)
    image = keras.Input((8, 8, 3), name="image")
    x: Any = image
    for _ in range(rng.integers(1, 5)):
        x = _block(x, rng)
    if rng.random() < 0.6:
        x = L.Flatten()(x)
    else:
        x = (L.GlobalAveragePooling2D if rng.random() < 0.5 else L.GlobalMaxPooling2D)()(x)
    for _ in range(rng.integers(0, 3)):
        x = L.Dense(int(rng.integers(2, 9)), activation=_pick(rng, ACTIVATIONS), use_bias=rng.random() < 0.7)(x)
        if rng.random() < 0.4:
            x = L.BatchNormalization()(x)
        if rng.random() < 0.15:
            x = L.LayerNormalization()(x)
    model = keras.Model(image, L.Dense(3, use_bias=rng.random() < 0.5)(x))
    randomize(model, rng)
    return model


def randomize(model: keras.Model, rng: np.random.Generator) -> None:
    """Random weights for every layer, with dead units and rows in kernels, and zeros among biases and scales."""
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.Model) or "." not in type(layer).__module__ or layer._layers:
            continue
        dead, unread, zeros = rng.choice([0.0, 0.3, 0.6, 1.0], p=[0.2, 0.4, 0.38, 0.02]), rng.random() / 2, rng.random()
        for variable in layer.variables:
            shape, name = tuple(variable.shape), variable.name
            value = rng.normal(size=shape) / np.sqrt(max(1.0, np.prod(shape[:-1])))
            if "kernel" in name:
                value *= rng.random(shape) >= zeros * 0.7
                value *= rng.random(shape[-1]) >= dead
                value *= rng.random((shape[-2], 1)) >= unread
            elif name == "moving_variance":
                value = rng.random(shape) + 0.5
            elif name == "seed_generator_state":
                continue
            elif name in ("bias", "beta", "moving_mean"):
                value = rng.normal(size=shape) * (rng.random(shape) < rng.random())
            elif name == "gamma":
                value = (rng.random(shape) + 0.5) * (rng.random(shape) < 0.8)
            variable.assign(value.astype(variable.dtype))


def _pick(rng: np.random.Generator, options: Any) -> Any:
    return options[int(rng.integers(len(options)))]


def _convolution(rng: np.random.Generator, filters: int | None = None, **options: Any) -> Any:
    kind = _pick(rng, (L.Conv2D, L.Conv2D, L.Conv2D, L.SeparableConv2D, L.Conv2DTranspose))
    return kind(
        filters or int(rng.integers(2, 9)),
        _pick(rng, (1, 2, 3)),
        padding=options.pop("padding", None) or _pick(rng, ("valid", "same", "same")),
        activation=_pick(rng, ACTIVATIONS),
        use_bias=rng.random() < 0.7,
        **options,
    )


def _block(x: Any, rng: np.random.Generator) -> Any:
    kind = rng.integers(9)
    if kind == 0 and min(x.shape[1:3]) >= 4:
        return _pick(rng, (L.MaxPooling2D, L.AveragePooling2D))(2, padding=_pick(rng, ("valid", "same")))(x)
    if kind == 1:
        layer = L.DepthwiseConv2D(
            _pick(rng, (1, 2)),
            padding=_pick(rng, ("valid", "same")),
            depth_multiplier=_pick(rng, (1, 2)),
            activation=_pick(rng, ACTIVATIONS),
        )
        return layer(x)
    if kind == 2:  # a residual block
        inner = L.Conv2D(4, 3, padding="same", use_bias=rng.random() < 0.5)(L.ReLU()(L.BatchNormalization()(x)))
        inner = L.Conv2D(x.shape[-1], 3, padding="same")(L.Activation(_pick(rng, ACTIVATIONS))(inner))
        return _pick(rng, (L.Add, L.Subtract, L.Average, L.Maximum, L.Multiply))()([x, inner])
    if kind == 3:
        parts = [_convolution(rng, padding="same")(x) for _ in range(2)]
        shapes = {part.shape[1:3] for part in parts}
        return L.Concatenate()([*parts, x] if len(shapes) == 1 and shapes == {x.shape[1:3]} else [parts[0], parts[0]])
    if kind == 4:
        return L.ZeroPadding2D(1)(x)
    if kind == 5:
        shared = None if rng.random() < 0.5 else [1, 2]
        options = (L.LeakyReLU(), L.PReLU(shared_axes=shared), L.Dropout(0.5), L.UpSampling2D(2), L.Rescaling(2, 1))
        convolved = 3 < min(x.shape[1:3]) <= max(x.shape[1:3]) < 20
        return _pick(rng, options)(_convolution(rng)(x) if convolved else x)
    if kind == 6:
        return x + L.Conv2D(x.shape[-1], 1)(x)
    x = _convolution(rng)(x) if min(x.shape[1:3]) > 3 else x
    return L.ReLU()(L.BatchNormalization()(x)) if rng.random() < 0.6 else x
