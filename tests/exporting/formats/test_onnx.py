"""ONNX files: names, any batch, what ONNX Runtime answers, and packages that are missing."""

import importlib.util

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.formats import onnx_writer

MISSING = [name for name in onnx_writer.PACKAGES if importlib.util.find_spec(name) is None]
needs_packages = pytest.mark.skipif(bool(MISSING), reason=f"{MISSING} not installed: pip install 'tf-lottery[onnx]'")
RNG = np.random.default_rng(0)


def make_model():
    """Two inputs and a dict of outputs; the first layer has dead units, which slimming removes."""
    keras.utils.set_random_seed(0)
    image, extra = keras.Input((6, 6, 1), name="image"), keras.Input((3,), name="extra")
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 3, activation="relu", name="conv")(image))
    both = layers.Concatenate()([pooled, extra])
    outputs = {"scores": layers.Dense(4, activation="softmax")(both), "age": layers.Dense(1)(both)}
    model = keras.Model({"image": image, "extra": extra}, outputs)
    kernel = model.get_layer("conv").kernel
    kernel.assign(kernel.numpy() * (np.arange(8) < 5))
    return model


@needs_packages
def test_onnx_runtime_answers_as_keras_does(tmp_path):
    import onnxruntime

    model = make_model()
    samples = {"image": RNG.random((300, 6, 6, 1), "f4"), "extra": RNG.random((300, 3), "f4")}
    report = export(model, tmp_path, format="onnx", samples=samples)
    assert {(file["format"], file["precision"], file["encoding"]) for file in report.files} == {
        ("onnx", "float32", "dense"),
        ("onnx", "float32", "slim"),
    }
    dense, slim = (file["bytes"] for file in report.files)
    assert slim < dense
    expected = {name: np.asarray(array) for name, array in model(samples).items()}
    for name in ("model.onnx", "model_slim.onnx"):
        session = onnxruntime.InferenceSession(tmp_path / name)
        assert {value.name for value in session.get_inputs()} == {"image", "extra"}
        for batch in (1, 7):
            outputs = session.run(["scores", "age"], {key: array[:batch] for key, array in samples.items()})
            np.testing.assert_allclose(outputs[0], expected["scores"][:batch], rtol=0, atol=1e-6)
            np.testing.assert_allclose(outputs[1], expected["age"][:batch], rtol=0, atol=1e-6)


@needs_packages
def test_a_wrong_file_is_refused(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    convert = onnx_writer._convert

    def convert_another(source, file, signature):
        other = keras.models.clone_model(source)
        other.set_weights([weight + 0.1 for weight in source.get_weights()])
        convert(other, file, signature)

    monkeypatch.setattr(onnx_writer, "_convert", convert_another)
    with pytest.raises(Exception, match="does not compute what the Keras model does"):
        export(model, tmp_path / "app", format="onnx", encoding="dense")
    assert not (tmp_path / "app").exists()


def test_missing_packages_name_the_extra(tmp_path, monkeypatch):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tf2onnx" else find(name))
    with pytest.raises(UnfitError, match=r"tf2onnx.* not installed: pip install 'tf-lottery\[onnx\]'"):
        export(model, tmp_path / "app", format="onnx")
    assert not (tmp_path / "app").exists()


def test_all_leaves_onnx_out_and_a_file_name_asks_for_it(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    report = export(model, tmp_path / "all", format="all", precision="float32", encoding="dense")
    assert {record["format"] for record in report.candidates} == {"keras", "saved_model", "tflite"}
    with pytest.raises(UsageError, match="is for the format onnx"):
        export(model, tmp_path / "model.onnx", format="tflite")
