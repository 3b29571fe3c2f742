"""`prune` and `prune_to`: exactly so many of the surviving weights are pruned, those of the lowest scores.

Surviving weights rank by (score, sorted key, flat index). Counts are computed by Python's `round` (half to even), so
they are the same on every machine.
"""

from collections.abc import Mapping
from numbers import Real

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.pruning.distributions import UNIFORM
from tf_lottery.pruning.granularities import UNSTRUCTURED, Axes
from tf_lottery.pruning.keeping import Rule, prune_by_rate, prune_to_density
from tf_lottery.pruning.masks import Masks, Scores, WeightArrays, as_array, as_real, validate
from tf_lottery.pruning.unit_arrays import collapse, collapse_masks, expand
from tf_lottery.pruning.units import Units, divide


def prune(
    scores: WeightArrays,
    masks: WeightArrays,
    *,
    rate: float | Mapping[str, float],
    scope: str = "layerwise",
    distribution: str = UNIFORM,
    min_density: float | Mapping[str, float] = 0.0,
    max_density: float | Mapping[str, float] = 1.0,
    allow_empty: bool = False,
    granularity: str = UNSTRUCTURED,
    indivisible: str = "error",
    axes: Mapping[str, Axes] | None = None,
) -> Masks:
    """Prunes a fraction of the surviving weights, or of larger units of them.

    A unit is kept or pruned as a whole, by the mean score of its weights. What is said below of weights (counts, ranks
    and ties) then holds for units.

    Args:
        scores: The importance of every weight, any float dtype, keyed by weight path; higher scores are kept.
        masks: The current masks, bool, with the same keys and shapes.
        rate: The fraction of the *surviving* weights to prune, in [0, 1): one for all arrays, or by weight path or glob
            pattern, `{"conv*": 0.1, "*": 0.2}`. A path is stronger than a pattern, and "*" stands for all others.
        scope: "layerwise" ranks every weight array separately; "global" ranks all arrays of equal rate together.
        distribution: How what is kept in all is divided among the arrays: "uniform" prunes each by its own rate, or as
            `scope` says; "erk" gives an array a density in proportion to the sum of its dimensions over their product
            (Evci et al. 2020, arXiv 1911.11134), "lamp" what its scores deserve beside those of other arrays (Lee et
            al. 2021, arXiv 2010.07611; scores must not be negative).
        min_density: The least density of every array, kept / total: one for all, or by path or pattern, as for `rate`;
            an array keeps at least `round(min_density * size)` weights.
        max_density: The greatest density, likewise: it keeps at most `round(max_density * size)` weights.
        allow_empty: Whether an array may lose its last weight. If not, its best survivor is kept, and in the global
            scope the next lowest weight of another array is pruned instead.
        granularity: "unstructured" (single weights), "1x4" or "1x16" (consecutive inputs of one output), "channel"
            (a unit of a dense layer, a filter of a convolution; the channels of the output layer, which `axes` name,
            are all kept), "head" (an attention head, in all kernels of its layer at once), "row" (one token's vector
            of an embedding), or a pattern N:M such as "2:4": single weights, of which each M consecutive inputs of one
            output keep at least N, so that rate 0.5 makes dense masks exactly 2:4.
        indivisible: What to do with arrays that do not divide into such units: "error", "skip" (they are kept whole)
            or "unstructured" (their weights are pruned one by one).
        axes: What runs along the axes of every array: `discover(model).axes`. By default arrays of two and more axes
            are taken for kernels of dense layers and convolutions, (..., inputs, outputs).

    Returns:
        New masks, subsets of `masks`, with exactly `round(rate * survivors)` fewer weights: per array (layerwise), per
        group of equal rate (global), or of all arrays together (another distribution than "uniform"). An array that
        would lose its last weight keeps it, and a rate that ends less than one weight below a pattern N:M ends at it; a
        single array stops at `min_density` and comes down to `max_density`.

    Raises:
        UsageError: If `rate`, `scope`, `distribution` or a density is out of range, patterns match nothing or give one
            array two rates, or a pattern N:M or the densities do not admit the rate.
        UnfitError: If keys or shapes differ, scores are no real numbers, an array does not divide into units, or the
            masks keep a part of one.
        NonFiniteError: If a surviving weight's score is NaN or infinite.

    Example:
        >>> prune({"kernel": np.array([3.0, 1.0, 2.0])}, {"kernel": np.ones(3, bool)}, rate=1 / 3)
        {'kernel': array([ True, False,  True])}
    """
    checked = validate(masks, {key: as_array(score, what=f"scores of {key!r}").shape for key, score in scores.items()})
    shapes = {key: mask.shape for key, mask in checked.items()}
    units = divide(shapes, granularity=granularity, indivisible=indivisible, axes=axes)
    rule = Rule(units, shapes, scope, distribution, allow_empty, min_density, max_density)
    rates = rule.of_units("rate", rate)
    for key, value in rates.items():
        if not _is_number(value) or not (0 <= value < 1 or (value == 1 and allow_empty)):
            raise UsageError(
                f"`rate` must be in [0, 1): the fraction of survivors to prune. Received: {value!r} for {key!r}.",
                "Pass e.g. rate=0.2.",
            )
    unit_scores, unit_masks = unit_arrays(scores, checked, units)
    return expand(prune_by_rate(unit_scores, unit_masks, rates=rates, rule=rule), checked, units)


