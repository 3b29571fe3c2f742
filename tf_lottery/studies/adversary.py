"""Attacks on a network: inputs changed within bounds so that its loss grows."""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.errors import UsageError
from tf_lottery.layers import set_weights

BATCH = 500
STEPS = 10


class Adversary:
    """Attacks one model, whatever its weights; compiled once.

    Args:
        model: a model that is compiled with a loss.
        low, high: the range of inputs, per channel; what is attacked stays in it.
    """

    def __init__(self, model: keras.Model, low: np.ndarray, high: np.ndarray) -> None:
        self.model = model
        self.low, self.high = (np.asarray(bound, np.float32) for bound in (low, high))
        self._signs = tf.function(self._gradient_signs, autograph=False, reduce_retracing=True)

    def _gradient_signs(self, x: tf.Tensor, y: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = self.model(x, training=False)
            loss = self.model.compute_loss(x=x, y=y, y_pred=outputs, training=False)
        return tf.sign(tape.gradient(loss, x))

    def fgsm(self, arrays: Arrays, epsilon: float) -> np.ndarray:
        """x + epsilon * sign(gradient of the loss), clipped to the range of inputs.

        The fast gradient sign method of Goodfellow et al. (2014, arXiv 1412.6572). The model's weights are those that
        it holds now.

        Args:
            arrays: examples.
            epsilon: the most that a value changes, as a fraction of its channel's range.

        Returns:
            The attacked inputs, float32.
        """
        return self._attack(arrays, epsilon, steps=1, size=epsilon, seed=None)

    def pgd(self, arrays: Arrays, epsilon: float, *, steps: int = STEPS, seed: int = 0) -> np.ndarray:
        """Steps of 2.5 * epsilon / steps along the gradient's sign, each put back within epsilon and within the range.

        Projected gradient descent from a random start (Madry et al. 2017, arXiv 1706.06083).

        Args:
            arrays: examples.
            epsilon: as for `fgsm`.
            steps: how many.
            seed: of the random start.

        Raises:
            UsageError: no steps.
        """
        if steps < 1:
            raise UsageError(f"`steps` of an attack must be at least 1. Received: {steps}.", "Take 10.")
        return self._attack(arrays, epsilon, steps=steps, size=2.5 * epsilon / steps, seed=seed)

    def _attack(self, arrays: Arrays, epsilon: float, *, steps: int, size: float, seed: int | None) -> np.ndarray:
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
                self._signs(tf.constant(x[at : at + BATCH]), _piece(arrays.y, at)).numpy()
                for at in range(0, len(x), BATCH)
            ]
            x = np.clip(x + np.float32(size) * scale * np.concatenate(signs), bottom, top)
        return x

    def load(self, weights: Mapping[str, np.ndarray]) -> None:
        """Let the model hold these weights."""
        set_weights(self.model, weights)


def _piece(tree: Any, start: int) -> Any:
    return keras.tree.map_structure(lambda array: tf.constant(array[start : start + BATCH]), tree)
