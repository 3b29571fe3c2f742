"""Batch-norm statistics estimated from data, against a direct computation in NumPy."""

import keras
import numpy as np
import pytest

from tf_lottery.layers import get_weights, named_variables, wrap
from tf_lottery.studies.calculations.batch_norm_statistics import batch_norm_layers, reestimate_statistics

EPSILON = 1e-3


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    kinds = [
        keras.layers.Dense(5, use_bias=False),
        keras.layers.BatchNormalization(momentum=0.9),
        keras.layers.ReLU(),
        keras.layers.Dropout(0.5),
        keras.layers.GaussianNoise(1.0),
    ]
    kinds += [keras.layers.Dense(4, use_bias=False), keras.layers.BatchNormalization(), keras.layers.Dense(2)]
    return wrap(keras.Sequential([keras.Input((3,)), *kinds]))


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(2.0, 3.0, size=(60, 3)).astype("float32")


def test_one_batch_is_the_direct_computation_layer_after_layer(model, x):
    weights = get_weights(model)
    reestimate_statistics(model, x)
    actual = get_weights(model)
    before = x @ weights["dense/kernel"]
    mean, variance = before.mean(0), before.var(0)
    np.testing.assert_allclose(actual["batch_normalization/moving_mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual["batch_normalization/moving_variance"], variance, rtol=1e-4)
    after = np.maximum((before - mean) / np.sqrt(variance + EPSILON), 0.0) @ weights["dense_1/kernel"]
    np.testing.assert_allclose(actual["batch_normalization_1/moving_mean"], after.mean(0), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(actual["batch_normalization_1/moving_variance"], after.var(0), rtol=1e-3)


def test_batches_give_the_first_layer_the_statistics_of_all_examples(model, x):
    reestimate_statistics(model, x, batch_size=20)
    actual, before = get_weights(model), x @ get_weights(model)["dense/kernel"]
    np.testing.assert_allclose(actual["batch_normalization/moving_mean"], before.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(actual["batch_normalization/moving_variance"], before.var(0), rtol=1e-4)


def values(model):
    return {path: np.array(variable.value) for path, variable in named_variables(model).items()}


def test_nothing_else_is_changed(model, x):
    settings = [(layer.momentum, layer.epsilon) for layer in batch_norm_layers(model)]
    before = values(model)
    reestimate_statistics(model, x)
    assert settings == [(layer.momentum, layer.epsilon) for layer in batch_norm_layers(model)]
    changed = {
        path for path, v in named_variables(model).items() if not np.array_equal(np.array(v.value), before[path])
    }
    assert changed <= {path for path in before if "moving" in path}
    assert np.any(np.array(model(x[:5], training=True)) != np.array(model(x[:5], training=True)))  # Dropout drops again


def test_the_result_does_not_depend_on_the_statistics_before(model, x):
    reestimate_statistics(model, x)
    first = get_weights(model)
    for layer in batch_norm_layers(model):
        layer.moving_mean.assign(layer.moving_mean + 5.0)
        layer.moving_variance.assign(layer.moving_variance * 7.0)
    reestimate_statistics(model, x)
    assert all(np.array_equal(value, first[path]) for path, value in get_weights(model).items() if "moving" in path)


def test_frozen_layers_and_models_without_stay_as_they_are(model, x):
    for layer in batch_norm_layers(model):
        layer.trainable = False
    try:
        before = get_weights(model)
        reestimate_statistics(model, x * 2)
        assert all(np.array_equal(value, before[path]) for path, value in get_weights(model).items())
    finally:
        for layer in batch_norm_layers(model):
            layer.trainable = True
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    reestimate_statistics(plain, x)
    assert batch_norm_layers(plain) == []
