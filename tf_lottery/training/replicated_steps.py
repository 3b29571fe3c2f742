"""The compiled functions of a model's steps where a strategy divides each batch among replicas."""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from tf_lottery.training.batches import Batch, as_batch, gather, map_tensors, piece
from tf_lottery.training.compiled_steps import Augment, CompiledSteps, while_below
from tf_lottery.training.replicas import Replicas
from tf_lottery.training.steps import Steps


class ReplicatedSteps(CompiledSteps):
    """Functions that train and evaluate in all replicas of a strategy.

    A batch is made, and its images are augmented, as without a strategy: then each replica takes its slice of it.
    Evaluations are divided likewise; what is left over of a batch is evaluated by the first replica.

    Args:
        steps: one step of training and one of evaluation.
        replicas: the replicas.
        augment: function (images, seeds) -> images for the inputs of a training batch, or None.
        traces: counts how often "train" and "evaluate" were traced.
    """

    def __init__(self, steps: Steps, replicas: Replicas, *, augment: Augment | None, traces: dict[str, int]) -> None:
        self.replicas = replicas
        super().__init__(steps, xla=False, loops=False, augment=augment, traces=traces)

    def _chunk(self, data: Batch, indices: tf.Tensor, numbers: tf.Tensor) -> None:
        self.traces["train"] += 1
        first, count, augment_seed = tf.unstack(numbers)

        def train(step: tf.Tensor) -> None:
            if self.augment is None:  # the rows of this process alone
                rows = self.replicas.slices(Batch(indices[step], None))
                parts = {number: gather(data, part.x) for number, part in rows.items()}
            else:
                seeds = tf.stack([augment_seed, first + step])
                parts = self.replicas.slices(self._augmented(gather(data, indices[step]), seeds))
            self.replicas.run(self.steps.train, parts)

        while_below(count, train)

    def _stream(self, batches: Iterator[Any], numbers: tf.Tensor) -> None:
        self.traces["train"] += 1
        first, count, augment_seed = tf.unstack(numbers)

        def train(step: tf.Tensor) -> None:
            batch = self._augmented(as_batch(next(batches)), tf.stack([augment_seed, first + step]))
            self.replicas.run(self.steps.train, self.replicas.slices(batch))

        while_below(count, train)

    def _pieces(self, data: Batch, start: int, length: int, count: int) -> None:
        while_below(tf.constant(count), lambda index: self._score(piece(data, start + index * length, length)))

    def _score(self, batch: Batch) -> None:
        self.traces["evaluate"] += 1
        shared = batch.size // self.replicas.count * self.replicas.count
        if shared:
            self.replicas.run(self.steps.evaluate, self.replicas.slices(map_tensors(lambda t: t[:shared], batch)))
        if shared < batch.size:
            self.replicas.run(self.steps.evaluate, {0: map_tensors(lambda t: t[shared:], batch)})
