"""Gradients of the loss of a masked model by all weights, those that are pruned too."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UnfitError
from tf_lottery.layers import apply_masks
from tf_lottery.layers.masked_variable import mask_of
from tf_lottery.layers.wrapping import masked_variables
from tf_lottery.training.gradients.loss import GradientArrays
from tf_lottery.utils.text import one_line


class DenseGradients:
    """Computes dL/dw of a compiled wrapped model's loss on a batch, by pruned weights too, where w is 0.0.

    A pruned weight has no gradient where it is read through its mask. So the masks are ones while this computes, and
    stored weights are 0.0 where pruned: the model computes the same, in training mode. All that the computation changes
    (masks, moving statistics, states of seed generators, metrics) is put back.

    Args:
        model: A wrapped model, compiled unless `loss` is given.
        loss: The loss as a function of targets and outputs; by default what `model.compute_loss` gives, with
            regularization.
    """

    def __init__(self, model: keras.Model, loss: Callable[[Any, Any], Any] | None = None) -> None:
        self.model = model
        self.loss = loss
        trainable = {id(variable) for variable in model.trainable_variables}
        self.variables = {path: v for path, v in masked_variables(model).items() if id(v) in trainable}
        eager = getattr(model, "run_eagerly", False)
        self._compute = self._gradients if eager else tf.function(self._gradients, reduce_retracing=True)

    def __call__(self, x: Any, y: Any, sample_weight: Any = None) -> GradientArrays:
        """Returns float32 arrays by weight path, for weights that are trained.

        Args:
            x: Inputs of a batch, as the model takes them.
            y: Targets.
            sample_weight: A weight per example, or None.

        Raises:
            UnfitError: If the model or its loss does not take the batch.
        """
        apply_masks(self.model)
        variables = [*self.model.non_trainable_variables, *self.model.metrics_variables]
        state = [one for variable in variables for one in _replicas(variable)]
        values = [one.numpy().copy() for one in state]
        masks = [mask_of(variable) for variable in self.variables.values()]
        try:
            for mask in masks:
                mask.assign(np.ones(mask.shape, bool))
            gradients = self._compute(*(_tensors(part) for part in (x, y, sample_weight)))
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise UnfitError(
                f"The model does not take the batch by which weights are grown: {one_line(error)}",
                "Give batches like those of the training.",
            ) from error
        finally:
            for one, value in zip(state, values, strict=True):
                one.assign(value)
        return {
            path: np.array(gradient).astype(np.float32)
            for path, gradient in zip(self.variables, gradients, strict=True)
        }

    def _gradients(self, x: Any, y: Any, sample_weight: Any) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = self.model(x, training=True)
            if self.loss is None:
                loss = self.model.compute_loss(x=x, y=y, y_pred=outputs, sample_weight=sample_weight)
            else:
                loss = keras.ops.mean(self.loss(y, outputs))
        values = [variable.value for variable in self.variables.values()]
        gradients = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return [tf.convert_to_tensor(gradient) for gradient in gradients]


def _replicas(variable: keras.Variable) -> Any:
    """Returns the `tf.Variable` of a Keras variable; under a distribution strategy, that of each replica."""
    return getattr(variable._value, "values", [variable._value])


def _tensors(data: Any) -> Any:
    return None if data is None else keras.tree.map_structure(tf.convert_to_tensor, data)
