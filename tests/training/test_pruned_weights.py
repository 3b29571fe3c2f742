"""Pruned weights are exactly 0.0 after training, whatever the optimizer does to what it holds."""

import keras
import numpy as np
import pytest

from kernel_settings import skip_without_kernels, with_kernels
from tf_lottery.data import Arrays
from tf_lottery.experiment.options import OPTIMIZERS
from tf_lottery.layers import get_masks, get_weights, named_variables, set_masks, wrap
from tf_lottery.training.batches import on_device
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.state import apply_masks_to_state, capture_state, restore_state, slots_of

L = keras.layers
K = keras.optimizers
SETTINGS = {
    "sgd with momentum": lambda: K.SGD(0.05, momentum=0.9),
    "adam": lambda: K.Adam(0.01),
    "adamw with decay": lambda: K.AdamW(0.01, weight_decay=0.1),
    "lion with decay": lambda: K.Lion(0.002, weight_decay=0.1),
    "rmsprop with momentum": lambda: K.RMSprop(0.005, momentum=0.5, centered=True),
    "averages": lambda: K.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "averages that overwrite": lambda: K.SGD(
        0.05, momentum=0.9, use_ema=True, ema_momentum=0.9, ema_overwrite_frequency=3
    ),
    "clipping": lambda: K.SGD(0.05, momentum=0.9, global_clipnorm=0.1),
    "accumulation": lambda: K.Adam(0.01, gradient_accumulation_steps=2),
    "float16": lambda: K.SGD(0.05, momentum=0.9),
    "bfloat16": lambda: K.AdamW(0.01, weight_decay=0.1),
}
HALF = ("float16", "bfloat16")  # the kernels compute in float32


def engine_with(optimizer, *, xla="off", dtype="float32", sparse="off"):
    keras.utils.set_random_seed(4)
    layers = [L.Dense(8, activation="relu", dtype=dtype), L.BatchNormalization(dtype=dtype), L.Dense(3, dtype=dtype)]
    model = wrap(keras.Sequential([keras.Input((5,)), *layers]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    generator = np.random.default_rng(0)
    batch = on_device(Arrays(generator.normal(size=(48, 5)).astype("float32"), generator.integers(0, 3, 48)))
    engine = Engine(model, optimizer=optimizer, loss=loss, xla=xla, sparse=sparse)
    engine.prepare(batch)
    return engine, batch


def half(model):
    generator = np.random.default_rng(1)
    return {key: generator.random(mask.shape) < 0.5 for key, mask in get_masks(model).items()}


def assert_zero_where_pruned(values, masks):
    for path, mask in masks.items():
        assert not np.any(np.asarray(values[path])[~mask]), path
        assert np.all(np.asarray(values[path])[mask] != 0), path


@pytest.mark.parametrize("xla", ["on", "off"])
@pytest.mark.parametrize(("name", "sparse"), with_kernels(SETTINGS, dense_only=HALF))
def test_no_pruned_weight_comes_back(name, xla, sparse):
    skip_without_kernels(sparse)
    dtype = f"mixed_{name}" if name.endswith("float16") else "float32"
    engine, batch = engine_with(SETTINGS[name](), xla=xla, dtype=dtype, sparse=sparse)
    order = Order(48, 12, seed=0)
    engine.run(batch, order, start=0, stop=6)  # dense, so that every slot of the optimizer is filled
    masks = half(engine.model)

    slots = slots_of(engine.optimizer, engine.model)
    state = apply_masks_to_state(capture_state(engine.variables()), masks, slots)
    set_masks(engine.model, masks)
    restore_state(engine.variables(), state)
    engine.run(batch, order, start=6, stop=13)
    assert_zero_where_pruned(named_variables(engine.model), masks)  # the stored weights, without help
    engine.finish()
    assert_zero_where_pruned(named_variables(engine.model), masks)
    after = capture_state(engine.variables())
    for key, path in slots.items():
        if path in masks:
            assert not after[key][~masks[path]].any(), f"{key} of {path}"


FULL = ["sgd with momentum", "adamw with decay", "averages"]


@pytest.mark.parametrize(("name", "sparse"), with_kernels(FULL, normal=["adamw with decay"]))
def test_full_slots_can_not_bring_a_pruned_weight_back(name, sparse):
    skip_without_kernels(sparse)
    engine, batch = engine_with(SETTINGS[name](), sparse=sparse)
    engine.run(batch, Order(48, 12, seed=0), start=0, stop=6)
    masks = half(engine.model)
    set_masks(engine.model, masks)  # the slots still hold what the dense training left
    engine.run(batch, Order(48, 12, seed=0), start=6, stop=13)
    assert_zero_where_pruned(get_weights(engine.model), masks)
    engine.run(batch, Order(48, 12, seed=0), start=13, stop=14)
    engine.finish()
    assert_zero_where_pruned(named_variables(engine.model), masks)


@pytest.mark.parametrize(("name", "sparse"), with_kernels(OPTIMIZERS))
def test_every_optimizer_of_a_configuration_stays_finite_on_masked_slots(name, sparse):
    skip_without_kernels(sparse)
    engine, batch = engine_with(K.get(name), sparse=sparse)
    engine.run(batch, Order(48, 12, seed=0), start=0, stop=3)
    masks = half(engine.model)
    slots = slots_of(engine.optimizer, engine.model)
    trainable = {path for path, variable in named_variables(engine.model).items() if variable.trainable}
    assert set(slots.values()) == (set() if name in ("sgd", "adagrad") else trainable)
    state = apply_masks_to_state(capture_state(engine.variables()), masks, slots)
    set_masks(engine.model, masks)
    restore_state(engine.variables(), state)
    engine.run(batch, Order(48, 12, seed=0), start=3, stop=6)
    stored = capture_state(engine.variables())
    assert all(np.isfinite(value).all() for value in stored.values())
    assert all(not stored[f"model/{path}"][~mask].any() for path, mask in masks.items())
