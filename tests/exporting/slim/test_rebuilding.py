"""Layers made again with fewer channels: initializers, shared shapes, names of outputs; and what fails on the way."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from tf_lottery.exporting.slim.channel_map import ChannelMap
from tf_lottery.exporting.slim.layer_rules import CHANNEL_RULES
from toys import FailingOnceCopied

L = keras.layers


@keras.saving.register_keras_serializable("tf_lottery_tests")
class EightOnly(keras.initializers.Initializer):
    """An initializer that can make nothing but eight weights."""

    def __call__(self, shape, dtype=None):
        return keras.ops.reshape(keras.ops.arange(8, dtype=dtype), shape)

    def get_config(self):
        return {}


def model_of(hidden, *passing):
    """Units 2, 4 and 7 of the hidden layer of eight are not read."""
    last = L.Dense(2, name="last")
    model = keras.Sequential([keras.Input((6,)), hidden, *passing, last])
    kernel, bias = last.get_weights()
    kernel[[2, 4, 7]] = 0.0
    last.set_weights([kernel, bias])
    return model


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [L.Dense(8, bias_initializer=keras.initializers.Constant(list(range(8))))],
        lambda: [L.Dense(8, kernel_initializer=keras.initializers.Constant(np.full((6, 8), 0.1)))],
        lambda: [L.Dense(8, bias_initializer=EightOnly())],
        lambda: [L.Dense(8, use_bias=False, bias_initializer=EightOnly())],
        lambda: [L.Dense(8), L.PReLU(alpha_initializer=keras.initializers.Constant([0.1] * 8))],
        lambda: [L.Dense(8), L.BatchNormalization(gamma_initializer=keras.initializers.Constant([2.0] * 8))],
    ],
    ids=["bias", "kernel", "own class", "no bias", "slopes", "scales"],
)
@pytest.mark.parametrize("loaded", [False, True])
def test_initializers_of_the_old_shape_do_not_matter(layers, loaded, tmp_path, difference):
    model = model_of(*layers())
    if loaded:
        model.save(tmp_path / "m.keras")
        model = keras.models.load_model(tmp_path / "m.keras")
    slimmed, report = tfl.slim(model)
    assert slimmed.layers[0].units == 5
    assert report.removed == 3
    assert difference(model, slimmed) <= 1e-6
    slimmed.save(tmp_path / "slim.keras")
    assert difference(slimmed, keras.models.load_model(tmp_path / "slim.keras")) == 0


def test_initializers_of_any_shape_stay():
    started = L.Dense(8, kernel_initializer=keras.initializers.HeNormal(seed=3), bias_initializer=EightOnly())
    hidden = tfl.slim(model_of(started))[0].layers[0]
    assert type(hidden.kernel_initializer) is keras.initializers.HeNormal
    assert hidden.kernel_initializer.seed == 3
    assert type(hidden.bias_initializer) is keras.initializers.Zeros


def shared_shape(reshape, dead, widths=(8, 8)):
    """Two dense layers of so many units, the dead ones of which are relu(-1) = 0, through one layer that reshapes."""
    x = keras.Input((4,))
    firsts = [L.Dense(width, "relu", name=f"first_{number}") for number, width in enumerate(widths)]
    lasts = [L.Conv2D(3, 1, name=f"last_{number}") for number in range(2)]
    branches = [last(reshape(first(x))) for first, last in zip(firsts, lasts, strict=True)]
    model = keras.Model(x, L.Add()([L.GlobalAveragePooling2D()(branch) for branch in branches]))
    for first, units in zip(firsts, dead, strict=True):
        kernel, bias = first.get_weights()
        kernel[:, units], bias[units] = 0.0, -1.0
        first.set_weights([kernel, bias])
    return model


def test_a_shared_reshape_keeps_the_same_channels_in_all_calls(difference):
    model = shared_shape(L.Reshape((1, 1, 8)), ([0, 1, 2], [1, 2, 5, 6]))
    slimmed, _ = tfl.slim(model)
    # Channels 1 and 2 are dead in both calls.
    assert [slimmed.get_layer(f"first_{number}").units for number in range(2)] == [6, 6]
    assert [layer.target_shape for layer in slimmed.layers if isinstance(layer, L.Reshape)] == [(1, 1, 6)]
    assert difference(model, slimmed) <= 1e-6


def test_a_shared_reshape_of_open_width_does_not_join_calls(difference):
    model = shared_shape(L.Reshape((1, 1, -1)), ([0, 1, 2], [1, 2, 5, 6]), widths=(8, 12))
    slimmed, _ = tfl.slim(model)
    assert [slimmed.get_layer(f"first_{number}").units for number in range(2)] == [5, 8]
    assert difference(model, slimmed) <= 1e-6


@pytest.mark.parametrize("first", [0, 1])
def test_a_shared_reshape_that_moves_channels_is_left_alone(first, difference):
    x = keras.Input((6,))
    reshape = L.Reshape((1, 1, 8), name="shared")
    made = [L.Dense(8, "relu", name="wide")(x), L.Reshape((2, 4))(L.Dense(8, name="flat")(x))]
    branches = [L.Flatten()(reshape(made[number])) for number in (first, 1 - first)]
    model = keras.Model(x, L.Dense(2)(L.Concatenate()(branches)))
    kernel, bias = model.get_layer("wide").get_weights()
    model.get_layer("wide").set_weights([kernel * ([0, 0, 1, 1] * 2), bias])
    slimmed, report = tfl.slim(model)
    assert "moves channels" in report.left_alone["shared"]
    assert slimmed.get_layer("wide").units == 8
    assert difference(model, slimmed) <= 1e-6


def head(name, units, last="logits"):
    return keras.Sequential([keras.Input((8,)), L.Dense(5, "relu"), L.Dense(units, name=last)], name=name)


def test_outputs_of_nested_models_keep_their_names():
    x = keras.Input((6,))
    body = L.Dense(8, "relu", name="aux_2")(x)
    outputs = [head("head", 2)(body), head("aux", 3)(body), head("logits", 1, last="head")(body)]
    model = keras.Model(x, outputs)
    slimmed, report = tfl.slim(model)
    assert slimmed.output_names == model.output_names == ["head", "aux", "logits"]
    assert [slimmed.get_layer(name).units for name in slimmed.output_names] == [2, 3, 1]
    assert {"head", "aux", "logits"} < {layer.name for layer in report.layers}
    losses = dict.fromkeys(slimmed.output_names, "mse")
    for compiled in (model, slimmed):
        compiled.compile("sgd", losses)
        compiled.fit(
            np.ones((2, 6)), {"head": np.ones((2, 2)), "aux": np.ones((2, 3)), "logits": np.ones((2, 1))}, verbose=0
        )


def test_one_layer_that_makes_outputs_of_several_names(difference):
    x = keras.Input((8,), name="x")
    shared, own = L.Dense(2, name="shared"), L.Dense(8, name="own")
    inner = keras.Input((8,))
    heads = [keras.Model(inner, shared(inner), name=name) for name in ("one", "other")]
    through = keras.Model(inner, inner, name="through")
    pair = keras.Model(inner, [L.Dense(1, name="left")(inner), L.Dense(1, name="right")(inner)], name="pair")
    y = own(x)
    model = keras.Model(x, [heads[0](y), heads[1](y), through(y), y, x, *pair(y)])
    slimmed, _ = tfl.slim(model)
    assert model.output_names == ["one", "other", "through", "own", "x", "pair", "pair"]
    assert slimmed.output_names == ["one", "other", "through", "own", "x", "pair", "right"]  # names can't repeat
    assert difference(model, slimmed) == 0


@keras.saving.register_keras_serializable("tf_lottery_tests")
class Unrepeatable(L.Layer):
    """A layer that can't be made twice."""

    def call(self, inputs):
        return inputs

    @classmethod
    def from_config(cls, config):
        raise RuntimeError("once\n  only")


