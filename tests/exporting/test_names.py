"""Inputs and outputs whose names can't be names in a file get others, which the report says."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.exporting.signature import signature_of
from tf_lottery.exporting.tflite import litert

L = keras.layers
X = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")


def model_of(*names):
    inputs = [keras.Input((4,), name=name) for name in names]
    return keras.Model(inputs, L.Dense(2)(L.Concatenate()(inputs) if names[1:] else inputs[0]))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["in"], ["in_"]),
        (["class", "None"], ["class_", "None_"]),
        (["self"], ["self_"]),  # of the function that serves the model
        (["_x", "größe", "é"], ["x", "gr__e", "tensor"]),
        (["1st", "match", "a b", "x.y"], ["1st", "match", "a_b", "x_y"]),
        (["A", "a", "a__2"], ["A", "a__2", "a__2__2"]),  # TensorFlow's names do not differ in capital letters alone
        (["in", "in_"], ["in_", "in___2"]),
    ],
)
def test_names_in_files(names, expected, tmp_path):
    model = model_of(*names)
    assert list(signature_of(model).inputs) == expected
    tfl.export(model, tmp_path, format="saved_model", samples=dict.fromkeys(names, X))
    serve = tf.saved_model.load(str(tmp_path / "model_saved_model")).signatures["serving_default"]
    received = serve(**{name: tf.constant(X) for name in expected})["output"]
    np.testing.assert_allclose(received, np.tile(X, len(names)) @ model.layers[-1].kernel.numpy(), atol=1e-5)


@pytest.mark.parametrize("keys", [("in", "right"), ("in_", "right")])
def test_the_report_says_the_new_name_and_samples_take_either(keys, tmp_path):
    left, right = keras.Input((4,), name="in"), keras.Input((4,), name="right")
    hidden = L.Dense(2)
    model = keras.Model({"right": right, "in": left}, {"class": hidden(left), "a b": L.Dense(3)(right)})
    samples, labels = dict(zip(keys, (X, 2 * X), strict=True)), {"class": np.zeros(20, int), "a b": np.ones(20, int)}
    report = tfl.export(model, tmp_path, precision="float32", encoding="dense", samples=samples, labels=labels)
    notes = [note for note in report.notes if "is called" in note]
    assert notes == [
        "The input 'in' is called 'in_' in SavedModels and TFLite files.",
        "The output 'a b' is called 'a_b' in SavedModels and TFLite files.",
    ]
    ran = litert.run_file(tmp_path / "model_float32_dense.tflite", {"in_": X, "right": 2 * X}, scratch=tmp_path)
    np.testing.assert_allclose(ran.outputs["class"], X @ hidden.kernel.numpy(), atol=1e-5)
    assert set(ran.outputs) == {"class", "a_b"}
    assert report.keras["accuracy"] is not None


def test_unknown_names_of_samples_list_those_of_the_model(tmp_path):
    with pytest.raises(UsageError, match=r"\['other'\].*Expected: in\."):
        tfl.export(model_of("in"), tmp_path, samples={"other": X})
