"""One training: steps start..stop, evaluations on a grid, states taken at given steps, a way to resume."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeAlias

import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.errors import NonFiniteError
from tf_lottery.training.batches import Batch, as_batch, map_tensors, on_device
from tf_lottery.training.compiled_steps import XlaDroppedError
from tf_lottery.training.engine import CHUNK_CAPACITY, Engine
from tf_lottery.training.observer import TrainingObserver
from tf_lottery.training.order import Order
from tf_lottery.training.replicas import agreed

EvaluationRecord: TypeAlias = dict[str, float | int]


class Feed(Protocol):
    """A source of training batches."""

    def advance(self, engine: Engine, start: int, stop: int) -> None:
        """Train steps start..stop-1 on the batches that belong to these steps.

        Args:
            engine: trains the steps.
            start: the first step.
            stop: the step after the last one.
        """


class MemoryFeed:
    """Batches gathered on the device from data in memory; the order is a function of seed, epoch and step.

    Args:
        data: all training examples.
        order: which of them make up each step.
        augment_seed: seed of the augmentation.
    """

    replayable = True

    def __init__(self, data: Batch, order: Order, *, augment_seed: int = 0) -> None:
        self.data, self.order, self.augment_seed = data, order, augment_seed

    def advance(self, engine: Engine, start: int, stop: int) -> None:
        """Train steps start..stop-1 on the examples that the order gives them.

        Args:
            engine: trains the steps.
            start: the first step.
            stop: the step after the last one.
        """
        engine.run(self.data, self.order, start=start, stop=stop, augment_seed=self.augment_seed)


class StreamFeed:
    """Batches of a `tf.data.Dataset`, repeated; the order is the data set's own, so it is not always repeatable.

    Args:
        dataset: yields batches (x, y) or (x, y, sample_weight).
        augment_seed: seed of the augmentation.
    """

    replayable = False

    def __init__(self, dataset: tf.data.Dataset, *, augment_seed: int = 0) -> None:
        self.dataset, self.augment_seed = dataset, augment_seed
        self._iterator: Any = None
        self._next: int | None = None

    def advance(self, engine: Engine, start: int, stop: int) -> None:
        """Train steps start..stop-1 on the next batches; after a jump, on those from `start` on.

        Args:
            engine: trains the steps.
            start: the first step.
            stop: the step after the last one.
        """
        if start != self._next:
            self._iterator = iter(self.dataset.repeat().skip(start))
        try:
            engine.run_stream(self._iterator, start=start, stop=stop, augment_seed=self.augment_seed)
        except XlaDroppedError:  # at the first step, which took a batch
            self._iterator = iter(self.dataset.repeat().skip(start))
            engine.run_stream(self._iterator, start=start, stop=stop, augment_seed=self.augment_seed)
        self._next = stop


@dataclass(frozen=True)
class Splits:
    """What is trained on, validated on and (where there is one) tested on, as the engine takes it."""

    train: Batch | tf.data.Dataset
    validation: Batch | tf.data.Dataset
    test: Batch | tf.data.Dataset | None = None

    def example(self) -> Batch:
        """Two training examples, for making what Keras makes at first use."""
        if isinstance(self.train, tf.data.Dataset):
            return as_batch(next(iter(self.train)))
        return map_tensors(lambda tensor: tensor[:2], self.train)


def splits(train: Any, validation: Any, test: Any = None) -> Splits:
    """Make splits of `Arrays`, which are moved to the device, or of `tf.data.Dataset`s, which are passed on.

    Args:
        train: training data.
        validation: validation data.
        test: test data, or None.
    """
    return Splits(*(on_device(part) if isinstance(part, Arrays) else part for part in (train, validation, test)))


@dataclass
class TrainingProgress:
    """Where a training stands: all that is needed to resume, beside the state of the variables.

    Attributes:
        step: the next step.
        history: one record per evaluation so far.
        best_step: the first step of least validation loss.
        best_loss: that loss.
        best_test: the test results at that step.
        test: the last test results.
        seconds: time that processes before this one spent on it.
    """

    step: int
    history: list[EvaluationRecord] = field(default_factory=list)
    best_step: int | None = None
    best_loss: float | None = None
    best_test: dict[str, float] = field(default_factory=dict)
    test: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return all attributes as JSON values."""
        return asdict(self)


