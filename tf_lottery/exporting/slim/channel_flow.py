"""What every call of a model does to channels: reads them by a kernel, maps them, or can't be followed."""

from dataclasses import dataclass
from typing import Any, TypeAlias

import keras

from tf_lottery.exporting.slim.call_graph import Call, CallGraph
from tf_lottery.exporting.slim.channel_map import ChannelMap, ShapedLayer
from tf_lottery.exporting.slim.kernels import Kernel, kernel_of
from tf_lottery.exporting.slim.layer_errors import name_layer_in_errors
from tf_lottery.exporting.slim.layer_rules import channel_map_of, channel_map_with_number
from tf_lottery.layers.kinds import exact_kind_of


@dataclass(frozen=True)
class Blocked:
    """A call whose channels can't be followed, so that all channels of its inputs and outputs are kept.

    Attributes:
        reason: Why, for the report.
    """

    reason: str


ChannelFlow: TypeAlias = Kernel | ChannelMap | Blocked


def find_channel_flows(graph: CallGraph) -> list[ChannelFlow]:
    """Returns the channel flow of every call, in their order.

    A layer whose configuration or weights fix its number of channels is blocked in all of its calls or in none.
    """
    flows = []
    for call in graph.calls:
        with name_layer_in_errors(call.layer):
            flows.append(_channel_flow(call, graph))
    blocked = {
        id(call.layer): flow
        for call, flow in zip(graph.calls, flows, strict=True)
        if isinstance(flow, Blocked) and (has_weights(call.layer) or has_fixed_width(call.layer))
    }
    return [blocked.get(id(call.layer), flow) for call, flow in zip(graph.calls, flows, strict=True)]


def has_weights(layer: Any) -> bool:
    """Returns whether a layer has variables; an operation such as `x + y` has none."""
    return isinstance(layer, keras.layers.Layer) and bool(layer.variables)


def has_fixed_width(layer: Any) -> bool:
    """Returns whether the configuration of a layer without weights sets its number of output channels."""
    return isinstance(layer, keras.layers.Reshape) and layer.target_shape[-1:] not in ((), (-1,))


def _channel_flow(call: Call, graph: CallGraph) -> ChannelFlow:
    layer = call.layer
    if not call.takes_only_tensors:
        return channel_map_with_number(call) or Blocked("it is called with more than tensors")
    if len(call.outputs) != 1 or not all(map(graph.channels, (*call.inputs, *call.outputs))):
        return Blocked("its number of channels is not known")
    flow: Kernel | ChannelMap | str | None
    if exact_kind_of(layer).channel_rule == "kernel":
        flow = kernel_of(layer)
    else:
        flow = channel_map_of(ShapedLayer(layer, [graph.shapes[n] for n in call.inputs], graph.shapes[call.outputs[0]]))
    if flow is None:
        return Blocked(_unknown_layer(layer))
    return Blocked(flow) if isinstance(flow, str) else flow


def _unknown_layer(layer: Any) -> str:
    """Returns why a layer or operation without a rule is not followed."""
    kind = type(layer).__name__
    if not type(layer).__module__.startswith("keras."):
        return f"what its class {kind} does to channels is not known"
    if isinstance(layer, keras.layers.Layer):
        return f"{kind} layers may mix channels and are not followed"
    return f"the operation {kind} is not followed"
