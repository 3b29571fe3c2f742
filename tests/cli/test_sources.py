"""Which model and which data an export takes: the parts of a data set, their scale, what is refused."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers as L
from tf_lottery_cli import sources
from tf_lottery_cli.sources import Samples, Source, load_samples

from tf_lottery import data
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.problem import load_dataset


def digits_model(dtype="float32", *first):
    return keras.Sequential([keras.Input((8, 8, 1), dtype=dtype), *first, L.Flatten(), L.Dense(10)])


@pytest.fixture(scope="module")
def model():
    return digits_model()


def foreign(model):
    return Source(model, {}, "model", {})


def assert_parts(found, whole, count):
    """Test samples are reported, validation samples choose, training samples calibrate."""
    np.testing.assert_array_equal(found.samples, whole.test.x[:count])
    np.testing.assert_array_equal(found.labels, whole.test.y[:count])
    np.testing.assert_array_equal(found.validation[0], whole.validation.x[:count])
    np.testing.assert_array_equal(found.validation[1], whole.validation.y[:count])
    np.testing.assert_array_equal(found.calibration, whole.train.x[:500])


@pytest.mark.parametrize(("count", "reported", "chosen_on"), [(50, 50, 50), (300, 300, 237), (2000, 360, 237)])
def test_each_part_goes_where_it_belongs(count, reported, chosen_on, model):
    whole = data.load("digits")  # 1,200 training, 237 validation, 360 test images
    found = load_samples(foreign(model), "digits", None, count=count)
    assert_parts(found, whole, count)
    assert [len(found.samples), len(found.labels)] == [reported, reported]
    assert [len(part) for part in found.validation] == [chosen_on, chosen_on]
    assert len(found.calibration) == 500
    # The parts share no image, so none of the equalities above holds for another part too.
    images = [{image.tobytes() for image in part} for part in (found.samples, found.validation[0], found.calibration)]
    assert not images[0] & images[1] and not images[0] & images[2] and not images[1] & images[2]
    assert found.arguments() == {
        "samples": found.samples,
        "labels": found.labels,
        "validation": found.validation,
        "calibration": found.calibration,
    }


@pytest.mark.parametrize("named", [None, "digits"])
def test_a_run_takes_its_own_split_and_scale(named, model):
    """Named by --dataset, the run's own data were split anew, so training images chose among files."""
    config = Config(dataset="digits", normalization="standard", validation=100, seed=3)
    source = Source(model, config.to_json() | {"hash": "0", "model_hash": ""}, "run", {})
    found = load_samples(source, named, None)
    assert_parts(found, load_dataset(config), 2000)
    assert found.data == {"dataset": "digits", "normalization": "standard"}
    assert len(found.validation[0]) == 100 and found.samples.min() < 0


def test_other_data_than_the_runs_are_scaled_as_the_runs(model, monkeypatch):
    config = Config(dataset="mnist", normalization="standard").to_json()
    found = load_samples(Source(model, config, "run", {}), "digits", None)
    assert_parts(found, data.load("digits", normalization="standard"), 2000)
    found = load_samples(Source(model, config, "run", {}), "digits", None, normalization="none")
    assert_parts(found, data.load("digits", normalization="none"), 2000)


def test_without_a_test_part_validation_samples_are_reported(model, monkeypatch):
    whole = dataclasses.replace(data.load("digits"), test=None)
    monkeypatch.setattr(data, "load", lambda *_, **__: whole)
    found = load_samples(foreign(model), "digits", None, count=40)
    np.testing.assert_array_equal(found.samples, whole.validation.x[:40])
    np.testing.assert_array_equal(found.labels, whole.validation.y[:40])
    np.testing.assert_array_equal(found.calibration, whole.train.x[:500])


@pytest.mark.parametrize("config", [{}, {"dataset": "user", "normalization": "none"}])
def test_no_known_data(config, model, capsys):
    source = Source(model, config, "model", {})
    assert load_samples(source, None, None) == Samples()
    assert "random samples" in capsys.readouterr().err
    assert load_samples(source, "digits", None).samples.max() == 1.0  # what a caller did to arrays is not known
    with pytest.raises(UsageError, match="--dataset"):
        load_samples(source, None, None, normalization="none")


