"""Attacks on a network: inputs changed within bounds so that its loss grows."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.errors import UsageError
from tf_lottery.layers import set_weights

BATCH_SIZE = 500
STEPS = 10
Floats: TypeAlias = npt.NDArray[np.float32]


class Adversary:
    """Attacks on one model with changing weights; its gradient is compiled once.

    Args:
        model: a model that is compiled with a loss.
        low: the least value of each input channel, shape (channels,) or (); attacked inputs stay above it.
        high: the greatest value of each input channel, of the same shape; attacked inputs stay below it.
    """

    def __init__(self, model: keras.Model, low: np.ndarray, high: np.ndarray) -> None:
        """Compile the sign of the loss's gradient with respect to the inputs."""
        self.model = model
        self.low, self.high = (np.asarray(bound, np.float32) for bound in (low, high))
        self._signs = tf.function(self._gradient_signs, autograph=False, reduce_retracing=True)

    def _gradient_signs(self, x: tf.Tensor, y: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = self.model(x, training=False)
            loss = self.model.compute_loss(x=x, y=y, y_pred=outputs, training=False)
        return tf.sign(tape.gradient(loss, x))

    def fgsm(self, arrays: Arrays, epsilon: float) -> Floats:
        """Return x + epsilon * sign(gradient of the loss), clipped to the range of inputs.

        The fast gradient sign method of Goodfellow et al. (2014, arXiv 1412.6572), at the model's present weights.

        Args:
            arrays: examples; inputs of shape (examples, ..., channels).
            epsilon: the most that a value changes, as a fraction of its channel's range.

        Returns:
            The attacked inputs, float32, of the shape of the inputs.
        """
        return self._attack(arrays, epsilon, steps=1, size=epsilon, seed=None)

    def pgd(self, arrays: Arrays, epsilon: float, *, steps: int = STEPS, seed: int = 0) -> Floats:
        """Return inputs after projected gradient descent from a random start (Madry et al. 2017, arXiv 1706.06083).

        A step moves by 2.5 * epsilon / steps along the gradient's sign, and is projected back to within epsilon of the
        clean input and to the range of inputs.

        Args:
            arrays: examples; inputs of shape (examples, ..., channels).
            epsilon: the most that a value changes, as a fraction of its channel's range.
            steps: the number of gradient steps, at least 1.
            seed: the seed of the random start.

        Returns:
            The attacked inputs, float32, of the shape of the inputs.

        Raises:
            UsageError: `steps` is below 1.
        """
        if steps < 1:
            raise UsageError(f"`steps` of an attack must be at least 1. Received: {steps}.", "Take 10.")
        return self._attack(arrays, epsilon, steps=steps, size=2.5 * epsilon / steps, seed=seed)

    def _attack(self, arrays: Arrays, epsilon: float, *, steps: int, size: float, seed: int | None) -> Floats:
        scale = self.high - self.low
        clean = arrays.x.astype(np.float32)
        bottom, top = np.maximum(clean - epsilon * scale, self.low), np.minimum(clean + epsilon * scale, self.high)
        # Test examples may lie outside of the range of the training data; these values are left as they are.
        bottom, top = np.minimum(bottom, clean), np.maximum(top, clean)
        x = clean
        if seed is not None:
            start = np.random.default_rng(seed).uniform(-epsilon, epsilon, clean.shape).astype(np.float32)
            x = np.clip(clean + start * scale, bottom, top)
        for _ in range(steps):
            signs = [
                self._signs(tf.constant(x[start : start + BATCH_SIZE]), _batch(arrays.y, start)).numpy()
                for start in range(0, len(x), BATCH_SIZE)
            ]
            x = np.clip(x + np.float32(size) * scale * np.concatenate(signs), bottom, top)
        return np.asarray(x)

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Assign weights to the attacked model.

        Args:
            weights: arrays by variable path.
        """
        set_weights(self.model, weights)


def _batch(tree: Any, start: int) -> Any:
    """The examples of one batch, as tensors."""
    return keras.tree.map_structure(lambda array: tf.constant(array[start : start + BATCH_SIZE]), tree)
