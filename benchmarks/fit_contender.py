"""Keras `fit`: on the wrapped net, plain or compiled by XLA, and on the plain net for reference."""

from collections.abc import Callable
from functools import partial

import keras
import numpy as np
from engine_contender import masked_net
from workload import Workload

from tf_lottery.layers import set_weights
from tf_lottery.models.building import build


class FitContender:
    """`model.fit` as a user calls it.

    Args:
        workload: what to train.
        masked: whether the net is wrapped.
        options: of `model.compile`; by default Keras chooses.
    """

    def __init__(self, workload: Workload, *, masked: bool, options: dict[str, object]) -> None:
        if masked:
            self.model = masked_net(workload)
        else:
            self.model = build(workload.model, input_shape=workload.x.shape[1:], classes=10)
            set_weights(self.model, workload.weights)
        self.optimizer = keras.optimizers.Adam(workload.learning_rate)
        self.optimizer.build(self.model.trainable_variables)
        self.model.compile(
            optimizer=self.optimizer,
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            **options,
        )
        self.batch, self.steps = workload.batch, workload.steps
        self.x, self.y = workload.ordered()
        self.validation = np.asarray(workload.val_x), np.asarray(workload.val_y)
        self.variables = [*self.model.variables, *self.optimizer.variables]
        self.initial = [np.array(variable) for variable in self.variables]

    def reset(self) -> None:
        for variable, value in zip(self.variables, self.initial, strict=True):
            variable.assign(value)

    def train(self, stop_clock: Callable[[], None]) -> None:
        # The batches lie in order: the same examples in every step as for all others.
        end = keras.callbacks.LambdaCallback(on_train_end=lambda logs: stop_clock())
        self.model.fit(self.x, self.y, batch_size=self.batch, epochs=1, shuffle=False, verbose=0, callbacks=[end])

    def loss(self) -> float:
        return self.model.evaluate(*self.validation, batch_size=200, verbose=0, return_dict=True)["loss"]

    def details(self) -> dict[str, object]:
        return {"xla": bool(self.model.jit_compile), "steps_per_execution": self.model.steps_per_execution}


XLA_OPTIONS: dict[str, object] = {"jit_compile": True, "steps_per_execution": 100}
fit = partial(FitContender, masked=True, options={})
fit_plain = partial(FitContender, masked=False, options={})
fit_xla = partial(FitContender, masked=True, options=XLA_OPTIONS)
