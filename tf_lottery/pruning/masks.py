"""Masks: plain dicts of boolean arrays keyed by weight path. True keeps a weight, False prunes it.

Every function here is pure: arguments are never changed.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.utils.text import one_line

Masks: TypeAlias = dict[str, npt.NDArray[np.bool_]]
"""Boolean arrays by weight path, of the weights' shapes."""
Scores: TypeAlias = dict[str, npt.NDArray[Any]]
"""Real arrays by weight path, of the weights' shapes; weights of higher scores are kept."""
WeightArrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Arrays by weight path, as functions take them: weights, or masks, scores or gradients of the weights' shapes."""


def ones(weights: WeightArrays) -> Masks:
    """Returns the dense masks of `weights`, which keep everything."""
    return {key: np.ones(np.shape(weight), dtype=bool) for key, weight in weights.items()}


def validate(masks: WeightArrays, shapes: Mapping[str, Sequence[int]], *, what: str = "masks") -> Masks:
    """Checks that `masks` has a boolean array of the expected shape for every weight path.

    Args:
        masks: The masks to check; dtype bool, or numbers that are all 0 or 1.
        shapes: The expected shape by weight path.
        what: What the masks are called in messages.

    Returns:
        The masks as boolean arrays, in a new dict in the order of `shapes`.

    Raises:
        UsageError: If `masks` is no mapping.
        UnfitError: If a key is missing or unexpected, a shape differs, or a value is neither 0 nor 1.
    """
    if not isinstance(masks, Mapping):
        raise UsageError(
            f"The {what} must be a dictionary of arrays by weight path. Received: {type(masks).__name__}.",
            "`get_masks` gives such a dictionary.",
        )
    check_keys(masks, shapes, what=what)
    checked = {}
    for key, shape in shapes.items():
        mask = as_array(masks[key], what=f"{what} for {key!r}")
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


def as_array(value: Any, *, what: str) -> npt.NDArray[Any]:
    """Returns a value as an array, without a copy where it is one.

    Args:
        value: An array, or nested lists of numbers.
        what: What the value is called in messages.

    Raises:
        UnfitError: If lists in it have different lengths.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise UnfitError(f"The {what} must be an array. Received: {one_line(error)}", "Pass a NumPy array.") from error


def as_real(array: npt.NDArray[Any], *, what: str) -> npt.NDArray[Any]:
    """Returns an array as a dtype that NumPy can rank.

    Args:
        array: Numbers.
        what: What they are called in messages.

    Raises:
        UnfitError: If they are no real numbers.
    """
    if array.dtype.kind not in "biuf":
        # Also bfloat16, which NumPy knows as a dtype of its own kind only.
        if not np.can_cast(array.dtype, np.float32):
            raise UnfitError(
                f"The {what} must be real numbers. Received: dtype {array.dtype}.", "Pass an array of floats."
            )
        array = array.astype(np.float32)
    return array


def check_keys(received: Collection[str], expected: Collection[str], *, what: str) -> None:
    """Checks that two mappings, or collections of paths, have the same keys.

    Args:
        received: The mapping to check.
        expected: A mapping with the expected keys.
        what: What `received` is called in messages.

    Raises:
        UnfitError: If a key is missing or unexpected.
    """
    missing = sorted(set(expected) - set(received))
    extra = sorted(set(received) - set(expected))
    if missing or extra:
        parts = [f"missing: {', '.join(missing)}"] if missing else []
        parts += [f"unexpected: {', '.join(extra)}"] if extra else []
        raise UnfitError(
            f"The keys of the {what} do not fit ({'; '.join(parts)}).",
            f"Expected exactly: {', '.join(expected)}.",
        )


def kept(masks: WeightArrays) -> int:
    """Returns the number of weights that the masks keep."""
    return sum(int(np.count_nonzero(mask)) for mask in masks.values())


def total(masks: WeightArrays) -> int:
    """Returns the number of maskable weights, kept or pruned."""
    return sum(int(np.size(mask)) for mask in masks.values())


def density(masks: WeightArrays) -> float:
    """Returns the fraction of the maskable weights that the masks keep; 1.0 if there are no weights.

    Example:
        >>> density({"dense/kernel": np.array([True, False, False, False])})
        0.25
    """
    count = total(masks)
    return kept(masks) / count if count else 1.0


def apply(weights: WeightArrays, masks: WeightArrays) -> dict[str, npt.NDArray[Any]]:
    """Returns the weights with exactly 0.0 where they are pruned.

    Args:
        weights: Weight arrays by path.
        masks: Boolean masks by path; weights without one are returned as they are.

    Example:
        >>> apply({"kernel": np.array([0.5, -2.0])}, {"kernel": np.array([False, True])})
        {'kernel': array([ 0., -2.])}
    """
    return {
        key: np.where(masks[key], weight, np.zeros((), weight.dtype)) if key in masks else weight
        for key, weight in weights.items()
    }


def overlap(first: WeightArrays, second: WeightArrays) -> float:
    """Returns the Jaccard overlap of two masks of one model: |kept by both| / |kept by either|.

    Args:
        first: Boolean masks by weight path.
        second: Other masks with the same keys and shapes.

    Returns:
        A fraction; 1.0 if neither keeps any weight.

    Raises:
        UnfitError: If keys or shapes differ.

    Example:
        >>> overlap({"kernel": np.array([True, True, False])}, {"kernel": np.array([False, True, True])})
        0.3333333333333333
    """
    checked = validate(second, {key: mask.shape for key, mask in first.items()}, what="second masks")
    both = sum(int(np.count_nonzero(first[key] & checked[key])) for key in first)
    either = sum(int(np.count_nonzero(first[key] | checked[key])) for key in first)
    return both / either if either else 1.0
