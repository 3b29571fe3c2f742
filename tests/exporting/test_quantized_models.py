"""Models that Keras quantized are exported as they are, or refused with the reason."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError

L = keras.layers
X = np.random.default_rng(0).normal(size=(300, 16)).astype("float32")


@pytest.fixture
def make():
    def model(mode, policy="float32"):
        layers = [L.Dense(12, "relu", name="first", dtype=policy), L.Dense(3, name="last", dtype=policy)]
        made = keras.Sequential([keras.Input((16,)), *layers])
        made.layers[1].kernel.assign(np.where(np.arange(12)[:, None] < 4, 0, made.layers[1].kernel))
        if mode:
            with pytest.warns(UserWarning, match="InputLayer"):
                made.quantize(mode)
        return made

    return model


def by_hand(model):
    """The int8 model, from its whole numbers and scales; activations are quantized by row."""
    out = X.astype(np.float64)
    for layer in model.layers:
        scale = 127 / (np.abs(out).max(1, keepdims=True) + 1e-7)
        whole = np.round(out * scale) @ layer._kernel.numpy().astype(np.float64)
        out = whole / scale / layer.kernel_scale.numpy() + layer.bias.numpy()
        out = np.maximum(out, 0) if layer.name == "first" else out
    return out


def test_an_int8_model_is_exported_where_its_operations_exist(make, tmp_path):
    model = make("int8")
    expected = by_hand(model)
    report = tfl.export(model, tmp_path, format="all", samples=X)
    assert {record["format"] for record in report.files} == {"keras", "saved_model"}
    served = tf.saved_model.load(str(tmp_path / "model_saved_model")).signatures["serving_default"](tf.constant(X))
    np.testing.assert_allclose(served["last"], expected, atol=2e-3 * np.abs(expected).max())
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(X), expected, atol=2e-3 * np.abs(expected).max())
    assert "Keras quantized the layers first, last (int8); the exported files compute so, too." in report.notes
    assert any(line.startswith("tflite float32 (dense, sparse): Keras quantized") for line in report.refusals())
    with pytest.raises(UnfitError, match=r"Keras quantized the layers first, last \(int8\).*before `quantize`"):
        tfl.export(model, tmp_path / "tflite", samples=X)
    np.testing.assert_allclose(tfl.slim(model)[0](X), expected, atol=2e-3 * np.abs(expected).max())


def test_an_int8_model_of_half_precision(make, tmp_path):
    model = make("int8", policy="mixed_bfloat16")
    report = tfl.export(model, tmp_path, format="saved_model", encoding="dense", samples=X)
    expected = by_hand(model)
    served = tf.saved_model.load(report.best).signatures["serving_default"](tf.constant(X))["last"]
    np.testing.assert_allclose(served, expected, atol=2e-3 * np.abs(expected).max())


def test_a_float8_model_is_refused_by_name(make):
    model = make("float8")
    with pytest.raises(UnfitError, match=r"quantized the layer 'first' \(float8\).*Slim the model before `quantize`"):
        tfl.slim(model)
    with pytest.raises(UsageError, match=r"first/kernel can't be masked: Keras quantized the layer 'first' \(float8\)"):
        tfl.wrap(model)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_wrapped_model_is_not_quantized_in_part(make, in_place):
    wrapped = tfl.wrap(make(None), include="last", in_place=in_place)
    before = wrapped(X)
    with pytest.raises(
        UsageError, match=r"`quantize` of the model .* masks do not hold for: .*`strip` the model first"
    ):
        wrapped.quantize("int8")
    assert {variable.dtype for variable in wrapped.variables} == {"float32", "bool"}
    np.testing.assert_array_equal(wrapped(X), before)
    plain = tfl.strip(wrapped)
    with pytest.warns(UserWarning, match="InputLayer"):
        plain.quantize("int8")
    np.testing.assert_allclose(plain(X), by_hand(plain), atol=2e-3 * np.abs(before).max())


class InAClass(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = L.Dense(3, name="first")

    def call(self, inputs):
        return self.first(inputs)


@pytest.mark.filterwarnings("ignore:Layer InAClass does not have a `quantize` method")
def test_a_model_that_is_stripped_in_place_can_be_quantized_again():
    model = InAClass()
    before = model(X)
    wrapped = tfl.wrap(model, in_place=True)
    for part in (wrapped, wrapped.first):
        with pytest.raises(UsageError, match=r"`quantize` of the .* masks do not hold for"):
            part.quantize("int8")
    tfl.strip(wrapped, in_place=True).quantize("int8")
    assert model.first._kernel.dtype == "int8"
    np.testing.assert_allclose(model(X), before, atol=0.03 * np.abs(before).max())
