"""From which density on a layer is faster by the sparse kernels, and how much room its values get.

`benchmarks/sparse_training.py` measures the break-evens.
"""

from collections.abc import Iterable
from dataclasses import dataclass

DENSE, CONVOLUTION = "dense", "convolution"
"""The kinds of layers that the kernels compute."""
BREAK_EVEN = {
    DENSE: {"avx512": 0.6, "avx2": 0.4, "baseline": 0.0},
    CONVOLUTION: {"avx512": 0.35, "avx2": 0.6, "baseline": 0.0},
}
"""The density (kept / total) below which a layer trains faster, by its kind and the instruction set of the kernels."""
SMALLEST = {DENSE: 4096, CONVOLUTION: 4096}
"""A layer that takes fewer products for an example gains nothing."""
FIRST_CAPACITY, NEXT_CAPACITY = 0.72, 0.6
"""Capacities, over the size of the matrix: the largest one that is made with room to spare, and the factor to the next.
Few of them, since each is compiled once, and a training of fewer weights compiles nothing new."""
COMPILING, COMPILING_A_CONVOLUTION = 5e10, 2e10
"""The products (of a weight with an input, forward alone) that take as long as it takes to compile a step once more,
and to compile each convolution in it."""


@dataclass(frozen=True)
class Work:
    """What a layer computes for an example.

    Attributes:
        kind: `DENSE` or `CONVOLUTION`.
        size: The number of its weights.
        positions: The number of places at which each weight is used: 1 for a dense layer, for a convolution the pixels
            of its output.
    """

    kind: str
    size: int
    positions: int = 1


def saving(work: Work, kept: int, instruction_set: str) -> float:
    """Returns how many products of a layer the sparse kernels save for each example; 0 where they are slower.

    Args:
        work: What the layer computes.
        kept: How many of its weights are kept.
        instruction_set: Of the kernels.

    Example:
        >>> layer = Work(DENSE, 300_000)
        >>> saving(layer, 30_000, "avx512"), saving(layer, 290_000, "avx512"), saving(Work(DENSE, 100), 1, "avx512")
        (250000.0, 0.0, 0.0)
    """
    break_even = BREAK_EVEN[work.kind][instruction_set]
    if not break_even or work.size * work.positions < SMALLEST[work.kind]:
        return 0.0
    return max(0.0, work.size - kept / break_even) * work.positions


def pays(savings: Iterable[tuple[Work, float]], examples: int) -> bool:
    """Returns whether what the layers save in a training is more than what compiling their steps takes.

    Args:
        savings: Layers, with what each saves for each example.
        examples: How many examples a training looks at: the batch size times the steps.

    Example:
        >>> layer = Work(DENSE, 300_000)
        >>> pays([(layer, 250_000.0)], 60 * 10_000), pays([(layer, 250_000.0)], 60 * 1_000)
        (True, False)
    """
    gaining = [(work, saved) for work, saved in savings if saved]
    convolutions = sum(work.kind == CONVOLUTION for work, _ in gaining)
    return sum(saved for _, saved in gaining) * examples > COMPILING + COMPILING_A_CONVOLUTION * convolutions


def capacity_for(size: int, kept: int) -> int:
    """Returns how many values a layer gets room for: the least of a few capacities that is enough.

    Args:
        size: The number of its weights.
        kept: How many of them are kept.

    Example:
        >>> capacity_for(1000, 700), capacity_for(1000, 400), capacity_for(1000, 10), capacity_for(1000, 900)
        (720, 432, 12, 1000)
    """
    if kept > FIRST_CAPACITY * size:
        return size
    fraction = FIRST_CAPACITY
    while kept <= int(size * fraction * NEXT_CAPACITY) > 0:
        fraction *= NEXT_CAPACITY
    return max(int(size * fraction), kept)