def prune_to(
    scores: WeightArrays,
    masks: WeightArrays,
    *,
    density: float,
    scope: str = "layerwise",
    distribution: str = UNIFORM,
    min_density: float | Mapping[str, float] = 0.0,
    max_density: float | Mapping[str, float] = 1.0,
    allow_empty: bool = False,
    granularity: str = UNSTRUCTURED,
    indivisible: str = "error",
    axes: Mapping[str, Axes] | None = None,
) -> Masks:
    """Prunes down to a density of the maskable weights: exactly `round(density * total)` are kept.

    For larger units the total is the number of units, and arrays that are kept whole do not count.

    Args:
        scores: As for `prune`.
        masks: As for `prune`.
        density: The fraction kept / total to reach, in (0, 1]; of every array (layerwise) or of all arrays together
            (global, or another distribution than "uniform").
        scope: As for `prune`.
        distribution: As for `prune`.
        min_density: As for `prune`.
        max_density: As for `prune`.
        allow_empty: As for `prune`.
        granularity: As for `prune`; a pattern N:M admits densities from N / M.
        indivisible: As for `prune`.
        axes: As for `prune`.

    Returns:
        New masks, subsets of `masks`.

    Raises:
        UsageError: If `density` is out of range, above the current density, or not admitted by a pattern N:M or by the
            least and greatest densities.
        UnfitError: As for `prune`.
        NonFiniteError: As for `prune`.

    Example:
        >>> prune_to({"kernel": np.array([3.0, 1.0])}, {"kernel": np.ones(2, bool)}, density=0.5)
        {'kernel': array([ True, False])}
    """
    checked = validate(masks, {key: as_array(score, what=f"scores of {key!r}").shape for key, score in scores.items()})
    if not _is_number(density) or not 0 < density <= 1:
        raise UsageError(
            f"`density` must be in (0, 1]: kept / total weights. Received: {density!r}.", "Pass e.g. 0.05."
        )
    shapes = {key: mask.shape for key, mask in checked.items()}
    units = divide(shapes, granularity=granularity, indivisible=indivisible, axes=axes)
    rule = Rule(units, shapes, scope, distribution, allow_empty, min_density, max_density)
    unit_scores, unit_masks = unit_arrays(scores, checked, units)
    return expand(prune_to_density(unit_scores, unit_masks, density=density, rule=rule), checked, units)


def unit_arrays(scores: WeightArrays, masks: Masks, units: Units) -> tuple[Scores, Masks]:
    """Returns the scores and the masks of units, by the paths of the arrays of units.

    Args:
        scores: Real scores of weights by path.
        masks: Masks of weights by path.
        units: The units.

    Raises:
        UnfitError: If scores are no real numbers, or the masks keep a part of a unit.
    """
    real_scores = {key: as_real(np.asarray(scores[key]), what=f"scores of {key!r}") for key in units.blocks}
    return collapse(real_scores, units), collapse_masks(masks, units)


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
