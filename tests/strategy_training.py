"""Trains a small model by one device and by two parts of the processor, and prints what came of it as JSON.

A process has one strategy, and its devices are made before TensorFlow computes anything: so tests run this as a script.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import LotteryError
from tf_lottery.layers import get_weights
from tf_lottery.training.batches import Batch
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.replicas import Replicas
from tf_lottery.training.replicated_engine import ReplicatedEngine
from tf_lottery.training.running_state import capture_running, restore_running

CPU = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(CPU, [tf.config.LogicalDeviceConfiguration()] * 2)
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(203, 6, 6, 1)).astype("float32"), rng.integers(0, 3, 203)
DATA = Batch(tf.constant(X), tf.constant(Y))
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
ORDER = Order(len(X), 20, seed=1)


def make(dropout: float = 0.0, *, synchronized: bool = True) -> keras.Model:
    """Return a small network with all that replicas may do otherwise: batch statistics, a penalty, random numbers."""
    layers = keras.layers
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.BatchNormalization(synchronized=synchronized),
            layers.ReLU(),
            layers.Flatten(),
            layers.Dropout(dropout),
            layers.Dense(8, "relu", kernel_regularizer="l2"),
            layers.Dense(3),
        ]
    )


def shifted(images: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Return images with another random number added to each."""
    return images + tf.random.stateless_uniform((tf.shape(images)[0], 1, 1, 1), seeds)


def make_engine(strategy, model, **settings):
    """Return a training engine for a model that half of the first weights are pruned of."""
    settings = {"loss": LOSS, "metrics": ["accuracy"], **settings}
    if strategy is None:
        wrapped = tfl.wrap(model)
        engine = Engine(wrapped, optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1), xla="off", **settings)
    else:
        with strategy.scope():
            wrapped, optimizer = tfl.wrap(model), keras.optimizers.AdamW(1e-2, weight_decay=0.1)
        engine = ReplicatedEngine(wrapped, Replicas(strategy), optimizer=optimizer, **settings)
    masks = tfl.get_masks(wrapped)
    masks["conv2d/kernel"].flat[::2] = False
    tfl.set_masks(wrapped, masks)
    engine.prepare(Batch(DATA.x[:2], DATA.y[:2]))
    return engine


def trained(engine, *, stop: int = 100, resume_at: int | None = None):
    """Return weights and results after some steps; the state may be captured and put back on the way."""
    for start in range(0, stop, 25):
        engine.run(DATA, ORDER, start=start, stop=min(start + 25, stop), augment_seed=7)
        if start + 25 == resume_at:
            state = capture_running(engine)
            engine.run(DATA, ORDER, start=start + 25, stop=start + 50, augment_seed=7)  # undone
            restore_running(engine, state)
    return get_weights(engine.model), {**engine.results(), **{f"val_{k}": v for k, v in engine.evaluate(DATA).items()}}


def largest_difference(first, second) -> float:
    """Return the largest difference of two dictionaries of arrays, relative to the largest value of each array."""
    return max(float(np.abs(first[k] - second[k]).max() / max(np.abs(first[k]).max(), 1e-9)) for k in first)


def values_by_replica(engine) -> dict[str, list]:
    """Return the weights that each replica has."""
    return {v.path: [local.numpy() for local in v.value.values] for v in engine.model.variables}


def draws(strategy, rate: float = 0.5) -> list[list[list[float]]]:
    """Return what dropout leaves of ones in two steps, for each replica, twice from one state."""
    from tf_lottery.training.replica_layers import draw_by_replica

    with strategy.scope():
        model = keras.Sequential([keras.Input((64,)), keras.layers.Dropout(rate, seed=3)])
    draw_by_replica(model)
    state = model.layers[0].seed_generator.state
    begin = state.numpy()
    step = tf.function(lambda: strategy.run(lambda: model(tf.ones((1, 64)), training=True)))
    of_both = []
    for _ in range(2):
        state.assign(begin)
        of_both.append([[v.numpy().ravel().tolist() for v in step().values] for _ in range(2)])
    return of_both


def refused(**settings) -> str:
    """Return the error of a call of `find_ticket`, and nothing where there is none."""
    call = {"rounds": 1, "steps": 4, "batch_size": 20, "loss": LOSS, "verbose": 0, **settings}
    try:
        tfl.find_ticket(call.pop("model", make()), X, Y, **call)
    except LotteryError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def short(strategy) -> dict:
    """Return what shows in seconds: one training of 100 steps each, random draws, and what is refused."""
    one, one_results = trained(make_engine(None, make(), augment=shifted))
    two, two_results = trained(make_engine(strategy, make(), augment=shifted))
    stateful = keras.Sequential(
        [keras.Input(batch_shape=(20, 6, 6)), keras.layers.LSTM(3, stateful=True), keras.layers.Dense(3)]
    )
    return {
        "difference": largest_difference(one, two),
        "results": [one_results, two_results],
        "pruned": int(np.count_nonzero(two["conv2d/kernel"].flat[::2])),
        "draws": draws(strategy),
        "batch": refused(strategy=strategy, batch_size=15),
        "stateful": refused(strategy=strategy, model=stateful),
        "other": refused(strategy=tf.distribute.OneDeviceStrategy("CPU:0")),
        "unknown": refused(strategy="mirror"),
    }


def long(strategy, folder: Path) -> dict:
    """Return what takes several trainings and runs."""
    resumed, resumed_results = trained(make_engine(strategy, make(0.5)), resume_at=50)
    whole, whole_results = trained(make_engine(strategy, make(0.5)))
    engine = make_engine(strategy, make(synchronized=False))
    trained(engine, stop=25)
    call = {"rounds": 3, "rate": 0.3, "steps": 20, "batch_size": 20, "loss": LOSS, "verbose": 0, "optimizer": "adam"}
    call |= {"metrics": ["accuracy"], "jit_compile": False, "sparse": "off", "criterion": "snip", "scope": "global"}
    plain, mirrored = (tfl.find_ticket(make(), X, Y, strategy=s, **call) for s in (None, strategy))
    call |= {"run_dir": folder / "run", "strategy": "mirrored"}
    tfl.find_ticket(make(), X, Y, **{**call, "rounds": 1})
    extended = tfl.find_ticket(make(), X, Y, **call).ticket(3).trained_weights
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(20, drop_remainder=True)
    call = {"rounds": 0, "steps": 20, "loss": LOSS, "verbose": 0, "validation_data": (X, Y), "jit_compile": False}
    of_stream = [tfl.find_ticket(make(), stream, strategy=s, **call).rows[0] for s in (None, strategy)]
    return {
        "replicas_equal": all(np.array_equal(*values) for values in values_by_replica(engine).values()),
        "resumed_equal": all(np.array_equal(whole[key], resumed[key]) for key in whole),
        "resumed_results": [whole_results, resumed_results],
        "masks_differ": [
            sum(int((a != mirrored.ticket(k).masks[p]).sum()) for p, a in plain.ticket(k).masks.items())
            for k in range(4)
        ],
        "kept": [row["weights_kept"] for row in mirrored.rows],
        "extended_equal": all(np.array_equal(a, extended[p]) for p, a in mirrored.ticket(3).trained_weights.items()),
        "of_stream": [[row["train_loss"], row["val_loss"]] for row in of_stream],
    }


if __name__ == "__main__":
    mirrored = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    print(json.dumps(short(mirrored) if len(sys.argv) == 1 else long(mirrored, Path(sys.argv[1]))))
