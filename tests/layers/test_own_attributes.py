"""What users set on an instance is in its copies too: wrapped, stripped, and the copies of nested models and layers."""

import keras
import numpy as np
import pytest
from keras import layers

import tf_lottery as tfl
from tf_lottery.errors import UsageError


@keras.saving.register_keras_serializable("own_attributes")
class Scaled(keras.Model):
    """Trains with its own scale of the loss."""

    alpha = 0.1

    def train_step(self, data):
        x, y = data[:2]
        loss = self.alpha * self.compute_loss(x, y, self(x, training=True))
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(x, y, self(x), None)


@keras.saving.register_keras_serializable("own_attributes")
class Shifted(layers.Layer):
    """Adds a constant that its configuration does not hold."""

    shift = 0.0
    _scale = 1.0

    def call(self, inputs):
        return self._scale * inputs + self.shift


def scaled(inner=None):
    inputs = keras.Input((4,))
    return Scaled(inputs, layers.Dense(1)(inner(inputs) if inner else inputs))


X, Y = np.ones((8, 4), "float32"), np.zeros((8, 1), "float32")


def test_a_setting_of_the_model_is_in_the_wrapped_and_the_stripped_copy():
    model = scaled()
    model.alpha = 5.0
    model.schedule = {"warmup": [1, 2.5], "name": None}
    wrapped = tfl.wrap(model)
    stripped = tfl.strip(wrapped)
    losses = []
    for copy in (model, wrapped, stripped):
        assert copy.alpha == 5.0
        assert dict(copy.schedule) == {"warmup": [1, 2.5], "name": None}
        copy.compile("sgd", "mse")
        losses.append(float(copy.train_on_batch(X, Y)))
    assert losses[0] == losses[1] == losses[2] > 0


def test_a_setting_of_a_layer_and_of_a_nested_model_is_copied():
    layer = Shifted(name="shifted")
    layer.shift, layer._scale = np.array([1.0, 2.0, 3.0, 4.0], "float32"), 3.0
    inputs = keras.Input((4,))
    nested = Scaled(inputs, layer(layers.Dense(4)(inputs)), name="nested")
    nested.alpha = 7.0
    model = scaled(nested)
    wrapped = tfl.wrap(model)
    assert wrapped.get_layer("nested").alpha == 7.0
    assert wrapped.get_layer("nested").get_layer("shifted")._scale == 3.0
    np.testing.assert_array_equal(wrapped(X), model(X))
    np.testing.assert_array_equal(tfl.strip(wrapped)(X), model(X))


def test_a_copy_has_lists_and_arrays_of_its_own():
    model = scaled()
    model.steps, model.scales = [1, 2], np.ones(2)
    wrapped = tfl.wrap(model)
    wrapped.steps.append(3)
    wrapped.scales[:] = 7
    assert list(model.steps) == [1, 2]
    assert model.scales.tolist() == [1, 1]


def test_what_only_keras_methods_could_read_is_shared():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.Dense(1)(inputs))
    model.tokenizer = object()
    assert tfl.wrap(model).tokenizer is model.tokenizer


def test_what_was_set_on_a_layer_is_refused_or_shared_to_the_end():
    layer = Shifted()
    layer.source = object()
    model = scaled(layer)
    with pytest.raises(UsageError, match=r"attribute 'source' .* class Shifted .*in_place=True"):
        tfl.wrap(model)
    assert tfl.strip(tfl.wrap(model, in_place=True)).layers[1].source is layer.source


def test_an_object_in_place_of_none_is_not_lost():
    class Distilled(Scaled):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.teacher = None
            self.tracker = keras.metrics.Mean()

    inputs = keras.Input((4,))
    model = Distilled(inputs, layers.Dense(1)(inputs))
    assert tfl.wrap(model).tracker is not model.tracker
    model.teacher = lambda inputs: inputs
    with pytest.raises(UsageError, match="attribute 'teacher'"):
        tfl.wrap(model)
    wrapped = tfl.wrap(model, in_place=True)
    assert wrapped.teacher is model.teacher
    assert wrapped.tracker is not model.tracker


def test_what_cannot_be_copied_is_refused_and_wrapped_in_place():
    model = scaled()
    model.teacher = lambda inputs: inputs
    with pytest.raises(UsageError, match=r"attribute 'teacher' .* class Scaled .* function.*in_place=True"):
        tfl.wrap(model)
    wrapped = tfl.wrap(model, in_place=True)
    assert wrapped.teacher is model.teacher
    assert tfl.strip(wrapped).teacher is model.teacher


def test_a_model_that_was_compiled_and_trained_is_copied_as_before():
    model = scaled()
    model.compile("sgd", "mse", metrics=["mae"])
    model.fit(X, Y, verbose=0)
    model.predict(X, verbose=0)
    wrapped = tfl.wrap(model)
    assert not wrapped.compiled
    np.testing.assert_array_equal(wrapped(X), model(X))
