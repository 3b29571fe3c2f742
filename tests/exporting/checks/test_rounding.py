"""Models that amplify rounding: their files may differ by as much as Keras's own float32 outputs do from float64."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.exporting.checks.keras_reference import make_reference

L = keras.layers
MEAN = 2000.0


def amplifying_model(*last):
    """Features of a large mean and deviation 1, which are normalized to the mean 0."""
    hidden, normalization = L.Dense(16), L.BatchNormalization(epsilon=1e-8)
    model = keras.Sequential([keras.Input((32,)), hidden, normalization, *last])
    kernel, _ = hidden.get_weights()
    hidden.set_weights([kernel, np.full(16, MEAN)])
    ones = np.ones(16)
    normalization.set_weights([ones, ones * 0.0, ones * MEAN, ones])
    return model


def samples(count=64):
    return np.random.default_rng(0).normal(size=(count, 32)).astype("float32")


def float64_outputs(model, x):
    """The outputs of an amplifying model, computed by hand in float64."""
    kernel, bias, gamma, beta, mean, variance = (array.astype("float64") for array in model.get_weights())
    return (x.astype("float64") @ kernel + bias - mean) * gamma / np.sqrt(variance + 1e-8) + beta


def test_a_file_may_round_as_keras_does(tmp_path):
    model, x = amplifying_model(), samples()
    report = tfl.export(model, tmp_path, format="tflite", precision="float32", encoding="dense", samples=x)
    (file,) = report.files
    assert file["max_rel_error"] > 1e-5, "the test needs a model that amplifies rounding"
    assert any("amplifies rounding" in note for note in report.notes)


def test_the_tolerance_is_four_times_the_error_of_float32():
    model, x = amplifying_model(), samples()
    reference = make_reference(model, x)
    exact = float64_outputs(model, x)
    error = np.abs(reference.outputs["output"] - exact).max() / np.abs(exact).max()
    assert reference.tolerances["output"] == pytest.approx(4 * error, rel=1e-3)
    assert 1e-5 < reference.tolerances["output"] < 1e-3


def test_a_wrong_file_of_such_a_model_is_refused():
    reference = make_reference(amplifying_model(), samples())
    right = reference.outputs["output"]
    assert not reference.compare({"output": right}).failure
    assert reference.compare({"output": right + 0.001 * np.abs(right).max()}).failure


def test_a_half_precision_model_that_amplifies_rounding_has_its_files(tmp_path):
    model, x = amplifying_model(L.Dense(4, dtype="mixed_float16")), samples()
    report = tfl.export(model, tmp_path, format="tflite", precision="float32", encoding="dense", samples=x)
    assert [file["precision"] for file in report.files] == ["float32"]
    assert any("amplifies rounding" in note for note in report.notes)


def test_a_wrong_file_of_a_half_precision_model_is_refused():
    model, plain = amplifying_model(L.Dense(4, dtype="mixed_float16")), amplifying_model(L.Dense(4))
    plain.set_weights(model.get_weights())
    reference = make_reference(plain, samples(), own=model)
    right = reference.float32_outputs["output"]
    assert not reference.compare({"output": right}).failure
    agreement = reference.compare({"output": right * (1 + 0.5 * reference.tolerances["output"])})
    assert not agreement.failure
    assert agreement.max_rel_error > 1e-4, "errors are those from the model in half precision"
    assert reference.compare({"output": right + 0.01 * np.abs(right).max()}).failure


def test_a_model_that_does_not_amplify_gets_the_usual_tolerance():
    model = keras.Sequential([keras.Input((32,)), L.Dense(4)])
    assert make_reference(model, samples()).tolerances == {}


def test_where_nothing_is_left_but_rounding_nothing_more_is_allowed():
    model = amplifying_model()
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel * 1e-4, bias])
    assert make_reference(model, samples()).tolerances == {}


@keras.saving.register_keras_serializable("tf_lottery_tests")
class Float32Only(keras.layers.Layer):
    """Computes in float32 whatever its policy is."""

    def call(self, inputs):
        return keras.ops.cast(inputs, "float32") * 2.0


@keras.saving.register_keras_serializable("tf_lottery_tests")
class NoFloat64(keras.layers.Layer):
    """Fails in float64."""

    def call(self, inputs):
        if inputs.dtype == "float64":
            raise TypeError("float32 only")
        return inputs


@pytest.mark.parametrize("layer", [Float32Only, NoFloat64])
def test_a_model_that_has_no_float64_twin_gets_the_usual_tolerance(layer):
    model, x = amplifying_model(layer()), samples()
    assert make_reference(model, x).tolerances == {}
