"""The models and data that `bit_equality.py` trains, made with Keras and NumPy alone, so that they stay as they are."""

from typing import Any, TypeAlias

import keras
import numpy as np
from keras import layers

Shape: TypeAlias = tuple[int, ...]
SAMPLES, FEATURES, CLASSES = 360, 12, 4


def convolutional(input_shape: Shape, classes: int) -> keras.Model:
    """Returns a convolutional network with batch normalization and dropout, whose initializers are unseeded.

    Args:
        input_shape: shape of one image, (height, width, channels).
        classes: number of classes.
    """
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Conv2D(8, 3, padding="same", use_bias=False, name="conv_0"),
            layers.BatchNormalization(name="norm_0"),
            layers.ReLU(name="relu_0"),
            layers.SpatialDropout2D(0.1, name="dropout_0"),
            layers.Conv2D(12, 3, strides=2, use_bias=False, name="conv_1"),
            layers.BatchNormalization(name="norm_1"),
            layers.ReLU(name="relu_1"),
            layers.Flatten(name="flatten"),
            layers.Dropout(0.25, name="dropout_1"),
            layers.Dense(classes, name="output"),
        ],
        name="convolutional",
    )


def channels(input_shape: Shape, classes: int) -> keras.Model:
    """Returns a network of convolutions and dense layers whose sizes are divisible, for pruning in channels.

    Args:
        input_shape: shape of one image, (height, width, channels).
        classes: number of classes.
    """
    inputs = keras.Input(input_shape)
    return keras.Sequential(
        [
            inputs,
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_0"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv_1"),
            layers.Flatten(name="flatten"),
            layers.Dense(32, activation="relu", name="dense"),
            layers.Dense(classes, name="output"),
        ],
        name="channels",
    )


def residual(*, seed: int | None = 1) -> keras.Model:
    """Returns a functional network with a residual connection, layer normalization and dropout, for `find_ticket`.

    Args:
        seed: seed of its initializers and its dropout; None leaves them unseeded.
    """

    def dense(units: int, name: str, number: int) -> keras.layers.Layer:
        initializer = keras.initializers.HeNormal(None if seed is None else seed + number)
        return keras.layers.Dense(units, kernel_initializer=initializer, name=name)

    inputs = keras.Input((FEATURES,))
    x = keras.layers.ReLU(name="relu_0")(dense(24, "dense_0", 0)(inputs))
    y = keras.layers.LayerNormalization(name="norm")(dense(24, "dense_1", 1)(x))
    y = keras.layers.Dropout(0.2, seed=seed, name="dropout")(keras.layers.ReLU(name="relu_1")(y))
    outputs = dense(CLASSES, "output", 2)(keras.layers.Add(name="add")([x, y]))
    return keras.Model(inputs, outputs, name="residual")


def unseeded() -> keras.Model:
    """Returns `residual` with initializers that draw their seeds themselves."""
    return residual(seed=None)


def optimizer() -> keras.optimizers.Optimizer:
    """Returns an optimizer with slots, a schedule and clipping."""
    rate = keras.optimizers.schedules.CosineDecay(0.05, decay_steps=60)
    return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=1e-3, clipnorm=1.0)


def arrays() -> dict[str, tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Returns samples and labels of the parts "train", "validation" and "test"; a random projection labels them."""
    rng = np.random.default_rng(20)
    x = rng.standard_normal((SAMPLES, FEATURES)).astype("float32")
    y = np.argmax(x @ rng.standard_normal((FEATURES, CLASSES)).astype("float32"), axis=1).astype("int32")
    parts = {"train": slice(0, 200), "validation": slice(200, 280), "test": slice(280, SAMPLES)}
    return {name: (x[part], y[part]) for name, part in parts.items()}
