"""Groups of channels that can only be kept or removed together."""

from collections.abc import Sequence

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tf_lottery.exporting.slim.call_graph import CallGraph
from tf_lottery.exporting.slim.channel_flow import Blocked, ChannelFlow, has_fixed_width, has_weights
from tf_lottery.exporting.slim.channel_map import ChannelMap
from tf_lottery.exporting.slim.kernels import Kernel


def group_channels(graph: CallGraph, flows: Sequence[ChannelFlow]) -> dict[int, np.ndarray]:
    """Numbers the groups of channels that are kept or removed together.

    Args:
        graph: The calls of a model.
        flows: The channel flow of every call.

    Returns:
        For every tensor the group number of each of its channels: int64 (channels,).
    """
    groups: dict[int, np.ndarray] = {}
    pairs: list[tuple[np.ndarray, np.ndarray]] = []
    first_call: dict[int, tuple[list[np.ndarray], np.ndarray]] = {}
    count = 0

    def new_groups(tensor: int) -> np.ndarray:
        nonlocal count
        count += graph.channels(tensor)
        return np.arange(count - graph.channels(tensor), count)

    for tensor in graph.inputs:
        groups[tensor] = new_groups(tensor)
    for call, flow in zip(graph.calls, flows, strict=True):
        if isinstance(flow, Blocked):
            groups.update({n: new_groups(n) for n in call.outputs})
            continue
        inputs, (output,) = [groups[n] for n in call.inputs], call.outputs
        before = first_call.get(id(call.layer))
        if isinstance(flow, ChannelMap):
            groups[output] = flow.layout(inputs)
            if flow.coupled:
                pairs += [(inputs[0], other) for other in inputs[1:]]
        else:
            groups[output] = before[1] if before else new_groups(output)
        if before and has_weights(call.layer):
            pairs += zip(before[0], inputs, strict=True)
        if before and has_fixed_width(call.layer):
            pairs.append((before[1], groups[output]))
        first_call.setdefault(id(call.layer), (inputs, groups[output]))
    if not pairs:
        return groups
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    edges = coo_array((np.ones(len(one), bool), (one, other)), shape=(count, count))
    labels = connected_components(edges, directed=False)[1]
    return {tensor: labels[numbers] for tensor, numbers in groups.items()}


def find_fixed_groups(graph: CallGraph, flows: Sequence[ChannelFlow], groups: dict[int, np.ndarray]) -> np.ndarray:
    """Returns the groups that are kept whatever their weights are.

    These are the channels of the model's inputs and outputs, of blocked calls, and of kernels whose activation mixes
    channels.

    Args:
        graph: The calls of a model.
        flows: The channel flow of every call.
        groups: The group number of every channel, by tensor.

    Returns:
        Ascending group numbers, int64.
    """
    fixed = [groups[n] for n in (*graph.inputs, *graph.outputs)]
    for call, flow in zip(graph.calls, flows, strict=True):
        if isinstance(flow, Blocked):
            fixed += [groups[n] for n in (*call.inputs, *call.outputs)]
        elif isinstance(flow, Kernel) and flow.activation is None:
            fixed.append(groups[call.outputs[0]])
    return np.unique(np.concatenate(fixed))