@pytest.mark.parametrize(
    ("dtype", "given", "largest", "told"),
    [
        ("float32", None, 1.0, ""),
        ("float32", "unit", 1.0, ""),
        ("float32", "none", 16.0, ""),
        ("uint8", None, 16.0, "raw values"),
        ("uint8", "none", 16.0, ""),
        ("int32", None, 16.0, "raw values"),
    ],
)
def test_the_scale_of_data_for_a_foreign_model(dtype, given, largest, told, capsys):
    found = load_samples(foreign(digits_model(dtype)), "digits", None, normalization=given)
    assert found.samples.max() == found.calibration.max() == found.validation[0].max() == largest
    assert found.data == {"dataset": "digits", "normalization": "none" if largest == 16 else "unit"}
    err = capsys.readouterr().err
    assert told in err and bool(told) == bool(err)


def test_scaled_data_are_refused_for_whole_numbers():
    with pytest.raises(UsageError, match="uint8.*--normalization none"):
        load_samples(foreign(digits_model("uint8")), "digits", None, normalization="unit")


def test_a_model_that_scales_its_input_is_warned_of_unless_the_scale_was_given(capsys):
    source = foreign(digits_model("float32", L.Rescaling(1 / 16)))
    load_samples(source, "digits", None)
    told = capsys.readouterr().err
    assert told.startswith("warning: ") and "Rescaling" in told and "--normalization none" in told
    for given in ("none", "unit", "standard"):
        load_samples(source, "digits", None, normalization=given)
    config = Config(dataset="mnist").to_json()  # of a run: it was trained on these values
    load_samples(Source(source.model, config, "run", {}), "digits", None)
    assert capsys.readouterr().err == ""


def test_what_scales_the_input_is_found_before_the_first_weights():
    image = keras.Input((8, 8, 1))
    flat = L.Flatten()(image)
    inner = keras.Sequential([keras.Input((64,)), L.Rescaling(0.5), L.Dense(4)])
    late = L.Rescaling(2.0)(L.Dense(4)(flat))
    for outputs, expected in [
        (L.Dense(4)(flat), []),
        (late, []),
        (L.Add()([L.Dense(4)(flat), L.Dense(4)(flat)]), []),
        (L.Dense(4)(flat / 255.0 - 0.5), ["TrueDivide", "Subtract"]),
        (inner(flat), ["Rescaling"]),
        (L.Dense(4)(L.Normalization(mean=3.0, variance=1.0)(flat)), ["Normalization"]),
    ]:
        assert sources._own_scaling(keras.Model(image, outputs)) == expected


def test_data_of_another_shape_are_refused():
    small = keras.Sequential([keras.Input((4,)), L.Dense(10)])
    with pytest.raises(UnfitError, match="shape"):
        load_samples(foreign(small), "digits", None)


@pytest.mark.parametrize(
    ("labels", "accuracy", "told"),
    [
        # The commonest of ten balanced classes: 10 %; near chance below 10 + 0.1 * 90 = 19 %.
        (np.arange(10).repeat(10), 0.18, "10.00 %"),
        (np.arange(10).repeat(10), 0.20, ""),
        # Three of four are of one class: near chance below 75 + 2.5 = 77.5 %.
        (np.array([0, 1, 0, 0]), 0.76, "75.00 %"),
        (np.array([0, 1, 0, 0]), 0.78, ""),
        # Of a hundred classes, three times as good as chance is far from it: 3 %.
        (np.arange(100), 0.02, "1.00 %"),
        (np.arange(100), 0.04, ""),
    ],
)
def test_an_accuracy_near_chance(labels, accuracy, told):
    samples = Samples(validation=(np.zeros((len(labels), 1)), labels))
    sentence = samples.near_chance(accuracy)
    assert told in sentence and bool(sentence) == bool(told)
    assert samples.near_chance(None) == Samples().near_chance(accuracy) == ""


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("model.h5", "keras.models.load_model"),
        ("model.hdf5", "keras.models.load_model"),
        ("model.tflite", "tf-lottery bench"),
        ("saved", "tf-lottery bench"),
        ("model.pkl", "model.save"),
    ],
)
def test_files_of_other_kinds_are_told_from_runs(name, told, tmp_path, monkeypatch):
    """They were called missing runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"neither a run, nor a ticket \(`\.npz`\), nor a Keras model") as caught:
        sources.open_source(name, tmp_path, number=None, replicate=None, max_drop=0.0)
    assert told in caught.value.remedy
