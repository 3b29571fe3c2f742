"""Examples as arrays: inputs, targets and, where wanted, a weight for each example."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from tf_lottery.data.tree import Tree, leaves, map_leaves, to_arrays
from tf_lottery.errors import UnfitError


@dataclass(frozen=True, eq=False)
class Arrays:
    """Examples: each array's leading axis counts them.

    Attributes:
        x: inputs, shape (examples, ...): an array, or a tuple or dictionary of arrays for several inputs.
        y: targets, in the same forms, or None for a model whose own steps need none.
        sample_weight: shape (examples,), or None.

    Raises:
        UsageError: something is not an array of numbers.
        UnfitError: no examples, unequal numbers of examples, or a value that is NaN or infinite.

    Example:
        >>> arrays = Arrays(np.zeros((4, 2), "float32"), np.array([0, 1, 1, 0]))
        >>> arrays.size, arrays.take([1, 2]).y.tolist()
        (4, [1, 1])
    """

    x: Tree
    y: Tree
    sample_weight: np.ndarray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", to_arrays(self.x, what="x"))
        if self.y is not None:
            object.__setattr__(self, "y", to_arrays(self.y, what="y"))
        if self.sample_weight is not None:
            object.__setattr__(self, "sample_weight", to_arrays(self.sample_weight, what="sample_weight"))
        self._validate()

    @property
    def size(self) -> int:
        """The number of examples."""
        return next(len(array) for _, array in leaves(self.x))

    def take(self, indices: Any) -> "Arrays":
        """The examples at `indices`, shape (n,) of integers, in that order."""
        index = np.asarray(indices)
        weight = None if self.sample_weight is None else self.sample_weight[index]
        y = None if self.y is None else map_leaves(lambda a: a[index], self.y)
        return Arrays(map_leaves(lambda a: a[index], self.x), y, weight)

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) over structure, dtypes, shapes and contents."""
        digest = hashlib.sha256()
        for name, array in self._named():
            digest.update(f"{name}\x1f{array.dtype.str}\x1f{array.shape}\x1e".encode())
            digest.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
        return digest.hexdigest()

    def _named(self) -> list[tuple[str, np.ndarray]]:
        named = [("x" + path, array) for path, array in leaves(self.x)]
        named += [] if self.y is None else [("y" + path, array) for path, array in leaves(self.y)]
        return named if self.sample_weight is None else [*named, ("sample_weight", self.sample_weight)]

    def _validate(self) -> None:
        sizes = {name: (len(array) if array.ndim else None) for name, array in self._named()}
        if len(set(sizes.values())) != 1 or None in sizes.values():
            received = ", ".join(f"{name}: {'a scalar' if n is None else n}" for name, n in sizes.items())
            raise UnfitError(
                f"All arrays must hold the same number of examples on their first axis. Received: {received}.",
                "Give one target (and one weight) for each input.",
            )
        if 0 in sizes.values():
            raise UnfitError("The data has no examples.", "Give at least one.")
        for name, array in self._named():
            if array.size == 0:
                raise UnfitError(f"{name} has an empty shape: {array.shape}.", "No axis may be 0.")
            # NaN and infinity survive min and max, which need no array of flags as large as the data.
            if array.dtype.kind not in "biu" and not (np.isfinite(array.min()) and np.isfinite(array.max())):
                where = int(np.argwhere(~np.isfinite(array))[0][0])
                raise UnfitError(
                    f"{name} holds a value that is NaN or infinite, first in example {where}.",
                    "Clean the data: such a value makes every loss NaN.",
                )
        weight = self.sample_weight
        if weight is not None and (weight.ndim != 1 or weight.min() < 0):
            raise UnfitError(
                f"sample_weight must be one non-negative number per example. Received: shape {weight.shape}, "
                f"least value {weight.min()}.",
                "Give an array of shape (examples,).",
            )
