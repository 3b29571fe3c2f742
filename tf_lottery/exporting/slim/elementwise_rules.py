"""Channel rules of layers that compute each channel from one channel: activations, batch norm, depthwise kernels."""

import numpy as np

from tf_lottery.exporting.slim.activations import ELEMENTWISE_ACTIVATIONS
from tf_lottery.exporting.slim.channel_map import (
    ChannelArrays,
    ChannelMap,
    ShapedLayer,
    elementwise_map,
    evaluate_constants,
    numpy_function,
)
from tf_lottery.exporting.slim.kernels import pads
from tf_lottery.exporting.slim.weight_axes import weight_arrays


def unchanged(shaped: ShapedLayer) -> ChannelMap:
    """Returns the map of a layer that keeps each channel, and a constant one at its value."""
    return ChannelMap()


def activation(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of an `Activation` whose function is elementwise."""
    if shaped.layer.activation not in ELEMENTWISE_ACTIVATIONS:
        return "its activation mixes channels or is not known"
    return elementwise_map(shaped.layer.activation)


def elementwise(shaped: ShapedLayer) -> ChannelMap:
    """Returns the map of a layer or operation without weights, whose `call` is run on the constants."""
    return elementwise_map(shaped.layer.call)


def prelu(shaped: ShapedLayer) -> ChannelMap:
    """Returns the map of a `PReLU`, with a slope below zero per channel and, unless shared, per position."""
    slopes = weight_arrays(shaped.layer)["alpha"].astype(np.float64)
    slopes = slopes.reshape(-1, slopes.shape[-1])
    least, most = slopes.min(axis=0), slopes.max(axis=0)

    def value(values: ChannelArrays) -> np.ndarray:
        # Below zero, a slope for each position makes many values of one.
        negative = np.where(least == most, least, np.nan) * values[0]
        return np.where(values[0] >= 0, values[0], negative)

    return ChannelMap(value=value)


def rescaling(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a `Rescaling` by numbers."""
    if np.ndim(shaped.layer.scale) or np.ndim(shaped.layer.offset):
        return "it has a scale or an offset for each channel"
    return ChannelMap(value=lambda values: values[0] * float(shaped.layer.scale) + float(shaped.layer.offset))


def batch_normalization(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a `BatchNormalization` at inference; a scale of 0 makes a constant of any channel."""
    axis = shaped.layer.axis if isinstance(shaped.layer.axis, int) else shaped.layer.axis[0]
    if axis not in (-1, len(shaped.inputs[0]) - 1):
        return "it does not normalize the last axis"
    weights = {name: weight.astype(np.float64) for name, weight in weight_arrays(shaped.layer).items()}
    scale = weights.get("gamma", 1.0) / np.sqrt(weights["moving_variance"] + shaped.layer.epsilon)

    def value(values: ChannelArrays) -> np.ndarray:
        result = (values[0] - weights["moving_mean"]) * scale
        return np.where(scale == 0, 0.0, result) + weights.get("beta", 0.0)

    return ChannelMap(value=value)


def depthwise(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a depthwise convolution: each input channel becomes `depth_multiplier` output channels."""
    weights = weight_arrays(shaped.layer)
    multiplier = weights["kernel"].shape[-1]
    kernel = weights["kernel"].reshape(-1, weights["kernel"].shape[-2] * multiplier)
    totals, empty = kernel.sum(axis=0, dtype=np.float64), ~(kernel != 0).any(axis=0)
    bias = weights["bias"].astype(np.float64) if "bias" in weights else 0.0
    padded = pads(shaped.layer)
    if shaped.layer.activation not in ELEMENTWISE_ACTIVATIONS:
        return "its activation mixes channels or is not known"

    def layout(arrays: ChannelArrays) -> np.ndarray:
        return np.repeat(arrays[0], multiplier)

    def value(values: ChannelArrays) -> np.ndarray:
        before = layout(values)
        if padded:
            before = np.where(before == 0, before, np.nan)
        return evaluate_constants(
            numpy_function(shaped.layer.activation), [np.where(empty, 0.0, before * totals) + bias]
        )

    return ChannelMap(layout, value)


def dropout(shaped: ShapedLayer) -> ChannelMap | str:
    """Returns the map of a dropout layer, which does nothing at inference."""
    if getattr(shaped.layer, "noise_shape", None) is not None:
        return "its noise has a fixed shape"
    return ChannelMap()
