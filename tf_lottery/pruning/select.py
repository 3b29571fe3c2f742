"""`prune` and `prune_to`: exactly so many of the surviving weights are pruned, those of the lowest scores.

Surviving weights rank by (score, sorted key, flat index). Counts are computed by Python's `round` (half to even), so
they are the same on every machine.
"""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning.masks import Masks, Scores, WeightArrays, check_keys, validate
from tf_lottery.pruning.units import UNSTRUCTURED, Axes, Blocks, collapse, collapse_masks, divide, expand

SCOPES = ("layerwise", "global")


def prune(
    scores: WeightArrays,
    masks: WeightArrays,
    *,
    rate: float | Mapping[str, float],
    scope: str = "layerwise",
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
        rate: The fraction of the *surviving* weights to prune, in [0, 1); one for all arrays, or one per weight path.
        scope: "layerwise" ranks every weight array separately; "global" ranks all arrays of equal rate together.
        allow_empty: Whether an array may lose its last weight. If not, its best survivor is kept, and in the global
            scope the next lowest weight of another array is pruned instead.
        granularity: "unstructured" (single weights), "1x4" or "1x16" (consecutive inputs of one output), or "channel"
            (a unit of a dense layer, a filter of a convolution; the channels of the output layer, which `axes` name,
            are all kept).
        indivisible: What to do with arrays that do not divide into such units: "error", "skip" (they are kept whole)
            or "unstructured" (their weights are pruned one by one).
        axes: What runs along the axes of every array: `discover(model).axes`. By default arrays of two and more axes
            are taken for kernels of dense layers and convolutions, (..., inputs, outputs).

    Returns:
        New masks, subsets of `masks`, with exactly `round(rate * survivors)` fewer weights per array (layerwise) or per
        group of equal rate (global), or as many as leave one weight in every array.

    Raises:
        UsageError: If `rate` or `scope` is out of range.
        UnfitError: If keys or shapes differ, scores are no real numbers, an array does not divide into units, or the
            masks keep a part of one.
        NonFiniteError: If a surviving weight's score is NaN or infinite.

    Example:
        >>> prune({"kernel": np.array([3.0, 1.0, 2.0])}, {"kernel": np.ones(3, bool)}, rate=1 / 3)
        {'kernel': array([ True, False,  True])}
    """
    checked = validate(masks, {key: np.shape(score) for key, score in scores.items()})
    if isinstance(rate, Mapping):
        check_keys(rate, checked, what="rates")
    rates = {key: rate[key] if isinstance(rate, Mapping) else rate for key in checked}
    for key, value in rates.items():
        if not _is_number(value) or not (0 <= value < 1 or (value == 1 and allow_empty)):
            raise UsageError(
                f"`rate` must be in [0, 1): the fraction of survivors to prune. Received: {value!r} for {key!r}.",
                "Pass e.g. rate=0.2.",
            )
    blocks = _unit_shapes(checked, granularity, indivisible, axes)
    unit_scores, units = unit_arrays(scores, checked, blocks)
    pruned: Masks = {}
    for keys in groups({key: rates[key] for key in units}, scope=scope):
        count = round(rates[keys[0]] * sum(int(np.count_nonzero(units[key])) for key in keys))
        pruned |= remove_lowest(unit_scores, units, keys=keys, count=count, allow_empty=allow_empty)
    return expand(pruned, checked, blocks)


def prune_to(
    scores: WeightArrays,
    masks: WeightArrays,
    *,
    density: float,
    scope: str = "layerwise",
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
            (global).
        scope: As for `prune`.
        allow_empty: As for `prune`.
        granularity: As for `prune`.
        indivisible: As for `prune`.
        axes: As for `prune`.

    Returns:
        New masks, subsets of `masks`.

    Raises:
        UsageError: If `density` is out of range, or above the current density.
        UnfitError: As for `prune`.
        NonFiniteError: As for `prune`.

    Example:
        >>> prune_to({"kernel": np.array([3.0, 1.0])}, {"kernel": np.ones(2, bool)}, density=0.5)
        {'kernel': array([ True, False])}
    """
    checked = validate(masks, {key: np.shape(score) for key, score in scores.items()})
    if not _is_number(density) or not 0 < density <= 1:
        raise UsageError(
            f"`density` must be in (0, 1]: kept / total weights. Received: {density!r}.", "Pass e.g. 0.05."
        )
    blocks = _unit_shapes(checked, granularity, indivisible, axes)
    unit_scores, units = unit_arrays(scores, checked, blocks)
    pruned: Masks = {}
    for keys in groups(dict.fromkeys(units, 0.0), scope=scope):
        survivors = sum(int(np.count_nonzero(units[key])) for key in keys)
        count = survivors - round(density * sum(units[key].size for key in keys))
        if count < 0:
            raise UsageError(
                f"The density {density} is above what is left of {', '.join(keys)}: {survivors} "
                f"{'weights' if granularity == UNSTRUCTURED else 'units'} survive.",
                "Densities must fall from round to round.",
            )
        pruned |= remove_lowest(unit_scores, units, keys=keys, count=count, allow_empty=allow_empty)
    return expand(pruned, checked, blocks)


def unit_arrays(scores: WeightArrays, masks: Masks, blocks: Blocks) -> tuple[Scores, Masks]:
    """Returns the scores and the masks of units, keyed as `blocks`.

    Args:
        scores: Real scores of weights by path.
        masks: Masks of weights by path.
        blocks: The shape of a unit by path.

    Raises:
        UnfitError: If scores are no real numbers, or the masks keep a part of a unit.
    """
    real_scores = {key: _as_real(key, np.asarray(scores[key])) for key in blocks}
    return collapse(real_scores, blocks), collapse_masks(masks, blocks)


def _unit_shapes(masks: Masks, granularity: str, indivisible: str, axes: Mapping[str, Axes] | None) -> Blocks:
    shapes = {key: mask.shape for key, mask in masks.items()}
    return divide(shapes, granularity=granularity, indivisible=indivisible, axes=axes).blocks


def groups(rates: Mapping[str, float], *, scope: str) -> list[list[str]]:
    """Returns the sorted keys in groups that are ranked together.

    Args:
        rates: A rate by weight path.
        scope: "layerwise" puts every array in a group of its own; "global" groups all arrays of equal rate.

    Raises:
        UsageError: If the scope is unknown.
    """
    if scope not in SCOPES:
        raise UsageError(f"`scope` must be one of {', '.join(SCOPES)}. Received: {scope!r}.")
    keys = sorted(rates)
    if scope == "layerwise":
        return [[key] for key in keys]
    return [[key for key in keys if rates[key] == rate] for rate in dict.fromkeys(rates[key] for key in keys)]


def remove_lowest(
    scores: WeightArrays,
    masks: WeightArrays,
    *,
    keys: Sequence[str],
    count: int,
    allow_empty: bool = False,
) -> Masks:
    """Returns the masks of `keys` without the lowest-scored survivors, ranked together by (score, key, flat index).

    A partition gives the highest score to prune: what scores less is pruned, and of the weights of just that score the
    first ones. That costs one copy of the survivors' scores and boolean arrays, and no sort, so equal scores are as
    fast as different ones.

    Args:
        scores: Scores by path.
        masks: Boolean masks by path, of the scores' shapes.
        keys: The paths of the arrays to rank together.
        count: How many survivors to prune.
        allow_empty: Whether an array may lose its last weight.

    Raises:
        UnfitError: If scores are no real numbers.
        NonFiniteError: If a survivor's score is NaN or infinite.
    """
    candidates = {key: masks[key].ravel().copy() for key in keys}
    flat = {key: _check_finite(key, np.asarray(scores[key]).ravel(), candidates[key]) for key in keys}
    if not allow_empty:
        for key, candidate in candidates.items():
            if candidate.any():
                candidate[_best_survivor(flat[key], candidate)] = False
    sizes = [int(np.count_nonzero(candidate)) for candidate in candidates.values()]
    count = min(count, sum(sizes))
    pool = np.empty(sum(sizes), dtype=np.result_type(*flat.values()))
    for key, start, size in zip(keys, np.cumsum([0, *sizes[:-1]]), sizes, strict=True):
        pool[start : start + size] = flat[key][candidates[key]]
    if count <= 0:
        return {key: masks[key].copy() for key in keys}
    pool.partition(count - 1)
    highest = pool[count - 1]
    ties = count - int(np.count_nonzero(pool[:count] < highest))
    del pool
    pruned = {}
    for key in keys:
        removed = flat[key] < highest
        tied = np.flatnonzero((flat[key] == highest) & candidates[key])[:ties]
        removed &= candidates[key]
        removed[tied] = True
        ties -= tied.size
        pruned[key] = masks[key] & ~removed.reshape(masks[key].shape)
    return pruned


def _best_survivor(scores: npt.NDArray[Any], survivors: npt.NDArray[np.bool_]) -> int:
    """Returns the flat index of the survivor of the highest rank: of the best score, and of equal ones the last."""
    masked = np.where(survivors, scores, -np.inf)
    return scores.size - 1 - int(np.argmax(masked[::-1]))


def _check_finite(key: str, scores: npt.NDArray[Any], survivors: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Returns the scores of one array as real numbers, after a check that those of survivors are finite."""
    scores = _as_real(key, scores)
    bad = int(np.count_nonzero(~np.isfinite(scores) & survivors))
    if bad:
        raise NonFiniteError(
            f"The scores of {key!r} must be finite. Received: {bad} NaN or infinite scores of surviving weights.",
            "Look at the weights that were scored: did the training diverge?",
        )
    return scores


def _as_real(key: str, scores: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Returns the scores of one array as a dtype that NumPy can rank."""
    if scores.dtype.kind not in "biuf":
        # Also bfloat16, which NumPy knows as a dtype of its own kind only.
        if not np.can_cast(scores.dtype, np.float32):
            raise UnfitError(
                f"The scores of {key!r} must be real numbers. Received: dtype {scores.dtype}.",
                "Score by a criterion of `scores`, or pass float arrays.",
            )
        scores = scores.astype(np.float32)
    return scores


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
