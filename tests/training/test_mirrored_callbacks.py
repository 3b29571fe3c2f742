"""Callbacks that change masks in `fit` under a distribution strategy: the same masks on every replica, exact counts."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_masks_hold_on_every_replica():
    # In a process of its own: logical devices must be set before TensorFlow starts.
    subprocess.run([sys.executable, "-c", MIRRORED], check=True, capture_output=True, text=True)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
import tf_lottery as tfl
from tf_lottery.layers.masked_variable import mask_of
from tf_lottery.layers.wrapping import masked_variables

L = keras.layers
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(64, 6)).astype("float32")
y = np.random.default_rng(1).normal(size=(64, 3)).astype("float32")
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
schedule = tfl.schedules.PolynomialDecay(0.0, 0.75, begin_step=2, end_step=10, frequency=4)
rewiring = {"sparsity": 0.5, "end_step": 12, "frequency": 3}


def make_callbacks():
    return {
        "gradual": tfl.callbacks.GradualPruning(schedule),
        "SET": tfl.callbacks.SET(**rewiring),
        "RigL": tfl.callbacks.RigL(x, y, **rewiring),
    }


def trained(callback, scope, rate):
    with scope:
        keras.utils.set_random_seed(0)
        hidden = [L.Dense(8, "relu"), L.BatchNormalization(), L.Dense(3)]
        model = tfl.wrap(keras.Sequential([keras.Input((6,)), *hidden]))
        model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"])
    model.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0, callbacks=[callback])
    return model


def on_replicas(variable):
    one, other = (np.array(replica.numpy()) for replica in variable.value.values)
    np.testing.assert_array_equal(one, other)
    return one


for name in make_callbacks():
    model = trained(make_callbacks()[name], strategy.scope(), 0.01)
    for path, variable in masked_variables(model).items():
        mask, weights = on_replicas(mask_of(variable)), on_replicas(variable)
        assert mask.sum() == mask.size * (0.25 if name == "gradual" else 0.5), (name, path, mask.sum())
        assert not weights[~mask].any() and weights[mask].any()
        np.testing.assert_array_equal(mask, tfl.get_masks(model)[path])
        name_of_slot = variable.path.replace("/", "_") + "_momentum"
        (slot,) = (one for one in model.optimizer.variables if one.path.endswith(name_of_slot))
        assert not on_replicas(slot)[~mask].any() and on_replicas(slot)[mask].any()
    # Where weights stay, so that no rounding of theirs decides, the masks are those of one device.
    mirrored = tfl.get_masks(trained(make_callbacks()[name], strategy.scope(), 0.0))
    alone = tfl.get_masks(trained(make_callbacks()[name], tf.device("CPU:0"), 0.0))
    for path, mask in alone.items():
        np.testing.assert_array_equal(mask, mirrored[path], err_msg=f"{name} {path}")
"""
