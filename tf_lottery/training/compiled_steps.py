"""The compiled functions of a model's steps: chunks of training steps, and pieces of an evaluation."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import tensorflow as tf

from tf_lottery.training.batches import Batch, as_batch, gather, piece
from tf_lottery.training.steps import Steps

Augment: TypeAlias = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
XLA_ERRORS = (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError)
"""What XLA raises when it compiles; nothing has been computed then."""


class XlaDroppedError(Exception):
    """XLA can't compile the steps on a stream; from now on it is not used."""


class CompiledSteps:
    """Functions that are traced and compiled once for each shape of a batch.

    Args:
        steps: one step of training and one of evaluation.
        xla: whether XLA compiles them.
        loops: whether it compiles loops of steps; otherwise each step, called by TensorFlow's own loop, which makes
            the batch. XLA's dense convolutions are slow in loops.
        augment: function (images, seeds) -> images for the inputs of a training batch, or None.
        traces: counts how often "train" and "evaluate" were traced.
        load: called in each function before its first step, with whether it trains.
        save: called after the last step of training.

    Attributes:
        xla: whether XLA compiles them.
        train_chunk: trains steps on data in memory.
        train_stream: trains steps on the next batches of an iterator.
        evaluate_pieces: evaluates pieces of data in memory.
        evaluate_batch: evaluates one batch.
    """

    def __init__(
        self,
        steps: Steps,
        *,
        xla: bool,
        loops: bool = True,
        augment: Augment | None,
        traces: dict[str, int],
        load: Callable[[bool], None] = lambda trains: None,
        save: Callable[[], None] = lambda: None,
    ) -> None:
        self.steps, self.augment, self.traces, self._load, self._save = steps, augment, traces, load, save
        self.xla = xla
        compiled = functools.partial(_function, jit_compile=xla and loops)
        of_batch = functools.partial(_function, jit_compile=True) if xla and not loops else _unchanged
        self._train_batch, self._evaluate_batch = of_batch(steps.train), of_batch(steps.evaluate)
        self.train_chunk = compiled(self._chunk)
        self._train_step = compiled(self._step, reduce_retracing=loops)
        self.train_stream = _function(self._stream, reduce_retracing=True)
        self.evaluate_pieces = compiled(self._pieces)
        self.evaluate_batch = compiled(self._evaluate_one, reduce_retracing=loops)

    def _chunk(self, data: Batch, indices: tf.Tensor, numbers: tf.Tensor) -> None:
        self.traces["train"] += 1
        first, count, augment_seed = tf.unstack(numbers)

        def train(step: tf.Tensor) -> None:
            self._step(gather(data, indices[step]), tf.stack([augment_seed, first + step]))

        self._load(True)
        while_below(count, train)
        self._save()

    def _stream(self, batches: Iterator[Any], numbers: tf.Tensor) -> None:
        self.traces["train"] += 1
        first, count, augment_seed = tf.unstack(numbers)

        def train(step: tf.Tensor) -> None:
            self._train_step(as_batch(next(batches)), tf.stack([augment_seed, first + step]))

        self._load(True)
        while_below(count, train)
        self._save()

    def _step(self, batch: Batch, seeds: tf.Tensor) -> None:
        self._train_batch(self._augmented(batch, seeds))

    def _augmented(self, batch: Batch, seeds: tf.Tensor) -> Batch:
        if self.augment is None:
            return batch
        augment = self.augment
        return batch._replace(x=tf.nest.map_structure(lambda t: augment(t, seeds), batch.x))

    def _pieces(self, data: Batch, start: int, length: int, count: int) -> None:
        self._load(False)
        while_below(count, lambda index: self._score(piece(data, start + index * length, length)))

    def _evaluate_one(self, batch: Batch) -> None:
        self._load(False)
        self._score(batch)

    def _score(self, batch: Batch) -> None:
        self.traces["evaluate"] += 1
        self._evaluate_batch(batch)


def while_below(count: tf.Tensor | int, do: Callable[[tf.Tensor], None]) -> None:
    """Do something `count` times, in a loop of TensorFlow's own.

    Args:
        count: an int32 scalar.
        do: adds the operations of one turn; it is given the number of the turn, from 0.
    """

    def body(index: tf.Tensor) -> tuple[tf.Tensor]:
        do(index)
        return (index + 1,)

    tf.while_loop(lambda index: index < count, body, [tf.constant(0)], parallel_iterations=1)


def _unchanged(function: Callable[[Batch], None]) -> Callable[[Batch], None]:
    return function


def _function(function: Callable[..., None], **settings: bool) -> Any:
    compiled = tf.function(function, autograph=False, **settings)
    # It counts the traces of all engines together, and would warn of each new one.
    compiled._omit_frequent_tracing_warning = True
    return compiled
