"""Copies have every part of a model: layers wherever they are held, settings of layers inside layers, seeds."""

import copy
import dataclasses
import pickle

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.training.reinitialize import fresh_weights

L = keras.layers
X = np.random.default_rng(0).normal(size=(8, 5)).astype("float32")


@keras.saving.register_keras_serializable("copied_parts")
class InSets(keras.Model):
    """Holds two layers in a set, and others by names that resemble those of Keras's trackers."""

    def __init__(self):
        super().__init__()
        self.branches = {L.Dense(5, activation="relu"), L.Dense(5, activation="tanh")}
        self._nodes_in, self._unconditional = L.Dense(5), L.Dense(3)

    def call(self, inputs):
        hidden = self._nodes_in(inputs)
        return self._unconditional(sum(branch(hidden) for branch in sorted(self.branches, key=lambda one: one.name)))


@keras.saving.register_keras_serializable("copied_parts")
class Scale(L.Layer):
    factor = 1.0

    def call(self, inputs):
        return self.factor * inputs


@keras.saving.register_keras_serializable("copied_parts")
class Block(L.Layer):
    """A layer that makes its sublayers itself."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense, self.norm, self.scale = L.Dense(5), L.BatchNormalization(momentum=0.5), Scale()

    def build(self, shape):
        self.dense.build(shape)
        self.norm.build((None, 5))

    def call(self, inputs, training=None):
        return self.scale(self.norm(self.dense(inputs), training=training))


@keras.saving.register_keras_serializable("copied_parts")
class Words(L.Layer):
    def __init__(self, **options):
        super().__init__(**options)
        self.numbers, self.table = L.StringLookup(), L.Embedding(9, 3)

    def build(self, shape):
        self.table.build(shape)

    def call(self, inputs):
        return self.table(self.numbers(inputs))


def times(slope):
    return lambda x: slope * x


@dataclasses.dataclass
class Settings:
    factor: float = 1.0


@keras.saving.register_keras_serializable("copied_parts")
class WithObjects(keras.Model):
    """Computes with objects that are neither numbers nor layers."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(2)
        self.shift, self.settings = tf.constant(0.0), Settings()
        self.penalty, self.act = keras.losses.Huber(delta=1.0), times(1.0)

    def call(self, inputs):
        return self.act(self.settings.factor * self.dense(inputs) + self.shift)


@keras.saving.register_keras_serializable("copied_parts")
class Noisy(keras.Model):
    """Draws from a generator of its own."""

    def __init__(self):
        super().__init__()
        self.dense, self.seeds = L.Dense(2), keras.random.SeedGenerator(3)

    def call(self, inputs, training=False):
        return self.dense(keras.random.dropout(inputs, 0.5, seed=self.seeds) if training else inputs)


def functional(layer, *, dtype="float32", shape=(5,)):
    inputs = keras.Input(shape, dtype=dtype)
    return keras.Model(inputs, L.Dense(1)(L.Flatten()(layer(inputs))))


def test_layers_in_sets_and_of_odd_names_are_masked_and_copied():
    model = InSets()
    outputs = model(X)
    wrapped = tfl.wrap(model)
    kernels = {"branches_0", "branches_1", "nodes_in", "unconditional"}
    assert set(tfl.get_masks(wrapped)) == {f"{name}/kernel" for name in kernels}
    np.testing.assert_array_equal(wrapped(X), outputs)
    np.testing.assert_array_equal(tfl.strip(wrapped)(X), outputs)


def test_a_set_is_ordered_by_number_not_by_text():
    model = keras.Model()
    model.parts = {L.Dense(1, name="part_10"), L.Dense(2, name="part_9")}
    for part in model.parts:
        part.build((None, 1))
    assert {path: weight.shape for path, weight in tfl.get_weights(model).items() if "kernel" in path} == {
        "parts_0/kernel": (1, 2),
        "parts_1/kernel": (1, 1),
    }


@pytest.mark.parametrize("in_place", [False, True])
def test_what_was_set_inside_a_layer_is_in_its_copy(in_place):
    block = Block()
    model = functional(block)
    block.norm.trainable = False
    block.scale.factor = 3.0
    outputs = model(X, training=True)  # the frozen norm takes its moving statistics
    wrapped = tfl.wrap(model, in_place=in_place)
    np.testing.assert_array_equal(wrapped(X, training=True), outputs)
    np.testing.assert_array_equal(tfl.strip(wrapped)(X, training=True), outputs)


def test_a_vocabulary_inside_a_layer_is_in_its_copy():
    words = Words()
    words.numbers.adapt(["a", "b", "c", "c"])
    model = functional(words, dtype="string", shape=(2,))
    texts = tf.constant([["a", "c"], ["b", "unknown"]])
    wrapped = tfl.wrap(model)
    np.testing.assert_array_equal(wrapped(texts), model(texts))
    np.testing.assert_array_equal(tfl.strip(wrapped)(texts), model(texts))


def test_regularizers_are_those_of_the_variables():
    dense = L.Dense(3)
    model = functional(dense)
    dense.kernel_regularizer = keras.regularizers.L2(1.0)  # too late for Keras: the kernel has none
    wrapped = tfl.wrap(model)
    assert model.losses == wrapped.losses == []
    dense.kernel.regularizer = keras.regularizers.L2(2.0)
    expected = pytest.approx(2 * float((dense.kernel.numpy() ** 2).sum()))
    wrapped = tfl.wrap(model)
    assert float(sum(wrapped.losses)) == expected
    assert float(sum(tfl.strip(wrapped).losses)) == expected


