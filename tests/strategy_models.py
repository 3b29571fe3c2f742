"""Models for runs under strategies, which all processes import."""

import keras


def normalized(input_shape: tuple[int, ...], classes: int, *, dropout: float = 0.0) -> keras.Model:
    """Return a dense network with batch normalization."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(),
            layers.Dense(24, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Dropout(dropout),
            layers.Dense(classes),
        ]
    )


def with_dropout(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Return the same with random numbers in each step."""
    return normalized(input_shape, classes, dropout=0.3)
