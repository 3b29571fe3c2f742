"""The limit: a loop written by hand in TensorFlow, with no layers, no optimizer object and no metric object.

Raw tensors carry the state from step to step. It does what the engine does: gathers the batch, masks the weights,
trains with Adam, and keeps a running loss and accuracy. XLA compiles it where the net has no convolutions.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf
from workload import KINDS, Workload

CHUNK = 500
BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-7


class BareLoop:
    """The hand-written loop over one workload."""

    def __init__(self, workload: Workload) -> None:
        self.xla = not KINDS[workload.model].convolutional
        self.rate, self.steps = workload.learning_rate, workload.steps
        self.order = np.asarray(workload.order)
        self.data = tf.constant(workload.x), tf.constant(workload.y)
        self.validation = tf.constant(workload.val_x), tf.constant(workload.val_y)
        self.initial = list(workload.weights.values())
        self.variables = [tf.Variable(value) for value in self.initial]
        self.masks = [
            tf.Variable(workload.masks[path], trainable=False) if path in workload.masks else None
            for path in workload.weights
        ]
        self.first = [tf.Variable(tf.zeros_like(value)) for value in self.initial]
        self.second = [tf.Variable(tf.zeros_like(value)) for value in self.initial]
        self.running = [tf.Variable(0.0), tf.Variable(0.0)]
        self._chunk = tf.function(self._train, jit_compile=self.xla, autograph=False)
        self._validate = tf.function(self._mean_loss, jit_compile=self.xla, autograph=False)

    def reset(self) -> None:
        for variable, value in zip(self.variables, self.initial, strict=True):
            variable.assign(value)
        for variable in (*self.first, *self.second, *self.running):
            variable.assign(tf.zeros_like(variable))

    def train(self, stop_clock: Callable[[], None]) -> None:
        for start in range(0, self.steps, CHUNK):
            count = min(CHUNK, self.steps - start)
            indices = np.zeros((CHUNK, self.order.shape[1]), np.int32)
            indices[:count] = self.order[start : start + count]
            self._chunk(*self.data, tf.constant(indices), tf.constant(start), tf.constant(count))
            if not np.isfinite(self.running[0].numpy()):
                raise ArithmeticError(f"The loss of the bare loop is {self.running[0].numpy()}.")
        stop_clock()

    def loss(self) -> float:
        return float(self._validate(*self.validation))

    def details(self) -> dict[str, object]:
        return {"xla": self.xla, "train_accuracy": float(self.running[1]) / self.order.size}

    def _train(self, x: tf.Tensor, y: tf.Tensor, indices: tf.Tensor, start: tf.Tensor, count: tf.Tensor) -> None:
        state = [self.variables, self.first, self.second, self.running]
        masks = [mask if mask is None else mask.read_value() for mask in self.masks]

        def body(step: tf.Tensor, *values: list[tf.Tensor]) -> tuple[tf.Tensor | list[tf.Tensor], ...]:
            weights, first, second, (loss_sum, correct) = values
            images, labels = tf.gather(x, indices[step]), tf.gather(y, indices[step])
            with tf.GradientTape() as tape:
                tape.watch(weights)
                logits = _forward(images, weights, masks)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            gradients = tape.gradient(loss, weights)
            now = tf.cast(start + step + 1, tf.float32)
            alpha = self.rate * tf.sqrt(1 - tf.pow(BETA_2, now)) / (1 - tf.pow(BETA_1, now))
            first = [m + (g - m) * (1 - BETA_1) for m, g in zip(first, gradients, strict=True)]
            second = [v + (tf.square(g) - v) * (1 - BETA_2) for v, g in zip(second, gradients, strict=True)]
            weights = [w - m * alpha / (tf.sqrt(v) + EPSILON) for w, m, v in zip(weights, first, second, strict=True)]
            hits = tf.equal(tf.argmax(logits, -1, tf.int32), labels)
            running = [loss_sum + loss, correct + tf.reduce_sum(tf.cast(hits, tf.float32))]
            return step + 1, weights, first, second, running

        values = tf.while_loop(
            lambda step, *_: step < count,
            body,
            [tf.constant(0), *([variable.read_value() for variable in group] for group in state)],
            parallel_iterations=1,
        )
        for group, new in zip(state, values[1:], strict=True):
            for variable, value in zip(group, new, strict=True):
                variable.assign(value)

    def _mean_loss(self, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        masks = [mask if mask is None else mask.read_value() for mask in self.masks]
        logits = _forward(x, [variable.read_value() for variable in self.variables], masks)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y, logits))


def _forward(x: tf.Tensor, weights: list[tf.Tensor], masks: list[tf.Tensor | None]) -> tf.Tensor:
    """The net's logits: convolutions in pairs before a pooling, then dense layers; kernels and biases alternate."""
    effective = [w if mask is None else tf.where(mask, w, 0.0) for w, mask in zip(weights, masks, strict=True)]
    pairs = list(zip(effective[::2], effective[1::2], strict=True))
    for number, (kernel, bias) in enumerate(pairs, start=1):
        if kernel.shape.rank == 4:
            x = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(x, kernel, 1, "SAME"), bias))
            x = tf.nn.max_pool2d(x, 2, 2, "VALID") if number % 2 == 0 else x
            continue
        x = tf.reshape(x, [-1, kernel.shape[0]])
        x = tf.nn.bias_add(tf.matmul(x, kernel), bias)
        x = tf.nn.relu(x) if number < len(pairs) else x
    return x
