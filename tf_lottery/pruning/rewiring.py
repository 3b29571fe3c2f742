"""Dynamic sparse training, as arrays: random masks of given densities, and masks that drop weights and grow others."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning import criteria
from tf_lottery.pruning.distributions import apportion, erk_shares
from tf_lottery.pruning.masks import Masks, WeightArrays, check_keys
from tf_lottery.pruning.ranking import remove_lowest
from tf_lottery.pruning.schedules import check_sparsity
from tf_lottery.pruning.units import single_weights
from tf_lottery.utils.text import suggestion

Shapes: TypeAlias = Mapping[str, Sequence[int]]
"""The shape of every weight array by path."""
Distribution: TypeAlias = Callable[[Shapes, float], Mapping[str, float]]
"""How a density of all arrays is distributed: a function from their shapes and it to a density by weight path."""


def uniform(shapes: Shapes, density: float) -> dict[str, float]:
    """Returns one density for all arrays.

    Args:
        shapes: The shape of every array by path.
        density: The density, in (0, 1].
    """
    return dict.fromkeys(shapes, density)


def erk(shapes: Shapes, density: float) -> dict[str, float]:
    """Returns Erdős-Rényi-Kernel densities (Evci et al. 2020, arXiv 1911.11134, section 3), one weight kept at least.

    The counts are whole, and sum to exactly `round(density * total)` where that leaves a weight in every array.

    Args:
        shapes: The shape of every array by path.
        density: The density of all arrays together, in (0, 1].

    Example:
        >>> erk({"first": (300, 100), "second": (100, 10)}, 0.1)  # 2431 and 669 weights: as 400 to 110
        {'first': 0.08103333333333333, 'second': 0.669}
    """
    sizes = {path: math.prod(shape) for path, shape in shapes.items()}
    total = max(len(sizes), round(density * sum(sizes.values())))
    counts = apportion(erk_shares(shapes, single_weights(shapes)), total, least=dict.fromkeys(sizes, 1), most=sizes)
    return {path: counts[path] / sizes[path] for path in sizes}


DISTRIBUTIONS: dict[str, Distribution] = {"uniform": uniform, "erk": erk}


def distribute(
    shapes: Shapes, sparsity: float | Mapping[str, float], distribution: str | Distribution = "uniform"
) -> dict[str, float]:
    """Returns the density of every array.

    Args:
        shapes: The shape of every array by path.
        sparsity: The sparsity of all of them, in [0, 1), or of every array by path.
        distribution: A name in `DISTRIBUTIONS`, or a function like those; not used for sparsities by path.

    Raises:
        UsageError: If a sparsity is out of range, or the distribution is unknown.
        UnfitError: If paths do not fit, or a density of the distribution is not in [0, 1].

    Example:
        >>> distribute({"first/kernel": (4, 2), "second/kernel": (2, 2)}, 0.75)
        {'first/kernel': 0.25, 'second/kernel': 0.25}
    """
    check_distribution(sparsity, distribution)
    if isinstance(sparsity, Mapping):
        check_keys(sparsity, shapes, what="sparsities")
        return {path: 1 - sparsity[path] for path in shapes}
    function = distribution if callable(distribution) else DISTRIBUTIONS[distribution]
    densities = function(shapes, 1 - sparsity)
    check_keys(densities, shapes, what="densities of the distribution")
    wrong = {path: value for path, value in densities.items() if not 0 <= value <= 1}
    if wrong:
        raise UnfitError(f"The densities of the distribution must be in [0, 1]. Received: {wrong}.")
    return {path: float(densities[path]) for path in shapes}


def check_distribution(sparsity: float | Mapping[str, float], distribution: str | Distribution) -> None:
    """Raises unless a sparsity and its distribution can be those of arrays.

    Args:
        sparsity: As for `distribute`.
        distribution: As for `distribute`.

    Raises:
        UsageError: If a sparsity is out of range, or the distribution is unknown.
    """
    named = sparsity if isinstance(sparsity, Mapping) else {"": sparsity}
    for path, value in named.items():
        check_sparsity(value, f"sparsity of {path!r}" if path else "sparsity", argument="sparsity")
    if not callable(distribution) and distribution not in DISTRIBUTIONS:
        raise UsageError(f"Unknown `distribution` {distribution!r}.", suggestion(str(distribution), DISTRIBUTIONS))


def random_masks(shapes: Shapes, densities: Mapping[str, float], *, seed: int) -> Masks:
    """Returns masks that keep exactly `round(density * size)` weights of every array, at random; one at the least.

    Args:
        shapes: The shape of every array by path.
        densities: The density of every array by path, in [0, 1].
        seed: The masks are a pure function of seed, path, shape and density.

    Example:
        >>> masks = random_masks({"kernel": (4, 5)}, {"kernel": 0.25}, seed=0)
        >>> int(masks["kernel"].sum())
        5
    """
    dense = {path: np.ones(tuple(shape), bool) for path, shape in shapes.items()}
    scores = criteria.random(dense, seed=seed)
    return {
        path: remove_lowest(scores, dense, keys=[path], count=mask.size - round(densities[path] * mask.size))[path]
        for path, mask in dense.items()
    }


def cosine_fraction(step: int, *, alpha: float, end_step: int) -> float:
    """Returns the fraction of the kept weights to drop: alpha / 2 * (1 + cos(pi * step / end_step)).

    This is f_decay of Evci et al. 2020, arXiv 1911.11134, section 3.

    Args:
        step: The training step t.
        alpha: The fraction at step 0.
        end_step: The step at which it is 0.

    Example:
        >>> round(cosine_fraction(50, alpha=0.3, end_step=100), 6)
        0.15
    """
    return alpha / 2 * (1 + math.cos(math.pi * step / end_step))


def rewire(weights: WeightArrays, masks: WeightArrays, growth: WeightArrays, *, fraction: float) -> Masks:
    """Drops the kept weights of lowest magnitude and grows as many of the highest growth score, array by array.

    This is Algorithm 1 of Evci et al. 2020, arXiv 1911.11134: `round(fraction * kept)` weights go, by |w|; then as many
    come from all that are not kept after that, so a weight that was dropped may come back at once. Of equal scores the
    first by flat index are dropped, and the last are grown.

    Args:
        weights: Weight arrays by path.
        masks: Boolean masks by path, of the weights' shapes.
        growth: The scores by which weights are grown, by path: |gradient| of the dense loss (RigL), or random (SET).
        fraction: The fraction of the kept weights to drop, in [0, 1].

    Returns:
        New masks that keep as many weights of every array.

    Raises:
        NonFiniteError: If a score is NaN or infinite.

    Example:
        >>> weights, masks = {"kernel": np.array([0.1, -2.0, 0.0])}, {"kernel": np.array([True, True, False])}
        >>> rewire(weights, masks, {"kernel": np.array([0.0, 0.0, 5.0])}, fraction=0.5)
        {'kernel': array([False,  True,  True])}
    """
    rewired: Masks = {}
    magnitudes = criteria.magnitude(weights)
    for path, mask in masks.items():
        count = round(fraction * int(np.count_nonzero(mask)))
        remaining = _without_lowest(path, magnitudes[path], mask, count)
        candidates = ~remaining
        others = int(np.count_nonzero(candidates)) - count
        rewired[path] = remaining | _without_lowest(path, growth[path], candidates, others)
    return rewired


def _without_lowest(path: str, scores: Any, mask: Any, count: int) -> Any:
    return remove_lowest({path: scores}, {path: mask}, keys=[path], count=count, least={path: 0})[path]
