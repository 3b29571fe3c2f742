"""Which axes of a layer's weights run over its input channels, and which over its output channels."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

Axes = Mapping[str, Mapping[int, str]]

_KERNEL: Axes = {"kernel": {-2: "in", -1: "out"}, "bias": {-1: "out"}}
_TRANSPOSED: Axes = {"kernel": {-1: "in", -2: "out"}, "bias": {-1: "out"}}
_DEPTHWISE: Axes = {"kernel": {-2: "in"}, "bias": {-1: "out"}}
_SEPARABLE: Axes = {
    "depthwise_kernel": {-2: "in"},
    "pointwise_kernel": {-2: "repeated in", -1: "out"},
    "bias": {-1: "out"},
}
_STATISTICS: Axes = {name: {-1: "out"} for name in ("gamma", "beta", "moving_mean", "moving_variance")}

AXES: dict[type, Axes] = {
    **dict.fromkeys((keras.layers.Dense, keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D), _KERNEL),
    **dict.fromkeys(
        (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose), _TRANSPOSED
    ),
    **dict.fromkeys((keras.layers.DepthwiseConv1D, keras.layers.DepthwiseConv2D), _DEPTHWISE),
    **dict.fromkeys((keras.layers.SeparableConv1D, keras.layers.SeparableConv2D), _SEPARABLE),
    keras.layers.BatchNormalization: _STATISTICS,
    keras.layers.PReLU: {"alpha": {-1: "out"}},
}
"""By layer class and weight what each axis counts; "repeated in": input channels, each `depth_multiplier` times."""


def weights_of(layer: Any) -> dict[str, np.ndarray]:
    """The variables of one layer without sublayers, as arrays by name."""
    return {variable.name: np.array(variable.numpy()) for variable in layer.variables}


def cut(
    weights: Mapping[str, np.ndarray], axes: Axes, channels: Mapping[str, np.ndarray], filling: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The weights of the channels that stay, with zeros where a channel only fills up.

    Args:
        weights: arrays by name.
        axes: of the layer's class.
        channels: per side of the layer ("in", "repeated in", "out") the indices that stay, ascending.
        filling: per side, which of those only fill up: bool, as long as the indices.
    """
    result = {}
    for name, weight in weights.items():
        for axis, side in axes.get(name, {}).items():
            if weight.shape[axis] == 1 and name == "alpha":  # shared by all channels
                continue
            weight = np.take(weight, channels[side], axis=axis)
            # A variance of 0 would divide by the root of epsilon alone.
            if name != "moving_variance":
                shape = [1] * weight.ndim
                shape[axis] = -1
                weight = np.where(filling[side].reshape(shape), weight.dtype.type(0), weight)
        result[name] = weight
    return result
