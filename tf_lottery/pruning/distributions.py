"""Distributions: how a number of weights that all arrays keep together is divided among them.

Each distribution is one function from what is known of the arrays to counts that are whole, within bounds, and sum to
exactly that number. Within an array the weights of the highest scores are kept, whatever the distribution.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError
from tf_lottery.pruning.masks import WeightArrays
from tf_lottery.pruning.ranking import check_finite, remove_lowest
from tf_lottery.pruning.units import Units

UNIFORM = "uniform"
ERK = "erk"
LAMP = "lamp"
DISTRIBUTIONS = (UNIFORM, ERK, LAMP)


def erk_shares(shapes: Mapping[str, Sequence[int]], units: Units) -> dict[str, Fraction]:
    """Returns what the number of units that an array keeps is proportional to, under Erdős-Rényi-Kernel densities.

    The density of an array is proportional to the sum of its dimensions over their product (Evci et al. 2020, arXiv
    1911.11134, section 3), so the number of weights it keeps is proportional to the sum: inputs + outputs of a dense
    layer, inputs + outputs + height + width of a convolution.

    Args:
        shapes: The shape of every weight array by path.
        units: The units; their number is proportional to the sum divided by the weights of a unit.

    Example:
        >>> erk_shares({"dense": (300, 100), "conv": (3, 3, 16, 32)}, Units({"dense": (1, 1), "conv": (1, 1, 1, 1)}))
        {'dense': Fraction(400, 1), 'conv': Fraction(54, 1)}
    """
    return {
        key: Fraction(sum(max(1, sum(shapes[path])) for path in paths), units.sizes[key])
        for key, paths in units.members.items()
    }


def apportion(
    shares: Mapping[str, Fraction], total: int, *, least: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, int]:
    """Returns counts that are proportional to shares where the bounds allow it, and sum to the total.

    What an array can't take above its greatest count, or needs for its least one, the others share in proportion. The
    result is rounded by largest remainders: no count differs from its exact value by one or more; of equal remainders
    the first by sorted key is rounded up. All of it is computed in fractions, so it is the same on every machine.

    Args:
        shares: Positive shares by key.
        total: The sum of the counts, between the sums of the bounds.
        least: The least count by key.
        most: The greatest count by key.

    Example:
        >>> shares = {"a": Fraction(1), "b": Fraction(2), "c": Fraction(9)}
        >>> apportion(shares, 10, least=dict.fromkeys("abc", 0), most={"a": 20, "b": 20, "c": 4})
        {'a': 2, 'b': 4, 'c': 4}
    """
    level = _level(shares, total, least, most)
    exact = _clipped(shares, level, least, most)
    counts = {key: math.floor(value) for key, value in exact.items()}
    by_remainder = sorted(shares, key=lambda key: (counts[key] - exact[key], key))
    for key in by_remainder[: total - sum(counts.values())]:
        counts[key] += 1
    return counts


def _level(shares: Mapping[str, Fraction], total: int, least: Mapping[str, int], most: Mapping[str, int]) -> Fraction:
    """Returns the factor of the shares at which the clipped values sum to the total.

    The sum rises with the factor, by straight lines between the factors at which a value meets a bound.
    """
    corners = sorted({bound[key] / share for key, share in shares.items() for bound in (least, most)})
    low, high = 0, len(corners)
    while high - low > 1:
        middle = (low + high) // 2
        if sum(_clipped(shares, corners[middle], least, most).values()) <= total:
            low = middle
        else:
            high = middle
    corner = corners[low]
    rest = total - sum(_clipped(shares, corner, least, most).values())
    if not rest:
        return corner
    rising = [share for key, share in shares.items() if least[key] <= corner * share < most[key]]
    return corner + rest / sum(rising, Fraction(0))


def _clipped(
    shares: Mapping[str, Fraction], level: Fraction, least: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, Fraction]:
    return {key: min(max(level * share, Fraction(least[key])), Fraction(most[key])) for key, share in shares.items()}


def lamp_counts(
    scores: WeightArrays, masks: WeightArrays, total: int, *, least: Mapping[str, int], most: Mapping[str, int]
) -> dict[str, int]:
    """Returns how many weights of each array are among those of the highest LAMP scores of all arrays.

    The LAMP score of a weight w is w^2 / (sum of the squares of the weights of its array that do not rank below it)
    (Lee et al. 2021, arXiv 2010.07611, equation 3). Instead of w any score that is not negative is taken; the
    magnitude gives the paper's. Equal LAMP scores rank by (sorted key, rank in the array).

    Args:
        scores: Scores by key.
        masks: Boolean masks by key, of the scores' shapes; pruned weights do not count in the sums.
        total: How many weights are kept in all, between the sums of the bounds.
        least: The least count by key; so many best weights of an array are kept whatever their LAMP scores.
        most: The greatest count by key, at most the number of survivors.

    Raises:
        UnfitError: If a survivor's score is negative, or scores are no real numbers.
        NonFiniteError: If a survivor's score is NaN or infinite.

    Example:
        >>> scores = {"a": np.array([1.0, 2.0]), "b": np.array([0.3, 0.3, 0.3])}
        >>> masks = {"a": np.ones(2, bool), "b": np.ones(3, bool)}
        >>> lamp_counts(scores, masks, 3, least={"a": 1, "b": 1}, most={"a": 2, "b": 3})  # 1/5, 1; 1/3, 1/2, 1
        {'a': 1, 'b': 2}
    """
    contested = {}
    for key in scores:
        survivors = np.asarray(masks[key])
        values = check_finite(key, np.asarray(scores[key]), survivors)[survivors].astype(np.float64)
        values.sort()
        if values.size and values[0] < 0:
            raise UnfitError(
                f"The distribution {LAMP!r} compares squares of scores, which must not be negative. Received: "
                f"{values[0]:g} in {key!r}.",
                "Score by a criterion that is not negative, e.g. 'magnitude', or take another distribution.",
            )
        contested[key] = lamp_scores(values)[values.size - most[key] : values.size - least[key]]
    free = total - sum(least[key] for key in scores)
    every = {key: np.ones(values.shape, bool) for key, values in contested.items()}
    count = sum(values.size for values in contested.values()) - free
    chosen = remove_lowest(contested, every, keys=sorted(contested), count=count, least=dict.fromkeys(contested, 0))
    return {key: least[key] + int(np.count_nonzero(chosen[key])) for key in scores}


def lamp_scores(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Returns the LAMP scores of the weights of one array.

    Args:
        values: Scores that are not negative, in ascending order, float64.

    Example:
        >>> lamp_scores(np.array([1.0, 2.0])).tolist()
        [0.2, 1.0]
    """
    if not values.size or values[-1] == 0:
        return np.zeros(values.shape)
    squares = (values / values[-1]) ** 2
    sums = np.cumsum(squares[::-1])[::-1]
    # Mathematically the scores rise; rounding must not let a lower weight win.
    return np.maximum.accumulate(squares / sums)
