"""Real models, real files, the real interpreter: what is written computes the same and is smaller."""

import json
import os
import subprocess
import sys
from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

from tf_lottery.exporting import check_file
from tf_lottery.exporting import export as export_all
from tf_lottery.layers import get_masks, set_masks, wrap

# The whole matrix of precisions and encodings is the business of test_matrix.py.
export = partial(export_all, precision="float32", encoding=["dense", "sparse"])
INSPECT = (
    "import sys; from ai_edge_litert.interpreter import Interpreter; i = Interpreter(sys.argv[1]); "
    "print(sum(bool(d['sparsity_parameters']) for d in i.get_tensor_details()))"
)


def zeroed(model, fraction=0.9):
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        value = variable.numpy()
        if len(value.shape) > 1:
            value = np.where(rng.random(value.shape) < fraction, 0, value)
        variable.assign(value)
    return model


def sparse_tensors(path):
    done = subprocess.run([sys.executable, "-c", INSPECT, path], capture_output=True, text=True, check=True)
    return int(done.stdout)


def by_kind(report):
    """The records by format, encoding and, where it is not rows of single values, layout."""
    shown = {"": (), "rows": ()}
    return {
        (record["format"], record["encoding"], *shown.get(record["layout"], (record["layout"],))): record
        for record in report.files
    }


def test_lenet_at_ninety_percent_is_really_smaller(tmp_path):
    model = zeroed(
        keras.Sequential(
            [
                keras.Input((784,)),
                layers.Dense(300, activation="relu"),
                layers.Dense(100, activation="relu"),
                layers.Dense(10),
            ]
        )
    )
    report = export(
        *(model, tmp_path),
        format="all",
        samples=np.random.default_rng(1).random((256, 784)),
        task="classification",
    )
    kinds = by_kind(report)
    assert set(kinds) == {
        *(("keras", "dense"), ("saved_model", "dense"), ("saved_model", "sparse")),
        *(("tflite", "dense"), ("tflite", "sparse"), ("tflite", "sparse", "1x4")),
    }
    dense, sparse = kinds["tflite", "dense"], kinds["tflite", "sparse"]
    assert 1_050_000 < dense["bytes"] < 1_100_000
    assert 155_000 < sparse["bytes"] < 170_000
    assert sparse_tensors(sparse["path"]) == 3
    assert sparse_tensors(dense["path"]) == 0
    # A third of the 1x4 blocks hold a value, so they are the fastest and the rows the smallest.
    assert 280_000 < kinds["tflite", "sparse", "1x4"]["bytes"] < 450_000
    best = min(kinds.values(), key=lambda record: record["bytes"] * (record["latency_us_median"] or 1e9))
    assert report.best == best["path"]
    assert kinds["saved_model", "dense"]["bytes"] < 1_150_000, "each weight is stored once"
    for record in report.files:
        assert record["agreement"] == 1.0
        assert record["max_abs_error"] < 1e-5
        check_file(record["path"])
    assert sparse["latency_us_median"] > 0
    card = os.path.basename(report.best) + ".card"
    assert sorted(set(os.listdir(tmp_path)) - {f"{card}.json", f"{card}.md"}) == [
        "export.json",
        "manifest.json",
        "model.keras",
        "model_float32_dense.tflite",
        "model_float32_sparse.tflite",
        "model_float32_sparse_1x4.tflite",
        "model_saved_model",
        "model_sparse_saved_model",
    ]
    assert json.loads((tmp_path / "export.json").read_text()) == report.to_json()
    assert (report.samples, report.sample_count) == ("given", 256)


def test_a_wrapped_trained_model_on_real_digits(tmp_path):
    data = load_digits()
    pixels, labels = (data.data / 16).astype("float32"), data.target
    model = wrap(keras.Sequential([keras.Input((64,)), layers.Dense(32, activation="relu"), layers.Dense(10)]))
    rng = np.random.default_rng(0)
    set_masks(model, {key: rng.random(mask.shape) < 0.5 for key, mask in get_masks(model).items()})
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(pixels, labels, epochs=8, verbose=0)
    expected = float((np.argmax(model(pixels[:500]), -1) == labels[:500]).mean())
    report = export(model, tmp_path, format="all", samples=pixels[:500], labels=labels[:500])
    assert expected > 0.8
    assert {record["format"] for record in report.files} == {"keras", "saved_model", "tflite"}
    assert {record["accuracy"] for record in report.files} == {expected}
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
    np.testing.assert_array_equal(loaded.layers[0].kernel.numpy() != 0, next(iter(get_masks(model).values())))


def test_a_convolutional_model_with_batch_norm(tmp_path):
    model = zeroed(
        keras.Sequential(
            [
                keras.Input((8, 8, 3)),
                layers.Conv2D(16, 3, activation="relu"),
                layers.BatchNormalization(),
                layers.DepthwiseConv2D(3),
                layers.Dropout(0.5),
                layers.Flatten(),
                layers.Dense(10, activation="softmax"),
            ]
        )
    )
    report = export(model, tmp_path)
    kinds = by_kind(report)
    assert kinds["tflite", "sparse"]["bytes"] < 0.5 * kinds["tflite", "dense"]["bytes"]
    assert (report.samples, report.sample_count) == ("random", 256)


