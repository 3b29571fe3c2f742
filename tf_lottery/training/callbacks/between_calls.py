"""What callbacks share that change masks between the calls by which `fit` trains: the count of steps, the slots."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers import is_wrapped
from tf_lottery.training.state import optimizer_variables, slots_of


class BetweenCalls(keras.callbacks.Callback):
    """A callback that reads the number of training steps from the optimizer, so that a resumed training has it too."""

    def __init__(self) -> None:
        super().__init__()
        self._steps_before_epoch = -1

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks that the model is wrapped and has an optimizer that counts its steps.

        Args:
            logs: What `fit` reports; not used.

        Raises:
            UsageError: If it is not wrapped or has none.
        """
        name = type(self).__name__
        if not is_wrapped(self.model):
            raise UsageError(
                f"{name} prunes the masks of a wrapped model. Received: {self.model.name!r}, which is not wrapped.",
                "Train the model that `tf_lottery.wrap(model)` returns.",
            )
        if self.model.optimizer is None:
            raise UsageError(
                f"{name} counts training steps by `model.optimizer`. Received: a model without one.",
                "Give `compile` an optimizer.",
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remembers the number of steps done, to see whether the epoch counts any.

        Args:
            epoch: The number of the epoch.
            logs: What `fit` reports; not used.
        """
        self._steps_before_epoch = self.steps_done()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Checks that the optimizer counted the steps of the epoch.

        Args:
            epoch: The number of the epoch.
            logs: What `fit` reports; not used.

        Raises:
            UsageError: If it did not.
        """
        accumulates = getattr(self.model.optimizer, "gradient_accumulation_steps", None)
        if self.steps_done() == self._steps_before_epoch and not accumulates:
            raise UsageError(
                f"{type(self).__name__} counts training steps by `model.optimizer`, which did none in an epoch: the "
                "model trains by other optimizers.",
                "Give `compile` the optimizer that trains the pruned weights.",
            )

    def steps_done(self) -> int:
        """Returns the number of training steps that the optimizer has done."""
        # In each batch: this takes less than half of the time of `convert_to_numpy`.
        return int(tf.convert_to_tensor(self.model.optimizer.iterations.value))

    def steps_of_last_call(self, now: int) -> int:
        """Returns how many steps the last call of an earlier `fit` had; the last call of an epoch may be a short one.

        Args:
            now: The number of training steps done.
        """
        in_call, in_epoch = int(self.model.steps_per_execution), self.params.get("steps")
        rest = in_epoch % in_call if in_epoch and now % in_epoch == 0 else 0
        return rest or in_call


def zero_slots(model: keras.Model, keep: Mapping[str, npt.NDArray[np.bool_]]) -> None:
    """Sets the optimizer's slots of some weights to exactly 0.0: momentum, second moments, averages.

    Args:
        model: A compiled model, wrapped. If its optimizer is not built, there are no slots yet.
        keep: A boolean array by weight path, False where slots become 0.0.
    """
    optimizer = model.optimizer
    if not optimizer.built:
        return
    variables = optimizer_variables(optimizer)
    kept = {path: keras.ops.convert_to_tensor(array) for path, array in keep.items()}
    for key, path in slots_of(optimizer, model).items():
        if path in kept:
            value = variables[key].value
            variables[key].assign(keras.ops.where(kept[path], value, keras.ops.zeros_like(value)))
