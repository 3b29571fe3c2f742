"""Subclassed models: wrapped as copies and in place, trained, saved, loaded and stripped."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import named_variables
from toys import Subclassed, stored_value

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 5, 6)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 16)


@keras.saving.register_keras_serializable("tests")
class Block(keras.Model):
    """A model inside a model, with layers in a list."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.dense = L.Dense(units, activation="relu")
        self.norms = [L.LayerNormalization(), L.LayerNormalization()]

    def call(self, inputs):
        outputs = self.dense(inputs)
        for norm in self.norms:
            outputs = norm(outputs)
        return outputs


@keras.saving.register_keras_serializable("tests")
class Net(keras.Model):
    """Layers in attributes, a list and a dict; a Sequential and subclassed models inside; a weight of its own."""

    scale = 1.0

    def __init__(self, units, depth=2):
        super().__init__()
        self.units, self.depth = units, depth
        self.embed = L.Dense(units)
        self.blocks = [Block(units) for _ in range(depth)]
        self.tail = keras.Sequential([L.Dense(units), L.Dropout(0.2), L.ReLU()])
        self.recurrent = L.GRU(units)
        self.heads = {"classes": L.Dense(3)}
        self.gain = self.add_weight(shape=(units, units), name="gain")

    def call(self, inputs, training=False):
        outputs = self.embed(inputs)
        for block in self.blocks:
            outputs = outputs + block(outputs)
        outputs = self.recurrent(self.tail(outputs, training=training)) @ self.gain
        return self.scale * self.heads["classes"](outputs)

    def get_config(self):
        return {"units": self.units, "depth": self.depth}


class WithoutConfig(keras.Model):
    """A model that can't be made again: Keras would give the default of its rate."""

    def __init__(self, rate=0.1, **options):
        super().__init__(**options)
        self.inner = keras.Sequential([L.Dense(2), L.Dropout(rate)])

    def call(self, inputs):
        return self.inner(inputs)


PATHS = {"embed/kernel", "blocks_0/dense/kernel", "blocks_1/dense/kernel", "tail/dense/kernel", "heads_0/kernel"}
PATHS |= {"recurrent/cell/kernel", "recurrent/cell/recurrent_kernel"}
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture
def model():
    net = Net(8)
    net(X)
    return net


@pytest.fixture
def pruned(model, random_masks):
    wrapped = tfl.wrap(model)
    masks = random_masks(tfl.get_masks(wrapped))
    tfl.set_masks(wrapped, masks)
    return wrapped, masks


@pytest.mark.parametrize("in_place", [False, True])
def test_unpruned_it_computes_and_trains_as_the_plain_model(model, in_place):
    other = Net(8)
    other(X)
    for variable, source in zip(other.variables, model.variables, strict=True):
        variable.assign(source)
    wrapped = tfl.wrap(other, in_place=in_place)
    assert (wrapped is other) == in_place
    assert isinstance(wrapped, Net)
    assert set(tfl.get_masks(wrapped)) == PATHS
    np.testing.assert_array_equal(wrapped(X), model(X))
    for one in (model, wrapped):
        one.compile(keras.optimizers.SGD(0.05, momentum=0.9), LOSS)
        one.fit(X, Y, epochs=3, batch_size=16, shuffle=False, verbose=0)
    weights = tfl.get_weights(wrapped)
    assert weights.keys() == tfl.get_weights(model).keys()
    for path, weight in tfl.get_weights(model).items():
        np.testing.assert_array_equal(weights[path], weight, err_msg=path)


