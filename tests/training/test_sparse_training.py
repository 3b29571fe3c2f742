"""Training by the sparse kernels is the dense training, up to the order of its sums."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from tf_lottery.layers.sparse import break_even, kernels
from tf_lottery.training.batches import Batch
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.state import capture_state, restore_state

pytestmark = pytest.mark.skipif(not kernels(), reason="installed without a C++ compiler: training is dense")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(240, 70)).astype(np.float32)
Y = (X[:, :5] @ RNG.normal(size=(5, 10))).argmax(-1)
DATA = Batch(tf.constant(X), tf.constant(Y))
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True, clipnorm=1.0),
    "adam": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(3e-3, 200), global_clipnorm=1.0),
    "adamw": lambda: keras.optimizers.AdamW(3e-3, weight_decay=0.01, use_ema=True, ema_overwrite_frequency=30),
    "rmsprop": lambda: keras.optimizers.RMSprop(1e-3, momentum=0.5, centered=True),
    "lion": lambda: keras.optimizers.Lion(3e-4, weight_decay=0.1),
    "nadam": lambda: keras.optimizers.Nadam(2e-3),
    "adagrad": lambda: keras.optimizers.Adagrad(0.02),
    "adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "adamax": lambda: keras.optimizers.Adamax(2e-3, clipvalue=0.5),
    "ftrl": lambda: keras.optimizers.Ftrl(0.05, l1_regularization_strength=1e-4),
    "accumulating": lambda: keras.optimizers.Adam(2e-3, gradient_accumulation_steps=3),
}


def model():
    keras.utils.set_random_seed(0)
    layers = [
        keras.layers.Dense(96, "relu", kernel_regularizer=keras.regularizers.L1L2(1e-4, 1e-3)),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.2, seed=3),
        keras.layers.Dense(64, "tanh", use_bias=False),
        keras.layers.Dense(10),
    ]
    return keras.Sequential([keras.Input((70,)), *layers])


def random_masks(wrapped, density, seed=1):
    rng = np.random.default_rng(seed)
    return {path: rng.random(mask.shape) < density for path, mask in tfl.get_masks(wrapped).items()}


def engine(sparse, density=0.2, optimizer="adam", xla="auto", make=model, examples=10**9):
    wrapped = tfl.wrap(make())
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"metrics": ["accuracy"], "sparse": sparse, "xla": xla, "examples": examples}
    one = Engine(wrapped, optimizer=OPTIMIZERS[optimizer](), loss=loss, **settings)
    one.prepare(Batch(X[:2], Y[:2]))
    tfl.set_masks(wrapped, random_masks(wrapped, density))
    return one


def losses(one, steps, chunk=10, start=0):
    """The mean training loss of each chunk, and the validation loss after it."""
    order, values = Order(240, 20, seed=0), []
    for begin in range(start, steps, chunk):
        one.reset_metrics()
        one.run(DATA, order, start=begin, stop=begin + chunk)
        values += [one.results()["loss"], one.evaluate(DATA)["loss"]]
    return np.array(values)


def assert_same_training(optimizer, density, steps):
    dense, sparse = (engine(setting, density, optimizer) for setting in ("off", "on"))
    expected, actual = losses(dense, steps), losses(sparse, steps)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    assert expected[-1] < expected[1]  # it has learned
    masks = tfl.get_masks(sparse.model)
    weights = tfl.get_weights(sparse.model)
    assert all(not weights[path][~mask].any() for path, mask in masks.items())
    assert sparse.sparse.counterpart() is not None
    return dense, sparse


@pytest.mark.parametrize("optimizer", ["adam", pytest.param("ftrl", marks=pytest.mark.slow)])
def test_the_losses_are_those_of_the_dense_training(optimizer):
    dense, sparse = assert_same_training(optimizer, 0.2, steps=60)
    one, two = (capture_state(each.variables()) for each in (dense, sparse))
    assert list(one) == list(two)
    for key, value in one.items():
        assert value.shape == two[key].shape
        np.testing.assert_allclose(two[key], value, rtol=2e-3, atol=2e-5, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("density", [0.7, 0.2, 0.03])
def test_two_hundred_steps_of_each_optimizer(optimizer, density):
    assert_same_training(optimizer, density, steps=200)


def test_a_training_goes_on_from_its_state_bit_for_bit():
    whole = engine("on", optimizer="adamw")
    expected = losses(whole, 40)
    begun = engine("on", optimizer="adamw")
    first = losses(begun, 20)
    resumed = engine("on", optimizer="adamw")
    restore_state(resumed.variables(), capture_state(begun.variables()))
    assert np.concatenate([first, losses(resumed, 40, start=20)]).tolist() == expected.tolist()
    states = [capture_state(one.variables()) for one in (whole, resumed)]
    assert all(np.array_equal(value, states[1][key]) for key, value in states[0].items())


def test_other_masks_compile_nothing_new_while_they_fit():
    one = engine("on", density=0.2)
    losses(one, 10)
    traces = dict(one.traces)
    tfl.set_masks(one.model, random_masks(one.model, 0.19, seed=5))
    losses(one, 20, start=10)
    assert one.traces == traces
    weights, masks = tfl.get_weights(one.model), tfl.get_masks(one.model)
    assert all(not weights[path][~mask].any() for path, mask in masks.items())
    tfl.set_masks(one.model, random_masks(one.model, 0.05))
    losses(one, 30, start=20)
    assert one.traces["train"] == traces["train"] + 1


def test_a_loss_and_metric_that_no_configuration_holds():
    wrapped = tfl.wrap(model())
    tfl.set_masks(wrapped, random_masks(wrapped, 0.2))

    def loss(labels, outputs):
        return keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=True)

    one = Engine(wrapped, optimizer=keras.optimizers.SGD(), loss=loss, metrics=[lambda *_: 1.0], sparse="on")
    one.prepare(Batch(X[:2], Y[:2]))
    assert one.sparse.counterpart() is not None
    assert wrapped.compiled
    assert wrapped.optimizer is one.optimizer


def frozen_layer(wrapped):
    wrapped.layers[0].trainable = False


def frozen_bias(wrapped):
    wrapped.layers[0].layer.bias.trainable = False


def frozen_above_its_layers(wrapped):
    wrapped.trainable = False
    wrapped.layers[-1].trainable = True  # Keras trains nothing then


def weight_beside_the_layers(wrapped):
    wrapped.scale = wrapped.add_weight(name="scale", shape=())


@pytest.mark.filterwarnings("ignore:Gradients do not exist")
@pytest.mark.parametrize(
    "change",
    [
        frozen_layer,
        pytest.param(frozen_bias, marks=pytest.mark.slow),
        pytest.param(frozen_above_its_layers, marks=pytest.mark.slow),
        pytest.param(weight_beside_the_layers, marks=pytest.mark.slow),
    ],
)
def test_what_is_frozen_or_beside_the_graph(change):
    losses = {}
    for sparse in ("off", "auto"):
        wrapped = tfl.wrap(model())
        change(wrapped)
        tfl.set_masks(wrapped, random_masks(wrapped, 0.2))
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        one = Engine(wrapped, optimizer=keras.optimizers.SGD(0.01), loss=loss, sparse=sparse, examples=10**9)
        one.prepare(Batch(X[:2], Y[:2]))
        one.run(DATA, Order(240, 20, seed=0), start=0, stop=5)
        first = one.evaluate(DATA)["loss"]
        for variable in wrapped.layers[0].layer.variables:  # as another replicate or a rewinding does
            variable.assign(variable * 2)
        losses[sparse] = [first, one.evaluate(DATA)["loss"]]
    np.testing.assert_allclose(losses["auto"], losses["off"], rtol=1e-5)
    assert losses["off"][0] != losses["off"][1]


def test_without_xla_the_layers_compute_by_the_kernels_too():
    np.testing.assert_allclose(losses(engine("on", xla="off"), 20), losses(engine("off", xla="off"), 20), rtol=1e-5)


def test_auto_leaves_small_and_dense_layers_as_they_are(monkeypatch):
    monkeypatch.setitem(break_even.BREAK_EVEN[break_even.DENSE], kernels().instruction_set, 0.5)  # on every processor
    one = engine("auto", density=0.05)
    chosen = one.sparse.counterpart()
    names = [type(layer).__name__ for layer in chosen.steps.model.layers]
    assert names == ["SparseDense", "BatchNormalization", "Dropout", "SparseDense", "Masked"]  # 640 weights at last
    assert 70 * 96 >= break_even.SMALLEST[break_even.DENSE] > 640
    tfl.set_masks(one.model, random_masks(one.model, 0.95))
    assert one.sparse.counterpart() is None


def test_auto_leaves_short_trainings_as_they_are():
    one = engine("auto", density=0.05, examples=20 * 1000)
    assert one.sparse.counterpart() is None
    assert one.instruction_set == ""


def test_auto_chooses_by_the_length_of_the_next_training(monkeypatch):
    monkeypatch.setitem(break_even.BREAK_EVEN[break_even.DENSE], kernels().instruction_set, 0.5)
    one = engine("auto", density=0.05)
    assert one.sparse.counterpart() is not None
    one.expect(20 * 1000)
    assert one.sparse.counterpart() is None
    one.expect(10**9)
    assert one.sparse.counterpart() is not None


def test_on_says_why_nothing_can_be_sparse():
    convolution = keras.Sequential([keras.Input((8, 1)), keras.layers.Conv1D(2, 3)])
    with pytest.raises(UnfitError, match="conv1d: it is a Conv1D") as error:
        Engine(tfl.wrap(convolution), optimizer=keras.optimizers.Adam(), loss="mse", sparse="on")
    assert "Set `sparse` to auto or off" in str(error.value)


def test_an_optimizer_that_is_not_element_wise_trains_densely():
    wrapped = tfl.wrap(model())
    with pytest.raises(UnfitError, match="the optimizer Adafactor is not element-wise"):
        Engine(wrapped, optimizer=keras.optimizers.Adafactor(), loss="mse", sparse="on")
    one = Engine(wrapped, optimizer=keras.optimizers.Adafactor(), loss="mse", sparse="auto")
    assert one.instruction_set == ""


def test_sums_of_changes_are_dense_and_said_to_be(caplog):
    settings = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "sparse": "on", "examples": 10**9}
    one = Engine(tfl.wrap(model()), optimizer=OPTIMIZERS["adam"](), track_changes=True, **settings)
    assert one.sparse is None
    assert "training is dense" in caplog.text
