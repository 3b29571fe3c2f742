"""Masks under a distribution strategy."""

import subprocess
import sys


def test_replicas_of_a_mirrored_strategy_agree():
    # In a process of its own: logical devices must be set before TensorFlow starts.
    subprocess.run([sys.executable, "-c", MIRRORED], check=True, capture_output=True, text=True)


MIRRORED = """
import keras, numpy as np, tensorflow as tf
import tf_lottery.layers as layers

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
x = np.random.default_rng(0).normal(size=(8, 4)).astype("float32")
y = np.random.default_rng(1).normal(size=(8, 2)).astype("float32")
mask = np.random.default_rng(2).random((4, 2)) < 0.5


def make():
    keras.utils.set_random_seed(0)
    model = layers.wrap(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))
    layers.set_masks(model, {"dense/kernel": mask})
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.1)
    optimizer.build(model.trainable_variables)
    return model, optimizer


def update(model, optimizer, x, y):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((model(x, training=True) - y) ** 2) / 8
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)


strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    model, optimizer = make()
data = strategy.experimental_distribute_dataset(tf.data.Dataset.from_tensor_slices((x, y)).batch(8).repeat())
step = tf.function(lambda x, y: strategy.run(update, (model, optimizer, x, y)))
single, alone = make()
for (xs, ys), _ in zip(data, range(5)):
    step(xs, ys)
    update(single, alone, x, y)
kernel = model.layers[0].layer.kernel.value
copies = [np.array(copy) for copy in kernel.values]
assert len(copies) == 2 and np.array_equal(*copies)
np.testing.assert_allclose(copies[0], np.array(single.layers[0].layer.kernel.value), rtol=1e-5, atol=1e-6)
assert not copies[0][~mask].any() and copies[0][mask].all()
layers.set_masks(model, {"dense/kernel": np.zeros_like(mask)})
assert not layers.get_weights(model)["dense/kernel"].any()
"""
