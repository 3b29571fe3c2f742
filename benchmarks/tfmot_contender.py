"""tfmot's `prune_low_magnitude` in `fit`, as its users run it, on tf_keras, which it needs."""

import os
from collections.abc import Callable

# tfmot sets this when it is imported; TensorFlow must see it from the start.
os.environ["TF_USE_LEGACY_KERAS"] = "1"

import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
from workload import KINDS, Workload


class TfmotContender:
    """A net of tf_keras that tfmot holds at the workload's sparsity.

    `ConstantSparsity` chooses masks anew every 100 steps, for the first time in step 100, however early it is set to
    begin. So that no step trains a dense net, the workload's masks, by magnitude too, are there from the start.
    """

    def __init__(self, workload: Workload) -> None:
        net = _net(workload)
        net.set_weights([value * workload.masks.get(path, True) for path, value in workload.weights.items()])
        density = sum(mask.sum() for mask in workload.masks.values()) / sum(m.size for m in workload.masks.values())
        schedule = tfmot.sparsity.keras.ConstantSparsity(1 - float(density), begin_step=0)
        self.model = tfmot.sparsity.keras.prune_low_magnitude(net, pruning_schedule=schedule)
        holders = [mask for layer in self.model.layers for _, mask, _ in getattr(layer, "pruning_vars", ())]
        for holder, mask in zip(holders, workload.masks.values(), strict=True):
            holder.assign(mask)
        self.optimizer = tf_keras.optimizers.Adam(workload.learning_rate)
        self.model.compile(
            optimizer=self.optimizer,
            loss=tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self.optimizer.build(self.model.trainable_variables)
        self.batch = workload.batch
        self.x, self.y = workload.ordered()
        self.validation = np.asarray(workload.val_x), np.asarray(workload.val_y)
        self.variables = [*self.model.variables, *self.optimizer.variables]
        self.initial = [variable.numpy() for variable in self.variables]

    def reset(self) -> None:
        for variable, value in zip(self.variables, self.initial, strict=True):
            variable.assign(value)

    def train(self, stop_clock: Callable[[], None]) -> None:
        end = tf_keras.callbacks.LambdaCallback(on_train_end=lambda logs: stop_clock())
        self.model.fit(
            self.x,
            self.y,
            batch_size=self.batch,
            epochs=1,
            shuffle=False,
            verbose=0,
            callbacks=[tfmot.sparsity.keras.UpdatePruningStep(), end],
        )

    def loss(self) -> float:
        return self.model.evaluate(*self.validation, batch_size=200, verbose=0, return_dict=True)["loss"]

    def details(self) -> dict[str, object]:
        kernels = [w for w in self.model.trainable_variables if w.name.split(":")[0].endswith("kernel")]
        kept = sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels)
        return {
            "xla": bool(self.model.jit_compile),
            "density": kept / sum(int(np.prod(kernel.shape)) for kernel in kernels),
        }


def _net(workload: Workload) -> tf_keras.Model:
    layers = tf_keras.layers
    stack = [layers.InputLayer(workload.x.shape[1:])]
    kernels = [value for path, value in workload.weights.items() if path.endswith("kernel")]
    for number, kernel in enumerate(kernels, start=1):
        activation = "relu" if number < len(kernels) else None
        if kernel.ndim == 4:
            stack.append(layers.Conv2D(kernel.shape[-1], 3, padding="same", activation=activation))
            if number % 2 == 0:
                stack.append(layers.MaxPooling2D(2))
            continue
        if not any(isinstance(layer, layers.Flatten) for layer in stack):
            stack.append(layers.Flatten())
        stack.append(layers.Dense(kernel.shape[-1], activation=activation))
    return tf_keras.Sequential(stack, name=f"{workload.model}_{KINDS[workload.model].dataset}")
