"""The batches by which a callback scores weights: a pure function of their number, also in a resumed training."""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.utils import seeds


class ScoringBatches:
    """Numbered batches of training examples.

    Args:
        x: Inputs: an array, or a list or dict of arrays; or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches.
        y: Targets, the same number of examples; None beside a data set.
        batch_size: The number of examples in a batch of arrays, drawn at random without repetition.
        seed: The seed of that draw.

    Raises:
        UsageError: If `x` is None, or `y` is given beside a data set or missing beside arrays.
        UnfitError: If the arrays hold different numbers of examples.
    """

    def __init__(self, x: Any, y: Any, *, batch_size: int, seed: int) -> None:
        self.x, self.y, self.batch_size, self.seed = x, y, batch_size, seed
        self._next = 0
        self._iterator: Iterator[Any] = iter(())
        self.is_stream = isinstance(x, tf.data.Dataset | keras.utils.PyDataset)
        if x is None or (y is None) != self.is_stream:
            raise UsageError(
                "`x` and `y` must be arrays of training examples, or `x` a data set of batches (x, y). Received: "
                f"{type(x).__name__} and {type(y).__name__}.",
                "A callback does not see the batches of `fit`: give it the training data, or a part of it.",
            )
        if not self.is_stream:
            sizes = {len(array) for array in keras.tree.flatten((x, y))}
            if len(sizes) != 1 or 0 in sizes:
                raise UnfitError(
                    f"`x` and `y` must hold the same number of examples, at least one. Received: {sorted(sizes)}.",
                    "Pass examples and their targets.",
                )
            (self.examples,) = sizes

    def batch(self, number: int) -> tuple[Any, Any, Any]:
        """Returns (x, y, sample_weight) of a batch; after the last of a data set its first one follows.

        Args:
            number: The number of the batch, from 0.

        Raises:
            UnfitError: If a data set is empty.
        """
        if not self.is_stream:
            size = min(self.batch_size, self.examples)
            drawn = seeds.generator(self.seed, "scoring batch", number).choice(self.examples, size, replace=False)
            x, y = (keras.tree.map_structure(lambda array: np.asarray(array)[drawn], d) for d in (self.x, self.y))
            return x, y, None
        batch: Any
        if isinstance(self.x, keras.utils.PyDataset):
            batch = self.x[number % len(self.x)]
        else:
            if number != self._next:
                self._iterator, self._next = iter(()), 0
            skipped = number - self._next
            self._next = number + 1
            batch = self._following(skipped)
        unpacked: tuple[Any, Any, Any] = keras.utils.unpack_x_y_sample_weight(batch)
        return unpacked

    def _following(self, skipped: int) -> Any:
        for _ in range(skipped + 2):
            for batch in self._iterator:
                if not skipped:
                    return batch
                skipped -= 1
            self._iterator = iter(self.x)
        raise UnfitError("The data set by which weights are grown has no batches.", "Give one with data.")
