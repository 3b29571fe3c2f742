"""How large the tensor arena of TensorFlow Lite Micro must be for a file: an estimate.

The arena holds the tensors that are computed, each from the operator that makes it to the last that reads it, and what
the interpreter keeps of tensors, operators and channels. Its planner places large tensors first, each in the first gap
that is free while it lives. What the interpreter keeps was measured with TensorFlow Lite Micro on a processor of 64
bits over dense, convolutional and residual networks; with 32 bits it is about half. Scratch buffers of kernels that are
made for one processor come on top.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_lottery.exporting.tflite import flatbuffers

_ALIGNMENT = 16
# Bytes that the interpreter keeps: measured 580 to 720; 24 and 64 plus 75 to 95; two multipliers of 4 bytes; 96.
_FIXED, _PER_TENSOR, _PER_OPERATOR, _PER_CHANNEL, _PER_EDGE = 768, 24, 164, 8, 96
_PER_CHANNEL_OPERATORS = ("CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "FULLY_CONNECTED")


@dataclass(frozen=True)
class _Lifetime:
    """A computed tensor: its bytes, and the first and last operator between which it is needed."""

    bytes: int
    first: int
    last: int


def estimate_arena(content: bytes) -> int:
    """Return an estimate of the bytes of the arena that a file needs in TensorFlow Lite Micro.

    Args:
        content: of a `.tflite` file whose tensors have fixed shapes.
    """
    model = flatbuffers.read(content)
    return (
        sum(_planned_bytes(_lifetimes(model, graph)) + _kept_bytes(model, graph) for graph in model.subgraphs) + _FIXED
    )


def _lifetimes(model: Any, graph: Any) -> list[_Lifetime]:
    """The computed tensors of a graph, in the order of their numbers."""
    end = len(graph.operators)
    made = {int(place): 0 for place in graph.inputs}
    read = {int(place): end for place in graph.outputs}
    for number, operator in enumerate(graph.operators):
        for place in operator.outputs:
            made.setdefault(int(place), number)
            read.setdefault(int(place), number)
        for place in operator.inputs:
            read[int(place)] = max(number, read.get(int(place), 0))
    return [
        _Lifetime(_bytes(graph.tensors[place]), made[place], read.get(place, 0)) for place in sorted(made) if place >= 0
    ]


def _bytes(tensor: Any) -> int:
    count = int(np.prod([int(size) for size in tensor.shape])) if tensor.shape is not None else 1
    return -(-count * flatbuffers.item_bytes(tensor) // _ALIGNMENT) * _ALIGNMENT


def _planned_bytes(tensors: list[_Lifetime]) -> int:
    """The bytes of a plan that places large tensors first; of equal ones, the worse of both orders.

    Example:
        >>> _planned_bytes([_Lifetime(64, 0, 1), _Lifetime(32, 1, 2), _Lifetime(64, 2, 3)])
        96
    """
    orders = (sorted(tensors, key=lambda one: -one.bytes), sorted(tensors[::-1], key=lambda one: -one.bytes))
    return max(_placed_bytes(order) for order in orders)


def _placed_bytes(order: list[_Lifetime]) -> int:
    placed: list[tuple[int, _Lifetime]] = []
    for tensor in order:
        start = 0
        for offset, other in sorted(placed, key=lambda pair: pair[0]):
            together = other.first <= tensor.last and tensor.first <= other.last
            if together and offset < start + tensor.bytes:
                start = max(start, offset + other.bytes)
        placed.append((start, tensor))
    return max((offset + tensor.bytes for offset, tensor in placed), default=0)


def _kept_bytes(model: Any, graph: Any) -> int:
    channels = sum(
        int(graph.tensors[int(operator.outputs[0])].shape[-1])
        for operator in graph.operators
        if flatbuffers.operator_name(model, operator) in _PER_CHANNEL_OPERATORS
    )
    edges = len(graph.inputs) + len(graph.outputs)
    return (
        _PER_TENSOR * len(graph.tensors)
        + _PER_OPERATOR * len(graph.operators)
        + _PER_CHANNEL * channels
        + _PER_EDGE * edges
    )
