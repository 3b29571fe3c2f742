"""Layers that compute each channel from itself: activations, normalisation, depthwise convolutions."""

from typing import Any

import numpy as np

from tf_lottery.exporting.slim.kernels import ELEMENTWISE, pads
from tf_lottery.exporting.slim.passing import Arrays, Passing, Shapes, elementwise, in_keras, on_constants
from tf_lottery.exporting.slim.weights import weights_of


def activation(layer: Any, inputs: Shapes, output: Any) -> Passing | str:
    """`Activation`, for functions of each channel by itself."""
    if layer.activation not in ELEMENTWISE:
        return "its activation mixes channels or is not known"
    return elementwise(layer.activation)


def by_calling(layer: Any, inputs: Shapes, output: Any) -> Passing:
    """A layer or operation without weights that can be run on the constants."""
    return elementwise(layer.call)


def prelu(layer: Any, inputs: Shapes, output: Any) -> Passing:
    """`PReLU`: one slope below zero for each channel and, unless shared, each position."""
    slopes = weights_of(layer)["alpha"].astype(np.float64)
    slopes = slopes.reshape(-1, slopes.shape[-1])
    least, most = slopes.min(axis=0), slopes.max(axis=0)

    def value(values: Arrays) -> np.ndarray:
        # Below zero, a slope for each position makes many values of one.
        negative = np.where(least == most, least, np.nan) * values[0]
        return np.where(values[0] >= 0, values[0], negative)

    return Passing(value=value)


def rescaling(layer: Any, inputs: Shapes, output: Any) -> Passing | str:
    """`Rescaling` by numbers."""
    if np.ndim(layer.scale) or np.ndim(layer.offset):
        return "it has a scale or an offset for each channel"
    return Passing(value=lambda values: values[0] * float(layer.scale) + float(layer.offset))


def batch_normalization(layer: Any, inputs: Shapes, output: Any) -> Passing | str:
    """`BatchNormalization` as it infers; where its scale is 0, it makes a constant of anything."""
    if (layer.axis if isinstance(layer.axis, int) else layer.axis[0]) not in (-1, len(inputs[0]) - 1):
        return "it does not normalise the last axis"
    weights = {name: weight.astype(np.float64) for name, weight in weights_of(layer).items()}
    scale = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + layer.epsilon)

    def value(values: Arrays) -> np.ndarray:
        result = (values[0] - weights["moving_mean"]) * scale
        return np.where(scale == 0, 0.0, result) + weights.get("beta", 0.0)

    return Passing(value=value)


def depthwise(layer: Any, inputs: Shapes, output: Any) -> Passing | str:
    """`DepthwiseConv1D` and `DepthwiseConv2D`: each input channel becomes `depth_multiplier` outputs."""
    weights = weights_of(layer)
    multiplier = weights["kernel"].shape[-1]
    kernel = weights["kernel"].reshape(-1, weights["kernel"].shape[-2] * multiplier)
    totals, empty = kernel.sum(axis=0, dtype=np.float64), ~(kernel != 0).any(axis=0)
    bias = weights["bias"].astype(np.float64) if "bias" in weights else 0.0
    padded = pads(layer)
    if layer.activation not in ELEMENTWISE:
        return "its activation mixes channels or is not known"

    def layout(arrays: Arrays) -> np.ndarray:
        return np.repeat(arrays[0], multiplier)

    def value(values: Arrays) -> np.ndarray:
        before = layout(values)
        if padded:
            before = np.where(before == 0, before, np.nan)
        return on_constants(in_keras(layer.activation), [np.where(empty, 0.0, before * totals) + bias])

    return Passing(layout, value)


def dropout(layer: Any, inputs: Shapes, output: Any) -> Passing | str:
    """Dropout, which does nothing when a model infers."""
    if getattr(layer, "noise_shape", None) is not None:
        return "its noise has a fixed shape"
    return Passing()
