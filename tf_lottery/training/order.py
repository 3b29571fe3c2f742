"""The order of the training data: a pure function of seed, epoch and step."""

from functools import lru_cache

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.utils import seeds


class Order:
    """Which examples make up each training step.

    An epoch is floor(size / batch) steps over a fresh permutation made from (seed, epoch).

    Args:
        size: number of training examples.
        batch: examples per step.
        seed: seed of the permutations.

    Raises:
        UsageError: the batch is larger than the data.
    """

    def __init__(self, size: int, batch: int, seed: int) -> None:
        if not 1 <= batch <= size:
            raise UsageError(
                f"`batch_size` must be between 1 and the number of training examples ({size}). Received: {batch}."
            )
        self.batch = batch
        self.steps_per_epoch = size // batch
        self._epoch = lru_cache(maxsize=2)(
            lambda epoch: (
                seeds.generator(seed, "data order", epoch)
                .permutation(size)[: self.steps_per_epoch * batch]
                .astype(np.int32)
                .reshape(self.steps_per_epoch, batch)
            )
        )

    def steps(self, start: int, stop: int) -> np.ndarray:
        """Return the indices of the examples of some steps.

        Args:
            start: the first step, counted from 0.
            stop: the step after the last one.

        Returns:
            int32, shape (stop - start, batch).
        """
        rows = []
        while start < stop:
            epoch, position = divmod(start, self.steps_per_epoch)
            count = min(stop - start, self.steps_per_epoch - position)
            rows.append(self._epoch(epoch)[position : position + count])
            start += count
        return np.concatenate(rows) if rows else np.empty((0, self.batch), np.int32)
