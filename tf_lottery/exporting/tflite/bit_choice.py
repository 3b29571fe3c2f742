"""Choose how many bits each weight keeps, by what that costs. Pure: the caller measures, on calibration samples."""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

FLOAT = 32
"""The bits of a weight that is not quantized."""
# How many weights are tried with fewer bits again, the largest first: each try quantizes and runs the whole file.
_MOST_LOWERED = 16

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Cost:
    """What a choice of bits costs on the calibration samples.

    Attributes:
        error: of the outputs, 0 for none.
        holds: whether it is within what is allowed.
    """

    error: float
    holds: bool


def choose_bits(
    least: Mapping[Key, int], sizes: Mapping[Key, int], measure: Callable[[Mapping[Key, int]], Cost]
) -> dict[Key, int]:
    """Return bits for each weight, as few as hold together.

    All weights begin with their fewest bits. Where that costs too much, those get 8 bits (float32, where 8 bits for all
    cost too much) whose error for each value is the largest, measured with all others in float32: as few of them as are
    enough, found by halving. At last the largest of these go down again, each as far as the rest allows.

    Args:
        least: the fewest bits of each weight, 4 or 8.
        sizes: how many values each has.
        measure: returns what bits cost; weights that are not among them are in float32, which costs nothing.

    Returns:
        4, 8 or `FLOAT` for each weight; `FLOAT` for all where nothing else holds.

    Example:
        >>> choose_bits({"a": 4, "b": 4}, {"a": 9, "b": 9}, lambda bits: Cost(bits.get("a") == 4, bits.get("a") != 4))
        {'a': 8, 'b': 4}
    """
    if measure(least).holds:
        return dict(least)
    eight = dict.fromkeys(least, 8)
    start, target = (dict(least), 8) if measure(eight).holds else (eight, FLOAT)
    order = [key for key, count in start.items() if count < target]
    if len(order) > 1:
        costs = {key: measure({key: start[key]}).error / sizes[key] for key in order}
        order.sort(key=lambda key: costs[key], reverse=True)
    low, high = 0, len(order)  # with the first `low` raised it does not hold, with the first `high` it does
    while high - low > 1:
        middle = (low + high) // 2
        holds = measure(start | dict.fromkeys(order[:middle], target)).holds
        low, high = (low, middle) if holds else (middle, high)
    bits = start | dict.fromkeys(order[:high], target)
    raised = sorted((key for key in bits if bits[key] > least[key]), key=lambda key: sizes[key], reverse=True)
    for key in raised[:_MOST_LOWERED]:
        for count in (4, 8):
            if least[key] <= count < bits[key] and measure(bits | {key: count}).holds:
                bits[key] = count
    return bits
