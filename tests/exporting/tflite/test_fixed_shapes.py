"""Shapes of TFLite files: a batch size, and sizes for inputs that the model leaves open."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner
from keras import layers
from tf_lottery_cli.app import app

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.input_shapes import fix_shapes
from tf_lottery.exporting.signature import signature_of

IMAGES = np.random.default_rng(0).normal(size=(8, 16, 16, 3)).astype("float32")


def convolutional():
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(8, 3, padding="same", activation="relu"), layers.Conv2D(2, 1)]
    )


def dense_net():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(96, "relu"), layers.Dense(3)])
    kernel = model.layers[0].kernel
    kernel.assign(np.where(np.random.default_rng(2).random(kernel.shape) < 0.9, 0, kernel))
    return model


def run(path, values):
    interpreter = Interpreter(model_path=path)
    interpreter.allocate_tensors()
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(taken["index"]), given["shape"].tolist()


@pytest.mark.parametrize("sizes", [(16, 16, 3), (9, 24, 3)])
def test_a_shape_is_fixed_for_the_file(tmp_path, sizes):
    model = convolutional()
    x = np.random.default_rng(1).normal(size=(20, *sizes)).astype("float32")
    report = export(model, tmp_path, samples=x, precision="float32", encoding="dense", input_shape=sizes)
    (record,) = report.files
    output, shape = run(record["path"], x[:1])
    assert shape == [1, *sizes]
    np.testing.assert_allclose(output, model.predict(x[:1], verbose=0), atol=1e-5)
    assert model.input_shape == (None, None, None, 3)


def test_other_formats_keep_the_open_shape(tmp_path):
    x = np.random.default_rng(1).normal(size=(20, 8, 8, 3)).astype("float32")
    report = export(
        convolutional(), tmp_path, format=["keras", "tflite"], samples=x, precision="float32", input_shape=(8, 8, 3)
    )
    path = next(record["path"] for record in report.files if record["format"] == "keras")
    assert keras.models.load_model(path).input_shape == (None, None, None, 3)


def test_every_file_takes_the_batch(tmp_path):
    model = dense_net()
    x = np.random.default_rng(1).normal(size=(70, 64)).astype("float32")  # no multiple of 4
    report = export(
        model, tmp_path, samples=x, calibration=x[:30], batch=4, task="regression", encoding=["dense", "sparse"]
    )
    assert {record["precision"] for record in report.files} == {"float32", "float16", "dynamic", "int8"}
    assert {"dense", "sparse"} == {record["encoding"] for record in report.files}
    expected = model.predict(x[:4], verbose=0)
    for record in report.files:
        output, shape = run(record["path"], x[:4])
        assert shape == [4, 64]
        assert np.abs(output - expected).max() < {"float32": 1e-5, "float16": 1e-2}.get(record["precision"], 0.2)


def test_random_samples_have_the_fixed_shape(tmp_path):
    report = export(convolutional(), tmp_path, precision="float32", encoding="dense", input_shape=(8, 8, 3))
    assert report.samples == "random"
    assert len(report.files) == 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"input_shape": (16, 16)}, UsageError, "does not fit the input 'input' of shape (None, None, 3)"),
        ({"input_shape": (16, 16, 4)}, UsageError, "does not fit the input 'input' of shape (None, None, 3)"),
        ({"input_shape": (16, -1, 3)}, UsageError, "must be positive whole numbers. Received: (16, -1, 3)"),
        ({"input_shape": 16}, UsageError, "`input_shape` (16,) does not fit"),
        ({"input_shape": "16,16,3"}, UsageError, "Received: '16,16,3'"),
        ({"input_shape": {"image": (16, 16, 3)}}, UsageError, "unknown inputs image"),
        ({"input_shape": (16, 16, 3), "format": "keras"}, UsageError, "`input_shape` is of TFLite files"),
        ({"batch": 0}, UsageError, "`batch` must be a positive whole number. Received: 0"),
        ({"batch": 2.0}, UsageError, "`batch` must be a positive whole number. Received: 2.0"),
        ({"batch": 2, "format": "saved_model"}, UsageError, "`batch` is of TFLite files"),
    ],
)
def test_what_does_not_fit_is_an_error(tmp_path, arguments, error, words):
    with pytest.raises(error) as caught:
        export(convolutional(), tmp_path / "out", samples=IMAGES, **arguments)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_sizes_of_numpy_are_taken():
    signature = signature_of(convolutional())
    for sizes in (np.array([16, 8, 3]), (np.int64(16), 8, 3), {"input": (16, 8, 3)}):
        assert fix_shapes(signature, sizes).shapes == ((16, 8, 3),)
    assert fix_shapes(signature, {"input": None}) == signature  # nothing is said of it


def test_samples_of_another_shape_are_refused(tmp_path):
    with pytest.raises(UnfitError, match=r"expected shape \('samples', 8, 8, 3\), received \(8, 16, 16, 3\)"):
        export(convolutional(), tmp_path / "out", samples=IMAGES, input_shape=(8, 8, 3))


@pytest.mark.slow
def test_shapes_on_the_command_line(tmp_path):
    convolutional().save(tmp_path / "net.keras")
    arguments = ["export", str(tmp_path / "net.keras"), "--precision", "float32", "--encoding", "dense"]
    arguments += ["--batch", "2", "--input-shape"]
    done = CliRunner().invoke(app, [*arguments, "8,12,3", "--to", str(tmp_path / "app")])
    assert done.exit_code == 0, done.output
    (file,) = (tmp_path / "app").glob("*.tflite")
    assert run(str(file), np.zeros((2, 8, 12, 3), "float32"))[1] == [2, 8, 12, 3]
    done = CliRunner().invoke(app, [*arguments, "8,x,3", "--to", str(tmp_path / "other")])
    assert done.exit_code == 2
    assert not (tmp_path / "other").exists()
