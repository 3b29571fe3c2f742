"""Ranking: which survivors are pruned, once it is known how many of which arrays are.

Survivors rank by (score, sorted key, flat index). A partition gives the highest score to prune, so that equal scores
cost nothing, and a threshold never prunes one weight too many.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import NonFiniteError, UsageError
from tf_lottery.pruning.group_floors import GroupFloor, best_of_groups
from tf_lottery.pruning.masks import Masks, WeightArrays, as_real

SCOPES = ("layerwise", "global")


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
    least: Mapping[str, int] | None = None,
    floors: Mapping[str, GroupFloor] | None = None,
) -> Masks:
    """Returns the masks of `keys` without the lowest-scored survivors, ranked together by (score, key, flat index).

    A partition gives the highest score to prune: what scores less is pruned, and of the weights of just that score the
    first ones. That costs one copy of the survivors' scores and boolean arrays, and no sort, so equal scores are as
    fast as different ones.

    Args:
        scores: Scores by path.
        masks: Boolean masks by path, of the scores' shapes.
        keys: The paths of the arrays to rank together.
        count: How many survivors to prune; fewer are, where `least` and `floors` leave no more.
        least: How many survivors an array keeps at least, by path; its best one by default.
        floors: The patterns N:M of arrays that have one, by path: the N best of each group are kept.

    Raises:
        UnfitError: If scores are no real numbers.
        NonFiniteError: If a survivor's score is NaN or infinite.
    """
    flat = {key: check_finite(key, np.asarray(scores[key]).ravel(), np.ravel(masks[key])) for key in keys}
    candidates = {
        key: _candidates(flat[key], masks[key], (least or {}).get(key, 1), (floors or {}).get(key)) for key in keys
    }
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


def _candidates(
    scores: npt.NDArray[Any], mask: npt.NDArray[np.bool_], least: int, floor: GroupFloor | None
) -> npt.NDArray[np.bool_]:
    """Returns which survivors of an array may be pruned, flat: all but those that a floor keeps."""
    candidates = mask.ravel().copy()
    if floor is not None:
        candidates &= ~best_of_groups(scores.reshape(mask.shape), mask, floor).ravel()
    prunable = max(0, int(np.count_nonzero(mask)) - least)
    surplus = int(np.count_nonzero(candidates)) - prunable
    if surplus == 1:
        candidates[_best_candidate(scores, candidates)] = False
    elif surplus > 1:
        candidates[_best_candidates(scores, candidates, surplus)] = False
    return candidates


def _best_candidate(scores: npt.NDArray[Any], candidates: npt.NDArray[np.bool_]) -> int:
    """Returns the flat index of the candidate of the highest rank: of the best score, and of equal ones the last."""
    masked = np.where(candidates, scores, -np.inf)
    return scores.size - 1 - int(np.argmax(masked[::-1]))


def _best_candidates(scores: npt.NDArray[Any], candidates: npt.NDArray[np.bool_], count: int) -> npt.NDArray[np.intp]:
    """Returns the flat indices of the candidates of the highest ranks."""
    indices = np.flatnonzero(candidates)
    values = scores[indices]
    lowest = np.partition(values, values.size - count)[values.size - count]
    better = values > lowest
    ties = count - int(np.count_nonzero(better))
    return np.concatenate([indices[better], indices[values == lowest][-ties:]])


def check_finite(key: str, scores: npt.NDArray[Any], survivors: npt.NDArray[np.bool_]) -> npt.NDArray[Any]:
    """Returns the scores of one array as real numbers, after a check that those of survivors are finite.

    Args:
        key: The path of the array, for messages.
        scores: Its scores.
        survivors: Its mask, of the same shape.

    Raises:
        UnfitError: If scores are no real numbers.
        NonFiniteError: If a survivor's score is NaN or infinite.
    """
    scores = as_real(scores, what=f"scores of {key!r}")
    bad = int(np.count_nonzero(~np.isfinite(scores) & survivors))
    if bad:
        raise NonFiniteError(
            f"The scores of {key!r} must be finite. Received: {bad} NaN or infinite scores of surviving weights.",
            "Look at the weights that were scored: did the training diverge?",
        )
    return scores
