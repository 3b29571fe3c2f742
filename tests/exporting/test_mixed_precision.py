"""A half-precision model is exported through a float32 copy; every comparison is with the caller's own model."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import CheckFailed
from tf_lottery.exporting.checks.agreement import error_over_spread
from tf_lottery.exporting.checks.half_precision import half_precision_bounds
from tf_lottery.exporting.checks.keras_reference import make_reference
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.tflite import litert
from toys import AlwaysNoise

L = keras.layers
X = (100 + 30 * np.random.default_rng(0).standard_normal((300, 16))).astype("float32")


def normalizing(policy):
    keras.utils.set_random_seed(0)
    norm = L.Normalization(dtype=policy)
    norm.adapt(X)
    hidden = L.Dense(32, "relu", dtype=policy), L.Dense(32, "relu", dtype=policy)
    model = keras.Sequential([keras.Input((16,)), norm, *hidden, L.Dense(5, dtype="float32")])
    zeros = np.random.default_rng(1).random((32, 32)) < 0.8
    hidden[1].kernel.assign(np.where(zeros, 0, hidden[1].kernel))
    return model


def by_hand(model, x):
    """What the model computes without rounding, from its weights and the statistics of its data."""
    out = (x.astype(np.float64) - X.mean(0, dtype=np.float64)) / X.std(0, dtype=np.float64)
    for layer in model.layers[1:]:
        out = out @ layer.kernel.numpy().astype(np.float64) + layer.bias.numpy()
        out = np.maximum(out, 0) if layer.units == 32 else out
    return out


def outputs_of(path, tmp_path):
    if path.endswith(".tflite"):
        return litert.run_file(tmp_path / path, {"input": X}, scratch=tmp_path).outputs["output"]
    if path.endswith(".keras"):
        return np.asarray(keras.models.load_model(path)(X))
    return tf.saved_model.load(path).signatures["serving_default"](tf.constant(X))["output"].numpy()


@pytest.mark.parametrize("policy", ["mixed_bfloat16", pytest.param("mixed_float16", marks=pytest.mark.slow)])
def test_files_compute_what_the_callers_model_does(policy, tmp_path):
    model = normalizing(policy)
    own, right = np.asarray(model(X), np.float64), by_hand(model, X)
    report = tfl.export(model, tmp_path, format="all", precision="float32", samples=X, task="classification")
    assert {record["format"] for record in report.files} == {"keras", "saved_model", "tflite"}
    for record in report.files:
        received = outputs_of(record["path"], tmp_path)
        np.testing.assert_allclose(received, right, atol=1e-4 * np.abs(right).max())
        assert record["agreement"] == pytest.approx((received.argmax(-1) == own.argmax(-1)).mean())
        error = np.abs(received - own).max()
        assert record["max_abs_error"] == pytest.approx(error, rel=1e-3)
        assert error > 0  # the model rounds and the files do not: an error of zero would be one against the copy
    (note,) = (note for note in report.notes if "rounding" in note)
    assert f"{100 * error_over_spread(own, right):.2f} %" in note


def test_random_samples_are_what_the_normalization_expects(tmp_path):
    model = normalizing("mixed_bfloat16")
    report = tfl.export(model, tmp_path, precision="float32", encoding="dense")
    assert report.samples == "random"
    assert report.files[0]["rms_rel_error"] < 0.03
    reference = make_reference(model, None)
    np.testing.assert_allclose(reference.samples[0].mean(0), X.mean(0), atol=6)
    np.testing.assert_allclose(reference.samples[0].std(0), X.std(0), rtol=0.2)


def test_a_copy_that_lost_its_state_is_no_reference(monkeypatch, tmp_path):
    def without_statistics(model):
        copy, notes = make_deployable(model)
        copy.layers[0].mean, copy.layers[0].variance = 0.0, 1.0
        return copy, notes

    monkeypatch.setattr("tf_lottery.exporting.pipeline.make_deployable", without_statistics)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        with pytest.raises(CheckFailed, match=r"something else than in .*float16, by more than rounding"):
            tfl.export(normalizing(policy), tmp_path, samples=X)
    wrapped = tfl.wrap(normalizing("float32"))  # is copied, so that the change stays in the copy
    with pytest.raises(CheckFailed, match="does not compute what the Keras model does"):
        tfl.export(wrapped, tmp_path, samples=X)
    assert list(tmp_path.iterdir()) == []


class Doubling(keras.Model):
    """A functional model whose class changes what its graph computes."""

    def call(self, inputs):
        return 2 * super().call(inputs)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_call_of_the_models_own_is_exported(compiled, tmp_path):
    inputs = keras.Input((16,))
    model = Doubling(inputs, L.Dense(3)(inputs))
    expected = 2 * (X @ model.layers[1].kernel.numpy())
    if compiled:
        model.compile("sgd", "mse")
    report = tfl.export(model, tmp_path, precision="float32", encoding="dense", samples=X)
    np.testing.assert_allclose(outputs_of(report.best, tmp_path), expected, rtol=1e-4, atol=1e-3)


def test_an_export_leaves_no_trace_in_the_model(tmp_path):
    model = keras.Sequential([keras.Input((16,)), AlwaysNoise(), L.Dense(3)])
    before = [np.array(variable.numpy()) for variable in model.variables]
    make_reference(model, X)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.mark.parametrize(("policy", "unit"), [("mixed_float16", 2**-11), ("mixed_bfloat16", 2**-8)])
def test_bounds_grow_with_layers_and_stay_below_one(policy, unit):
    def bounds(depth):
        layers = [L.Dense(4, dtype=policy) for _ in range(depth)]
        return half_precision_bounds(keras.Sequential([keras.Input((4,)), *layers]))

    assert bounds(3).whole == pytest.approx(8 * unit * 3)  # sqrt(3 roundings * 3 layers) = 3
    assert bounds(3).channel == pytest.approx(24 * unit * 3)
    assert bounds(120).whole < 0.6  # of a model that answers with a constant it is 1
    assert bounds(120).channel < 1
    assert half_precision_bounds(keras.Sequential([keras.Input((4,)), L.Dense(4)])) is None
    masked = tfl.wrap(keras.Sequential([keras.Input((4,)), L.Dense(4, dtype=policy)]))
    assert half_precision_bounds(masked).whole == pytest.approx(8 * unit * 3**0.5)  # a mask is no layer of its own
