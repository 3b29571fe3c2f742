"""How a layer passes each channel on, to itself or to other places, and what it makes of constant channels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

Arrays = Sequence[np.ndarray]
Shapes = Sequence[tuple[int | None, ...]]


def first(arrays: Arrays) -> np.ndarray:
    """The array of the only input, or of the first of several that share their channels."""
    return arrays[0]


@dataclass(frozen=True)
class Passing:
    """How channels go through a layer.

    Attributes:
        layout: from one array per input, over its channels, to the array over the output's channels.
        value: from the constant values of the inputs' channels (float64, NaN where a channel varies) to the outputs'.
        coupled: whether the same channel of all inputs makes one channel, so that they go or stay together.
        borders: whether zeros are put around what was constant.
    """

    layout: Callable[[Arrays], np.ndarray] = first
    value: Callable[[Arrays], np.ndarray] = first
    coupled: bool = False
    borders: bool = False


Rule = Callable[[Any, Shapes, tuple[int | None, ...]], Passing | str]
"""From a layer, the shapes of its inputs and that of its output to how it passes channels, or why that is not known."""


def on_constants(function: Callable[..., Any], values: Arrays) -> np.ndarray:
    """A function of channels, computed in float64 where all of them are constant and its value is finite; else NaN."""
    varies = np.isnan(np.stack(np.broadcast_arrays(*values))).any(axis=0)
    with np.errstate(all="ignore"):
        result = np.asarray(function(*(np.where(varies, 0.0, value) for value in values)), dtype=np.float64)
    return np.where(varies | ~np.isfinite(result), np.nan, result)


def in_keras(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """A Keras function of a tensor as one of a NumPy array, in float64."""
    return lambda value: keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(value, dtype="float64")))


def elementwise(function: Callable[[Any], Any]) -> Passing:
    """Each channel to itself, through a Keras function."""
    return Passing(value=lambda values: on_constants(in_keras(function), values))


def unchanged(layer: Any, inputs: Shapes, output: Any) -> Passing:
    """Each channel to itself, a constant as it is."""
    return Passing()
