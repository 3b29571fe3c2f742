"""tfmot's comprehensive guide and its tutorial run with tfmot's names."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.compat import tfmot

L = keras.layers


def test_the_comprehensive_guide():
    """tfmot's guide, with Keras 3's own way to give an input shape; what trains, trains."""
    x_train = np.random.default_rng(0).normal(size=(1, 20)).astype("float32")
    y_train = keras.utils.to_categorical([3], num_classes=20)

    def setup_model():
        return keras.Sequential([keras.Input((20,)), L.Dense(20), L.Flatten()])

    base_model = setup_model()
    outputs = base_model(x_train).numpy()

    def apply_pruning_to_dense(layer):
        return tfmot.sparsity.keras.prune_low_magnitude(layer) if isinstance(layer, L.Dense) else layer

    some = keras.models.clone_model(base_model, clone_function=apply_pruning_to_dense)
    np.testing.assert_array_equal(some(x_train).numpy(), outputs)
    assert list(tfl.get_masks(some)) == ["dense/kernel"]

    inputs = keras.Input(shape=(20,))
    hidden = tfmot.sparsity.keras.prune_low_magnitude(L.Dense(10))(inputs)
    functional = keras.Model(inputs=inputs, outputs=L.Flatten()(hidden))
    assert tfl.get_masks(functional)["dense/kernel"].shape == (20, 10)

    class MyDenseLayer(L.Dense, tfmot.sparsity.keras.PrunableLayer):
        def get_prunable_weights(self):
            return [self.kernel, self.bias]

    layers = tfmot.sparsity.keras.prune_low_magnitude([MyDenseLayer(20), L.Flatten()])
    own = keras.Sequential([keras.Input((20,)), *layers])
    assert sorted(tfl.get_masks(own)) == ["my_dense_layer/bias", "my_dense_layer/kernel"]

    # A custom training loop.
    model_for_pruning = tfmot.sparsity.keras.prune_low_magnitude(setup_model(), tfmot.ConstantSparsity(0.5, 2))
    optimizer, unused_arg = keras.optimizers.Adam(), -1
    model_for_pruning.optimizer = optimizer
    step_callback = tfmot.sparsity.keras.UpdatePruningStep()
    step_callback.set_model(model_for_pruning)
    step_callback.on_train_begin()
    kept = []
    for _ in range(3):
        step_callback.on_train_batch_begin(batch=unused_arg)
        with tf.GradientTape() as tape:
            loss = keras.losses.categorical_crossentropy(y_train, model_for_pruning(x_train, training=True))
        gradients = tape.gradient(loss, model_for_pruning.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model_for_pruning.trainable_variables, strict=True))
        kept.append(int(tfl.get_masks(model_for_pruning)["dense/kernel"].sum()))
        step_callback.on_epoch_end(batch=unused_arg)
    assert kept == [400, 200, 200]

    blocks = tfmot.sparsity.keras.prune_low_magnitude(setup_model(), block_size=[1, 16])
    assert blocks.layers[0].block_size == (1, 16)


@pytest.mark.slow
def test_the_tutorial_with_keras(data_dir, tmp_path):
    """tfmot's tutorial on MNIST, with fewer images and epochs."""
    from tf_lottery.data import load

    mnist = load("mnist", data_dir=data_dir)
    images, labels = np.asarray(mnist.train.x)[:2000, ..., 0], np.asarray(mnist.train.y)[:2000]
    test_images, test_labels = np.asarray(mnist.test.x)[:500, ..., 0], np.asarray(mnist.test.y)[:500]
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            L.InputLayer(shape=(28, 28)),
            L.Reshape(target_shape=(28, 28, 1)),
            L.Conv2D(filters=12, kernel_size=(3, 3), activation="relu"),
            L.MaxPooling2D(pool_size=(2, 2)),
            L.Flatten(),
            L.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    model.fit(images, labels, epochs=3, validation_split=0.1, verbose=0)
    _, baseline_model_accuracy = model.evaluate(test_images, test_labels, verbose=0)

    prune_low_magnitude = tfmot.sparsity.keras.prune_low_magnitude
    batch_size, epochs, validation_split = 128, 8, 0.1
    num_images = images.shape[0] * (1 - validation_split)
    end_step = np.ceil(num_images / batch_size).astype(np.int32) * epochs
    schedule = tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.50, final_sparsity=0.80, begin_step=0, end_step=end_step
    )
    model_for_pruning = prune_low_magnitude(model, pruning_schedule=schedule)
    model_for_pruning.compile(optimizer="adam", loss=loss, metrics=["accuracy"])
    callbacks = [
        tfmot.sparsity.keras.UpdatePruningStep(),
        tfmot.sparsity.keras.PruningSummaries(log_dir=str(tmp_path / "logs")),
    ]
    model_for_pruning.fit(
        images,
        labels,
        batch_size=batch_size,
        epochs=epochs,
        validation_split=validation_split,
        callbacks=callbacks,
        verbose=0,
    )
    _, model_for_pruning_accuracy = model_for_pruning.evaluate(test_images, test_labels, verbose=0)
    # 15 steps an epoch, 120 in all, pruned at step 100: 0.8 - 0.3 * (1 / 6) ** 3 = 0.798611 of 108 and of 20280.
    sizes = {path: int((~mask).sum()) for path, mask in tfl.get_masks(model_for_pruning).items()}
    assert sizes == {"conv2d/kernel": 86, "dense/kernel": 16196}
    assert model_for_pruning_accuracy > baseline_model_accuracy - 0.03

    model_for_export = tfmot.sparsity.keras.strip_pruning(model_for_pruning)
    keras.models.save_model(model_for_export, tmp_path / "pruned.h5", include_optimizer=False)
    again = keras.models.load_model(tmp_path / "pruned.h5", compile=False)
    np.testing.assert_array_equal(
        again.predict(images[:5], verbose=0), model_for_pruning.predict(images[:5], verbose=0)
    )
