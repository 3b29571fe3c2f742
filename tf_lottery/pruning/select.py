"""Which weights go: exact counts, chosen by partition among the survivors.

Among survivors, weights rank by (score, sorted key, flat index), and exactly the asked number of the lowest rank goes.
Counts come from Python's `round` (half to even), so they are the same on every machine.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning.masks import Masks, check_keys, validate
from tf_lottery.pruning.units import UNSTRUCTURED, Axes, Blocks, collapse, collapse_masks, divide, expand

SCOPES = ("layerwise", "global")


def prune(
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    *,
    rate: float | Mapping[str, float],
    scope: str = "layerwise",
    allow_empty: bool = False,
    granularity: str = UNSTRUCTURED,
    indivisible: str = "error",
    axes: Mapping[str, Axes] | None = None,
) -> Masks:
    """Prune a fraction of the surviving weights, or of larger units of them.

    A unit has the mean of its weights' scores and goes as a whole. Everything that is said of weights here, of counts,
    ranks and ties, then holds of units.

    Args:
        scores: importance of each weight, any float dtype, keyed by weight path; higher is kept.
        masks: today's masks, same keys and shapes.
        rate: fraction of the *surviving* weights that goes, in [0, 1); one for all, or one per weight path.
        scope: "layerwise" ranks each weight array by itself; "global" ranks all arrays of equal rate together.
        allow_empty: whether an array may lose its last weight. If not, its best survivor stays, and in the global scope
            the next lowest weight of another array goes instead.
        granularity: "unstructured" (each weight), "1x4" or "1x16" (consecutive inputs of one output), or "channel" (a
            unit of a dense layer, a filter of a convolution; those of the output layer all stay, where `axes` tell it).
        indivisible: what is done with arrays that do not divide so: "error", "skip" (kept as they are), "unstructured".
        axes: what runs along the axes of each array: `discover(model).axes`. By default arrays of two and more axes are
            taken for kernels of dense layers and convolutions, (..., inputs, outputs).

    Returns:
        New masks, subsets of `masks`, with exactly `round(rate * survivors)` fewer weights per array (layerwise) or per
        group of equal rate (global), or as many as leave one weight in every array.

    Raises:
        UsageError: rate or scope is out of range.
        UnfitError: keys or shapes differ, scores are no real numbers, an array does not divide into units, or the masks
            keep a part of one.
        NonFiniteError: a surviving weight's score is NaN or infinite.

    Example:
        >>> prune({"kernel": np.array([3.0, 1.0, 2.0])}, {"kernel": np.ones(3, bool)}, rate=1 / 3)
        {'kernel': array([ True, False,  True])}
    """
    masks = validate(masks, {key: np.shape(score) for key, score in scores.items()})
    if isinstance(rate, Mapping):
        check_keys(rate, masks, what="rates")
    rates = {key: rate[key] if isinstance(rate, Mapping) else rate for key in masks}
    for key, value in rates.items():
        if not _is_number(value) or not (0 <= value < 1 or (value == 1 and allow_empty)):
            raise UsageError(
                f"`rate` must be in [0, 1): the fraction of survivors to prune. Received: {value!r} for {key!r}.",
                "Pass e.g. rate=0.2.",
            )
    blocks = _blocks(masks, granularity, indivisible, axes)
    unit_scores, units = unit_arrays(scores, masks, blocks)
    pruned: Masks = {}
    for keys in groups({key: rates[key] for key in units}, scope=scope):
        count = round(rates[keys[0]] * sum(int(np.count_nonzero(units[key])) for key in keys))
        pruned |= remove_lowest(unit_scores, units, keys=keys, count=count, allow_empty=allow_empty)
    return expand(pruned, masks, blocks)


def prune_to(
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    *,
    density: float,
    scope: str = "layerwise",
    allow_empty: bool = False,
    granularity: str = UNSTRUCTURED,
    indivisible: str = "error",
    axes: Mapping[str, Axes] | None = None,
) -> Masks:
    """Prune down to a density of the maskable weights: exactly `round(density * total)` are kept.

    Of larger units, the total is that of the units: weights that are kept whole do not count.

    Args:
        scores, masks, scope, allow_empty, granularity, indivisible, axes: as for `prune`.
        density: kept / total to reach, in (0, 1]; of each array (layerwise) or of all together (global).

    Raises:
        UsageError: the density is out of range, or above today's.

    Example:
        >>> prune_to({"kernel": np.array([3.0, 1.0])}, {"kernel": np.ones(2, bool)}, density=0.5)
        {'kernel': array([ True, False])}
    """
    masks = validate(masks, {key: np.shape(score) for key, score in scores.items()})
    if not _is_number(density) or not 0 < density <= 1:
        raise UsageError(
            f"`density` must be in (0, 1]: kept / total weights. Received: {density!r}.", "Pass e.g. 0.05."
        )
    blocks = _blocks(masks, granularity, indivisible, axes)
    unit_scores, units = unit_arrays(scores, masks, blocks)
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
    return expand(pruned, masks, blocks)


def unit_arrays(
    scores: Mapping[str, np.ndarray], masks: Masks, blocks: Blocks
) -> tuple[Mapping[str, np.ndarray], Masks]:
    """Scores and masks of the units, keyed as `blocks`.

    Raises:
        UnfitError: scores are no real numbers, or the masks keep a part of a unit.
    """
    return collapse({key: _real(key, np.asarray(scores[key])) for key in blocks}, blocks), collapse_masks(masks, blocks)


def _blocks(masks: Masks, granularity: str, indivisible: str, axes: Mapping[str, Axes] | None) -> Blocks:
    shapes = {key: mask.shape for key, mask in masks.items()}
    return divide(shapes, granularity=granularity, indivisible=indivisible, axes=axes).blocks


def groups(rates: Mapping[str, float], *, scope: str) -> list[list[str]]:
    """The keys that are ranked together, sorted: each by itself (layerwise), or all of one rate (global).

    Raises:
        UsageError: the scope is unknown.
    """
    if scope not in SCOPES:
        raise UsageError(f"`scope` must be one of {', '.join(SCOPES)}. Received: {scope!r}.")
    keys = sorted(rates)
    if scope == "layerwise":
        return [[key] for key in keys]
    return [[key for key in keys if rates[key] == rate] for rate in dict.fromkeys(rates[key] for key in keys)]


def remove_lowest(
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    *,
    keys: Sequence[str],
    count: int,
    allow_empty: bool = False,
) -> Masks:
    """Masks of `keys` without the `count` lowest-scored survivors, ranked together by (score, key, flat index).

    A partition finds the highest score that goes; what scores less goes, and among ties the first. That costs one copy
    of the survivors' scores and boolean arrays, and no sort: equal scores are as fast as different ones.

    Raises:
        UnfitError: scores are no real numbers.
        NonFiniteError: a survivor's score is NaN or infinite.
    """
    candidates = {key: masks[key].ravel().copy() for key in keys}
    flat = {key: _finite(key, np.asarray(scores[key]).ravel(), candidates[key]) for key in keys}
    if not allow_empty:
        for key, candidate in candidates.items():
            if candidate.any():
                candidate[_best(flat[key], candidate)] = False
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
        gone = flat[key] < highest
        tied = np.flatnonzero((flat[key] == highest) & candidates[key])[:ties]
        gone &= candidates[key]
        gone[tied] = True
        ties -= tied.size
        pruned[key] = masks[key] & ~gone.reshape(masks[key].shape)
    return pruned


def _best(scores: np.ndarray, survivors: np.ndarray) -> int:
    """The flat index of the survivor of the highest rank: the best score, and of equal ones the last."""
    masked = np.where(survivors, scores, -np.inf)
    return scores.size - 1 - int(np.argmax(masked[::-1]))


def _finite(key: str, scores: np.ndarray, survivors: np.ndarray) -> np.ndarray:
    """The scores of one array, checked where it survives."""
    scores = _real(key, scores)
    bad = int(np.count_nonzero(~np.isfinite(scores) & survivors))
    if bad:
        raise NonFiniteError(
            f"The scores of {key!r} must be finite. Received: {bad} NaN or infinite scores of surviving weights.",
            "Look at the weights that were scored: did the training diverge?",
        )
    return scores


def _real(key: str, scores: np.ndarray) -> np.ndarray:
    """The scores of one array as a kind of number that NumPy ranks."""
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
