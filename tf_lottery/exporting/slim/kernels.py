"""Layers that read channels by a kernel: dense layers and convolutions."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_lottery.exporting.slim.weights import weights_of

TRANSPOSED = (keras.layers.Conv1DTranspose, keras.layers.Conv2DTranspose, keras.layers.Conv3DTranspose)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)
CONVOLUTIONS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Conv3D, *SEPARABLE, *TRANSPOSED)
READING = (keras.layers.Dense, *CONVOLUTIONS)

_ELEMENTWISE_NAMES = (
    *("linear", "relu", "relu6", "leaky_relu", "elu", "selu", "celu", "gelu", "silu", "swish", "mish", "softplus"),
    *("softsign", "sigmoid", "log_sigmoid", "hard_sigmoid", "hard_silu", "hard_swish", "sparse_sigmoid", "tanh"),
    *("hard_tanh", "tanh_shrink", "exponential", "squareplus", "sparse_plus", "soft_shrink", "hard_shrink"),
)
ELEMENTWISE = frozenset(
    getattr(module, name)
    for module in (keras.activations, keras.ops)
    for name in _ELEMENTWISE_NAMES
    if hasattr(module, name)
)
"""Activations that compute each channel from itself; softmax and its kin mix channels."""


@dataclass(frozen=True)
class Kernel:
    """How outputs hang on input channels.

    Attributes:
        reads: bool (inputs, outputs): whether any weight joins the two.
        totals: float64 (inputs, outputs): the sum of the weights over positions, the factor of a constant.
        bias: float64 (outputs,), zeros for a layer without one.
        activation: of each output by itself, or None if the activation mixes channels or is not known.
        padded: whether zeros beyond the border are read, so that a constant channel is not constant there.
        linear: whether proportional inputs can be read by one row of the kernel.
    """

    reads: np.ndarray
    totals: np.ndarray
    bias: np.ndarray
    activation: Callable[[Any], Any] | None
    padded: bool
    linear: bool


def kernel_of(layer: keras.layers.Layer) -> Kernel | str:
    """The kernel of a layer whose class is in `READING`, or why its channels can't be followed."""
    if getattr(layer, "quantization_mode", None) is not None or getattr(layer, "lora_enabled", False):
        return "its kernel is quantised or has low-rank updates"
    if getattr(layer, "groups", 1) != 1:
        return "a grouped convolution reads each channel for one group of its outputs"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    weights = weights_of(layer)
    reads, totals = _separable(weights) if isinstance(layer, SEPARABLE) else _plain(layer, weights)
    activation = layer.activation
    return Kernel(
        reads=reads,
        totals=totals,
        bias=weights["bias"].astype(np.float64) if "bias" in weights else np.zeros(totals.shape[1]),
        activation=activation if activation in ELEMENTWISE else None,
        padded=_padded(layer),
        linear=not isinstance(layer, SEPARABLE),
    )


def _plain(layer: keras.layers.Layer, weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    kernel = weights["kernel"]
    if isinstance(layer, TRANSPOSED):
        kernel = np.swapaxes(kernel, -1, -2)
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    return (kernel != 0).any(axis=0), kernel.sum(axis=0, dtype=np.float64)


def _separable(weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A depthwise kernel (..., inputs, multiplier) and a pointwise one (..., inputs * multiplier, outputs) as one."""
    depthwise, pointwise = weights["depthwise_kernel"], weights["pointwise_kernel"]
    inputs, multiplier = depthwise.shape[-2:]
    depthwise = depthwise.reshape(-1, inputs, multiplier)
    pointwise = pointwise.reshape(inputs, multiplier, -1)
    reads = ((depthwise != 0).any(axis=0)[..., None] & (pointwise != 0)).any(axis=1)
    sums = depthwise.sum(axis=0, dtype=np.float64)
    return reads, np.einsum("cm,cmu->cu", sums, pointwise.astype(np.float64))


def pads(layer: keras.layers.Layer) -> bool:
    """Whether a convolution reads zeros beyond the border."""
    return layer.padding != "valid" and max(layer.kernel_size) > 1


def _padded(layer: keras.layers.Layer) -> bool:
    if isinstance(layer, TRANSPOSED):
        return True  # positions near the border get fewer terms
    return not isinstance(layer, keras.layers.Dense) and pads(layer)
