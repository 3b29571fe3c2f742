"""The table of layer kinds: subclasses, unknown classes, and cells that Keras does not export."""

import keras

import tf_lottery as tfl
from tf_lottery.layers.kinds import KINDS, UNKNOWN, LayerKind, exact_kind_of, kind_of


class OwnDense(keras.layers.Dense):
    """A dense layer of a user's own."""


class OwnLayer(keras.layers.Layer):
    """A layer that the table does not list, with a kernel."""

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], 2), name="kernel")

    def call(self, inputs):
        return inputs @ self.kernel


def test_a_subclass_is_of_the_kind_of_its_nearest_listed_class():
    assert kind_of(OwnDense(2)) is KINDS[keras.layers.Dense]
    assert kind_of(keras.layers.SpatialDropout2D(0.5)) == kind_of(keras.layers.Dropout(0.5))
    assert kind_of(keras.layers.ReversibleEmbedding(3, 2)).role == "embedding"


def test_a_subclass_has_no_exact_kind():
    assert exact_kind_of(keras.layers.Dense(2)) is KINDS[keras.layers.Dense]
    assert exact_kind_of(OwnDense(2)) is UNKNOWN


def test_unknown_classes_and_operations_are_unknown():
    total = keras.Input((2,)) + keras.Input((2,))
    assert kind_of(OwnLayer()) is kind_of(total._keras_history.operation) is UNKNOWN
    assert LayerKind() == UNKNOWN
    assert not UNKNOWN.role
    assert not UNKNOWN.xla_on_cpu
    assert not UNKNOWN.channel_rule


def test_the_cell_of_a_convolutional_lstm_is_known_by_name():
    cell = keras.layers.ConvLSTM2D(2, 3).cell
    assert (kind_of(cell).role, kind_of(cell).weight_axes) == ("conv", "gates")


def test_an_added_entry_makes_the_kernels_of_a_class_maskable(monkeypatch):
    model = keras.Sequential([keras.Input((3,)), OwnLayer(name="own"), keras.layers.Dense(1, name="head")])
    assert list(tfl.discover(model).found) == ["head/kernel"]
    monkeypatch.setitem(KINDS, OwnLayer, LayerKind(role="dense", weight_axes="kernel"))
    discovery = tfl.discover(model)
    assert discovery.roles == {"own/kernel": "dense", "head/kernel": "output"}
    assert (discovery.axes["own/kernel"].inputs, discovery.axes["own/kernel"].channels) == (-2, (-1,))
