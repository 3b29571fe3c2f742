"""Kernels of dense layers and convolutions: which output channel reads which input channel."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_lottery.exporting.slim.activations import ELEMENTWISE_ACTIVATIONS
from tf_lottery.exporting.slim.weight_axes import weight_arrays
from tf_lottery.layers.kinds import exact_kind_of


@dataclass(frozen=True)
class Kernel:
    """How the output channels of a layer depend on its input channels.

    Attributes:
        reads: Whether any nonzero weight joins an input to an output: bool (inputs, outputs).
        totals: The sum of the weights over positions, which multiplies a constant input: float64 (inputs, outputs).
        bias: The bias: float64 (outputs,), zeros for a layer without one.
        activation: The elementwise activation; None if the activation mixes channels or is not known.
        padded: Whether zeros beyond the border are read, so that a constant channel does not give a constant there.
        linear: Whether one row of the kernel can read several proportional inputs.
    """

    reads: np.ndarray
    totals: np.ndarray
    bias: np.ndarray
    activation: Callable[[Any], Any] | None
    padded: bool
    linear: bool


def kernel_of(layer: keras.layers.Layer) -> Kernel | str:
    """Returns the kernel of a layer whose channel rule is "kernel", or why its channels can't be followed."""
    if getattr(layer, "quantization_mode", None) is not None or getattr(layer, "lora_enabled", False):
        return "its kernel is quantized or has low-rank updates"
    if getattr(layer, "groups", 1) != 1:
        return "a grouped convolution reads each channel for one group of its outputs"
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return "its channels come first"
    weights, layout = weight_arrays(layer), exact_kind_of(layer).weight_axes
    separable = layout == "separable kernel"
    reads, totals = _separable_kernel(weights) if separable else _kernel(weights, layout == "transposed kernel")
    activation = layer.activation
    return Kernel(
        reads=reads,
        totals=totals,
        bias=weights["bias"].astype(np.float64) if "bias" in weights else np.zeros(totals.shape[1]),
        activation=activation if activation in ELEMENTWISE_ACTIVATIONS else None,
        padded=_reads_border(layer),
        linear=not separable,
    )


def pads(layer: keras.layers.Layer) -> bool:
    """Returns whether a convolution reads zeros beyond the border of its input."""
    return bool(layer.padding != "valid" and max(layer.kernel_size) > 1)


def _kernel(weights: dict[str, np.ndarray], transposed: bool) -> tuple[np.ndarray, np.ndarray]:
    """Returns `Kernel.reads` and `Kernel.totals` of a kernel (..., inputs, outputs), or of a transposed one."""
    kernel = np.swapaxes(weights["kernel"], -1, -2) if transposed else weights["kernel"]
    kernel = kernel.reshape(-1, *kernel.shape[-2:])
    return (kernel != 0).any(axis=0), kernel.sum(axis=0, dtype=np.float64)


def _separable_kernel(weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Returns `Kernel.reads` and `Kernel.totals` of a separable convolution.

    It has a depthwise kernel (..., inputs, multiplier) and a pointwise kernel (..., inputs * multiplier, outputs).
    """
    depthwise, pointwise = weights["depthwise_kernel"], weights["pointwise_kernel"]
    inputs, multiplier = depthwise.shape[-2:]
    depthwise = depthwise.reshape(-1, inputs, multiplier)
    pointwise = pointwise.reshape(inputs, multiplier, -1)
    reads = ((depthwise != 0).any(axis=0)[..., None] & (pointwise != 0)).any(axis=1)
    sums = depthwise.sum(axis=0, dtype=np.float64)
    return reads, np.einsum("cm,cmu->cu", sums, pointwise.astype(np.float64))


def _reads_border(layer: keras.layers.Layer) -> bool:
    if exact_kind_of(layer).weight_axes == "transposed kernel":
        return True  # positions near the border get fewer terms
    return not isinstance(layer, keras.layers.Dense) and pads(layer)
