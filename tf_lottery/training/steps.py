"""One step of training and one of evaluation: what `fit` and `evaluate` compute of a batch.

A model's own `train_step`, `test_step`, `compute_loss` and `compute_metrics` are run where it has them.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers import named_variables
from tf_lottery.layers.acceptance import own_methods
from tf_lottery.layers.sublayers import OF_TRACKERS, attribute_items
from tf_lottery.training.batches import Batch
from tf_lottery.training.changes import WeightChanges
from tf_lottery.training.last_logs import LastLogs, named_numbers
from tf_lottery.training.replica_layers import separate_statistics
from tf_lottery.training.replicas import Replicas
from tf_lottery.utils.text import one_line


class Steps:
    """The steps of one compiled model, with the running loss and metrics.

    Args:
        model: a wrapped model, compiled with the optimizer.
        changes: sums up |change| of weights over the training steps, or None.
        replicas: the replicas that train it, or None for one.

    Raises:
        UsageError: the model holds more optimizers, or variables of TensorFlow that Keras does not know.
    """

    def __init__(
        self, model: keras.Model, changes: WeightChanges | None = None, replicas: Replicas | None = None
    ) -> None:
        self.model, self.changes, self.replicas = model, changes, replicas
        self._statistics = separate_statistics(model) if replicas else []
        _check_one_optimizer(model)
        _check_variables(model)
        self._loss = keras.metrics.Mean(name="loss")
        self._own = set(own_methods(model, ("train_step", "test_step", "compute_metrics")))
        self._train_logs = self._logs_of("train_step")
        self._test_logs = self._logs_of("test_step")
        self._moved_by_evaluation: list[keras.Variable] = []

    def prepare(self, example: Batch) -> None:
        """Create the variables of the metrics, which Keras makes at first use, outside of any compiled function.

        Raises:
            UsageError: Keras does not take the loss or a metric, or a step of the model's own returns no loss.
        """
        state = [variable for variable in named_variables(self.model).values() if not variable.trainable]
        before = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in state]
        if self.replicas:  # the metrics are there; they are of the replicas and not of this place
            self.model(example.x, training=False)
        elif not {"train_step", "test_step"} <= self._own:
            self._compute_loss_and_metrics(example)
        if self._train_logs is not None:
            self._train_logs.prepare(self._train_values, example)
            self._check_changed(self._train_logs)
        if self._test_logs is not None:
            self._test_logs.prepare(self._test_values, example)
        self.reset()
        # What draws random numbers at inference too (sampling layers) would train otherwise for each evaluation.
        for variable, value in zip(state, before, strict=True):
            if not np.array_equal(keras.ops.convert_to_numpy(variable.value), value):
                self._moved_by_evaluation.append(variable)
                variable.assign(value)
        if "test_step" in self._own:  # it was not run here, and may change anything
            self._moved_by_evaluation = list(named_variables(self.model).values())

    def create_metrics(self, example: Batch) -> None:
        """Create the variables of the metrics in the scope of a strategy, where nothing can be computed.

        Raises:
            UsageError: Keras does not take the loss or a metric.
        """
        with _refusals_of_keras():
            self.model._symbolic_build(data_batch=tuple(example))

    def _check_changed(self, logs: LastLogs) -> None:
        """Raises if a step changes variables that are in no state, such as those of a second optimizer."""
        layers = self.model._flatten_layers()
        metrics = [metric for layer in layers for metric in (*layer._metrics, *getattr(layer, "metrics", []))]
        known = [*self.model.variables, *self.model.optimizer.variables]
        known += [variable for metric in metrics for variable in metric.variables]
        handles = {id(variable._value.handle) for variable in known}
        if others := sorted(name for handle, name in logs.changed.items() if handle not in handles):
            raise UsageError(
                f"Rounds rewind the model, one optimizer and the metrics. The model's own `{logs.method}` also changes "
                f"{', '.join(others[:5])}{', ...' if len(others) > 5 else ''}.",
                "Train by the optimizer that the model is compiled with, and make variables by `self.add_weight`; or "
                "train the model of `tf_lottery.wrap` in `fit`.",
            )

    def metric_variables(self) -> list[keras.Variable]:
        """The variables of the running loss and metrics of a training."""
        metrics = [variable for metric in (self._loss, *self.model.metrics) for variable in metric.variables]
        return [*metrics, *(self._train_logs.variables.values() if self._train_logs else [])]

    def reset(self) -> None:
        """Set the running loss and metrics to zero."""
        self._loss.reset_state()
        self.model.reset_metrics()

    def mean_loss(self) -> float:
        """The mean loss of the training steps since the last reset."""
        return float(self._loss.result())

    def train_results(self) -> dict[str, float]:
        """Loss and metrics of the training steps since the last reset."""
        return self._results(self._train_logs)

    def test_results(self) -> dict[str, float]:
        """Loss and metrics of the evaluation steps since the last reset."""
        return self._results(self._test_logs)

    def state_before_evaluation(self) -> list[tf.Tensor]:
        """The values that `restore` puts back after an evaluation."""
        return [variable.value + 0 for variable in self._moved_by_evaluation]

    def restore(self, values: list[tf.Tensor]) -> None:
        """Put back the state of the training that an evaluation moved.

        Args:
            values: from `state_before_evaluation`.
        """
        for variable, value in zip(self._moved_by_evaluation, values, strict=True):
            variable.assign(value)

    def train(self, batch: Batch) -> None:
        """Train one step on a batch."""
        before = self.changes.values() if self.changes else []
        if "train_step" in self._own:
            logs = self._train_values(batch)
            self._loss.update_state(logs["loss"])
        else:
            logs = self._gradient_step(batch)
        if self.changes:
            self.changes.add_since(before)
        if self._train_logs is not None:
            self._train_logs.assign(logs)

    def evaluate(self, batch: Batch) -> None:
        """Evaluate a batch."""
        if "test_step" in self._own:
            logs = self._test_values(batch)
        else:
            outputs = self.model(batch.x, training=False)
            loss = self._compute_loss(batch, outputs, training=False)
            self._loss.update_state(self._of_batch(loss), sample_weight=tf.shape(tf.nest.flatten(batch.x)[0])[0])
            logs = self.model.compute_metrics(batch.x, batch.y, outputs, batch.weight)
        if self._test_logs is not None:
            self._test_logs.assign(logs)

    def _logs_of(self, step: str) -> LastLogs | None:
        """Returns what keeps the values that a step returns; None where they are those of Keras's metrics."""
        if step in self._own:
            return LastLogs(step, needs_loss=True)
        return LastLogs("compute_metrics", needs_loss=False) if "compute_metrics" in self._own else None

    def _gradient_step(self, batch: Batch) -> Any:
        variables, optimizer = self.model.trainable_variables, self.model.optimizer
        with tf.GradientTape() as tape:
            outputs = self.model(batch.x, training=True)
            loss = self._compute_loss(batch, outputs, training=True)
            scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in variables])
        optimizer.apply(gradients, variables)
        if self._statistics:
            _average(self._statistics)
        self._loss.update_state(self._of_batch(loss))
        return self.model.compute_metrics(batch.x, batch.y, outputs, batch.weight)

    def _of_batch(self, loss: Any) -> Any:
        """Returns the mean loss of a replica's examples, which Keras divides by the number of replicas."""
        return loss * tf.cast(self.replicas.count, loss.dtype) if self.replicas else loss

    def _train_values(self, batch: Batch) -> Any:
        """Returns what the model's own `train_step`, or else its own `compute_metrics`, returns."""
        if "train_step" in self._own:
            return self.model.train_step(_as_fit_passes(batch))
        return self.model.compute_metrics(batch.x, batch.y, self.model(batch.x, training=True), batch.weight)

    def _test_values(self, batch: Batch) -> Any:
        """Returns the same of `test_step`."""
        if "test_step" in self._own:
            return self.model.test_step(_as_fit_passes(batch))
        return self.model.compute_metrics(batch.x, batch.y, self.model(batch.x, training=False), batch.weight)

    def _compute_loss(self, batch: Batch, outputs: Any, *, training: bool) -> Any:
        return self.model.compute_loss(
            x=batch.x, y=batch.y, y_pred=outputs, sample_weight=batch.weight, training=training
        )

    def _compute_loss_and_metrics(self, example: Batch) -> None:
        outputs = self.model(example.x, training=False)
        with _refusals_of_keras():
            self._compute_loss(example, outputs, training=False)
            self.model.compute_metrics(example.x, example.y, outputs, example.weight)

    def _results(self, logs: LastLogs | None) -> dict[str, float]:
        if logs is not None and logs.needs_loss:
            return logs.numbers()
        named: dict[str, float] = {} if logs is None else logs.numbers()
        for path, value in keras.tree.flatten_with_path(self.model.get_metrics_result()) if logs is None else []:
            named |= named_numbers("_".join(map(str, path)), value)
        return {"loss": self.mean_loss()} | {name: named[name] for name in named if name != "loss"}