def train(
    engine: Engine,
    feed: Feed,
    data: Splits,
    *,
    progress: TrainingProgress,
    stop: int,
    eval_every: int,
    capture_at: int | None = None,
    on_capture: Callable[[], None] = lambda: None,
    on_chunk: Callable[[TrainingProgress], None] = lambda progress: None,
    prune_at: Sequence[int] = (),
    on_prune: Callable[[int], None] = lambda step: None,
    observer: TrainingObserver | None = None,
    should_stop: Callable[[], bool] | None = None,
    checkpoint_every: float = math.inf,
    checkpoint: Callable[[TrainingProgress], None] = lambda progress: None,
) -> TrainingProgress:
    """Train from `progress.step` to `stop`, on the state that the engine's model and optimizer are in.

    Evaluations of the validation data happen at each multiple of `eval_every` and at the end. The test data is
    evaluated where the validation loss is the least so far and at the end, and is never used for anything but the
    report.

    Args:
        engine: trains and evaluates.
        feed: the training batches.
        data: the validation and test data.
        progress: where to start; changed in place.
        stop: the step to stop at.
        eval_every: steps between evaluations.
        capture_at: a step at which `on_capture` is called, before any evaluation there.
        on_capture: takes the state, e.g. for rewinding.
        on_chunk: called after each chunk of steps, about once a second.
        prune_at: steps at which `on_prune` is called, before any evaluation there; earlier evaluations were of other
            masks, so the best step is looked for again.
        on_prune: prunes the model; it is given the step.
        observer: watches the chunks of steps and the evaluations.
        should_stop: called at each multiple of `eval_every`; training stops there if it returns True.
        checkpoint_every: seconds between calls of `checkpoint`.
        checkpoint: saves the state and the progress, so that a later call resumes with them exactly.

    Returns:
        `progress`, with `history` (one record per evaluation), the first step of least validation loss in `best_step`,
        and test results in `best_test` and `test`.

    Raises:
        NonFiniteError: the loss became NaN or infinite.
    """
    observer = observer or TrainingObserver()
    if capture_at == progress.step:
        on_capture()
    saved = time.monotonic()
    while progress.step < stop:
        end = _next_mark(progress.step, stop, eval_every, [*prune_at, *([] if capture_at is None else [capture_at])])
        end = min(end, progress.step + min(engine.chunk_size(), CHUNK_CAPACITY))
        observer.on_chunk_begin(progress.step)
        feed.advance(engine, progress.step, end)
        progress.step = end
        observer.on_chunk_end(end)
        if end == capture_at:
            on_capture()
        if end in prune_at:
            on_prune(end)
            progress.best_step = progress.best_loss = None
        if should_stop and end % eval_every == 0 and should_stop():
            stop = end
        if end == stop:
            engine.finish()
        if end % eval_every == 0 or end == stop:
            observer.on_evaluation_begin(end)
            _evaluate(engine, data, progress, last=end == stop)
            observer.on_evaluation_end(end, progress.history[-1])
        on_chunk(progress)
        if end < stop and agreed(engine.replicas, time.monotonic() - saved >= checkpoint_every):
            checkpoint(progress)
            saved = time.monotonic()
    return progress


def _next_mark(step: int, stop: int, eval_every: int, others: Sequence[int]) -> int:
    return min([stop, (step // eval_every + 1) * eval_every, *(mark for mark in others if mark > step)])


def _evaluate(engine: Engine, data: Splits, progress: TrainingProgress, *, last: bool) -> None:
    training = engine.results()
    validation = engine.evaluate(data.validation)
    record: EvaluationRecord = {"step": progress.step}
    record |= {f"train_{name}": value for name, value in training.items()}
    record |= {f"val_{name}": value for name, value in validation.items()}
    progress.history.append(record)
    if not math.isfinite(validation["loss"]):
        raise NonFiniteError(
            f"The validation loss must be finite. It is {validation['loss']} at step {progress.step}.",
            "Lower the learning rate, clip the gradients, or look at the data.",
        )
    best = progress.best_loss is None or validation["loss"] < progress.best_loss
    if data.test is not None and (best or last):
        progress.test = engine.evaluate(data.test)
    if best:
        progress.best_step, progress.best_loss, progress.best_test = progress.step, validation["loss"], progress.test
