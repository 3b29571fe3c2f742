"""The training engine: one compiled chunk of steps for every round, variant and replicate of a model.

The compiled functions are made once per (model, optimizer, batch shape). Masks, weights, optimizer state and the order
of the data are variables and arguments, so nothing is traced or compiled again when they change. A chunk has a fixed
capacity of steps and a count of those to do, so a shorter chunk compiles nothing new either. It is
one file: the compiled functions share the variables that they are made with.
"""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.layers import apply_masks, named_variables
from tf_lottery.training.batches import Batch, as_batch
from tf_lottery.training.changes import WeightChanges
from tf_lottery.training.compiled_steps import XLA_ERRORS, CompiledSteps, XlaDroppedError
from tf_lottery.training.device import choose_xla
from tf_lottery.training.optimizers import for_one_replica, with_loss_scale
from tf_lottery.training.order import Order
from tf_lottery.training.replicas import Replicas
from tf_lottery.training.sparse_training import SparseTraining
from tf_lottery.training.state import optimizer_variables
from tf_lottery.training.steps import Steps
from tf_lottery.training.timings import Timings
from tf_lottery.utils.text import one_line

log = logging.getLogger(__name__)
CHUNK_SECONDS = 1.0
CHUNK_CAPACITY = 500
EVALUATION_BATCH = 1000
METRICS = "metrics/"


