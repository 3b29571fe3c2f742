"""Masks: plain dicts of boolean arrays, keyed by weight path; True keeps a weight.

Every function here is pure: arguments are never changed.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from tf_lottery.errors import UnfitError, UsageError

Masks: TypeAlias = dict[str, np.ndarray]


def ones(weights: Mapping[str, np.ndarray]) -> Masks:
    """The dense masks of `weights`: everything is kept."""
    return {key: np.ones(np.shape(weight), dtype=bool) for key, weight in weights.items()}


def validate(masks: Mapping[str, np.ndarray], shapes: Mapping[str, Sequence[int]], *, what: str = "masks") -> Masks:
    """Check that `masks` has one boolean array for each key of `shapes`, of that shape.

    Args:
        masks: the masks to check; dtype bool, or numbers that are all 0 or 1.
        shapes: the expected shape for each weight path.
        what: the name to use in messages.

    Returns:
        The masks as boolean arrays (new dict).

    Raises:
        UnfitError: a key is missing or extra, a shape differs, or a value is neither 0 nor 1.
    """
    if not isinstance(masks, Mapping):
        raise UsageError(
            f"The {what} must be a dictionary of arrays by weight path. Received: {type(masks).__name__}.",
            "`get_masks` gives such a dictionary.",
        )
    check_keys(masks, shapes, what=what)
    checked = {}
    for key, shape in shapes.items():
        mask = np.asarray(masks[key])
        if mask.shape != tuple(shape):
            raise UnfitError(
                f"The {what} for {key!r} must have shape {tuple(shape)}. Received: {mask.shape}.",
                "Pass masks made for this model, e.g. by `get_masks` or `prune`.",
            )
        if mask.dtype != bool:
            if not np.isin(mask, (0, 1)).all():
                raise UnfitError(
                    f"The {what} for {key!r} must be boolean (True keeps). Received: other {mask.dtype} values.",
                    "Convert it first, e.g. `mask = scores > 0`.",
                )
            mask = mask.astype(bool)
        checked[key] = mask
    return checked


def check_keys(given: Mapping, expected: Mapping, *, what: str) -> None:
    """Raise `UnfitError` unless both mappings have the same keys."""
    missing = sorted(set(expected) - set(given))
    extra = sorted(set(given) - set(expected))
    if missing or extra:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"unexpected: {', '.join(extra)}"] if extra else []
        raise UnfitError(
            f"The keys of the {what} do not fit ({'; '.join(parts)}).",
            f"Expected exactly: {', '.join(expected)}.",
        )


def kept(masks: Mapping[str, np.ndarray]) -> int:
    """The number of weights that the masks keep."""
    return sum(int(np.count_nonzero(mask)) for mask in masks.values())


def total(masks: Mapping[str, np.ndarray]) -> int:
    """The number of maskable weights."""
    return sum(int(np.size(mask)) for mask in masks.values())


def density(masks: Mapping[str, np.ndarray]) -> float:
    """kept / total, over the maskable weights; 1.0 for no weights at all.

    Example:
        >>> density({"dense/kernel": np.array([True, False, False, False])})
        0.25
    """
    count = total(masks)
    return kept(masks) / count if count else 1.0


def apply(weights: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """`weights` with exactly 0.0 where pruned; weights without a mask are passed on as they are."""
    return {
        key: np.where(masks[key], weight, np.zeros((), weight.dtype)) if key in masks else weight
        for key, weight in weights.items()
    }


def overlap(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> float:
    """Jaccard overlap of two masks of one model: |kept by both| / |kept by either|; 1.0 if neither keeps any.

    Raises:
        UnfitError: keys or shapes differ.
    """
    second = validate(second, {key: mask.shape for key, mask in first.items()}, what="second masks")
    both = sum(int(np.count_nonzero(first[key] & second[key])) for key in first)
    either = sum(int(np.count_nonzero(first[key] | second[key])) for key in first)
    return both / either if either else 1.0