def test_pruned_weights_are_zero_for_all_that_computes(pruned):
    wrapped, masks = pruned
    wrapped.compile("adam", LOSS)
    wrapped.fit(X, Y, epochs=2, verbose=0)
    for path, mask in masks.items():
        variable = named_variables(wrapped)[path]
        variable.assign(np.where(mask, stored_value(variable), 7.0))
    plain = Net(8)
    plain(X)
    for path, variable in named_variables(plain).items():
        stored = stored_value(named_variables(wrapped)[path])
        variable.assign(stored * masks[path] if path in masks else stored)
    np.testing.assert_array_equal(wrapped(X), plain(X))
    np.testing.assert_allclose(wrapped.predict(X, verbose=0), plain(X), rtol=1e-5, atol=1e-5)
    stripped = tfl.strip(wrapped)
    assert type(stripped) is Net
    np.testing.assert_array_equal(stripped(X), plain(X))


def test_saved_and_loaded(pruned, tmp_path):
    wrapped, masks = pruned
    wrapped.compile("adam", LOSS)
    wrapped.fit(X, Y, verbose=0)
    wrapped.save(tmp_path / "wrapped.keras")
    loaded = tfl.load_model(tmp_path / "wrapped.keras")
    assert isinstance(loaded, Net)
    assert loaded.compiled
    np.testing.assert_array_equal(loaded(X), wrapped(X))
    assert all((tfl.get_masks(loaded)[path] == mask).all() for path, mask in masks.items())
    loaded.fit(X, Y, verbose=0)
    for path, mask in masks.items():
        assert (tfl.get_weights(loaded)[path][~mask] == 0).all()
    stripped = tfl.strip(loaded)
    stripped.save(tmp_path / "plain.keras")
    again = keras.models.load_model(tmp_path / "plain.keras")
    assert type(again) is Net
    np.testing.assert_array_equal(again(X), stripped(X))
    wrapped.save_weights(tmp_path / "all.weights.h5")
    other = tfl.wrap(stripped)
    other.load_weights(tmp_path / "all.weights.h5")
    np.testing.assert_array_equal(other(X), wrapped(X))


def test_weights_of_a_plain_model_go_into_a_wrapped_one(pruned, tmp_path):
    wrapped, masks = pruned
    plain = Net(8)
    plain(X)
    plain.save_weights(tmp_path / "plain.weights.h5")
    expected = tfl.get_weights(plain)
    loads = [
        lambda: wrapped.load_weights(tmp_path / "plain.weights.h5"),
        lambda: wrapped.set_weights(plain.get_weights()),
    ]
    loads += [lambda: tfl.load_weights(wrapped, tmp_path / "plain.weights.h5")]
    loads += [lambda: tfl.set_weights(wrapped, plain.get_weights())]
    for load in loads:
        tfl.set_weights(wrapped, {path: np.zeros_like(weight) for path, weight in expected.items()})
        load()
        for path, weight in tfl.get_weights(wrapped).items():
            if "seed" not in path:  # Keras keeps these in no file
                np.testing.assert_array_equal(weight, np.where(masks.get(path, True), expected[path], 0), err_msg=path)
        assert all((tfl.get_masks(wrapped)[path] == mask).all() for path, mask in masks.items())
    wrapped.set_weights(wrapped.get_weights())


def test_stripped_in_place(model, random_masks, tmp_path):
    keys = set(vars(model)), set(vars(model.recurrent))
    wrapped = tfl.wrap(model, in_place=True)
    masks = random_masks(tfl.get_masks(wrapped))
    tfl.set_masks(wrapped, masks)
    outputs = np.array(wrapped(X))
    assert tfl.strip(wrapped, in_place=True) is model
    assert type(model) is Net
    assert (set(vars(model)), set(vars(model.recurrent))) == keys
    np.testing.assert_array_equal(model(X), outputs)
    for path, mask in masks.items():
        assert (np.array(named_variables(model)[path].value)[~mask] == 0).all()
    model.compile("sgd", LOSS)
    model.fit(X, Y, verbose=0)
    assert any(np.array(named_variables(model)[path].value)[~mask].any() for path, mask in masks.items())
    assert set(tfl.get_masks(tfl.wrap(model))) == PATHS  # and it can be wrapped again


