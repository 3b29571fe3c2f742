"""Which model and which data an export takes: the parts of a data set, their scale, what is refused."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery import data
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.problem import load_dataset
from tf_lottery.exporting.sources.input_scaling import scaling_layers
from tf_lottery.exporting.sources.source_data import SourceData, load_source_data
from tf_lottery.exporting.sources.source_model import SourceModel


def digits_model(dtype="float32", *first):
    return keras.Sequential([keras.Input((8, 8, 1), dtype=dtype), *first, layers.Flatten(), layers.Dense(10)])


@pytest.fixture(scope="module")
def model():
    return digits_model()


def foreign(model):
    return SourceModel(model, {}, "model", {})


def assert_parts(loaded, whole, count):
    """Test samples are reported, validation samples choose, training samples calibrate."""
    np.testing.assert_array_equal(loaded.samples, whole.test.x[:count])
    np.testing.assert_array_equal(loaded.labels, whole.test.y[:count])
    np.testing.assert_array_equal(loaded.validation[0], whole.validation.x[:count])
    np.testing.assert_array_equal(loaded.validation[1], whole.validation.y[:count])
    np.testing.assert_array_equal(loaded.calibration, whole.train.x[:500])


@pytest.mark.parametrize(("count", "reported", "chosen_on"), [(50, 50, 50), (300, 300, 237), (2000, 360, 237)])
def test_each_part_goes_where_it_belongs(count, reported, chosen_on, model):
    whole = data.load("digits")  # 1,200 training, 237 validation, 360 test images
    loaded = load_source_data(foreign(model), "digits", count=count)
    assert_parts(loaded, whole, count)
    assert [len(loaded.samples), len(loaded.labels)] == [reported, reported]
    assert [len(part) for part in loaded.validation] == [chosen_on, chosen_on]
    assert len(loaded.calibration) == 500
    # The parts share no image, so none of the equalities above holds for another part too.
    images = [
        {image.tobytes() for image in part} for part in (loaded.samples, loaded.validation[0], loaded.calibration)
    ]
    assert not images[0] & images[1]
    assert not images[0] & images[2]
    assert not images[1] & images[2]
    assert loaded.arguments() == {
        "samples": loaded.samples,
        "labels": loaded.labels,
        "validation": loaded.validation,
        "calibration": loaded.calibration,
        "class_names": None,
        "normalization": ((0.0,), (16.0,)),
    }


@pytest.mark.parametrize("named", [None, "digits"])
def test_a_run_takes_its_own_split_and_scale(named, model):
    # The run's own data, when they were named, were once split in another way: training images chose among files.
    config = Config(dataset="digits", normalization="standard", validation=100, seed=3)
    source = SourceModel(model, config.to_json() | {"hash": "0", "model_hash": ""}, "run", {})
    loaded = load_source_data(source, named)
    assert_parts(loaded, load_dataset(config), 2000)
    scaling = loaded.data.pop("scaling")
    assert loaded.data == {"dataset": "digits", "normalization": "standard"}
    raw = data.load("digits", normalization="none", validation=100, seed=3).test.x[:4]
    by_formula = eval(scaling.replace("[", "np.array([").replace("]", "])"), {"x": raw, "np": np})
    np.testing.assert_allclose(by_formula, loaded.samples[:4], rtol=0, atol=1e-5)
    assert len(loaded.validation[0]) == 100
    assert loaded.samples.min() < 0


def test_other_data_than_the_runs_are_scaled_as_the_runs(model, monkeypatch):
    config = Config(dataset="mnist", normalization="standard").to_json()
    loaded = load_source_data(SourceModel(model, config, "run", {}), "digits")
    assert_parts(loaded, data.load("digits", normalization="standard"), 2000)
    loaded = load_source_data(SourceModel(model, config, "run", {}), "digits", normalization="none")
    assert_parts(loaded, data.load("digits", normalization="none"), 2000)


def test_without_a_test_part_validation_samples_are_reported(model, monkeypatch):
    whole = dataclasses.replace(data.load("digits"), test=None)
    monkeypatch.setattr(data, "load", lambda *_, **__: whole)
    loaded = load_source_data(foreign(model), "digits", count=40)
    np.testing.assert_array_equal(loaded.samples, whole.validation.x[:40])
    np.testing.assert_array_equal(loaded.labels, whole.validation.y[:40])
    np.testing.assert_array_equal(loaded.calibration, whole.train.x[:500])


@pytest.mark.parametrize("config", [{}, {"dataset": "user", "normalization": "none"}])
def test_no_known_data(config, model):
    source = SourceModel(model, config, "model", {})
    unknown = load_source_data(source)
    assert unknown == SourceData(remarks=unknown.remarks)
    assert "random samples" in unknown.remarks[0]
    assert load_source_data(source, "digits").samples.max() == 1.0  # what a caller did to arrays is not known
    with pytest.raises(UsageError, match="`dataset`"):
        load_source_data(source, normalization="none")


@pytest.mark.parametrize(
    ("dtype", "normalization", "largest", "remark"),
    [
        ("float32", None, 1.0, ""),
        ("float32", "unit", 1.0, ""),
        ("float32", "none", 16.0, ""),
        ("uint8", None, 16.0, "raw values"),
        ("uint8", "none", 16.0, ""),
        ("int32", None, 16.0, "raw values"),
    ],
)
def test_the_scale_of_data_for_a_foreign_model(dtype, normalization, largest, remark):
    loaded = load_source_data(foreign(digits_model(dtype)), "digits", normalization=normalization)
    assert loaded.samples.max() == loaded.calibration.max() == loaded.validation[0].max() == largest
    scaled = {"normalization": "none"} if largest == 16 else {"normalization": "unit", "scaling": "x / 16"}
    assert loaded.data == {"dataset": "digits", **scaled}
    assert remark in "".join(loaded.remarks)
    assert bool(remark) == bool(loaded.remarks)


def test_scaled_data_are_refused_for_whole_numbers():
    with pytest.raises(UsageError, match=r"uint8.*`normalization='none'`"):
        load_source_data(foreign(digits_model("uint8")), "digits", normalization="unit")


def test_a_model_that_scales_its_input_is_a_remark():
    source = foreign(digits_model("float32", layers.Rescaling(1 / 16)))
    (remark,) = load_source_data(source, "digits").remarks
    assert remark.startswith("warning: ")
    assert "Rescaling" in remark
    assert "`normalization='none'`" in remark
    for normalization in ("none", "unit", "standard"):
        assert load_source_data(source, "digits", normalization=normalization).remarks == ()
    config = Config(dataset="mnist").to_json()  # of a run: it was trained on these values
    assert load_source_data(SourceModel(source.model, config, "run", {}), "digits").remarks == ()


def test_what_scales_the_input_is_found_before_the_first_weights():
    image = keras.Input((8, 8, 1))
    flat = layers.Flatten()(image)
    inner = keras.Sequential([keras.Input((64,)), layers.Rescaling(0.5), layers.Dense(4)])
    late = layers.Rescaling(2.0)(layers.Dense(4)(flat))
    for outputs, expected in [
        (layers.Dense(4)(flat), []),
        (late, []),
        (layers.Add()([layers.Dense(4)(flat), layers.Dense(4)(flat)]), []),
        (layers.Dense(4)(flat / 255.0 - 0.5), ["TrueDivide", "Subtract"]),
        (inner(flat), ["Rescaling"]),
        (layers.Dense(4)(layers.Normalization(mean=3.0, variance=1.0)(flat)), ["Normalization"]),
    ]:
        assert scaling_layers(keras.Model(image, outputs)) == expected


def test_data_of_another_shape_are_refused():
    small = keras.Sequential([keras.Input((4,)), layers.Dense(10)])
    with pytest.raises(UnfitError, match="shape"):
        load_source_data(foreign(small), "digits")


@pytest.mark.parametrize(
    ("labels", "accuracy", "sentence_part"),
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
def test_an_accuracy_near_chance(labels, accuracy, sentence_part):
    samples = SourceData(validation=(np.zeros((len(labels), 1)), labels))
    sentence = samples.near_chance(accuracy)
    assert sentence_part in sentence
    assert bool(sentence) == bool(sentence_part)
    assert samples.near_chance(None) == SourceData().near_chance(accuracy) == ""
