"""Which axes of a layer's weights run over its input channels, and which over its output channels."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

KernelAxes: TypeAlias = Mapping[str, Mapping[int, str]]

WEIGHT_AXES: dict[str, KernelAxes] = {
    "kernel": {"kernel": {-2: "in", -1: "out"}, "bias": {-1: "out"}},
    "transposed kernel": {"kernel": {-1: "in", -2: "out"}, "bias": {-1: "out"}},
    "depthwise kernel": {"kernel": {-2: "in"}, "bias": {-1: "out"}},
    "separable kernel": {
        "depthwise_kernel": {-2: "in"},
        "pointwise_kernel": {-2: "repeated in", -1: "out"},
        "bias": {-1: "out"},
    },
    "channel": {name: {-1: "out"} for name in ("gamma", "beta", "moving_mean", "moving_variance", "alpha")},
}
"""By `LayerKind.weight_axes` and weight name: what each axis counts.

"repeated in" counts the input channels of a separable convolution, each of them `depth_multiplier` times.
"""


def weight_arrays(layer: Any) -> dict[str, np.ndarray]:
    """Returns the variables of one layer without sublayers, as arrays by variable name."""
    return {variable.name: np.array(variable.numpy()) for variable in layer.variables}


def take_channels(
    weights: Mapping[str, np.ndarray],
    axes: KernelAxes,
    channels: Mapping[str, np.ndarray],
    fill: Mapping[str, np.ndarray],
) -> dict[str, np.ndarray]:
    """Returns the weights of the channels that are kept, with zeros for channels that only fill a layer up.

    Args:
        weights: Weight arrays by variable name.
        axes: What their axes count, an entry of `WEIGHT_AXES`; weights that it does not name are returned as they are.
        channels: The ascending indices of the kept channels, int64, for each of "in", "repeated in" and "out".
        fill: For each of these sides, which kept channels only fill the layer up: bool, as long as the indices.
    """
    result = {}
    for name, weight in weights.items():
        for axis, side in axes.get(name, {}).items():
            if weight.shape[axis] == 1 and name == "alpha":  # a slope that all channels share
                continue
            weight = np.take(weight, channels[side], axis=axis)
            # A variance of 0 would divide by the root of epsilon alone.
            if name != "moving_variance":
                shape = [1] * weight.ndim
                shape[axis] = -1
                weight = np.where(fill[side].reshape(shape), weight.dtype.type(0), weight)
        result[name] = weight
    return result
