"""The straight line between the weights of two networks, and the barrier on it. NumPy only."""

from collections.abc import Mapping, Sequence

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.pruning.masks import check_keys

POINTS = 30


def path_fractions(points: int = POINTS) -> list[float]:
    """Return evenly spaced positions from 0 to 1, the two ends among them.

    Args:
        points: the number of positions, at least 3.

    Raises:
        UsageError: fewer than three: the ends alone show no barrier.

    Example:
        >>> path_fractions(3)
        [0.0, 0.5, 1.0]
    """
    if points < 3:
        raise UsageError(f"A line needs at least 3 points, its ends and one between. Received: {points}.", "Take 30.")
    return [float(position) for position in np.linspace(0.0, 1.0, points)]


def interpolate_weights(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], fraction: float
) -> dict[str, np.ndarray]:
    """Return the weights at a position on the line from `first` (0) to `second` (1).

    Computed as first + fraction * (second - first), so that the line from a network to itself is that network, bit for
    bit, and exactly `second` at 1. Arrays that are not real numbers (states of seed generators) are those of `first`.

    Args:
        first: arrays by variable path.
        second: arrays of the same paths, shapes and dtypes.
        fraction: the position, from 0.0 to 1.0.

    Raises:
        UnfitError: the paths of the two differ.

    Example:
        >>> interpolate_weights({"w": np.array([0.0, 4.0])}, {"w": np.array([1.0, 0.0])}, 0.25)["w"].tolist()
        [0.25, 3.0]
    """
    check_keys(second, first, what="weights of the second network")
    if fraction == 1.0:
        return {key: second[key] if value.dtype.kind == "f" else value for key, value in first.items()}
    return {
        key: value + value.dtype.type(fraction) * (second[key] - value) if value.dtype.kind == "f" else value
        for key, value in first.items()
    }


def barrier_height(values: Sequence[float]) -> float:
    """Return the barrier on a line: the largest value on it, minus the mean of the values at its two ends.

    Frankle et al. (2019, arXiv 1912.05671) call it linear interpolation instability, for the error; two networks are in
    one linearly connected minimum where it is about 0.

    Args:
        values: errors or losses at positions from one end to the other, both ends included.

    Example:
        >>> barrier_height([0.25, 1.0, 0.75]), barrier_height([0.3, 0.3])
        (0.5, 0.0)
    """
    return float(max(values) - (values[0] + values[-1]) / 2)
