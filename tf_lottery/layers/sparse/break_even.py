"""From which density on a layer is faster by the sparse kernels, and how much room its values get. NumPy-free.

`benchmarks/sparse_training.py` measures the break-evens.
"""

BREAK_EVEN = {"avx512": 0.6, "avx2": 0.35, "baseline": 0.0}
"""The density (kept / total) below which a dense layer trains faster, by the instruction set of the kernels."""
SMALLEST = 4096
"""A matrix of fewer weights gains nothing."""
FIRST_CAPACITY, NEXT_CAPACITY = 0.72, 0.6
"""Capacities, over the size of the matrix: the largest one that is made with room to spare, and the factor to the next.
Few of them, since each is compiled once, and a training of fewer weights compiles nothing new."""


def pays(size: int, kept: int, instruction_set: str) -> bool:
    """Returns whether a dense layer trains faster by the sparse kernels.

    Args:
        size: The number of its weights.
        kept: How many of them are kept.
        instruction_set: Of the kernels.

    Example:
        >>> pays(300_000, 30_000, "avx512"), pays(300_000, 290_000, "avx512"), pays(100, 1, "avx512")
        (True, False, False)
    """
    return size >= SMALLEST and kept < BREAK_EVEN[instruction_set] * size


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