def test_settings_on_the_instance_and_frozen_layers_are_copied(model):
    model.scale = 3.0
    model.blocks[1].trainable = False
    wrapped = tfl.wrap(model)
    assert wrapped.scale == 3.0
    np.testing.assert_array_equal(wrapped(X), model(X))
    assert len(wrapped.trainable_variables) == len(model.trainable_variables)
    wrapped.blocks[1].trainable = True
    assert len(wrapped.trainable_variables) == len(model.trainable_variables) + 6


def test_its_own_training_step_is_called():
    class Doubled(Subclassed):
        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = self.compute_loss(x, 2 * y, self(x, training=True))
            self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
            return {"loss": loss}

        def get_config(self):
            return {"units": 1}

    model = Doubled(1)
    ones = np.ones((64, 1), "float32")
    model(ones)
    wrapped = tfl.wrap(model)
    wrapped.compile(keras.optimizers.SGD(0.1), "mse")
    wrapped.fit(ones, ones, epochs=60, verbose=0)
    assert float(wrapped(ones)[0, 0]) == pytest.approx(2.0, abs=1e-3)


def test_functions_that_were_traced_before_are_made_again(model):
    model.compile("sgd", LOSS)
    model.predict(X, verbose=0)
    model.evaluate(X, Y, verbose=0)
    wrapped = tfl.wrap(model, in_place=True)
    tfl.set_masks(wrapped, {path: np.zeros_like(mask) for path, mask in tfl.get_masks(wrapped).items()})
    bias = np.array(model.heads["classes"].bias)
    np.testing.assert_array_equal(wrapped.predict(X, verbose=0), np.broadcast_to(bias, (16, 3)))


def test_one_that_cannot_be_made_again_is_wrapped_in_place_only():
    model = WithoutConfig(0.5)
    x = np.ones((3, 4), "float32")
    model(x)
    with pytest.raises(UsageError, match=r"copied: its class has no `get_config`, so its rate would.*in_place=True"):
        tfl.wrap(model)
    wrapped = tfl.wrap(model, in_place=True)
    with pytest.raises(UsageError, match=r"class WithoutConfig can't be copied.*in_place=True"):
        tfl.strip(wrapped)
    assert tfl.strip(wrapped, in_place=True) is model


def test_one_inside_a_functional_model_keeps_its_arguments():
    inputs = keras.Input((4,))
    with pytest.raises(UnfitError, match="so its rate would be lost"):
        tfl.wrap(keras.Model(inputs, L.Dense(1)(WithoutConfig(0.5)(inputs))))


def test_one_whose_constructor_takes_nothing_needs_no_configuration(tmp_path):
    class NoArguments(keras.Model):
        def __init__(self):
            super().__init__()
            self.inner = L.Dense(2)

        def call(self, inputs):
            return self.inner(inputs)

    model, x = NoArguments(), np.ones((3, 4), "float32")
    model(x)
    wrapped = tfl.wrap(model)
    wrapped.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras", custom_objects={"NoArguments": NoArguments})
    np.testing.assert_array_equal(loaded(x), model(x))
    np.testing.assert_array_equal(tfl.strip(loaded)(x), model(x))


def test_a_functional_model_is_not_stripped_in_place():
    wrapped = tfl.wrap(keras.Sequential([keras.Input((3,)), L.Dense(2)]))
    with pytest.raises(UsageError, match="Only a subclassed model is stripped in place"):
        tfl.strip(wrapped, in_place=True)


def test_include_and_weights_of_the_model_itself(model):
    assert "gain" in tfl.discover(model).skipped
    wrapped = tfl.wrap(model, include=["gain", "blocks_1"])
    assert set(tfl.get_masks(wrapped)) == {"gain", "blocks_1/dense/kernel"}
    tfl.set_masks(wrapped, {path: np.zeros_like(mask) for path, mask in tfl.get_masks(wrapped).items()})
    bias = np.array(wrapped.heads["classes"].bias)
    np.testing.assert_array_equal(wrapped(X), np.broadcast_to(bias, (16, 3)))
