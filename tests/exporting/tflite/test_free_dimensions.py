"""Files whose inputs take any size: compared with Keras at sizes and batches that the export did not see."""

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from keras import layers

from tf_lottery.errors import UnfitError
from tf_lottery.exporting import export

ALLOWED = {"float32": 1e-5, "float16": 1e-2, "dynamic": 0.1, "int8": 0.3, "int16x8": 0.3}


def images(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def prune(model, density=0.1):
    for layer in model.layers:
        if getattr(layer, "kernel", None) is not None:
            kept = np.random.default_rng(1).random(layer.kernel.shape) < density
            layer.kernel.assign(np.where(kept, layer.kernel, 0))
    return model


def convolutional():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(16, 3, padding="same", activation="relu")(image)
    x = layers.Conv2D(32, 3, strides=2, padding="same", activation="relu")(x)
    return prune(keras.Model(image, layers.Conv2DTranspose(2, 3, strides=2, padding="same")(x)))


def pooled():
    keras.utils.set_random_seed(0)
    image = keras.Input((None, None, 3), name="image")
    x = layers.Conv2D(32, 3, padding="same", activation="relu")(image)
    x = layers.Dense(64, activation="relu")(layers.GlobalAveragePooling2D()(x))
    return prune(keras.Model(image, layers.Dense(4)(x)), density=0.15)


def run(path, values):
    """The answer to an array, after the input was resized to it."""
    interpreter = Interpreter(model_path=path)
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.resize_tensor_input(given["index"], values.shape, strict=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], values)
    interpreter.invoke()
    return interpreter.get_tensor(taken["index"])


@pytest.mark.parametrize("make", [pytest.param(convolutional, marks=pytest.mark.slow), pooled])
def test_every_file_takes_any_size(tmp_path, make):
    model, x = make(), images(64, 16, 16, 3)
    report = export(*(model, tmp_path), samples=x, calibration=x[:40], task="regression", encoding=["dense", "sparse"])
    made = {(record["precision"], record["encoding"]) for record in report.files}
    assert made >= {("float32", "dense"), ("float32", "sparse"), ("float16", "dense"), ("int8", "dense")}
    for record in report.files:
        assert record["free_dimensions"] == {"image": [0, 1, 2]}
        for shape in ((1, 16, 16, 3), (5, 16, 16, 3), (2, 22, 38, 3), (3, 50, 12, 3)):
            values = images(*shape)
            expected, output = model.predict(values, verbose=0), run(record["path"], values)
            assert output.shape == expected.shape
            error = np.abs(output - expected).max() / np.abs(expected).max()
            assert error < ALLOWED[record["precision"]], (record["path"], shape)
    card = next(tmp_path.glob("*.card.md")).read_text()
    assert "| Free dimensions | image: batch, height, width |" in card


def test_without_samples(tmp_path):
    report = export(pooled(), tmp_path, precision="float32", encoding="dense")
    assert report.samples == "random"
    assert report.inputs[0]["sample_shape"] == [64, 64, 3]
    assert run(report.best, images(2, 9, 30, 3)).shape == (2, 4)


def test_a_batch_that_is_given_stays(tmp_path):
    model = pooled()
    report = export(model, tmp_path, samples=images(30, 16, 16, 3), precision="float32", encoding="dense", batch=4)
    assert report.files[0]["free_dimensions"] == {"image": [1, 2]}
    values = images(4, 20, 24, 3)
    np.testing.assert_allclose(run(report.best, values), model.predict(values, verbose=0), atol=1e-5)
    with pytest.raises((RuntimeError, ValueError)):
        run(report.best, images(2, 20, 24, 3))


def test_steps_of_a_sequence(tmp_path):
    """LSTM is a loop of one batch in the converter: the file takes any number of steps, and one sequence."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, 6), name="steps"), layers.LSTM(8), layers.Dense(3)])
    report = export(model, tmp_path, samples=images(40, 10, 6), precision="float32", encoding="dense")
    assert report.files[0]["free_dimensions"] == {"steps": [1]}
    for length in (1, 7, 33):
        values = images(1, length, 6)
        np.testing.assert_allclose(run(report.best, values), model.predict(values, verbose=0), atol=1e-5)


def upsampled():
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, layers.Conv2D(2, 1)(layers.UpSampling2D()(layers.Conv2D(8, 3, padding="same")(image))))


def one_size():
    image = keras.Input((None, None, 3), name="image")
    return keras.Model(image, layers.Dense(2)(layers.Reshape((16 * 16 * 3,))(image)))


@pytest.mark.parametrize(
    ("make", "arguments", "words"),
    [
        (pooled, {"target": "micro", "precision": "int8"}, "its memory is planned for fixed shapes; the inputs"),
        (upsampled, {}, "[(None, None, 3)]: fix them by `input_shape=`"),
        (one_size, {}, "takes no other size than the samples have; the inputs"),
    ],
)
def test_what_can_not_be_free_is_refused_with_the_way_out(tmp_path, make, arguments, words):
    keras.utils.set_random_seed(0)
    x = images(30, 16, 16, 3)
    options = {"samples": x, "calibration": x, "precision": "float32", "encoding": "dense"} | arguments
    with pytest.raises(UnfitError) as caught:
        export(make(), tmp_path / "out", **options)
    assert words in str(caught.value)
    assert not (tmp_path / "out").exists()
    assert export(make(), tmp_path / "out", **options, input_shape=(16, 16, 3)).files


def dense_net():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), layers.Dense(96, "relu"), layers.Dense(3)])
    return prune(model), images(60, 64)


def flat_net():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(64, "relu"), layers.Dense(3)])
    return prune(model), images(60, 8, 8, 1)


def steps_net():
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5, 64)), layers.Dense(64, "relu"), layers.Dense(32)])
    return prune(model), images(60, 5, 64)


def resized(path, values):
    """The answer to a batch that a file was not made for; None if it takes none."""
    interpreter = Interpreter(model_path=path)
    (given,), (taken,) = interpreter.get_input_details(), interpreter.get_output_details()
    try:
        interpreter.resize_tensor_input(given["index"], values.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(given["index"], values)
        interpreter.invoke()
    except (RuntimeError, ValueError):
        return None
    return interpreter.get_tensor(taken["index"])


@pytest.mark.parametrize(
    "make", [dense_net, *(pytest.param(one, marks=pytest.mark.slow) for one in (flat_net, steps_net))]
)
def test_a_sparse_file_takes_the_batches_of_its_dense_twin(tmp_path, make):
    """int8 rows ran as convolutions between reshapes to constant shapes: they took one sample only."""
    model, x = make()
    report = export(model, tmp_path, samples=x, calibration=x, task="regression", encoding=["dense", "sparse"])
    paths = {}
    for record in report.files:
        paths.setdefault(record["precision"], {}).setdefault(record["encoding"], []).append(record["path"])
    expected, compared = model.predict(x[:7], verbose=0), 0
    for precision, files in paths.items():
        (dense,) = files["dense"]
        answer = resized(dense, x[:7])
        if answer is None or answer.shape != expected.shape:
            continue
        for sparse in files.get("sparse", ()):
            output = resized(sparse, x[:7])
            assert output is not None, sparse
            assert np.abs(output - expected).max() / np.abs(expected).max() < ALLOWED[precision], sparse
            compared += 1
    assert compared or make is flat_net
