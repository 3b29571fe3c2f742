"""This library's engine, used as an experiment uses it: chunks of steps on data in memory."""

from collections.abc import Callable

import keras
import tensorflow as tf
from workload import ORDER_SEED, Workload

from tf_lottery.layers import set_masks, set_weights, wrap
from tf_lottery.models.building import build
from tf_lottery.training.batches import Batch, map_tensors
from tf_lottery.training.engine import CHUNK_CAPACITY, Engine
from tf_lottery.training.order import Order
from tf_lottery.training.state import capture_state, restore_state


def masked_net(workload: Workload) -> keras.Model:
    """The wrapped net with the workload's weights and masks."""
    plain = build(workload.model, input_shape=workload.x.shape[1:], classes=10)
    model = wrap(plain)
    set_weights(model, workload.weights)
    set_masks(model, workload.masks)
    return model


class EngineContender:
    """`tf_lottery.training.engine.Engine` with its own choice of XLA."""

    def __init__(self, workload: Workload) -> None:
        self.steps = workload.steps
        self.engine = Engine(
            masked_net(workload),
            optimizer=keras.optimizers.Adam(workload.learning_rate),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        self.data = Batch(tf.constant(workload.x), tf.constant(workload.y))
        self.validation = Batch(tf.constant(workload.val_x), tf.constant(workload.val_y))
        self.engine.prepare(map_tensors(lambda tensor: tensor[:2], self.data))
        self.order = Order(len(workload.x), workload.batch, ORDER_SEED)
        self.initial = capture_state(self.engine.variables())

    def reset(self) -> None:
        restore_state(self.engine.variables(), self.initial)

    def train(self, stop_clock: Callable[[], None]) -> None:
        step = 0
        while step < self.steps:
            stop = min(self.steps, step + min(self.engine.chunk_size(), CHUNK_CAPACITY))
            self.engine.run(self.data, self.order, start=step, stop=stop)
            step = stop
        stop_clock()

    def loss(self) -> float:
        return self.engine.evaluate(self.validation)["loss"]

    def details(self) -> dict[str, object]:
        return {"xla": self.engine.xla, "traces": dict(self.engine.traces)}
