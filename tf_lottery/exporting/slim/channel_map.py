"""How a layer without a kernel maps input channels to output channels, and what it computes from constant ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import keras
import numpy as np

ChannelArrays: TypeAlias = Sequence[np.ndarray]
"""One array per input of a layer, over the channels of that input."""
TensorShape: TypeAlias = tuple[int | None, ...]


@dataclass(frozen=True)
class ShapedLayer:
    """A layer without a kernel, or an operation of a functional model, and the shapes of its tensors.

    Attributes:
        layer: The layer or operation.
        inputs: The shapes of its inputs, with the batch.
        output: The shape of its output, with the batch.
    """

    layer: Any
    inputs: Sequence[TensorShape]
    output: TensorShape


def first_array(arrays: ChannelArrays) -> np.ndarray:
    """Returns the array of the only input, or of the first of several that share their channels."""
    return arrays[0]


@dataclass(frozen=True)
class ChannelMap:
    """How channels go through a layer.

    Attributes:
        layout: From one array per input, over its channels, to the array over the output's channels.
        value: From the constant values of the inputs' channels (float64, NaN where a channel varies) to the outputs'.
        coupled: Whether channel i of every input makes channel i of the output, so that all are kept or removed.
        adds_border: Whether zeros are put around constant values.
    """

    layout: Callable[[ChannelArrays], np.ndarray] = first_array
    value: Callable[[ChannelArrays], np.ndarray] = first_array
    coupled: bool = False
    adds_border: bool = False


ChannelRule: TypeAlias = Callable[[ShapedLayer], ChannelMap | str]
"""From a layer and its shapes to its channel map, or to the reason why that is not known."""


def evaluate_constants(function: Callable[..., Any], values: ChannelArrays) -> np.ndarray:
    """Evaluates a function of channels where all of them are constant.

    Args:
        function: Takes one float64 array per input, elementwise.
        values: The constant values of the inputs' channels, float64, NaN where a channel varies.

    Returns:
        The values of the function, float64; NaN where a channel varies or the value is not finite.
    """
    varies = np.isnan(np.stack(np.broadcast_arrays(*values))).any(axis=0)
    with np.errstate(all="ignore"):
        result = np.asarray(function(*(np.where(varies, 0.0, value) for value in values)), dtype=np.float64)
    return np.where(varies | ~np.isfinite(result), np.nan, result)


def numpy_function(function: Callable[[Any], Any]) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a Keras function of a tensor as a function of a NumPy array that computes in float64."""
    return lambda value: np.asarray(
        keras.ops.convert_to_numpy(function(keras.ops.convert_to_tensor(value, dtype="float64")))
    )


def elementwise_map(function: Callable[[Any], Any]) -> ChannelMap:
    """Returns the map of a layer that applies a Keras function to each channel."""
    return ChannelMap(value=lambda values: evaluate_constants(numpy_function(function), values))