class Engine:
    """Trains and evaluates one wrapped model with one optimizer.

    Args:
        model: a wrapped model; it is compiled here by `keras.Model.compile`, so what a `compile` of its own class set
            before stays set.
        optimizer: a new Keras optimizer; it is built here.
        loss: as in `model.compile`.
        metrics: as in `model.compile`.
        loss_weights: as in `model.compile`.
        weighted_metrics: as in `model.compile`.
        xla: "auto", "on" or "off".
        augment: function (images, seeds) -> images for the inputs of a training batch, made of graph operations;
            `seeds` is an int32 tensor (augmentation seed, step).
        track_changes: whether to sum up |change| of each maskable weight over the steps.
        sparse: "off"; "auto" for the sparse kernels in each layer that is faster by them, with the masks of now; or
            "on" for all that they cover.
        examples: for "auto", how many examples the longest training looks at: the batch size times the steps. A short
            one does not pay for the compilation.

    Attributes:
        optimizer: the optimizer, in a `LossScaleOptimizer` where the model computes in float16.
        traces: how often each compiled function was traced.
        timings: the time spent so far.
        replicas: the replicas that train the model; None for one.
    """

    replicas: Replicas | None = None

    def __init__(
        self,
        model: keras.Model,
        *,
        optimizer: keras.optimizers.Optimizer,
        loss: Any,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        xla: str | bool = "auto",
        augment: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] | None = None,
        track_changes: bool = False,
        sparse: str = "off",
        examples: int = 0,
    ) -> None:
        self.model = model
        self.optimizer = optimizer = for_one_replica(with_loss_scale(optimizer, model))
        self.augment = augment
        self.xla, self._xla_setting = choose_xla(model, xla), xla
        self.traces = {"train": 0, "evaluate": 0}
        self.timings = Timings()
        self._compile_model = functools.partial(
            keras.Model.compile,
            loss=loss,
            metrics=metrics,
            loss_weights=loss_weights,
            weighted_metrics=weighted_metrics,
            jit_compile=False,
        )
        self._compile_model(model, optimizer)
        optimizer.build(model.trainable_variables)
        self.changes = WeightChanges(model) if track_changes else None
        self._steps = Steps(model, self.changes, self.replicas)
        self._sparse_setting, self._examples, self._example = sparse, examples, Batch(None, None)
        if sparse == "on" and track_changes:
            log.warning("training is dense: the sparse kernels don't sum up how far each weight goes")
        self._compile()

    def _compile(self) -> None:
        compiled = functools.partial(CompiledSteps, augment=self.augment, traces=self.traces)
        self._dense, self.sparse = compiled(self._steps, xla=self.xla), None
        if self._sparse_setting != "off" and self.changes is None:
            self.sparse = SparseTraining(
                self._steps,
                self._sparse_setting,
                self._examples,
                compile_model=self._compile_model,
                compile_steps=compiled,
                xla="steps" if self._xla_setting == "auto" and not self.xla else self.xla,
                prepare=lambda steps: steps.prepare(self._example),
            )

    def _compiled(self) -> CompiledSteps:
        """The functions that train and evaluate with the masks that the model has now."""
        sparse = self.sparse.counterpart() if self.sparse else None
        return sparse.functions if sparse else self._dense

    def expect(self, examples: int) -> None:
        """Say how many examples the trainings to come look at, by which "auto" chooses layers for the sparse kernels.

        Args:
            examples: the batch size times the steps; at most as many as the engine was made for.
        """
        if self.sparse:
            self.sparse.expect(examples)

    @property
    def instruction_set(self) -> str:
        """Of the sparse kernels that layers may compute by; "" if none does."""
        return self.sparse.instruction_set if self.sparse else ""

    def prepare(self, example: Batch) -> None:
        """Create the variables of the metrics, which Keras makes at first use, outside of any compiled function.

        Raises:
            UsageError: Keras does not take the loss or a metric, or a step of the model's own returns no loss.
        """
        self._example = example
        self._steps.prepare(example)

    def variables(self) -> dict[str, keras.Variable]:
        """Every variable that a training changes, by a stable name: model, optimizer and running metrics."""
        return {
            **{f"model/{path}": variable for path, variable in named_variables(self.model).items()},
            **optimizer_variables(self.optimizer),
            **{f"{METRICS}{index}": variable for index, variable in enumerate(self._steps.metric_variables())},
            **(self.changes.variables() if self.changes else {}),
        }

    def reset_metrics(self) -> None:
        """Set the running loss and metrics to zero."""
        self._steps.reset()

    def results(self) -> dict[str, float]:
        """Running loss and metrics since the last reset."""
        return self._steps.train_results()

    def run(self, data: Batch, order: Order, *, start: int, stop: int, augment_seed: int = 0) -> None:
        """Train steps start..stop-1, at most CHUNK_CAPACITY of them, on data in memory.

        Args:
            data: all training examples.
            order: which of them make up each step.
            start: the first step.
            stop: the step after the last one.
            augment_seed: seed of the augmentation.

        Raises:
            NonFiniteError: the loss became NaN or infinite; the message names the steps.
        """
        indices = np.zeros((CHUNK_CAPACITY, order.batch), np.int32)
        indices[: stop - start] = order.steps(start, stop)
        indices = tf.constant(indices)
        shape = (self._compiled(), order.batch)
        if self.timings.is_first("train", shape):
            nothing = tf.constant([start, 0, augment_seed], tf.int32)
            with self.timings.measure("train", shape):  # a chunk of no steps compiles, and changes nothing
                self._try_xla("train_chunk", data, indices, nothing)
        numbers = tf.constant([start, stop - start, augment_seed], tf.int32)
        with self.timings.measure("train", shape, steps=stop - start):
            self._compiled().train_chunk(data, indices, numbers)
            self._check_loss(start, stop)

    def run_stream(self, batches: Iterator[Any], *, start: int, stop: int, augment_seed: int = 0) -> None:
        """Train steps start..stop-1 on the next batches of a `tf.data` iterator.

        Args:
            batches: yields (x, y) or (x, y, sample_weight).
            start: the first step.
            stop: the step after the last one.
            augment_seed: seed of the augmentation.

        Raises:
            NonFiniteError: as `run` does.
            UnfitError: the iterator has no more batches, or XLA can't compile a step and was asked for.
            XlaDroppedError: XLA can't compile the first step, and will not be used; a batch was taken.
        """
        iterations = int(self.optimizer.iterations.numpy())
        shape = (self._compiled(), "stream")
        with self.timings.measure("train", shape, steps=stop - start):
            try:
                if self.timings.is_first("train", shape):
                    nothing = tf.constant([start, 0, augment_seed], tf.int32)
                    self._try_xla("train_stream", batches, nothing)
                numbers = tf.constant([start, stop - start, augment_seed], tf.int32)
                self._compiled().train_stream(batches, numbers)
            except tf.errors.OutOfRangeError as error:
                raise UnfitError(
                    f"The training data ended before step {stop}: the tf.data.Dataset yields no batch.",
                    "Give a data set of at least one batch.",
                ) from error
            except tf.errors.OpError as error:
                unchanged = int(self.optimizer.iterations.numpy()) == iterations
                if self._compiled().xla and isinstance(error, XLA_ERRORS) and unchanged:
                    self._drop_xla(error)
                    raise XlaDroppedError from error
                raise UnfitError(
                    f"The training data can't be read or trained on in steps {start} to {stop - 1}: "
                    f"{one_line(error.message)}",
                    "Look at what the tf.data.Dataset yields.",
                ) from error
            self._check_loss(start, stop)

    def chunk_size(self) -> int:
        """How many steps take about a second, as far as measured. What is computed does not depend on it."""
        if self.timings.seconds_per_step is None:
            return CHUNK_CAPACITY if self._compiled().xla else 4
        return int(np.clip(CHUNK_SECONDS / self.timings.seconds_per_step, 1, CHUNK_CAPACITY))

    def finish(self) -> None:
        """End a training: averages replace the live weights where the optimizer keeps them; pruned ones are 0.0."""
        self.optimizer.finalize_variable_values(self.model.trainable_variables)
        apply_masks(self.model)

    def evaluate(self, data: Batch | tf.data.Dataset) -> dict[str, float]:
        """Loss and metrics over every example, as `model.evaluate` gives them. Resets the running metrics.

        The state of the training is not changed, also not by layers that draw random numbers at inference.
        """
        compiled = self._compiled()
        steps = compiled.steps
        steps.reset()
        before = steps.state_before_evaluation()
        if isinstance(data, tf.data.Dataset):
            with self.timings.measure("evaluate", (compiled, "stream")):
                for element in data:
                    batch = as_batch(element)
                    self._try_xla("evaluate_batch", batch)
        else:
            length = min(EVALUATION_BATCH, data.size)
            count, rest = divmod(data.size, length)
            with self.timings.measure("evaluate", (compiled, data.size)):
                self._try_xla("evaluate_pieces", data, 0, length, count)
                if rest:
                    self._compiled().evaluate_pieces(data, data.size - rest, rest, 1)
        steps = self._compiled().steps  # others, where XLA was dropped
        results = steps.test_results()
        steps.reset()
        self.reset_metrics()
        steps.restore(before)
        return results

    def _try_xla(self, name: str, *arguments: Any) -> None:
        """Call a compiled function, perhaps for the first time; where XLA was a choice and fails, do without.

        XLA refuses host operations (`tf.py_function` in a loss, `tf.numpy_function` in a metric) when it compiles, so
        nothing has been computed yet.
        """
        try:
            getattr(self._compiled(), name)(*arguments)
        except XLA_ERRORS as error:
            if not self._compiled().xla:
                raise
            self._drop_xla(error)
            getattr(self._compiled(), name)(*arguments)

    def _drop_xla(self, error: tf.errors.OpError) -> None:
        if self._xla_setting != "auto":
            raise UnfitError(
                f"XLA can't compile a step: {one_line(error.message)}",
                "Set `jit_compile` to 'auto' or False (`xla` to auto or off in a configuration).",
            ) from error
        log.warning("training continues without XLA, which can't compile it: %s", one_line(error.message))
        self.xla, self._xla_setting = False, "off"
        self._compile()

    def _check_loss(self, start: int, stop: int) -> None:
        if not np.isfinite(loss := self._steps.mean_loss()):
            raise NonFiniteError(
                f"The training loss must be finite. It became {loss} in steps {start} to {stop - 1}.",
                "Lower the learning rate, clip the gradients, or look at the data.",
            )
