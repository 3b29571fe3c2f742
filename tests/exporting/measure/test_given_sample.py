"""The sample that a caller gives a benchmark: in the shapes and dtypes of each file's inputs."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.exporting.measure.dense_baselines import make_baseline
from tf_lottery.exporting.measure.given_sample import first_sample, fit_sample
from tf_lottery.exporting.measure.measurement import measure

X = np.arange(6.0).reshape(2, 3)


def test_the_first_sample_by_the_name_of_the_input():
    assert {name: array.tolist() for name, array in first_sample(X).items()} == {"": [[0, 1, 2]]}
    assert {name: array.tolist() for name, array in first_sample({"a": X, "b": X[1:]}).items()} == {
        "a": [[0, 1, 2]],
        "b": [[3, 4, 5]],
    }
    for bad in (X[:0], np.float32(3), np.array(["a"])):
        with pytest.raises(UnfitError, match="expected numbers of shape"):
            first_sample({"a": bad})
    with pytest.raises(NonFiniteError):
        first_sample(X * np.nan)


def test_a_sample_takes_shape_and_dtype_of_the_input():
    wanted = [("a", (1, 3), np.float32)]
    for sample in ({"": X[:1]}, {"a": X[:1]}):
        fitted = fit_sample(wanted, sample)["a"]
        assert (fitted.dtype, fitted.tolist()) == (np.float32, [[0, 1, 2]])
    batch = fit_sample([("a", (2, 3), np.int8)], {"a": X[1:]})["a"]
    assert (batch.dtype, batch.tolist()) == (np.int8, [[3, 4, 5], [3, 4, 5]])


@pytest.mark.parametrize(
    ("wanted", "sample", "words"),
    [
        ([("a", (1, 4), "float32")], {"": X[:1]}, r"takes samples of shape \(4,\); those given have \(3,\)"),
        ([("a", (1, 3), "uint8")], {"": X[:1] / 2}, "uint8, which can't hold"),
        ([("a", (1, 3), "float32")], {"b": X[:1]}, "its inputs are a; the samples are b"),
        ([("a", (1, 3), "float32"), ("b", (1, 3), "float32")], {"": X[:1]}, "one array without a name"),
    ],
)
def test_samples_that_do_not_fit(wanted, sample, words):
    with pytest.raises(UnfitError, match=words):
        fit_sample(wanted, sample)


def test_inputs_of_files_have_the_names_of_their_signatures(tmp_path):
    """TFLite calls them serving_default_left:0; samples are by the model's names."""
    left, right = keras.Input((6,), name="left"), keras.Input((4,), name="right")
    model = keras.Model([left, right], layers.Dense(2)(layers.Concatenate()([left, right])))
    file = make_baseline(model, tmp_path, "float32")
    sample = {"right": np.ones((1, 4), "float32"), "left": np.zeros((1, 6), "float32")}
    outcomes = [measure([file], runs=2, rounds=1, sample=arrays)[file] for arrays in (sample, {"left": sample["left"]})]
    assert len(outcomes[0].latency_us) == 2
    assert "its inputs are left, right; the samples are left" in outcomes[1].reason
