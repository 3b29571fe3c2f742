"""Dynamic sparse training in `fit`: RigL and SET, which move the weights of a sparse model while it trains."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import apply_masks, get_masks, set_masks
from tf_lottery.layers.acceptance import own_methods
from tf_lottery.layers.wrapping import masked_variables
from tf_lottery.pruning.masks import Masks, Scores
from tf_lottery.pruning.rewiring import (
    Distribution,
    check_distribution,
    cosine_fraction,
    distribute,
    random_masks,
    rewire,
)
from tf_lottery.training.callbacks.between_calls import BetweenCalls, zero_slots
from tf_lottery.training.callbacks.scoring_batches import ScoringBatches
from tf_lottery.training.gradients.dense_loss import DenseGradients
from tf_lottery.utils import seeds


@dataclass(kw_only=True, eq=False, repr=False)
class _DynamicSparsity(BetweenCalls):
    """What RigL and SET share: random masks at first, then weights dropped by magnitude and others grown."""

    sparsity: float | Mapping[str, float]
    end_step: int
    frequency: int = 100
    alpha: float = 0.3
    distribution: str | Distribution = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__init__()
        for name, value in (("end_step", self.end_step), ("frequency", self.frequency)):
            if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
                raise UsageError(f"`{name}` must be a positive integer. Received: {value!r}.", "Count training steps.")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, int | float) or not 0 <= self.alpha <= 1:
            raise UsageError(f"`alpha` must be in [0, 1]: a fraction of the kept weights. Received: {self.alpha!r}.")
        check_distribution(self.sparsity, self.distribution)
        self._last_step = -1

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks the model, and forgets the steps of an earlier `fit`."""
        super().on_train_begin(logs)
        self._last_step = -1

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Draws the masks before the first step; moves weights where a step of doing so has passed since the last call.

        Args:
            batch: The number of the batch in its epoch.
            logs: What `fit` reports; not used.
        """
        now = self.steps_done()
        if self._last_step < 0:
            self._draw_masks()
            # Of a resumed training, these are the steps of the last call, which was saved before weights moved.
            self._last_step = max(0, now - self.steps_of_last_call(now))
        steps = range(self._last_step + 1, min(now + 1, self.end_step))
        due = [step for step in steps if step % self.frequency == 0]
        self._last_step = now
        if due:
            self._move_weights(due[-1])

    @abstractmethod
    def _growth(self, masks: Masks, step: int) -> Scores:
        """Returns the scores by which weights are grown, by path."""

    def _trained_masks(self) -> Masks:
        trained = {id(variable) for variable in self.model.trainable_variables}
        masks = get_masks(self.model)
        return {path: masks[path] for path, v in masked_variables(self.model).items() if id(v) in trained}

    def _draw_masks(self) -> None:
        """Draws the masks of a dense model; those that keep the right number of weights are taken as they are."""
        masks = self._trained_masks()
        if not masks:
            raise UnfitError(
                f"{type(self).__name__} moves masked weights that are trained. Received: a model whose masked weights "
                "are all frozen.",
                "Set `trainable` of their layers; LoRA freezes the kernels that it adapts.",
            )
        shapes = {path: mask.shape for path, mask in masks.items()}
        drawn = random_masks(shapes, distribute(shapes, self.sparsity, self.distribution), seed=self.seed)
        if all(int(masks[path].sum()) == int(drawn[path].sum()) for path in masks):
            return
        wrong = [path for path, mask in masks.items() if not mask.all()]
        if wrong:
            raise UnfitError(
                f"{type(self).__name__} starts from dense masks, or from masks of its sparsity. Received other masks "
                f"of {', '.join(wrong)}.",
                "Pass the sparsity by weight path as `sparsity`, or wrap the dense model again.",
            )
        set_masks(self.model, {**get_masks(self.model), **drawn})
        zero_slots(self.model, drawn)

    def _move_weights(self, step: int) -> None:
        masks = self._trained_masks()
        values = masked_variables(self.model)
        weights = {path: np.array(ops.convert_to_numpy(values[path].value)) for path in masks}
        fraction = cosine_fraction(step, alpha=self.alpha, end_step=self.end_step)
        rewired = rewire(weights, masks, self._growth(masks, step), fraction=fraction)
        apply_masks(self.model)  # what is grown starts at 0.0
        set_masks(self.model, {**get_masks(self.model), **rewired})
        zero_slots(self.model, {path: rewired[path] & masks[path] for path in masks})


class SET(_DynamicSparsity):
    """Sparse evolutionary training: drops the smallest weights and grows random ones (Mocanu et al. 2018, 1707.04780).

    A dense wrapped model gets random masks before the first step. Every `frequency` steps until `end_step`, the
    fraction alpha / 2 * (1 + cos(pi * step / end_step)) of the kept weights of an array is dropped, those of lowest
    magnitude, and as many are grown at random. Grown weights and their optimizer slots start at 0.0; the number of kept
    weights of an array never changes. The cosine is that of Evci et al. 2020 (arXiv 1911.11134), who compare SET so.

    It acts between the calls by which `fit` trains, as `GradualPruning` does, and resumes with `BackupAndRestore`.

    Args:
        sparsity: The sparsity of the model, in [0, 1), or of every array by weight path.
        end_step: The step T from which on masks stay.
        frequency: The number of steps from one change of the masks to the next.
        alpha: The fraction of the kept weights that is dropped, before it decays.
        distribution: How the sparsity is distributed over the arrays: "uniform", "erk", or a function from shapes by
            weight path and a density to densities by weight path.
        seed: The seed of the first masks and of what is grown.

    Raises:
        UsageError: If an argument is out of range. In `fit`, if the model is not wrapped.
        UnfitError: In `fit`, if the model has other masks, or the paths do not fit.

    Example:
        >>> wrapped = tfl.wrap(keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)]))
        >>> wrapped.compile("sgd", "mse")
        >>> callback = tfl.callbacks.SET(sparsity=0.75, end_step=8, frequency=2)
        >>> x, y = np.ones((80, 4)), np.ones((80, 5))
        >>> history = wrapped.fit(x, y, batch_size=10, verbose=0, callbacks=[callback])
        >>> int(tfl.get_masks(wrapped)["dense/kernel"].sum())
        5
    """

    def _growth(self, masks: Masks, step: int) -> Scores:
        return {
            path: seeds.generator(self.seed, "grown weights", path, step).random(mask.shape, dtype=np.float32)
            for path, mask in masks.items()
        }


@dataclass(eq=False, repr=False)
class RigL(_DynamicSparsity):
    """Drops the smallest weights and grows those of the largest gradient (Evci et al. 2020, arXiv 1911.11134).

    A dense wrapped model gets random masks before the first step. Every `frequency` steps until `end_step`, the
    fraction alpha / 2 * (1 + cos(pi * step / end_step)) of the kept weights of an array is dropped, those of lowest
    magnitude, and as many are grown: those of the largest |gradient| of the loss of a batch, by all weights, pruned
    ones too. Grown weights and their optimizer slots start at 0.0; a weight that is dropped and grown at once stays as
    it is. The number of kept weights of an array never changes.

    It acts between the calls by which `fit` trains, as `GradualPruning` does, and resumes with `BackupAndRestore`. A
    callback does not see the batches of `fit`, so the data for the gradients are an argument.

    Args:
        x: Inputs of training examples: arrays, or a `tf.data.Dataset` or `keras.utils.PyDataset` of batches.
        y: Their targets; None beside a data set.
        sparsity: The sparsity of the model, in [0, 1), or of every array by weight path.
        end_step: The step T from which on masks stay; the paper takes three quarters of the training.
        frequency: The number of steps from one change of the masks to the next.
        alpha: The fraction of the kept weights that is dropped, before it decays.
        distribution: How the sparsity is distributed over the arrays: "uniform", "erk", or a function from shapes by
            weight path and a density to densities by weight path.
        batch_size: The number of examples for a gradient, drawn from arrays at random.
        seed: The seed of the first masks and of the batches.
        loss: The loss as a function of targets and outputs; by default `model.compute_loss`. A model with its own
            `train_step` needs it.

    Raises:
        UsageError: If an argument is out of range. In `fit`, if the model is not wrapped, or has its own `train_step`
            and `loss` is not given.
        UnfitError: In `fit`, if the model has other masks, the paths do not fit, or it does not take the batches.

    Example:
        >>> wrapped = tfl.wrap(keras.Sequential([keras.Input((4,)), keras.layers.Dense(5)]))
        >>> wrapped.compile("sgd", "mse")
        >>> x, y = np.ones((80, 4)), np.ones((80, 5))
        >>> callback = tfl.callbacks.RigL(x, y, sparsity=0.75, end_step=8, frequency=2)
        >>> history = wrapped.fit(x, y, batch_size=10, verbose=0, callbacks=[callback])
        >>> int(tfl.get_masks(wrapped)["dense/kernel"].sum())
        5
    """

    x: Any
    y: Any = None
    _: KW_ONLY
    batch_size: int = 128
    loss: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.loss is not None:
            self.loss = keras.losses.get(self.loss)
        self.batches = ScoringBatches(self.x, self.y, batch_size=self.batch_size, seed=self.seed)
        self._gradients: DenseGradients | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Checks the model."""
        super().on_train_begin(logs)
        if self.loss is None and own_methods(self.model, ["train_step"]):
            raise UsageError(
                f"RigL grows by the gradient of `model.compute_loss`, and {type(self.model).__name__} has a "
                "`train_step` of its own, which may train something else.",
                "Give the loss: `loss`, a function of targets and outputs.",
                argument="loss",
            )
        self._gradients = None

    def _growth(self, masks: Masks, step: int) -> Scores:
        if self._gradients is None:
            self._gradients = DenseGradients(self.model, self.loss)
        gradients = self._gradients(*self.batches.batch(step // self.frequency - 1))
        return {path: np.abs(gradient) for path, gradient in gradients.items()}