@pytest.mark.parametrize(
    ("layer", "text"), [(Unrepeatable, "RuntimeError: once"), (FailingOnceCopied, "ZeroDivisionError: .*no mood")]
)
def test_errors_of_rebuilding_name_the_layer(layer, text):
    chain = model_of(L.Dense(8), layer(name="culprit"))
    with pytest.raises(UnfitError, match=f"The layer 'culprit' of class {layer.__name__} can't be slimmed: {text}"):
        tfl.slim(keras.Model(chain.inputs, chain.outputs))
    with pytest.raises(UnfitError, match=f"can't be slimmed: {text}"):
        tfl.slim(chain)


def broken(*arguments):
    raise KeyError("surprise")


@pytest.mark.parametrize("rule", [broken, lambda shaped: ChannelMap(value=broken)], ids=["channels", "constants"])
def test_errors_of_analysis_name_the_layer(rule, monkeypatch):
    monkeypatch.setitem(CHANNEL_RULES, "elementwise", rule)
    with pytest.raises(UnfitError, match="The layer 'culprit' of class ReLU can't be slimmed: KeyError: surprise"):
        tfl.slim(model_of(L.Dense(8), L.ReLU(name="culprit")))


def test_other_errors_name_the_model(monkeypatch):
    monkeypatch.setattr("tf_lottery.exporting.slim.slimming.find_fixed_groups", broken)
    model = model_of(L.Dense(8))
    with pytest.raises(UnfitError, match=f"The model '{model.name}' of class Sequential can't be slimmed: KeyError"):
        tfl.slim(model)
