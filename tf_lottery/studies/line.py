"""The straight line between two networks, and how much worse than its ends it gets. NumPy only."""

from collections.abc import Mapping, Sequence

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.pruning.masks import check_keys

POINTS = 30


def fractions(points: int = POINTS) -> list[float]:
    """Evenly spaced positions from 0 to 1, the two ends among them.

    Raises:
        UsageError: fewer than three: the ends alone tell nothing.

    Example:
        >>> fractions(3)
        [0.0, 0.5, 1.0]
    """
    if points < 3:
        raise UsageError(f"A line needs at least 3 points, its ends and one between. Received: {points}.", "Take 30.")
    return [float(position) for position in np.linspace(0.0, 1.0, points)]


def between(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], fraction: float
) -> dict[str, np.ndarray]:
    """The weights at a position on the line from `first` (0) to `second` (1).

    Computed as first + fraction * (second - first), so that the line from a network to itself is that network, bit for
    bit, and exactly `second` at 1. Arrays that are not real numbers (states of seed generators) are those of `first`.

    Raises:
        UnfitError: the two have other paths.

    Example:
        >>> between({"w": np.array([0.0, 4.0])}, {"w": np.array([1.0, 0.0])}, 0.25)["w"].tolist()
        [0.25, 3.0]
    """
    check_keys(second, first, what="weights of the second network")
    if fraction == 1.0:
        return {key: second[key] if value.dtype.kind == "f" else value for key, value in first.items()}
    return {
        key: value + value.dtype.type(fraction) * (second[key] - value) if value.dtype.kind == "f" else value
        for key, value in first.items()
    }


def height(values: Sequence[float]) -> float:
    """The barrier on a line: the largest value on it, minus the mean of the values at its two ends.

    Frankle et al. (2019, arXiv 1912.05671) call it linear interpolation instability, for the error; two networks are in
    one linearly connected minimum where it is about 0.

    Args:
        values: error or loss at positions from one end to the other, both ends included.

    Example:
        >>> height([0.25, 1.0, 0.75]), height([0.3, 0.3])
        (0.5, 0.0)
    """
    return float(max(values) - (values[0] + values[-1]) / 2)
