"""Which layers of a graph run on blocked tensors, so that the layout changes at few places. Pure Python.

The sparse kernels of convolutions read blocked activations: the same place of 16 images side by side. Between two such
convolutions stand layers that can run in either layout.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum


class Layout(Enum):
    """What a layer of a graph reads and gives."""

    PLAIN = "plain tensors only"
    BLOCKED = "blocked tensors only"
    EITHER = "blocked tensors, or plain ones"
    REDUCES = "blocked images or plain ones, and gives plain numbers"


@dataclass(frozen=True)
class Node:
    """A layer in a graph.

    Attributes:
        name: Its name, which no other layer has.
        layout: What it reads and gives.
        inputs: The names of the layers that it reads from.
        size: How many numbers it gives for an example.
    """

    name: str
    layout: Layout
    inputs: tuple[str, ...] = ()
    size: int = 0


def choose_blocked(nodes: Sequence[Node]) -> set[str]:
    """Returns the names of the layers that run on blocked tensors.

    Those that must are among them. One that may is, where fewer numbers change their layout then. Where it makes no
    difference it is not.

    Args:
        nodes: The layers of a graph, each after those that it reads from.

    Example:
        >>> names = [Layout.PLAIN, Layout.BLOCKED, Layout.EITHER, Layout.BLOCKED, Layout.EITHER, Layout.PLAIN]
        >>> nodes = [Node(f"{i}", layout, (f"{i - 1}",) * (i > 0), 8) for i, layout in enumerate(names)]
        >>> sorted(choose_blocked(nodes))
        ['1', '2', '3']
    """
    blocked = {node.name for node in nodes if node.layout is not Layout.PLAIN}
    may = [node for node in reversed(nodes) if node.layout in (Layout.EITHER, Layout.REDUCES)]
    changed = True
    while changed:
        changed = False
        for node in may:
            others = blocked - {node.name}
            if node.name in blocked and count_changed(nodes, others) <= count_changed(nodes, blocked):
                blocked, changed = others, True
    return blocked


def count_changed(nodes: Iterable[Node], blocked: Collection[str]) -> int:
    """Returns how many numbers change their layout, for an example.

    Args:
        nodes: The layers of a graph.
        blocked: The names of those that run on blocked tensors.
    """
    nodes = list(nodes)
    gives_blocked = {node.name: node.name in blocked and node.layout is not Layout.REDUCES for node in nodes}
    sizes = {node.name: node.size for node in nodes}
    # A tensor that changes its layout does so once for all that read it.
    changes = {name for node in nodes for name in node.inputs if gives_blocked[name] != (node.name in blocked)}
    return sum(sizes[name] for name in changes)
