"""What outputs hold: decided by hand-made evidence, read from Keras models, and what follows for files."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting import export
from tf_lottery.exporting.labels import label_readings
from tf_lottery.exporting.output_evidence import last_activations, loss_names
from tf_lottery.exporting.output_kinds import (
    UNKNOWN,
    OutputKind,
    determine_kind,
    tasks_by_output,
)

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(40, 3))
PROBABILITIES = np.exp(SCORES) / np.exp(SCORES).sum(1, keepdims=True)
COLUMN = RNG.uniform(0.1, 0.9, (40, 1))
IMAGES = RNG.uniform(0, 1, (4, 5, 5, 3))
POSITIONS = RNG.normal(size=(4, 6, 3))
INDICES = np.arange(40) % 3
CATEGORICAL, BINARY, SQUARED = "sparse_categorical_crossentropy", "binary_crossentropy", "mean_squared_error"


def kind(outputs, labels=None, **evidence):
    readings = None if labels is None else label_readings(np.asarray(labels), outputs)
    return determine_kind("y", outputs, readings=readings, **evidence)


@pytest.mark.parametrize(
    ("outputs", "loss", "expected"),
    [
        (SCORES, CATEGORICAL, "logits"),
        (PROBABILITIES, "categorical_crossentropy", "probabilities"),
        (POSITIONS, CATEGORICAL, "sequence"),
        (COLUMN, BINARY, "binary"),
        (SCORES, BINARY, "unknown"),  # several labels, or an image: it does not say
        (SCORES, SQUARED, "regression"),
        (COLUMN, "huber", "regression"),
        (IMAGES, "mean_absolute_error", "image"),
        (np.concatenate([IMAGES, IMAGES], -1), SQUARED, "regression"),
        (SCORES, "", "unknown"),
    ],
)
def test_a_loss_decides(outputs, loss, expected):
    assert kind(outputs, loss=loss).kind == expected
    assert loss == "" or expected == "unknown" or kind(outputs, loss=loss).evidence == f"the loss, {loss}"


@pytest.mark.parametrize(
    ("outputs", "labels", "expected"),
    [
        (SCORES, INDICES, "logits"),
        (SCORES, INDICES[:, None], "logits"),
        (PROBABILITIES, np.eye(3)[INDICES], "probabilities"),
        (SCORES, SCORES.round(2), "regression"),
        (SCORES, np.tile([[1, 1, 0], [0, 0, 0]], (20, 1)), "binary"),
        (COLUMN, INDICES % 2, "binary"),
        (COLUMN, INDICES, "regression"),  # ages, say
        (POSITIONS, np.ones((4, 6), int), "sequence"),
        (IMAGES, IMAGES * 0.9, "image"),
    ],
)
def test_labels_decide_without_a_loss(outputs, labels, expected):
    assert (kind(outputs, labels).kind, kind(outputs, labels).evidence) == (expected, "the labels")


def test_labels_that_contradict_a_loss_win():
    assert kind(IMAGES, IMAGES * 0.9, loss=BINARY).kind == "image"  # an autoencoder by cross-entropy of pixels
    assert kind(SCORES, INDICES, loss=SQUARED).kind == "logits"  # a classifier by least squares
    assert kind(SCORES, np.eye(3)[INDICES], loss=SQUARED).kind == "logits"
    assert kind(SCORES, np.tile([[1, 1, 0], [0, 0, 0]], (20, 1)), loss=BINARY).kind == "binary"


def test_the_last_activation_decides_at_last():
    assert kind(PROBABILITIES, activation="softmax").kind == "probabilities"
    assert kind(COLUMN, activation="sigmoid").kind == "binary"
    assert kind(IMAGES, activation="sigmoid") == UNKNOWN
    assert kind(SCORES, activation="relu") == UNKNOWN
    assert kind(PROBABILITIES, activation="softmax", loss=SQUARED).kind == "regression"


@pytest.mark.parametrize(
    ("outputs", "task", "expected"),
    [
        (SCORES, "classification", "logits"),
        (PROBABILITIES, "classification", "probabilities"),
        (POSITIONS, "classification", "sequence"),
        (COLUMN, "classification", "binary"),
        (SCORES, "regression", "regression"),
        (IMAGES, "binary", "binary"),
    ],
)
def test_the_caller_decides_first(outputs, task, expected):
    decided = kind(outputs, task=task, loss=SQUARED, activation="softmax")
    assert (decided.kind, decided.evidence) == (expected, "the task given")


@pytest.mark.parametrize(
    ("outputs", "task", "labels", "message"),
    [
        (COLUMN, "logits", None, r"'logits' for the output 'y', which needs rows of at least 2 .*\(40, 1\)"),
        (SCORES, "probabilities", None, "needs rows that sum to 1"),
        (PROBABILITIES, "logits", None, "not of probabilities"),
        (SCORES, "sequence", None, "samples, positions, classes"),
        (SCORES, "image", None, "height, width"),
        (SCORES, "classification", SCORES, "needs labels that are class indices or one-hot rows. Received numbers"),
        (SCORES, "regression", INDICES, "needs labels that are numbers, one for each value. Received class indices"),
        (COLUMN, "classification", COLUMN, "needs labels that are zeros and ones"),
    ],
)
def test_a_task_that_contradicts_is_an_error(outputs, task, labels, message):
    with pytest.raises(UsageError, match=message):
        kind(outputs, labels, task=task)


def test_tasks_by_output():
    names = ["scores", "boxes"]
    assert tasks_by_output(None, names) == ["", ""]
    assert tasks_by_output("regression", names) == ["regression", "regression"]
    assert tasks_by_output(["logits", None], names) == ["logits", ""]
    assert tasks_by_output({"boxes": "regression"}, names) == ["", "regression"]
    with pytest.raises(UsageError, match="unknown outputs \\['box'\\]"):
        tasks_by_output({"box": "regression"}, names)
    with pytest.raises(UsageError, match=r"must be a name or names\. Received: 3"):
        tasks_by_output(3, names)
    with pytest.raises(UsageError, match="unknown outputs"):
        tasks_by_output({3: "image", "box": "image"}, names)
    with pytest.raises(UsageError, match="2 outputs; received 3 tasks"):
        tasks_by_output(["logits"] * 3, names)
    with pytest.raises(UsageError, match=r"Unknown task 'regresion'\. Did you mean 'regression'"):
        tasks_by_output("regresion", names)


def test_predictions_and_labels_in_one_form():
    several = OutputKind("binary", threshold=0.5)
    assert several.predictions(np.array([[0.6, 0.5]])).tolist() == [[True, False]]
    assert several.label_classes(np.array([[1, 0]]), (1, 2)).tolist() == [[True, False]]
    assert several.label_classes(np.array([1, 0]), (2, 1)).tolist() == [[True], [False]]
    classes = OutputKind("sequence")
    assert classes.label_classes(np.array([[[2], [0]]]), (1, 2, 3)).tolist() == [[2, 0]]
    assert classes.label_classes(np.eye(3)[[[2, 0]]], (1, 2, 3)).tolist() == [[2, 0]]


@pytest.mark.parametrize(
    "labels",
    [np.array([0, 1, 2]), np.array([0, 1]), np.array([-1, 0, 0]), np.array([0.5, 1, 1]), np.array(["a", "b", "c"])],
)
def test_labels_that_do_not_fit(labels):
    with pytest.raises(UnfitError, match="labels"):
        label_readings(labels, np.zeros((3, 2)))
    with pytest.raises(UnfitError, match="labels of shape"):
        label_readings(np.zeros(4), np.zeros((3, 1)))


def test_keras_names_losses_and_activations():
    inputs = keras.Input((4,))
    nested = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax")])
    outputs = {
        "a": layers.Reshape((3, 1))(nested(inputs)),
        "b": keras.ops.sigmoid(layers.Dense(1)(inputs)),
        "c": layers.Activation("linear")(layers.Activation("softmax")(layers.Dense(2)(inputs))),
        "d": layers.Softmax(axis=1)(layers.Reshape((2, 1))(layers.Dense(2)(inputs))),
        "e": layers.Dense(2)(inputs),
    }
    model = keras.Model(inputs, outputs)
    names = tuple(outputs)
    assert last_activations(model) == ["softmax", "sigmoid", "softmax", "", ""]
    assert loss_names(model, names) == [""] * 5
    model.compile(loss={"a": "mse", "b": keras.losses.BinaryCrossentropy(), "c": None, "d": lambda y, z: z, "e": "mae"})
    assert loss_names(model, names) == ["mean_squared_error", BINARY, "", "", "mean_absolute_error"]
    model.compile(loss="mse")
    assert loss_names(model, names) == [SQUARED] * 5


def test_an_autoencoder_keeps_its_int8_file(tmp_path):
    """It was refused: the largest of its 640 outputs, of which neighbors are much alike, was taken for a class."""
    keras.utils.set_random_seed(0)
    frames = (RNG.random((400, 8)) @ RNG.random((8, 640)) / 4).astype("float32")
    model = keras.Sequential([keras.Input((640,)), layers.Dense(24, "relu"), layers.Dense(640)])
    kernel = np.repeat(RNG.normal(size=(24, 64)), 10, axis=1)
    model.layers[-1].kernel.assign(kernel + RNG.normal(0, 0.01, kernel.shape))
    model.compile(loss="mse")
    report = export(
        model,
        tmp_path,
        precision="int8",
        encoding="dense",
        samples=frames[:300],
        calibration=frames[300:],
    )
    (record,) = report.files
    assert report.outputs == (
        {
            "output": "output",
            "kind": "regression",
            "known_by": "the loss, mean_squared_error",
            "measure": "error relative to the spread",
            "shape": [640],
            "dtype": "float32",
        },
    )
    assert record["snr_db"] == pytest.approx(-20 * np.log10(record["rms_rel_error"]))
    assert 25 < record["snr_db"] < 45
    assert (record["agreement"], record["outputs"]["output"]["snr_db"]) == (None, record["snr_db"])
    assert record["validation_loss"] == record["rms_rel_error"]
    assert report.to_json()["outputs"] == list(report.outputs)
    card = (tmp_path / "model_int8_dense.tflite.card.md").read_text()
    assert f"SNR {record['snr_db']:.1f} dB" in card
    assert "within a loss of 0.5 % of the outputs' spread |" in card
    assert "| output | 1 x 640 | float32 | regression: numbers | the loss, mean_squared_error | error relative" in card
