"""What a model's own `train_step`, `test_step` and `compute_metrics` return, as `fit` and `evaluate` show it.

Keras shows what the last step of an epoch returned. Here each step of a compiled loop assigns it to variables, so that
a training that is interrupted and resumed shows the same values.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.training.batches import Batch
from tf_lottery.utils.text import one_line

READS = ("ReadVariableOp", "ResourceGather", "ResourceGatherNd", "VariableShape")
"""The operations of TensorFlow that leave a variable as it is."""


class LastLogs:
    """The values that a method of a model returned last, by the names that `fit` shows.

    Args:
        method: the name of the method, for messages.
        needs_loss: whether "loss" must be among the values.

    Attributes:
        variables: a variable for each value; empty until `prepare` was called.
        changed: the names of the variables that the method may assign, by the handle's id; likewise.
    """

    def __init__(self, method: str, *, needs_loss: bool) -> None:
        self.method, self.needs_loss = method, needs_loss
        self.variables: dict[str, keras.Variable] = {}
        self.changed: dict[int, str] = {}

    def prepare(self, compute: Callable[[Batch], Any], example: Batch) -> None:
        """Create the variables. The method is traced, as `fit` traces it, and not run.

        Args:
            compute: calls the method.
            example: a batch.

        Raises:
            UsageError: the method does not return a dictionary of numbers, or it has no "loss".
        """
        try:
            traced = tf.function(compute, autograph=False).get_concrete_function(example)
        except Exception as error:  # code of the user's
            raise UsageError(
                f"The model's own `{self.method}` fails on the first examples: {type(error).__name__}: "
                f"{one_line(error)}",
                "It must run in `fit` with the same data.",
            ) from error
        logs, self.changed = traced.structured_outputs, _changed_variables(traced.graph)
        if not isinstance(logs, dict):
            raise UsageError(
                f"The model's own `{self.method}` must return a dictionary of numbers. Received: "
                f"{type(logs).__name__}.",
                'Return `{"loss": loss}`, as Keras expects it.',
            )
        specs = {name: spec for name, spec in _flat(logs) if hasattr(spec, "dtype") and spec.shape.is_fully_defined()}
        if self.needs_loss and "loss" in specs and specs["loss"].shape.rank:
            raise UsageError(
                f"The model's own `{self.method}` must return one number as 'loss'. Received: an array of shape "
                f"{tuple(specs['loss'].shape)}.",
                "Return its mean: the training is watched, and rounds are selected, by it.",
            )
        if self.needs_loss and "loss" not in specs:
            raise UsageError(
                f"The model's own `{self.method}` must return its loss as 'loss'. Received: "
                f"{', '.join(specs) or 'an empty dictionary'}.",
                "Add it: the training is watched, and rounds are selected, by it.",
            )
        self.variables = {
            name: keras.Variable(np.zeros(spec.shape.as_list()), dtype=spec.dtype.name, trainable=False, name=name)
            for name, spec in specs.items()
        }

    def assign(self, logs: Any) -> None:
        """Keep what the method returned.

        Raises:
            UsageError: a value has another shape than for the first examples.
        """
        values = dict(_flat(logs))
        for name, variable in self.variables.items():
            shape = tuple(np.shape(values[name])) if name in values else None
            if shape != tuple(variable.shape):
                raise UsageError(
                    f"The model's own `{self.method}` must return the same values for every batch. Received: {name!r} "
                    f"of shape {tuple(variable.shape)} for the first examples, then {shape or 'none'}.",
                    "Return numbers, such as means over the batch.",
                )
            variable.assign(values[name])

    def numbers(self) -> dict[str, float]:
        """Return the values; those of an array are numbered, `name_0`."""
        numbers: dict[str, float] = {}
        for name, variable in self.variables.items():
            numbers |= named_numbers(name, keras.ops.convert_to_numpy(variable.value))
        return numbers


def named_numbers(name: str, value: Any) -> dict[str, float]:
    """Return a number by its name, or those of an array, a value per class say, by `name_0`, `name_1`, ...

    Args:
        name: the name of the value.
        value: a number or an array.
    """
    array = np.asarray(value)
    if array.ndim:
        return {f"{name}_{index}": float(item) for index, item in enumerate(array.ravel())}
    return {name: float(array)}


def _changed_variables(graph: Any) -> dict[int, str]:
    """Returns the names of the variables from outside that a traced function does more with than read them."""
    names = {id(variable.handle): variable.name for variable in graph.variables}
    return {
        id(outer): names.get(id(outer), "a variable of TensorFlow")
        for outer, inner in graph.captures
        if inner.dtype == tf.resource and any(op.type not in READS for op in inner.consumers())
    }


def _flat(logs: Any) -> list[tuple[str, Any]]:
    return [("_".join(map(str, path)), value) for path, value in keras.tree.flatten_with_path(logs)]
