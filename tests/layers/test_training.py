"""Pruned weights stay exactly 0.0 under every kind of optimizer, in `fit` and in custom loops."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import optimizers

import tf_lottery.layers as layers
from toys import stored_value

OPTIMIZERS = {
    "sgd_momentum": lambda: optimizers.SGD(0.05, momentum=0.9),
    "sgd_nesterov": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: optimizers.Adam(0.01),
    "amsgrad": lambda: optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda: optimizers.AdamW(0.01, weight_decay=0.1),
    "lion": lambda: optimizers.Lion(0.01, weight_decay=0.1),
    "rmsprop": lambda: optimizers.RMSprop(0.01, centered=True, momentum=0.9),
    "adafactor": lambda: optimizers.Adafactor(0.01),
    "nadam": lambda: optimizers.Nadam(0.01),
    "adagrad": lambda: optimizers.Adagrad(0.05),
    "adadelta": lambda: optimizers.Adadelta(1.0),
    "adamax": lambda: optimizers.Adamax(0.01),
    "ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=0.001),
    "ema": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2),
    "accumulation": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "global_clipnorm": lambda: optimizers.SGD(0.1, momentum=0.9, global_clipnorm=0.1),
    "clipnorm": lambda: optimizers.SGD(0.1, clipnorm=0.1),
    "clipvalue": lambda: optimizers.Adam(0.01, clipvalue=0.01),
    "loss_scale": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01)),
}
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(12, 4)).astype("float32")
Y = RANDOM.normal(size=(12, 2)).astype("float32")


def make(policy=None, seed=0):
    keras.utils.set_random_seed(seed)
    return keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6, activation="tanh", kernel_regularizer="l2", dtype=policy),
            keras.layers.BatchNormalization(dtype=policy),
            keras.layers.Dense(5, activation="relu", kernel_constraint="max_norm", dtype=policy),
            keras.layers.Dense(2, dtype="float32"),
        ]
    )


def pruned_at_half(model, random_masks):
    wrapped = layers.wrap(model)
    masks = random_masks(layers.get_masks(wrapped))
    layers.set_masks(wrapped, masks)
    return wrapped, masks


def stored(model):
    """What is stored, not what is read: reading masks it."""
    return {path: stored_value(v) for path, v in layers.named_variables(model).items()}


def assert_zero(weights, masks):
    for path, mask in masks.items():
        gone = weights[path][~mask]
        assert gone.tobytes() == bytes(gone.nbytes), path  # 0.0, not even -0.0
        assert np.count_nonzero(weights[path][mask]), path


def assert_trained(before, after, masks):
    assert all((before[path][mask] != after[path][mask]).any() for path, mask in masks.items())
    assert all(np.isfinite(weight).all() for weight in after.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_stored_weights_stay_zero_in_fit(name, random_masks):
    model, masks = pruned_at_half(make(), random_masks)
    before = stored(model)
    model.compile(OPTIMIZERS[name](), "mse", jit_compile=False, run_eagerly=False)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert_zero(stored(model), masks)
    assert_trained(before, stored(model), masks)


@pytest.mark.parametrize("name", ["sgd_nesterov", "adamw", "lion", "rmsprop", "ema"])
def test_stored_weights_stay_zero_in_fit_with_xla(name, random_masks):
    model, masks = pruned_at_half(make(), random_masks)
    before = stored(model)
    model.compile(OPTIMIZERS[name](), "mse", jit_compile=True)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert_zero(stored(model), masks)
    assert_trained(before, stored(model), masks)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("jit", [False, True])
def test_stored_weights_stay_zero_in_mixed_precision(policy, jit, random_masks):
    model, masks = pruned_at_half(make(policy), random_masks)
    before = stored(model)
    assert model.layers[0].layer.compute_dtype == policy.removeprefix("mixed_")
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1)
    if policy == "mixed_float16":
        optimizer = optimizers.LossScaleOptimizer(optimizer)
    model.compile(optimizer, "mse", jit_compile=jit)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert_zero(stored(model), masks)
    assert_trained(before, stored(model), masks)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "bfloat16", "float64"])
def test_a_whole_model_under_a_policy_computes_the_same(policy, random_masks):
    old = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        plain = make()
        wrapped, masks = pruned_at_half(plain, random_masks)
        layers.set_weights(plain, {path: layers.get_weights(wrapped)[path] for path in masks})
        for training in (False, True):
            np.testing.assert_array_equal(plain(X, training=training), wrapped(X, training=training))
        first, second = stored(plain), stored(wrapped)
        assert all(first[path].dtype == second[path].dtype for path in first)
        for path in first:
            np.testing.assert_array_equal(first[path], second[path])
    finally:
        keras.config.set_dtype_policy(old)


@pytest.mark.parametrize("jit", [False, True])
def test_stored_weights_stay_zero_in_a_custom_loop(jit, random_masks):
    model, masks = pruned_at_half(make(), random_masks)
    optimizer = optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.build(model.trainable_variables)

    @tf.function(jit_compile=jit)
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean((model(x, training=True) - y) ** 2) + sum(model.losses)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
        return loss

    losses = [float(step(tf.constant(X), tf.constant(Y))) for _ in range(20)]
    assert losses[-1] < losses[0]
    assert_zero(stored(model), masks)


def test_pruned_weights_do_not_count_in_the_gradient_norm(random_masks):
    model, masks = pruned_at_half(make(), random_masks)
    for path, mask in masks.items():  # a foreign optimizer moved them
        variable = layers.named_variables(model)[path]
        variable.assign(np.where(mask, variable.value, 5.0))
    with tf.GradientTape() as tape:
        loss = keras.ops.mean((model(X, training=True) - Y) ** 2) + sum(model.losses)
    named = {path: v for path, v in layers.named_variables(model).items() if path in masks}
    for (path, _), gradient in zip(named.items(), tape.gradient(loss, [v.value for v in named.values()]), strict=True):
        assert not np.array(gradient)[~masks[path]].any()


@pytest.mark.parametrize("name", ["sgd_momentum", "adam", "ema", "muon"])
def test_a_trained_optimizer_keeps_pruned_weights_at_zero(name, random_masks, tmp_path):
    model = layers.wrap(make())
    # Muon turns the whole update of a kernel, so it moves stored pruned weights even with fresh slots.
    model.compile({**OPTIMIZERS, "muon": lambda: optimizers.Muon(0.01)}[name](), "mse", jit_compile=False)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    masks = random_masks(layers.get_masks(model))
    layers.set_masks(model, masks)
    model.fit(X, Y, batch_size=4, epochs=1, verbose=0)
    moved = stored(model)
    assert any(moved[path][~mask].any() for path, mask in masks.items())  # else this test shows nothing
    outputs = model(X)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert_zero(stored(loaded), masks)
    stripped = layers.strip(model)
    assert_zero(stored(stripped), masks)
    assert_zero(layers.get_weights(model), masks)
    for other in (loaded, stripped, model):
        np.testing.assert_array_equal(outputs, other(X))


def test_new_masks_do_not_retrace(random_masks):
    model = layers.wrap(make())
    traces = []

    @tf.function
    def forward(x):
        traces.append(1)
        return model(x)

    dense = forward(tf.constant(X))
    layers.set_masks(model, random_masks(layers.get_masks(model)))
    assert not np.array_equal(dense, forward(tf.constant(X)))
    assert len(traces) == 1


def test_new_masks_do_not_retrace_keras_fit(random_masks):
    traces = []

    class Counting(keras.losses.Loss):
        def call(self, y_true, y_pred):
            traces.append(1)
            return keras.ops.mean((y_true - y_pred) ** 2, axis=-1)

    model = layers.wrap(make())
    model.compile("adam", Counting(), jit_compile=True)
    model.fit(X, Y, batch_size=4, verbose=0)
    first = len(traces)
    for seed in range(3):
        masks = random_masks(layers.get_masks(model), seed=seed)
        layers.set_masks(model, masks)
        model.fit(X, Y, batch_size=4, verbose=0)
    assert len(traces) == first


def test_masked_training_equals_training_by_zeroed_gradients(random_masks):
    # Masking by the model is the same as the by-hand loop that zeroes weights and gradients.
    plain = make()
    model, masks = pruned_at_half(plain, random_masks)
    layers.set_weights(plain, layers.get_weights(model))
    pair = [optimizers.AdamW(0.01, weight_decay=0.1, global_clipnorm=0.5) for _ in range(2)]
    paths = {id(v): path for path, v in layers.named_variables(plain).items()}
    for _ in range(5):
        for form, optimizer in zip((plain, model), pair, strict=True):
            with tf.GradientTape() as tape:
                loss = keras.ops.mean((form(X, training=True) - Y) ** 2) + sum(form.losses)
            variables = form.trainable_variables
            gradients = tape.gradient(loss, [v.value for v in variables])
            if form is plain:
                keep = [masks.get(paths[id(v)], 1.0) for v in variables]
                gradients = [tf.where(tf.cast(k, bool), g, 0.0) for k, g in zip(keep, gradients, strict=True)]
            optimizer.apply(gradients, variables)
    first, second = stored(plain), stored(model)
    for path in first:
        np.testing.assert_allclose(first[path], second[path], rtol=1e-5, atol=1e-6, err_msg=path)


def test_a_frozen_layer_stays_frozen_and_is_masked(random_masks):
    plain = make()
    plain.layers[0].trainable = False
    model, masks = pruned_at_half(plain, random_masks)
    before = stored(model)
    assert len(model.trainable_variables) == len(plain.trainable_variables)
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, Y, batch_size=4, verbose=0)
    np.testing.assert_array_equal(before["dense/kernel"], stored(model)["dense/kernel"])
    assert not before["dense/kernel"][~masks["dense/kernel"]].any()
    assert [v.trainable for v in layers.strip(model).weights] == [v.trainable for v in plain.weights]


def test_fit_trains_the_copy_only():
    plain = make()
    before = stored(plain)
    model = layers.wrap(plain)
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, Y, batch_size=4, verbose=0)
    for path, weight in stored(plain).items():
        np.testing.assert_array_equal(before[path], weight)
    assert not np.array_equal(stored(model)["dense/kernel"], before["dense/kernel"])


def test_in_place_shares_the_weights(random_masks):
    plain = make()
    model = layers.wrap(plain, in_place=True)
    first, second = layers.named_variables(plain), layers.named_variables(model)
    assert all(first[path] is second[path] for path in first)
    masks = random_masks(layers.get_masks(model))
    layers.set_masks(model, masks)
    model.compile("adam", "mse", jit_compile=False)
    model.fit(X, Y, batch_size=4, verbose=0)
    assert_zero(stored(plain), masks)
    np.testing.assert_array_equal(plain(X), model(X))
