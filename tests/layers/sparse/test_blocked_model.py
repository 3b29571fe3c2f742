"""Layers between sparse convolutions compute the same numbers on blocked tensors."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.layers.sparse.blocked_layers import layout_of
from tf_lottery.layers.sparse.blocked_model import FromLanes, OnBlocked, ToLanes, run_blocked
from tf_lottery.layers.sparse.regions import Layout

L = keras.layers


def residual_model(size=9):
    """A model with each kind of layer that runs on blocked tensors."""
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 3))
    x = L.BatchNormalization(momentum=0.5)(L.Conv2D(6, 3, padding="same")(image))
    x = L.ReLU()(x)
    skip = L.MaxPooling2D(3, 2, padding="same")(x)
    inner = L.Conv2D(6, 3, strides=2, activation="tanh")(L.ZeroPadding2D(1)(x))
    inner = L.BatchNormalization(scale=False, momentum=0.9)(inner)
    inner = L.Activation("gelu")(L.Conv2D(6, 1, use_bias=False)(inner))
    x = L.LeakyReLU()(L.Add()([skip, inner]))
    x = L.Maximum()([x, L.Conv2D(6, 3, padding="same")(x)])
    x = L.AveragePooling2D(2)(x)
    x = L.Conv2D(8, 2, kernel_regularizer="l2")(x)
    return keras.Model(image, L.Dense(4)(L.GlobalAveragePooling2D()(x)))


def sequential():
    keras.utils.set_random_seed(0)
    layers = [L.Conv2D(5, 3, activation="relu"), L.MaxPooling2D(2), L.Dropout(0.3, seed=1), L.Conv2D(6, 2)]
    return keras.Sequential([keras.Input((9, 9, 3)), *layers, L.GlobalMaxPooling2D(keepdims=True), L.Flatten()])


def nested():
    keras.utils.set_random_seed(0)
    image = keras.Input((9, 9, 3))
    body = keras.Sequential([keras.Input((9, 9, 3)), L.Conv2D(4, 3), L.ReLU(), L.Conv2D(4, 2)], name="body")
    return keras.Model(image, L.Flatten()(L.Conv2D(3, 2)(body(image))))


def sparse_model(make, density=0.4):
    wrapped = tfl.wrap(make())
    rng = np.random.default_rng(1)
    tfl.set_masks(wrapped, {path: rng.random(mask.shape) < density for path, mask in tfl.get_masks(wrapped).items()})
    return tfl.sparsify(wrapped, batch_size=16)


def blocked_layers(model):
    return [type(layer.layer).__name__ for layer in model._flatten_layers() if isinstance(layer, OnBlocked)]


def gradients(model, variables, images, weights, *, training):
    """The outputs and gradients of a call with a batch of a known size, compiled."""

    @tf.function(jit_compile=True, input_signature=[tf.TensorSpec(images.shape), tf.TensorSpec(weights.shape)])
    def compute(images, weights):
        with tf.GradientTape() as tape:
            tape.watch(images)
            outputs = model(images, training=training)
            loss = tf.reduce_sum(outputs * weights) + tf.add_n([tf.constant(0.0), *model.losses])
        return [outputs, *tape.gradient(loss, [images, *(variable.value for variable in variables)])]

    return compute(tf.constant(images), tf.constant(weights))


@pytest.mark.parametrize("batch", [19, pytest.param(32, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "make",
    [pytest.param(residual_model, marks=pytest.mark.slow), sequential, pytest.param(nested, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_same_numbers_in_another_layout(make, batch, training):
    rng = np.random.default_rng(0)
    plain, other = sparse_model(make), sparse_model(make)
    blocked = run_blocked(other)
    assert len(blocked_layers(blocked)) >= 2
    images = rng.normal(size=(batch, 9, 9, 3)).astype(np.float32)
    weights = rng.normal(size=(batch, plain.output_shape[-1])).astype(np.float32)
    expected = gradients(plain, plain.trainable_variables, images, weights, training=training)
    actual = gradients(blocked, other.trainable_variables, images, weights, training=training)
    names = ["outputs", "images", *(variable.path for variable in plain.trainable_variables)]
    for name, one, two in zip(names, expected, actual, strict=True):
        scale = float(tf.reduce_max(tf.abs(one)))
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-5 * max(scale, 1), err_msg=name)
    for one, two in zip(plain.non_trainable_variables, other.non_trainable_variables, strict=True):
        np.testing.assert_allclose(two.value, one.value, rtol=1e-5, atol=1e-6, err_msg=one.path)


def test_the_layout_changes_at_the_borders_alone():
    blocked = run_blocked(sparse_model(residual_model))
    names = [type(layer).__name__ for layer in blocked.layers]
    assert names.count("ToLanes") == 1
    assert names.count("FromLanes") == 0  # the global pooling gives plain numbers
    assert names[-1] == "Dense" or names[-1] == "SparseDense"
    blocked = run_blocked(sparse_model(sequential))
    assert blocked_layers(blocked) == ["SparseConv2D", "MaxPooling2D", "SparseConv2D", "GlobalMaxPooling2D"]
    borders = [layer for layer in blocked.layers if isinstance(layer, ToLanes | FromLanes)]
    assert len(borders) == 3  # Dropout draws its numbers for plain tensors


@pytest.mark.slow
def test_a_batch_of_unknown_size_computes_plainly():
    model = sparse_model(residual_model)
    blocked = run_blocked(model)
    images = np.random.default_rng(0).normal(size=(21, 9, 9, 3)).astype(np.float32)
    function = tf.function(blocked, input_signature=[tf.TensorSpec((None, 9, 9, 3))], jit_compile=True)
    np.testing.assert_allclose(function(images), model(images), rtol=1e-4, atol=1e-5)


def test_ties_of_a_maximum_give_their_gradient_to_the_first():
    pool = L.MaxPooling2D(2)
    images = tf.ones((16, 4, 4, 1))
    blocked = tf.reshape(tf.transpose(images, [1, 2, 3, 0]), [1, 1, 4, 4, 16])
    pool.build(images.shape)
    results = []
    for layer, inputs in ((pool, images), (lambda x: OnBlocked(pool)([x], [images]), blocked)):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            total = tf.reduce_sum(layer(inputs))
        results.append(
            tf.reshape(tape.gradient(total, inputs), [-1, 4, 4])
            if inputs is images
            else tape.gradient(total, inputs)[0, 0, :, :, 0]
        )
    np.testing.assert_array_equal(results[0][0], results[1])


def test_normalizations_of_a_keras_without_renorm():
    layer = L.BatchNormalization()
    del layer.renorm
    assert layout_of(layer, [(None, 4, 4, 3)]) is Layout.EITHER
    assert layout_of(L.BatchNormalization(renorm=True), [(None, 4, 4, 3)]) is Layout.PLAIN


def test_a_model_without_sparse_convolutions_stays_as_it_is():
    model = keras.Sequential([keras.Input((4, 4, 1)), L.Conv2D(2, 2), L.ReLU()])
    assert run_blocked(model) is model
