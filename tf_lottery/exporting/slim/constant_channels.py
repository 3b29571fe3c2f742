"""Channels that hold one value for every input of the model, computed forward from the inputs in float64."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tf_lottery.exporting.slim.call_graph import CallGraph
from tf_lottery.exporting.slim.channel_flow import Blocked, ChannelFlow
from tf_lottery.exporting.slim.channel_map import ChannelMap, evaluate_constants, numpy_function
from tf_lottery.exporting.slim.kernels import Kernel
from tf_lottery.exporting.slim.layer_errors import name_layer_in_errors


@dataclass(frozen=True)
class ConstantChannels:
    """Which channels of a tensor are constant.

    Attributes:
        values: The value of every constant channel, NaN where a channel varies: float64 (channels,).
        bordered: Whether zeros surround the constant values (`ZeroPadding2D`), at the same places in all channels.
    """

    values: np.ndarray
    bordered: bool = False

    @property
    def everywhere(self) -> np.ndarray:
        """The values that hold at every position, the border included; NaN elsewhere."""
        return np.where(self.values == 0, 0.0, np.nan) if self.bordered else self.values


def find_constant_channels(graph: CallGraph, flows: Sequence[ChannelFlow]) -> dict[int, ConstantChannels]:
    """Returns the constant channels of every tensor.

    Args:
        graph: The calls of a model.
        flows: The channel flow of every call.
    """
    constants = {n: _none_constant(graph, n) for n in graph.inputs}
    for call, flow in zip(graph.calls, flows, strict=True):
        if isinstance(flow, Blocked):
            constants.update({n: _none_constant(graph, n) for n in call.outputs})
            continue
        with name_layer_in_errors(call.layer):
            constants[call.outputs[0]] = _after_call(flow, [constants[n] for n in call.inputs])
    return constants


def foldable_inputs(kernel: Kernel, constants: ConstantChannels) -> np.ndarray:
    """Returns which input channels of a kernel add the same to an output at every position: bool (inputs,).

    Args:
        kernel: The kernel.
        constants: The constant channels of its input.
    """
    values = constants.everywhere
    return np.asarray(values == 0) if kernel.padded else ~np.isnan(values)


def _after_call(flow: Kernel | ChannelMap, inputs: Sequence[ConstantChannels]) -> ConstantChannels:
    if isinstance(flow, Kernel):
        return ConstantChannels(_constant_units(flow, inputs[0]))
    if flow.adds_border:
        return ConstantChannels(inputs[0].everywhere, bordered=True)
    return ConstantChannels(flow.value([constant.everywhere for constant in inputs]))


def _constant_units(kernel: Kernel, constants: ConstantChannels) -> np.ndarray:
    """Returns the values of a kernel's outputs; one is constant if all channels that it reads can be folded."""
    if kernel.activation is None:
        return np.full(len(kernel.bias), np.nan)
    fold = foldable_inputs(kernel, constants)
    with np.errstate(all="ignore"):  # what overflows float64 counts as varying, below
        sums = np.where(fold, constants.values, 0.0) @ kernel.totals + kernel.bias
    known = np.where(kernel.reads[~fold].any(axis=0), np.nan, sums)
    return evaluate_constants(numpy_function(kernel.activation), [known])


def _none_constant(graph: CallGraph, tensor: int) -> ConstantChannels:
    return ConstantChannels(np.full(graph.channels(tensor), np.nan))
