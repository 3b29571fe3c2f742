"""Examples in batches, for functions that take `x`, `y` and `sample_weight` as `model.fit` does."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import UnfitError, UsageError


@dataclass(frozen=True)
class Part:
    """One batch: inputs, targets and weights, its number of examples, and that of all batches together."""

    x: Any
    y: Any
    sample_weight: Any
    size: int
    total: int


def batches(x: Any, y: Any, sample_weight: Any, batch: int) -> list[Part]:
    """Split examples into batches.

    Args:
        x: inputs, as for `model.fit`.
        y: targets, the same number of examples.
        sample_weight: a weight per example, or None.
        batch: examples per batch.

    Raises:
        UsageError: there are no data, or they are no arrays.
        UnfitError: there are no examples, or not as many of all.
    """
    if x is None or y is None:
        raise UsageError(
            f"Gradients of the loss need data: `{'x' if x is None else 'y'}` is None.", "Pass training examples."
        )
    if not isinstance(batch, int) or batch < 1:
        raise UsageError(f"`batch` must be a positive integer. Received: {batch!r}.", "Pass e.g. batch=256.")
    parts_of_data = [_arrays(data, name) for name, data in (("x", x), ("y", y), ("sample_weight", sample_weight))]
    sizes = {len(array) for data in parts_of_data for array in keras.tree.flatten(data) if array is not None}
    if len(sizes) != 1 or 0 in sizes:
        raise UnfitError(
            "`x`, `y` and `sample_weight` must hold the same number of examples, at least one. "
            f"Received: {', '.join(map(str, sorted(sizes))) or 'none'}.",
            "Pass examples and their targets.",
        )
    total = sizes.pop()
    parts = []
    for start in range(0, total, batch):
        piece = slice(start, start + batch)
        taken = [None if d is None else keras.tree.map_structure(lambda a, p=piece: a[p], d) for d in parts_of_data]
        parts.append(Part(taken[0], taken[1], taken[2], min(batch, total - start), total))
    return parts


def _arrays(data: Any, name: str) -> Any:
    """`data` with NumPy arrays as leaves; a list of numbers is one array."""
    if data is None:
        return None
    if all(np.ndim(leaf) == 0 and isinstance(leaf, (int, float)) for leaf in keras.tree.flatten(data)):
        return np.asarray(data)
    if not all(hasattr(leaf, "shape") and len(leaf.shape) for leaf in keras.tree.flatten(data)):
        raise UsageError(
            f"`{name}` must be an array, or a list or dict of arrays. Received: {type(data).__name__}.",
            "Take some examples out of a data set first, e.g. `next(iter(dataset.batch(1000)))`.",
        )
    return keras.tree.map_structure(lambda leaf: np.asarray(keras.ops.convert_to_numpy(leaf)), data)
