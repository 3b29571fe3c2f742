"""Files whose inputs take any size are measured at a size that is said."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.measure.bench import bench
from tf_lottery.exporting.measure.measurement import MeasurementFailure, measure
from tf_lottery.exporting.tflite.dense_conversion import convert_dense


def convolutional():
    return keras.Sequential([keras.Input((None, None, 3), name="image"), layers.Conv2D(4, 3, padding="same")])


@pytest.fixture(scope="module")
def free(tmp_path_factory):
    """A file of free batch, height and width."""
    folder = tmp_path_factory.mktemp("free")
    (folder / "free.tflite").write_bytes(convert_dense(convolutional(), folder, batch=None))
    return folder / "free.tflite"


def test_the_size_is_that_of_the_sample_the_shape_or_said(free):
    sample = np.zeros((3, 20, 30, 3), "float32")
    measured = [
        bench([free], runs=20, rounds=1, **options)
        for options in ({"samples": sample}, {"input_shape": (20, 30, 3)}, {})
    ]
    shapes = [outcome.files[0]["input_shapes"] for outcome in measured]
    assert shapes == [{"image": [1, 20, 30, 3]}, {"image": [1, 20, 30, 3]}, {"image": [1, 64, 64, 3]}]
    said = [next(note for note in outcome.notes if "free size" in note) for outcome in measured]
    assert said[0] == said[1] == "Inputs of free size were measured at 20x30x3."
    assert said[2].startswith("Inputs of free size were measured at 64x64x3, as neither samples nor `input_shape`")
    # Seven times the pixels take more time.
    assert measured[2].files[0]["latency_us_median"] > 1.5 * measured[0].files[0]["latency_us_median"]


@pytest.mark.slow
def test_baselines_of_a_model_take_any_size_too(free):
    outcome = bench([free], model=convolutional(), runs=20, rounds=1, input_shape=(20, 30, 3))
    assert [record["ruler"] for record in outcome.files] == ["float32", "int8"]
    assert {str(record["input_shapes"]) for record in outcome.files} == {"{'image': [1, 20, 30, 3]}"}


def test_a_shape_that_does_not_fit_is_the_callers_mistake(free):
    outcome = bench([free], runs=20, rounds=1, input_shape=(20, 30, 4))
    with pytest.raises(UsageError, match=r"does not fit the input 'image' of shape \(None, None, 3\)"):
        outcome.raise_failures()
    assert outcome.failed[0]["wrong_argument"]


def test_bad_sizes_are_errors_before_anything_is_measured(free, monkeypatch):
    monkeypatch.setattr("tf_lottery.exporting.measure.bench.measure", lambda *a, **k: pytest.fail("measured"))
    for shape in ((0, 4, 3), (4.5, 4, 3), {"image": (-1, 4, 3)}, 16):
        with pytest.raises(UsageError, match="no positive whole numbers"):
            bench([free], input_shape=shape)
    with pytest.raises(UsageError, match="does not fit"):
        bench([free], model=convolutional(), input_shape=(4, 4))


def test_samples_that_do_not_fit_a_free_input(free):
    outcome = bench([free], runs=20, rounds=1, samples=np.zeros((3, 20, 30, 1), "float32"))
    with pytest.raises(UnfitError, match=r"takes samples of shape \(None, None, 3\); those given have \(20, 30, 1\)"):
        outcome.raise_failures()


@pytest.mark.slow
def test_a_size_that_the_network_does_not_take_is_named(tmp_path):
    image = keras.Input((None, None, 3), name="image")
    flat = layers.Dense(2)(layers.Reshape((16 * 16 * 3,))(image))
    file = tmp_path / "one_size.tflite"
    file.write_bytes(convert_dense(keras.Model(image, flat), tmp_path, batch=None))
    alone, given, right = (
        measure([file], runs=2, rounds=1, input_shape=shape)[file] for shape in (None, (8, 8, 3), (16, 16, 3))
    )
    assert alone.reason.startswith("on inputs of 64x64x3, ")
    assert "`input_shape`" in alone.remedy
    assert (alone.damaged, alone.wrong_argument, given.wrong_argument) == (False, False, True)
    assert not isinstance(right, MeasurementFailure)


@pytest.mark.slow
def test_other_formats_of_any_size(tmp_path):
    text = keras.Input((None, 4), name="text")
    model = keras.Model(text, layers.LSTM(3)(text))
    saved_model.save(model, tmp_path / "dynamic [1]", batch=None)
    model.save(tmp_path / "model.keras")
    files = [tmp_path / "dynamic [1]", tmp_path / "model.keras"]
    shapes = [
        outcome.input_shapes
        for sizes in (None, (7, 4))
        for outcome in measure(files, rounds=1, runs=1, input_shape=sizes).values()
    ]
    assert shapes == [*[{"text": (1, 64, 4)}] * 2, *[{"text": (1, 7, 4)}] * 2]
