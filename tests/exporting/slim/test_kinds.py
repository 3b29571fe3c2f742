"""What can't be followed is left alone and reported; every way of putting a model together; bad input."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from toys import Subclassed

L = keras.layers


@keras.saving.register_keras_serializable("tf_lottery_tests")
class Reversed(L.Layer):
    """A layer that moves channels, which nobody can know."""

    def call(self, inputs):
        return inputs[..., ::-1]


@keras.saving.register_keras_serializable("tf_lottery_tests")
def flipped(x):
    return x[..., ::-1]


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (lambda: L.LayerNormalization(), (6,), "LayerNormalization layers may mix channels"),
        (lambda: L.GroupNormalization(2), (6,), "GroupNormalization layers may mix channels"),
        (lambda: L.Softmax(), (6,), "Softmax layers may mix channels"),
        (lambda: L.Activation("softmax"), (6,), "activation mixes channels"),
        (lambda: L.Activation(flipped), (6,), "activation mixes channels or is not known"),
        (lambda: L.Dense(6, "softmax"), (6,), "all of its units stay"),
        (lambda: Reversed(), (6,), "class Reversed"),
        (lambda: L.LSTM(4), (3, 6), "LSTM layers"),
        (lambda: L.Conv1D(6, 1, groups=2), (3, 6), "grouped convolution"),
        (lambda: L.Permute((2, 1)), (3, 6), "moves channels"),
        (lambda: L.Reshape((9, 2)), (3, 6), "moves channels"),
        (lambda: L.BatchNormalization(axis=1), (3, 6), "last axis"),
        (lambda: L.Dropout(0.5, noise_shape=(None, 6)), (6,), "fixed shape"),
    ],
)
def test_what_cannot_be_followed_keeps_its_channels(layer, shape, reason, difference):
    x = keras.Input(shape)
    barrier = layer()
    before, after = L.Dense(6, name="before"), L.Dense(1, name="after")
    model = keras.Model(x, after(L.Flatten()(L.Dense(4, name="behind")(barrier(before(L.Dense(5)(x)))))))
    model.get_layer("before").set_weights([np.zeros((5, 6)), np.zeros(6)])
    kernel, bias = model.get_layer("behind").get_weights()
    model.get_layer("behind").set_weights([kernel * [1, 0, 1, 0], bias])
    slimmed, report = tfl.slim(model)
    assert reason in report.left_alone[barrier.name]
    # A dense layer with softmax reads channels as any other does: only its own units stay.
    assert slimmed.get_layer("before").units == (1 if isinstance(barrier, L.Dense) else 6)
    assert slimmed.get_layer("behind").units == 2
    assert difference(model, slimmed) <= 1e-6


def test_a_mask_that_is_passed_on_is_left_alone():
    tokens = keras.Input((5,), dtype="int32")
    x = L.LSTM(4)(L.Embedding(9, 3, mask_zero=True)(tokens))
    model = keras.Model(tokens, L.Dense(2)(L.Dense(6, "relu", name="hidden")(x)))
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([kernel * np.array([[1], [0], [1], [0], [1], [0]]), bias])
    slimmed, _ = tfl.slim(model)
    assert slimmed.get_layer("hidden").units == 3
    x = np.array([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7]])
    np.testing.assert_allclose(model(x), slimmed(x), atol=1e-6)


def test_nested_models_are_opened_also_when_used_twice(difference):
    inner = keras.Sequential([keras.Input((4,)), L.Dense(6, "relu", name="one"), L.Dense(4, name="two")], name="inner")
    x = keras.Input((4,))
    model = keras.Model(x, L.Dense(2, name="one")(inner(inner(L.Dense(4, name="two")(x)))))
    kernel, bias = inner.layers[0].get_weights()
    inner.layers[0].set_weights([kernel * [1, 0, 1, 0, 1, 0], bias])
    kernel, bias = model.get_layer("one").get_weights()
    slimmed, report = tfl.slim(model)
    assert sorted(layer.name for layer in report.layers) == ["one", "one_2", "two", "two_2"]
    assert sorted(layer.units_after for layer in report.layers) == [2, 3, 4, 4]
    assert difference(model, slimmed) <= 1e-6


def test_outputs_inside_the_network_keep_their_channels(difference):
    x = keras.Input((3,), name="x")
    hidden = L.Dense(5, "relu")(x)
    model = keras.Model(x, [hidden, L.Dense(2, kernel_initializer="zeros")(hidden), x])
    slimmed, report = tfl.slim(model)
    assert report.removed == 0
    assert difference(model, slimmed) <= 1e-6


def test_wrapped_models_are_stripped_first(difference):
    wrapped = tfl.wrap(keras.Sequential([keras.Input((4,)), L.Dense(5, "relu"), L.Dense(2)]))
    masks = tfl.get_masks(wrapped)
    masks["dense/kernel"][:, 1] = False
    masks["dense_1/kernel"][3] = False
    tfl.set_masks(wrapped, masks)
    slimmed, report = tfl.slim(wrapped)
    assert report.removed == 2
    assert difference(wrapped, slimmed) <= 1e-6


def test_the_slimmed_model_is_saved_and_trained(tmp_path, random_model, difference):
    slimmed, _ = tfl.slim(random_model(3))
    slimmed.save(tmp_path / "slim.keras")
    assert difference(slimmed, keras.models.load_model(tmp_path / "slim.keras")) <= 1e-6
    slimmed.compile("sgd", "mse")
    slimmed.fit(np.ones((2, *slimmed.input_shape[1:])), np.ones((2, 3)), verbose=0)


def test_frozen_layers_and_normalization_constants_stay(difference):
    layers = [L.Normalization(mean=1.0, variance=4.0), L.Dense(4, "relu", trainable=False), L.Dense(2)]
    model = keras.Sequential([keras.Input((3,)), *layers])
    kernel, bias = layers[2].get_weights()
    layers[2].set_weights([kernel * np.array([[1], [0], [1], [0]]), bias])
    slimmed, _ = tfl.slim(model)
    assert [layer.trainable for layer in slimmed.layers[1:]] == [False, True]
    assert slimmed.layers[1].units == 2
    assert difference(model, slimmed) <= 1e-6


def test_a_number_is_added_to_constants():
    x = keras.Input((2,))
    first, last = L.Dense(2), L.Dense(1)
    model = keras.Model(x, last(keras.ops.relu(first(x) * 2.0 + 1.0) / 4.0))
    first.set_weights([np.array([[1, 0], [1, 0]]), np.array([0, 3])])
    last.set_weights([np.array([[1], [8]]), np.array([0])])
    slimmed, _ = tfl.slim(model)
    assert slimmed.layers[-1].bias.numpy().tolist() == [(3 * 2 + 1) / 4 * 8]


def test_papers_architectures(difference):
    from tf_lottery.models.architectures import ARCHITECTURES

    rng = np.random.default_rng(0)
    for name in ("resnet8", "conv2"):
        model = ARCHITECTURES[name]((16, 16, 3), 4)
        for layer in model.layers[:-1]:
            if isinstance(layer, L.Conv2D):
                weights = layer.get_weights()
                layer.set_weights([weights[0] * (rng.random(weights[0].shape[-1]) < 0.5), *weights[1:]])
            if isinstance(layer, L.BatchNormalization):
                layer.set_weights([w + 0.1 * rng.random(w.shape) for w in layer.get_weights()])
        slimmed, report = tfl.slim(model)
        assert report.parameters_after < 0.7 * report.parameters_before
        assert difference(model, slimmed) <= 1e-5


@pytest.mark.parametrize("multiple", [0, -1, 1.5, True, "8"])
def test_multiple_is_a_positive_integer(multiple):
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    with pytest.raises(tfl.LotteryError, match=r"`multiple` must be a positive integer. Received"):
        tfl.slim(model, multiple=multiple)


def test_models_that_can_not_be_slimmed():
    for model, message in (
        ("model", "A keras.Model is expected"),
        (Subclassed(), "is not built"),
        (keras.Sequential([L.Dense(2)]), "is not built"),
    ):
        with pytest.raises(tfl.LotteryError, match=message):
            tfl.slim(model)
    model = keras.Sequential([keras.Input((2,)), L.Dense(1)])
    model.layers[0].kernel.assign([[np.nan], [1.0]])
    with pytest.raises(tfl.LotteryError, match="must be finite"):
        tfl.slim(model)
