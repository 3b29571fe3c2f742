"""How far each weight moves in a training, for criteria that score movement."""

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.layers import get_masks, named_variables
from tf_lottery.training.state import State

CHANGES = "changes/"


class WeightChanges:
    """Sums |change| of each maskable weight over the steps of a training.

    Args:
        model: a wrapped model.
    """

    def __init__(self, model: keras.Model) -> None:
        variables = named_variables(model)
        self._weights = {path: variables[path] for path in get_masks(model)}
        self._sums = {
            path: keras.Variable(np.zeros(weight.shape, np.float32), trainable=False, name="change")
            for path, weight in self._weights.items()
        }

    def variables(self) -> dict[str, keras.Variable]:
        """Return the variables of the sums, as `changes/<path>`."""
        return {CHANGES + path: total for path, total in self._sums.items()}

    def sums(self) -> State:
        """Return the sums by weight path, float32."""
        return {path: np.array(total.value) for path, total in self._sums.items()}

    def reset(self) -> None:
        """Set the sums to zero."""
        for total in self._sums.values():
            total.assign(np.zeros(total.shape, np.float32))

    def values(self) -> list[tf.Tensor]:
        """Return copies of the weights' values, to be given to `add_since`."""
        return [weight.value + 0 for weight in self._weights.values()]

    def add_since(self, before: list[tf.Tensor]) -> None:
        """Add |change| since `values` returned `before`."""
        for weight, total, old in zip(self._weights.values(), self._sums.values(), before, strict=True):
            total.assign_add(tf.cast(tf.abs(weight.value - old), total.dtype))
