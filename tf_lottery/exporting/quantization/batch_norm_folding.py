"""Batch normalization folded into the kernel and bias of the layer in front of it, as int8 has them."""

from typing import Any

import keras
import numpy as np

from tf_lottery.exporting.slim.call_graph import Call, CallGraph
from tf_lottery.layers.fake_quantization import QUANTIZED_CLASSES


def consumers_by_tensor(graph: CallGraph) -> dict[int, list[Call]]:
    """Returns the calls that take each tensor, by its number."""
    return {tensor: [call for call in graph.calls if tensor in call.inputs] for tensor in graph.shapes}


def find_folded(graph: CallGraph) -> dict[int, Call]:
    """Returns the calls of batch normalization that can be folded, by the number of the tensor that they normalize.

    Such a tensor is of a layer with a kernel and without an activation, and nothing else takes it.
    """
    consumers = consumers_by_tensor(graph)
    folded = {}
    for call in graph.calls:
        linear = getattr(call.layer, "activation", None) is keras.activations.linear
        tensor = call.outputs[0]
        if type(call.layer) not in QUANTIZED_CLASSES or not linear or tensor in graph.outputs:
            continue
        readers = consumers[tensor]
        if len(readers) == 1 and _normalizes_channels(readers[0].layer, len(graph.shapes[tensor])):
            folded[tensor] = readers[0]
    return folded


def _normalizes_channels(layer: Any, axes: int) -> bool:
    return type(layer) is keras.layers.BatchNormalization and layer.axis in (-1, axes - 1)


def fold(
    kernel: np.ndarray, bias: np.ndarray | None, norm: keras.layers.BatchNormalization
) -> tuple[np.ndarray, np.ndarray]:
    """Returns a kernel and bias that compute what a layer and its normalization for inference do; zeros stay zeros.

    Args:
        kernel: Float32; its output channels are the last axis, or of a depthwise convolution the last two.
        bias: Float32 `(channels,)`; None for none.
        norm: The batch normalization of its outputs.
    """
    mean, variance = (np.asarray(value, np.float64) for value in (norm.moving_mean, norm.moving_variance))
    factor = 1 / np.sqrt(variance + norm.epsilon)
    if norm.gamma is not None:
        factor = factor * np.asarray(norm.gamma)
    shift = -mean * factor if bias is None else (bias - mean) * factor
    if norm.beta is not None:
        shift = shift + np.asarray(norm.beta)
    channels = kernel.shape[-2:] if kernel.shape[-1] != len(factor) else kernel.shape[-1:]
    return (kernel * factor.reshape(channels)).astype(np.float32), shift.astype(np.float32)
