"""The caller's own arrays as a data set."""

import hashlib
from typing import Any

import numpy as np

from tf_lottery.data.arrays import Arrays
from tf_lottery.data.dataset import Dataset
from tf_lottery.data.split import split
from tf_lottery.errors import UsageError


def from_arrays(
    train: Any,
    validation: Any = None,
    test: Any = None,
    *,
    validation_split: int | float = 0.1,
    seed: int = 0,
) -> Dataset:
    """Make a data set of arrays.

    Each part is an `Arrays`, or a tuple `(x, y)` or `(x, y, sample_weight)`, where x and y are array-likes, or tuples
    or dictionaries of arrays. float64 becomes float32, the precision that Keras computes in. Nothing else is changed:
    normalize before.

    Args:
        train: the training examples.
        validation: the validation examples; by default a fixed random part of `train`.
        test: the test examples, or None.
        validation_split: how much of `train` is set aside where `validation` is None: a count or a fraction.
        seed: fixes which examples are set aside.

    Returns:
        A `Dataset` named "arrays"; `classes` is the largest label + 1 where the targets are one array of shape (n,) of
        non-negative integers, else None.

    Raises:
        UsageError: a part of another type, or a split out of range.
        UnfitError: the arrays do not fit together, or hold NaN.

    Example:
        >>> data = from_arrays((np.zeros((10, 3)), np.arange(10) % 2), validation_split=2)
        >>> data.train.size, data.validation.size, data.classes, data.input_shape
        (8, 2, 2, (3,))
    """
    parts = {"train": _part(train, "train")}
    if validation is not None:
        parts["validation"] = _part(validation, "validation")
    if test is not None:
        parts["test"] = _part(test, "test")
    lines = [f"{name} {part.fingerprint()}" for name, part in parts.items()]
    fingerprint = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    classes = _classes(list(parts.values()))
    if validation is None:
        parts["train"], parts["validation"] = split(
            parts["train"], validation=validation_split, seed=seed, argument="validation_split"
        )
    return Dataset("arrays", parts["train"], parts["validation"], parts.get("test"), classes, fingerprint)


def _part(value: Any, name: str) -> Arrays:
    if not isinstance(value, Arrays):
        if not isinstance(value, (tuple, list)) or len(value) not in (2, 3):
            received = type(value).__name__ + (f" of length {len(value)}" if isinstance(value, (tuple, list)) else "")
            raise UsageError(
                f"`{name}` must be a tuple (x, y) or (x, y, sample_weight) of arrays. Received: {received}.",
                "Give NumPy arrays; several inputs go into x as a tuple or a dictionary.",
            )
        value = Arrays(*value)
    return single_precision(value)


def single_precision(arrays: Arrays) -> Arrays:
    """Return the examples with float32 in the place of float64, the precision that Keras computes in."""
    return Arrays(_single(arrays.x), _single(arrays.y), _single(arrays.sample_weight))


def _single(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _single(item) for key, item in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_single(item) for item in tree)
    return tree.astype(np.float32) if tree is not None and tree.dtype == np.float64 else tree


def _classes(parts: list[Arrays]) -> int | None:
    targets = [part.y for part in parts]
    if not all(isinstance(y, np.ndarray) and y.ndim == 1 and y.dtype.kind in "iu" for y in targets):
        return None
    if min(int(y.min()) for y in targets) < 0:
        return None
    return max(int(y.max()) for y in targets) + 1