@pytest.mark.parametrize("kind", ["embedding_lstm", "bidirectional_gru", "attention"])
def test_sequence_models(tmp_path, kind):
    if kind == "embedding_lstm":
        stack = [keras.Input((6,)), layers.Embedding(50, 16), layers.LSTM(16), layers.Dense(4)]
        model = keras.Sequential(stack)
    elif kind == "bidirectional_gru":
        model = keras.Sequential([keras.Input((6, 8)), layers.Bidirectional(layers.GRU(16)), layers.Dense(4)])
    else:
        inputs = keras.Input((6, 16))
        attended = layers.MultiHeadAttention(2, 8)(inputs, inputs)
        model = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling1D()(attended)))
    report = export(zeroed(model), tmp_path, format="all")
    assert {("keras", "dense"), ("saved_model", "dense"), ("tflite", "dense")} <= set(by_kind(report))


def two_inputs(width):
    left, right = keras.Input((4,), name="left"), keras.Input((width,), name="right")
    joined = layers.Concatenate()([layers.Dense(32)(left), layers.Dense(32)(right)])
    outputs = {"small": layers.Dense(2, name="s")(joined), "large": layers.Dense(3, name="l")(joined)}
    return zeroed(keras.Model({"right": right, "left": left}, outputs))


def test_several_inputs_and_outputs_keep_their_names(tmp_path):
    model, rng = two_inputs(8), np.random.default_rng(0)
    samples = {"left": rng.random((20, 4)), "right": rng.random((20, 8))}
    labels = {"small": rng.integers(0, 2, 20)}
    report = export(model, tmp_path, format="all", samples=samples, labels=labels)
    assert {record["format"] for record in report.files} == {"keras", "saved_model", "tflite"}
    serve = tf.saved_model.load(str(tmp_path / "model_saved_model")).signatures["serving_default"]
    inputs = {name: tf.constant(array, tf.float32) for name, array in samples.items()}
    outputs, expected = serve(**inputs), model(inputs)
    assert set(outputs) == {"small", "large"}
    for name in outputs:
        np.testing.assert_allclose(outputs[name], expected[name], rtol=1e-5, atol=1e-6)
    right = (np.argmax(expected["small"], -1) == labels["small"]).mean()
    assert all(record["accuracy"] == pytest.approx(right) for record in report.files)


def test_blocks_that_do_not_divide_the_inputs(tmp_path):
    # The converter's 1x4 blocks leave out the last inputs of a kernel whose input size is no multiple of 4.
    report = export(two_inputs(3), tmp_path)
    assert {("tflite", "dense"), ("tflite", "sparse")} <= set(by_kind(report))


def test_a_dense_model_gets_no_sparse_file(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8)])
    report = export(model, tmp_path)
    assert [record["encoding"] for record in report.files] == ["dense"]
    assert "no weight has so many zeros" in report.refused[0]["reason"]


def test_a_custom_loss_and_the_optimizer_stay_behind(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(8)])
    model.compile("adam", lambda truth, guess: keras.ops.mean((truth - guess) ** 2))
    model.fit(np.ones((4, 8)), np.ones((4, 8)), verbose=0)
    export(model, tmp_path / "net.keras", format="keras")
    loaded = keras.models.load_model(tmp_path / "net.keras")
    assert not loaded.compiled
    assert model.compiled
    np.testing.assert_array_equal(loaded.get_weights()[0], model.get_weights()[0])


def test_a_mixed_precision_model_is_exported_in_float32(tmp_path):
    policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    model = keras.Sequential([keras.Input((16,)), layers.Dense(32, dtype=policy), layers.Dense(4, dtype="float32")])
    report = export(zeroed(model), tmp_path, format="all", task="regression")
    assert report.notes[0] == "The model computes in float16; the exported files compute in float32."
    assert {record["format"] for record in report.files} == {"keras", "saved_model", "tflite"}
    assert model.layers[0].compute_dtype == "float16"
    assert keras.models.load_model(tmp_path / "model.keras").layers[0].compute_dtype == "float32"


def test_an_image_file_name_and_a_saved_model_folder_name(tmp_path):
    model = zeroed(keras.Sequential([keras.Input((64,)), layers.Dense(64)]))
    report = export(model, tmp_path / "net.tflite", name="ignored")
    assert report.best == str(tmp_path / "net.tflite")
    assert report.files[0]["encoding"] == "sparse"
    export(model, tmp_path / "my_saved_model", format="saved_model")
    check_file(tmp_path / "my_saved_model")
    check_file(tmp_path / "net.tflite")


def test_nested_and_shared_layers_of_a_wrapped_model(tmp_path):
    inner = keras.Sequential([keras.Input((32,)), layers.Dense(32, activation="relu"), layers.Dense(32)], name="inner")
    shared = layers.Dense(32, activation="tanh", name="shared")
    inputs = keras.Input((32,))
    model = wrap(keras.Model(inputs, layers.Dense(4)(shared(inner(shared(inputs))))))
    rng = np.random.default_rng(0)
    set_masks(model, {key: rng.random(mask.shape) < 0.4 for key, mask in get_masks(model).items()})
    before = [weight.copy() for weight in model.get_weights()]
    report = export(model, tmp_path, format="all")
    assert {record["format"] for record in report.files} == {"keras", "saved_model", "tflite"}
    loaded, samples = keras.models.load_model(tmp_path / "model.keras"), rng.random((5, 32), dtype="float32")
    np.testing.assert_allclose(loaded(samples), model(samples), rtol=1e-5, atol=1e-6)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_saved_model_takes_any_batch_size(tmp_path):
    model = keras.Sequential([keras.Input((8,)), layers.Dense(4)])
    export(model, tmp_path, format="saved_model")
    serve = tf.saved_model.load(str(tmp_path / "model_saved_model")).signatures["serving_default"]
    for batch in (1, 7):
        assert serve(input=tf.ones((batch, 8)))["output"].shape == (batch, 4)
