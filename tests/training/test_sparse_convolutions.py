"""Training convolutions by the sparse kernels, in regions of blocked tensors, is the dense training."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.layers.sparse import BlockedLayer, SparseConv2D, break_even, kernels
from tf_lottery.training.batches import Batch
from tf_lottery.training.device import slow_in_steps
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.sparse_choice import choose_layers
from tf_lottery.training.state import capture_state, restore_state

pytestmark = pytest.mark.skipif(not kernels(), reason="installed without a C++ compiler: training is dense")
L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(100, 8, 8, 3)).astype(np.float32)
Y = (X[:, 0, :2].reshape(100, -1) @ RNG.normal(size=(6, 10))).argmax(-1)
DATA = Batch(tf.constant(X), tf.constant(Y))
# At ten times these rates, conv2 at a density of 50 % differs by rounding alone (6e-8 in the weights) until step 109.
# There one pre-activation of the batch is 2.2e-7 in float64, and below 0 on one side by rounding: its gradient is in
# one of the steps only (2e-5 in the weights). From there the trainings part, by 1e-2 of the loss at step 200.
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(2e-3, momentum=0.9),
    "adam": lambda: keras.optimizers.Adam(1e-4),
}


def conv2():
    layers = [L.Conv2D(8, 3, padding="same", activation="relu"), L.Conv2D(8, 3, padding="same", activation="relu")]
    layers += [L.MaxPooling2D(2), L.Dropout(0.1, seed=3), L.Flatten(), L.Dense(16, "relu"), L.Dense(10)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers])


def small():
    layers = [L.Conv2D(4, 3, use_bias=False), L.BatchNormalization(), L.ReLU(), L.Conv2D(4, 3, strides=2)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, L.GlobalAveragePooling2D(), L.Dense(10)])


def residual():
    image = keras.Input((8, 8, 3))
    x = L.ReLU()(L.BatchNormalization(momentum=0.9)(L.Conv2D(8, 3, padding="same", use_bias=False)(image)))
    inner = L.Conv2D(8, 3, strides=2, use_bias=False)(L.ZeroPadding2D(1)(x))
    inner = L.ReLU()(L.BatchNormalization(momentum=0.9)(inner))
    inner = L.BatchNormalization()(L.Conv2D(8, 3, padding="same", kernel_regularizer="l2")(inner))
    short = L.BatchNormalization()(L.Conv2D(8, 1, strides=2, use_bias=False)(x))
    x = L.ReLU()(L.Add()([inner, short]))
    return keras.Model(image, L.Dense(10)(L.GlobalAveragePooling2D()(x)))


def with_uncovered_layers():
    """Convolutions that the kernels do not cover stay as they are, in the same model."""
    image = keras.Input((8, 8, 3))
    x = L.Conv2D(8, 3, padding="same", activation="relu")(image)
    x = L.DepthwiseConv2D(3, padding="same", name="depthwise")(x)
    x = L.Conv2D(8, 3, padding="same", dilation_rate=2, name="dilated")(x)
    x = L.Conv2D(8, 3, padding="same", groups=2, name="grouped")(x)
    x = L.Conv2D(8, 1, activation="relu")(x)
    return keras.Model(image, L.Dense(10)(L.Flatten()(x)))


def engine(sparse, make=residual, density=0.2, optimizer="sgd", examples=10**9):
    keras.utils.set_random_seed(0)
    wrapped = tfl.wrap(make())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"metrics": ["accuracy"], "sparse": sparse, "examples": examples}
    one = Engine(wrapped, optimizer=OPTIMIZERS[optimizer](), loss=loss, **settings)
    one.prepare(Batch(X[:2], Y[:2]))
    rng = np.random.default_rng(1)
    tfl.set_masks(wrapped, {path: rng.random(mask.shape) < density for path, mask in tfl.get_masks(wrapped).items()})
    return one


def losses(one, steps, chunk=5, start=0):
    """The mean training loss of each chunk, with the validation loss at the end."""
    order, values = Order(100, 20, seed=0), []
    for begin in range(start, steps, chunk):
        one.reset_metrics()
        one.run(DATA, order, start=begin, stop=begin + chunk)
        values.append(one.results()["loss"])
    return np.array([*values, one.evaluate(DATA)["loss"]])


def layer_classes(one):
    return [type(layer) for layer in one.sparse.counterpart().steps.model._flatten_layers()]


def assert_same_training(make, optimizer, density, steps):
    dense, sparse = (engine(setting, make, density, optimizer) for setting in ("off", "on"))
    expected, actual = losses(dense, steps), losses(sparse, steps)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    weights, masks = tfl.get_weights(sparse.model), tfl.get_masks(sparse.model)
    assert all(not weights[path][~mask].any() for path, mask in masks.items())
    assert SparseConv2D in layer_classes(sparse)
    one, two = (capture_state(each.variables()) for each in (dense, sparse))
    assert {key: value.shape for key, value in one.items()} == {key: value.shape for key, value in two.items()}
    return dense, sparse, one, two


@pytest.mark.parametrize("make", [small, pytest.param(residual, marks=pytest.mark.slow)])
def test_the_state_is_that_of_the_dense_training(make):
    *_, one, two = assert_same_training(make, "sgd", 0.2, steps=10)
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, rtol=1e-4, atol=1e-5, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("make", [conv2, residual])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("density", [0.5, 0.1, 0.01])
def test_two_hundred_steps(make, optimizer, density):
    _, sparse, *_ = assert_same_training(make, optimizer, density, steps=200)
    assert sum(issubclass(kind, BlockedLayer) for kind in layer_classes(sparse)) > 3


@pytest.mark.slow
def test_layers_that_are_not_covered_stay_dense_in_the_same_model():
    _, sparse, *_ = assert_same_training(with_uncovered_layers, "sgd", 0.2, steps=20)
    reasons = [reason for reason in sparse.sparse.reasons.values() if reason]
    assert reasons == ["it is a DepthwiseConv2D", "it is dilated", "it has 2 groups of channels"]
    assert layer_classes(sparse).count(SparseConv2D) == 2


@pytest.mark.slow
def test_a_dense_convolution_beside_sparse_ones(monkeypatch):
    monkeypatch.setitem(break_even.BREAK_EVEN[break_even.CONVOLUTION], kernels().instruction_set, 0.5)
    monkeypatch.setitem(break_even.SMALLEST, break_even.CONVOLUTION, 0)
    engines = [engine(setting, residual, 0.2) for setting in ("off", "auto")]
    for one in engines:
        masks = tfl.get_masks(one.model)
        path = next(iter(masks))
        tfl.set_masks(one.model, {**masks, path: np.ones_like(masks[path])})
    expected, actual = (losses(one, 20) for one in engines)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert layer_classes(engines[1]).count(SparseConv2D) == 3


@pytest.mark.slow
@pytest.mark.parametrize("make", [conv2, residual])
def test_a_training_goes_on_from_its_state_bit_for_bit(make):
    whole, begun, resumed = (engine("on", make, optimizer="adam") for _ in range(3))
    losses(whole, 20)
    losses(begun, 10)
    restore_state(resumed.variables(), capture_state(begun.variables()))
    losses(resumed, 20, start=10)
    states = [capture_state(one.variables()) for one in (whole, resumed)]
    assert all(np.array_equal(value, states[1][key]) for key, value in states[0].items())


def test_layers_that_xla_is_slow_for():
    assert slow_in_steps(residual()) == []
    assert slow_in_steps(tfl.wrap(conv2())) == []  # its Dropout has a copy that draws the same
    names = ["depthwise", "dilated", "grouped", "noise", "activation"]
    image = x = keras.Input((8, 8, 4))
    x = L.DepthwiseConv2D(3, name="depthwise")(x)
    x = L.Conv2D(4, 3, dilation_rate=2, name="dilated")(x)
    x = L.Conv2D(4, 1, groups=2, name="grouped")(x)
    x = L.GaussianNoise(0.1, name="noise")(x)
    x = L.Conv2D(4, 1, activation=L.Dropout(0.1), name="activation")(x)
    assert slow_in_steps(keras.Model(image, L.Conv2D(2, 1)(x))) == names


def test_auto_says_why_convolutions_train_densely():
    one = engine("auto", with_uncovered_layers)
    reasons = one.sparse.reasons
    assert reasons["depthwise"] == "it is a DepthwiseConv2D"
    assert reasons["conv2d"].startswith("XLA is slow for depthwise, dilated, grouped")
    assert one.sparse.counterpart() is None or SparseConv2D not in layer_classes(one)  # its dense layer may be sparse


def test_convolutions_are_chosen_by_their_products():
    kind = break_even.CONVOLUTION
    works = {"wide": break_even.Work(kind, 2304, 1024), "small": break_even.Work(kind, 200, 4)}
    masks = {path: np.arange(work.size) % 10 == 0 for path, work in works.items()}
    assert list(choose_layers(masks, works, "on", "avx2", 0)) == ["wide", "small"]
    assert list(choose_layers(masks, works, "auto", "avx2", 10**6)) == ["wide"]
    assert choose_layers(masks, works, "auto", "avx2", 10**3) == {}
    assert choose_layers({"wide": np.ones(2304, bool)}, works, "auto", "avx2", 10**9) == {}
