"""The graph that is traced of a subclassed model computes what `predict` does, with inputs of the model's own kinds."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from tf_lottery.layers.functional_copy import functional_copy

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 5)).astype("float32")


class TwoTowers(keras.Model):
    """An embedding of whole numbers beside a dense layer of floats."""

    def __init__(self):
        super().__init__()
        self.table, self.dense, self.out = L.Embedding(10, 4), L.Dense(4), L.Dense(1)

    def call(self, inputs):
        return self.out(keras.ops.concatenate([self.table(inputs["ids"]), self.dense(inputs["features"])], -1))


class Shifted(keras.Model):
    """Takes the bits of whole numbers; floats have none that an operation takes."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(2)

    def call(self, inputs):
        return self.dense(inputs["x"]) + keras.ops.cast(
            keras.ops.bitwise_and(inputs["code"], inputs["code"]), "float32"
        )


class TrainsByDefault(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense, self.norm, self.drop = L.Dense(4), L.BatchNormalization(momentum=0.5), L.Dropout(0.5)

    def call(self, inputs, training=True):
        return self.drop(self.norm(self.dense(inputs), training=training), training=training)


class Optional(keras.Model):
    """The second of its three arguments is left out."""

    def __init__(self):
        super().__init__()
        self.first, self.second = L.Dense(3), L.Dense(3)

    def build(self, a_shape, c_shape):
        self.first.build(a_shape)
        self.second.build(c_shape)

    def call(self, a, b=None, c=None):
        return self.first(a) + (self.second(b) if c is None else 2 * self.second(c))


def test_floats_beside_whole_numbers_stay_floats():
    model = TwoTowers()
    inputs = {"ids": np.arange(8), "features": X}
    expected = model(inputs)
    copy = functional_copy(model)
    assert {name: tensor.dtype for name, tensor in copy.input.items()} == {"ids": "int32", "features": "float32"}
    np.testing.assert_array_equal(copy(inputs), expected)


def test_a_model_of_other_inputs_is_refused_by_name():
    model = Shifted()
    model({"x": X, "code": np.arange(8)[:, None]})
    with pytest.raises(UnfitError, match=r"class Shifted can't be traced.*fails for inputs of float32, float32"):
        functional_copy(model)


def test_a_model_that_trains_by_default_is_traced_for_inference():
    model = TrainsByDefault()
    model(X)
    before = model.get_weights()
    copy = functional_copy(model)
    np.testing.assert_array_equal(copy.predict(X, verbose=0), model.predict(X, verbose=0))
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tracing_changes_no_variable():
    class Counts(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense, self.norm = L.Dense(3), L.BatchNormalization(momentum=0.5)
            self.calls = self.add_weight(shape=(), initializer="zeros", trainable=False)

        def call(self, inputs):
            self.calls.assign_add(1.0)
            return self.norm(self.dense(inputs), training=True)

    model = Counts()
    model(X)
    before = model.get_weights()
    tfl.discover(model)
    tfl.wrap(model)
    with pytest.raises(UnfitError, match="can't be traced"):
        functional_copy(model)
    for one, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


def test_arguments_go_by_their_names():
    model = Optional()
    expected = model(X, c=3 * X)
    np.testing.assert_array_equal(functional_copy(model)([X, 3 * X]), expected)


@pytest.mark.parametrize("other", [X, 3 * X])
def test_an_embedding_with_another_reader_has_floats(other):
    inputs = np.abs(other)

    class Both(keras.Model):
        def __init__(self):
            super().__init__()
            self.table, self.dense = L.Embedding(20, 2), L.Dense(2)

        def call(self, inputs):
            return keras.ops.mean(self.table(inputs), 1) + self.dense(inputs)

    model = Both()
    expected = model(inputs)
    np.testing.assert_array_equal(functional_copy(model)(inputs), expected)