@contextlib.contextmanager
def _refusals_of_keras() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"Keras does not take the loss or a metric: {one_line(error)}", "Correct `loss` and `metrics`."
        ) from error


def _as_fit_passes(batch: Batch) -> Any:
    """Returns a batch as `fit` passes it to `train_step`: x, (x, y) or (x, y, sample_weight)."""
    return keras.utils.pack_x_y_sample_weight(batch.x, batch.y, batch.weight)


def _average(variables: list[keras.Variable]) -> None:
    """Assigns variables of a replica their mean over all replicas."""
    values = []
    for variable in variables:
        with tf.device(variable.value.device):  # where there is one device, TensorFlow asks the tensor for it
            values.append(tf.identity(variable.value))
    means = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)
    for variable, mean in zip(variables, means, strict=True):
        variable.assign(mean)


def _check_variables(model: keras.Model) -> None:
    """Raises if a layer holds variables of TensorFlow's own, which are in no state: they are not rewound or resumed."""
    known = {id(variable.value) for variable in model.variables} | {id(variable._value) for variable in model.variables}
    others = [
        f"{name!r} of {layer.name!r}"
        for layer in model._flatten_layers()
        for name, value in vars(layer).items()
        if not OF_TRACKERS.fullmatch(name)
        for _, item in attribute_items(value)
        if isinstance(item, tf.Variable | tf.random.Generator) and id(item) not in known
    ]
    if others:
        raise UsageError(
            f"Rounds rewind the variables that Keras knows. Received, made by TensorFlow: {', '.join(others)}.",
            "Make them by `self.add_weight` or `keras.Variable`, random states by `keras.random.SeedGenerator`.",
        )


def _check_one_optimizer(model: keras.Model) -> None:
    """Raises if a model holds other optimizers than the one that it is compiled with: their state is not rewound."""
    own = {id(model.optimizer), id(getattr(model.optimizer, "inner_optimizer", None))}
    others = [
        name
        for name, value in vars(model).items()
        if isinstance(value, keras.optimizers.Optimizer) and id(value) not in own
    ]
    if others:
        raise UsageError(
            f"The model {model.name!r} of class {type(model).__name__} holds other optimizers than the one that it is "
            f"compiled with: {', '.join(sorted(others))}. Rounds rewind the state of one optimizer.",
            "Train the model of `tf_lottery.wrap` in `fit`.",
        )
