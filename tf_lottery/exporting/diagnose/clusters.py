"""The stretches of a graph that XNNPACK may run on sparse kernels, and what stands in their way.

A stretch begins with the image's first convolution, ends with a global average pool, and holds nothing else than what
`runtime_rules.sparse_layout` allows; its 1x1 convolutions must be more than two thirds zeros together.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.runtime_rules import (
    FIRST,
    INSIDE,
    LAST,
    PAYS,
    Reason,
    SparseLayout,
    in_percent,
    sparse_layout,
)

_Padding: TypeAlias = tuple[int, int, int, int]


@dataclass(frozen=True)
class SparseCluster:
    """Operations that run in one layout.

    Attributes:
        members: their indices.
        obstacles: what keeps the cluster from sparse kernels; empty if nothing does.
        zeros: share of zeros of its 1x1 convolutions together.
        remarks: what does not apply to every version of XNNPACK.
    """

    members: frozenset[int]
    obstacles: tuple[Reason, ...]
    zeros: float
    remarks: tuple[Reason, ...] = ()


def find_clusters(operations: Sequence[Operation], graph_outputs: Collection[int]) -> list[SparseCluster]:
    """Return the clusters of a graph that hold a 1x1 convolution.

    Args:
        operations: of one graph, in their order.
        graph_outputs: the tensors that leave the graph.
    """
    paddings, sources = _absorbed(operations, graph_outputs)
    merged = {index for index in sources.values() if index >= 0}
    nodes = [operation for operation in operations if operation.index not in merged]
    layouts = {node.index: sparse_layout(node, paddings.get(node.index)) for node in nodes}
    inputs = {node.index: _inputs(node, operations, sources) for node in nodes}
    producers = {tensor: node for node in nodes for tensor in node.outputs}
    consumers: dict[int, list[Operation]] = {}
    for node in nodes:
        for tensor in inputs[node.index]:
            consumers.setdefault(tensor, []).append(node)

    leaders = {node.index: node.index for node in nodes}

    def leader(index: int) -> int:
        while leaders[index] != index:
            index = leaders[index]
        return index

    obstacles_by_node: dict[int, list[Reason]] = {node.index: [] for node in nodes}
    for node in nodes:
        if not layouts[node.index].places & {INSIDE, LAST}:
            continue
        for tensor in inputs[node.index]:
            producer = producers.get(tensor)
            if producer is not None and layouts[producer.index].places & {FIRST, INSIDE}:
                leaders[leader(producer.index)] = leader(node.index)
            else:
                obstacles_by_node[node.index].append(_bad_start(node, producer, layouts))
    for node in nodes:
        places = layouts[node.index].places
        if places:
            for tensor in node.outputs:
                obstacles_by_node[node.index] += _bad_end(
                    node, tensor, consumers.get(tensor, []), layouts, graph_outputs
                )

    groups: dict[int, list[Operation]] = {}
    for node in nodes:
        if layouts[node.index].places:
            groups.setdefault(leader(node.index), []).append(node)
    clusters = []
    for group in groups.values():
        pointwise = [node.weights for node in group if _is_pointwise(node) and node.weights is not None]
        if pointwise:
            obstacles = list(dict.fromkeys(finding for node in group for finding in obstacles_by_node[node.index]))
            total = sum(weights.size for weights in pointwise)
            share = sum(int((weights == 0).sum()) for weights in pointwise) / total
            if not obstacles and 3 * share <= 2:
                text = f"{in_percent(share)} zeros: XNNPACK's sparse path needs over {100 * PAYS:.1f} %"
                obstacles.append(Reason(f"{text} in the 1x1 convolutions together", "prune those further"))
            remarks = () if obstacles else _dense_layer_counts(group, consumers, pointwise)
            clusters.append(SparseCluster(frozenset(node.index for node in group), tuple(obstacles), share, remarks))
    return clusters


def _dense_layer_counts(
    group: Sequence[Operation], consumers: dict[int, list[Operation]], pointwise: Sequence[np.ndarray]
) -> tuple[Reason, ...]:
    behind = [consumer for node in group for tensor in node.outputs for consumer in consumers.get(tensor, ())]
    dense = [node.weights for node in behind if node.kind == "FULLY_CONNECTED" and node.weights is not None]
    counted = [*pointwise, *dense]
    share = sum(int((weights == 0).sum()) for weights in counted) / sum(weights.size for weights in counted)
    if 3 * share > 2:
        return ()
    text = (
        f"newer versions of XNNPACK count the dense layer behind the pool too: {in_percent(share)} zeros, not over "
        "66.7 %"
    )
    return (Reason(text, "prune the dense layer too"),)


def _is_pointwise(node: Operation) -> bool:
    return node.kind == "CONV_2D" and node.kernel == (1, 1)


def _absorbed(
    operations: Sequence[Operation], graph_outputs: Collection[int]
) -> tuple[dict[int, _Padding], dict[int, int]]:
    """Paddings that XNNPACK takes into the convolution behind them.

    Returns:
        Padding (top, bottom, left, right) by the convolution's index; the padding operation's index by its output.
    """
    paddings, sources = {}, {}
    for pad in operations:
        behind = [node for node in operations if set(node.inputs) & set(pad.outputs)]
        values = pad.constant
        if (
            pad.kind == "PAD"
            and values is not None
            and values.shape == (4, 2)
            and not np.any(values[[0, 3]])
            and len(behind) == 1
            and not set(pad.outputs) & set(graph_outputs)
            and behind[0].kind in ("CONV_2D", "DEPTHWISE_CONV_2D")
            and behind[0].padding == "valid"
        ):
            paddings[behind[0].index] = tuple(int(size) for size in values[1:3].ravel())
            sources[pad.outputs[0]] = pad.index
    return paddings, sources  # type: ignore[return-value]


def _inputs(node: Operation, operations: Sequence[Operation], sources: dict[int, int]) -> list[int]:
    by_index = {operation.index: operation for operation in operations}
    return [by_index[sources[tensor]].inputs[0] if tensor in sources else tensor for tensor in node.inputs]


def _bad_start(node: Operation, producer: Operation | None, layouts: dict[int, SparseLayout]) -> Reason:
    if producer is None:
        return Reason(
            f"{node.label} reads the model's input: the first must be a 3x3 convolution of stride 2 on 3 channels",
            "begin with ZeroPadding2D(1) and such a convolution with padding='valid'",
        )
    return _describe_obstacle(producer, layouts)


def _bad_end(
    node: Operation,
    tensor: int,
    consumers: Sequence[Operation],
    layouts: dict[int, SparseLayout],
    graph_outputs: Collection[int],
) -> list[Reason]:
    ends = LAST in layouts[node.index].places
    staying = [consumer for consumer in consumers if layouts[consumer.index].places & {INSIDE, LAST}]
    leaving = [consumer for consumer in consumers if consumer not in staying]
    if ends and not staying:
        return []
    findings = [_describe_obstacle(consumer, layouts) for consumer in leaving]
    if tensor in graph_outputs:
        text = f"{node.label} gives an output of the model from within the sparse kernels"
        findings.append(Reason(text, "end the convolutions with GlobalAveragePooling2D, and take no outputs before it"))
    return findings


def _describe_obstacle(node: Operation, layouts: dict[int, SparseLayout]) -> Reason:
    obstacles = layouts[node.index].obstacles
    if not obstacles:
        return Reason(f"{node.label} can only be the first of the sparse kernels")
    reasons = "; ".join(finding.reason for finding in obstacles)
    advice = "; ".join(finding.advice for finding in obstacles if finding.advice)
    return Reason(f"{node.label} stands in the way: {reasons}", advice)