def test_tensors_and_settings_are_copied_and_losses_shared():
    model = WithObjects()
    outputs = model(X)
    np.testing.assert_array_equal(tfl.wrap(model)(X), outputs)
    model.shift, model.settings.factor, model.penalty = tf.constant(5.0), 3.0, keras.losses.Huber(delta=4.0)
    wrapped = tfl.wrap(model)
    np.testing.assert_array_equal(wrapped(X), 3 * model.dense(X) + 5)
    assert wrapped.settings is not model.settings
    assert wrapped.penalty is model.penalty


def test_a_function_with_another_constant_is_refused():
    model = WithObjects()
    model(X)
    model.act = times(1.0)
    tfl.wrap(model)
    model.act = times(4.0)
    with pytest.raises(UsageError, match="attribute 'act'"):
        tfl.wrap(model)


def test_a_generator_of_the_model_goes_on_in_the_copy():
    model = Noisy()
    model(X)
    model(X, training=True)
    wrapped = tfl.wrap(model)
    assert "seed_generator_state" in tfl.get_weights(model)
    np.testing.assert_array_equal(wrapped(X, training=True), model(X, training=True))


@keras.saving.register_keras_serializable("copied_parts")
class Tempered(keras.Model):
    """A functional model with a weight and a generator of its own, which its loss reads."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.temperature = self.add_weight(shape=(), initializer="ones", name="temperature")
        self.seeds = keras.random.SeedGenerator(3)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, self.temperature * y_pred, sample_weight, training)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_weight_of_a_functional_model_itself_is_copied(in_place):
    inputs = keras.Input((5,))
    model = Tempered(inputs, L.Dense(1)(inputs))
    model.temperature.assign(5.0)
    keras.random.normal((2,), seed=model.seeds)
    wrapped = tfl.wrap(model, in_place=in_place)
    for one in (wrapped, tfl.strip(wrapped)):
        assert set(tfl.get_weights(one)) == {"dense/kernel", "dense/bias", "temperature", "seed_generator_state"}
        assert float(one.temperature) == 5.0
        np.testing.assert_array_equal(one.seeds.state.numpy(), model.seeds.state.numpy())


def test_a_weight_of_a_functional_model_itself_is_not_masked():
    inputs = keras.Input((5,))
    model = Tempered(inputs, L.Dense(1)(inputs))
    with pytest.raises(UnfitError, match="'temperature' can't be masked: it is a weight of the functional model"):
        tfl.wrap(model, include="temperature")


def test_new_weights_keep_the_seeds_of_a_model_itself():
    model = Noisy()
    model(X)
    model(X, training=True)
    fresh = fresh_weights(model, seed=1)
    assert set(fresh) == set(tfl.get_weights(model))
    np.testing.assert_array_equal(fresh["seed_generator_state"], model.seeds.state.numpy())
    assert (fresh["dense/kernel"] != model.dense.kernel.numpy()).all()
    inputs = keras.Input((5,))
    tempered = Tempered(inputs, L.Dense(1)(inputs))
    tempered.temperature.assign(5.0)
    assert fresh_weights(tempered, seed=1)["temperature"] == 1.0  # from its initializer


@keras.saving.register_keras_serializable("copied_parts")
class MakesAGraph(keras.Model):
    """Its constructor makes a functional model, whose layers Keras names by a count."""

    def __init__(self):
        super().__init__()
        inputs = keras.Input((5,))
        self.graph = keras.Model(inputs, L.Add()([L.Dense(3)(inputs), L.Dense(3)(inputs)]))

    def call(self, inputs):
        return self.graph(inputs)


def test_a_graph_that_a_constructor_makes_is_the_same_by_other_names():
    MakesAGraph()
    model = MakesAGraph()
    outputs = model(X)
    np.testing.assert_array_equal(tfl.wrap(model)(X), outputs)


class Holder:
    """An object in which Keras sees no layers."""

    def __init__(self, layer):
        self.layer = layer


@keras.saving.register_keras_serializable("copied_parts")
class Hidden(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = L.Dense(5)
        self.holder, self.known = Holder(L.Dense(5)), Holder(self.dense)

    def call(self, inputs):
        return self.dense(self.holder.layer(inputs))


def test_a_layer_that_keras_does_not_see_is_refused_or_shared():
    model = Hidden()
    outputs = model(X)
    with pytest.raises(UsageError, match=r"attribute 'holder' .* Received: Holder.*in_place=True"):
        tfl.wrap(model)
    wrapped = tfl.wrap(model, in_place=True)
    np.testing.assert_array_equal(tfl.strip(wrapped)(X), outputs)


def test_wrapped_models_of_own_classes_are_pickled():
    model = MakesAGraph()
    model(X)
    wrapped = tfl.wrap(model)
    masks = {path: np.arange(mask.size).reshape(mask.shape) % 2 == 0 for path, mask in tfl.get_masks(wrapped).items()}
    tfl.set_masks(wrapped, masks)
    for other in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        np.testing.assert_array_equal(other(X), wrapped(X))
        for path, mask in tfl.get_masks(other).items():
            np.testing.assert_array_equal(mask, masks[path])


def test_what_is_set_on_a_masked_layer_reaches_the_layer(tmp_path):
    inputs = keras.Input((5,))
    wrapped = tfl.wrap(keras.Model(inputs, L.Dense(3, name="dense")(inputs)))
    wrapped.get_layer("dense").activation = keras.activations.relu
    expected = np.maximum(X @ wrapped.get_layer("dense").kernel.numpy(), 0)
    wrapped.save(tmp_path / "model.keras")
    for one in (wrapped, tfl.strip(wrapped), tfl.load_model(tmp_path / "model.keras")):
        np.testing.assert_allclose(one(X), expected, rtol=1e-5, atol=1e-6)
