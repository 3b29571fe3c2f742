"""Gradients of the loss of examples, and the Hessian times the gradient."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.training.gradients.examples import Part, batches
from tf_lottery.training.gradients.maskable import maskable
from tf_lottery.training.gradients.moments import twice_differentiable_moments
from tf_lottery.utils.text import one_line

GradientArrays: TypeAlias = dict[str, np.ndarray]


def gradients(
    model: keras.Model, x: Any, y: Any, *, loss: Any, batch: int = 256, sample_weight: Any = None
) -> GradientArrays:
    """dL/dw of the mean loss over all given examples: what SNIP needs (Lee et al. 2018, arXiv 1810.02340).

    The model computes in training mode, as in the training that the scores are for: before it, the moving statistics
    of a batch-norm layer are those of no data at all. So its statistics are per batch, and depend on `batch`; Dropout
    draws as in training. All state, such as moving statistics and seed generators, is left as it was. Only the loss of
    the data counts: regularization losses, which say of each weight only how large it is, are left out.

    Args:
        model: a built model, wrapped or plain; it need not be compiled.
        x: inputs, an array, or a list or dict of arrays, as the model takes them.
        y: targets, the same number of examples.
        loss: as in `model.compile`: a name, a Keras loss or a function; lists and dicts for several outputs.
        batch: examples per batch. It bounds the memory.
        sample_weight: a weight per example, as in `model.fit`.

    Returns:
        float32 arrays by weight path; exactly 0.0 where pruned.

    Raises:
        UsageError: no data, or Keras does not take the loss.
        UnfitError: the data do not fit the model or each other.
        NonFiniteError: a gradient is NaN or infinite.
    """
    watched = maskable(model)
    parts = batches(x, y, sample_weight, batch)
    objective = _Objective(model, watched, loss)
    return _checked_arrays(_gradients(objective, parts), watched, "gradients")


def hessian_gradients(
    model: keras.Model, x: Any, y: Any, *, loss: Any, batch: int = 256, sample_weight: Any = None
) -> GradientArrays:
    """H g: the Hessian of the mean loss over all examples times its gradient (Wang et al. 2020, arXiv 2002.07376).

    H and g are over the maskable weights. g is computed first; then, batch by batch, the gradient of <dL/dw, g> with g
    held fixed: exactly H g of the mean loss, through batch norm too. Half the gradient of |g|^2, which pruning for
    gradient flow preserves.

    Args:
        model: as for `gradients`.
        x: as for `gradients`.
        y: as for `gradients`.
        loss: as for `gradients`, without regularization losses too.
        batch: as for `gradients`.
        sample_weight: as for `gradients`.

    Returns:
        float32 arrays by weight path; exactly 0.0 where pruned.

    Raises:
        UsageError: as `gradients` does.
        UnfitError: as `gradients` does.
        NonFiniteError: as `gradients` does.
    """
    watched = maskable(model)
    parts = batches(x, y, sample_weight, batch)
    objective = _Objective(model, watched, loss)
    direction = _gradients(objective, parts)
    with twice_differentiable_moments():
        products = _gradients(objective, parts, direction)
    return _checked_arrays(products, watched, "Hessian-gradient products")


class _Objective:
    """The mean loss of a batch as a function of the maskable weights, without a trace in the model."""

    def __init__(self, model: keras.Model, watched: Mapping[str, keras.Variable], loss: Any) -> None:
        self.model = model
        self.values = [tf.convert_to_tensor(variable.value) for variable in watched.values()]
        self.state = {id(variable): tf.convert_to_tensor(variable.value) for variable in model.variables}
        self.watched = {id(variable): index for index, variable in enumerate(watched.values())}
        # A model without layers computes a loss as the caller's would, but has no regularization losses, and the
        # caller's is not compiled again.
        self.holder = keras.Model(name="loss")
        if hasattr(model, "output_names"):
            self.holder.output_names = list(model.output_names)
        try:
            self.holder.compile(optimizer=None, loss=loss, jit_compile=False)
        except (ValueError, TypeError) as error:
            raise _refused(error) from error
        reductions = {getattr(term, "reduction", None) for term in keras.tree.flatten(loss)}
        if loss is None or ("sum" in reductions and len(reductions) > 1):
            raise UsageError(
                f"`loss` must be a loss or several of one reduction. Received: {loss!r}.", "Pass e.g. loss='mse'."
            )
        self.sums = reductions == {"sum"}

    def loss(self, part: Part, state: dict[int, tf.Tensor]) -> tuple[tf.Tensor, dict[int, tf.Tensor]]:
        """The loss of a batch, weighed so that the batches add up to the mean; and the state after it."""

        def value(variable: keras.Variable) -> tf.Tensor:
            index = self.watched.get(id(variable))
            return state[id(variable)] if index is None else self.values[index]

        model = self.model
        trainable, others = model.trainable_variables, model.non_trainable_variables
        try:
            outputs, after = model.stateless_call(
                [value(v) for v in trainable], [value(v) for v in others], part.x, training=True
            )
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise UnfitError(f"The model does not take the data: {one_line(error)}", "Look at their shapes.") from error
        try:
            loss = self.holder.compute_loss(x=part.x, y=part.y, y_pred=outputs, sample_weight=part.sample_weight)
        except (ValueError, TypeError, tf.errors.InvalidArgumentError) as error:
            raise _refused(error) from error
        state = {**state, **{id(v): new for v, new in zip(others, after, strict=True)}}
        return loss * (1 / part.total if self.sums else part.size / part.total), state


def _gradients(objective: _Objective, parts: list[Part], direction: list[tf.Tensor] | None = None) -> list[tf.Tensor]:
    """The gradient of the mean loss, or with a direction the Hessian times it; the same random draws in both."""
    zero = tf.UnconnectedGradients.ZERO
    total = [tf.zeros_like(value) for value in objective.values]
    state = objective.state
    for part in parts:
        with tf.GradientTape() as outer:
            outer.watch(objective.values)
            with tf.GradientTape() as inner:
                inner.watch(objective.values)
                loss, state = objective.loss(part, state)
            if direction is not None:
                first = inner.gradient(loss, objective.values, unconnected_gradients=zero)
                along = tf.add_n(
                    [tf.reduce_sum(tf.convert_to_tensor(g) * d) for g, d in zip(first, direction, strict=True)]
                )
        if direction is None:
            terms = inner.gradient(loss, objective.values, unconnected_gradients=zero)
        else:
            terms = outer.gradient(along, objective.values, unconnected_gradients=zero)
        total = [before + tf.convert_to_tensor(term) for before, term in zip(total, terms, strict=True)]
    return total


def _checked_arrays(tensors: list[tf.Tensor], watched: Mapping[str, keras.Variable], what: str) -> GradientArrays:
    """float32 arrays by path, checked."""
    arrays = {path: np.asarray(tensor).astype(np.float32) for path, tensor in zip(watched, tensors, strict=True)}
    for path, array in arrays.items():
        if not np.isfinite(array).all():
            raise NonFiniteError(
                f"The {what} of {path!r} must be finite. Received NaN or infinite values.",
                "Look at the data, the loss and the scale of the weights.",
            )
    return arrays


def _refused(error: Exception) -> UsageError:
    return UsageError(f"Keras does not take the loss or the targets: {one_line(error)}", "Correct `loss` or `y`.")
