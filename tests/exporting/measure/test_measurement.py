"""Measuring model files in processes of their own."""

from pathlib import Path

import keras
import pytest
import tensorflow as tf
from keras import layers

from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.measure import measurement
from tf_lottery.exporting.measure.measurement import Measurement, MeasurementFailure, measure
from tf_lottery.exporting.tflite.dense_conversion import convert


@pytest.fixture(scope="module")
def measured(files):
    names = ("float32.tflite", "fixed", "whole.keras", "half.tflite", "text.tflite", "half.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measurement, "_SECONDS", 900.0)  # all runs, on a busy machine too
        return measure([files / name for name in names], threads=1, runs=90, rounds=1), files


def test_every_kind_of_file_is_measured(measured):
    outcomes, files = measured
    for name in ("float32.tflite", "fixed", "whole.keras"):
        one = outcomes[files / name]
        assert isinstance(one, Measurement), one
        assert len(one.latency_us) == 90
        assert one.threads == 1
        assert 0 < one.percentile(5) <= one.percentile(50) <= one.percentile(95)
        assert one.load_ms > 0
        assert 10 < one.peak_memory_mb < 4000
        assert 0 <= one.model_memory_mb < one.peak_memory_mb
    # TensorFlow alone takes hundreds of megabytes; the model's share is what the file adds to its runtime.
    assert outcomes[files / "fixed"].peak_memory_mb > 3 * outcomes[files / "float32.tflite"].peak_memory_mb
    assert outcomes[files / "fixed"].model_memory_mb < 100


@pytest.mark.parametrize("name", ["half.tflite", "text.tflite", "half.keras"])
def test_a_damaged_file_fails_and_the_others_are_measured(measured, name):
    outcomes, files = measured
    failure = outcomes[files / name]
    assert isinstance(failure, MeasurementFailure)
    assert failure.damaged
    assert "\n" not in failure.reason


def test_measured_in_turn_and_not_again_after_a_failure(monkeypatch):
    calls = []

    def child(kind, file, threads, runs, sample=None, input_shape=None):
        calls.append((kind, file and file.name, threads, runs))
        if file and file.name == "b.tflite":
            return MeasurementFailure("broken", damaged=True)
        sizes = {"input_shapes": {"a": [1, 4]}, "free_inputs": ["a"]}
        return {"load_ms": len(calls), "latency_us": [1.0, 9.0], "peak_memory_mb": 50.0 if file else 40.0} | sizes

    monkeypatch.setattr(measurement, "_measure_once", child)
    outcomes = measure([Path("a.tflite"), Path("b.tflite"), Path("c.keras")], threads=2, runs=10, rounds=3)
    assert [name for _, name, _, _ in calls if name] == [
        *("a.tflite", "b.tflite", "c.keras"),
        *("a.tflite", "c.keras"),
        *("a.tflite", "c.keras"),
    ]
    assert sorted(kind for kind, name, _, _ in calls if name is None) == ["keras", "tflite"]
    assert {(threads, runs) for _, name, threads, runs in calls if name} == {(2, 4)}
    assert outcomes[Path("a.tflite")] == Measurement(6.0, (1.0, 9.0) * 3, 50.0, 10.0, 2, {"a": (1, 4)}, ("a",))
    assert outcomes[Path("b.tflite")] == MeasurementFailure("broken", damaged=True)


@pytest.mark.parametrize(("name", "damaged"), [("SIGSEGV", True), ("SIGKILL", False)])
def test_a_crash_is_a_reason(files, monkeypatch, name, damaged):
    monkeypatch.setattr(measurement, "_PROGRAM", f"import os, signal; os.kill(os.getpid(), signal.{name})")
    failure = measurement._measure_once("tflite", files / "float32.tflite", 1, 1)
    assert failure == MeasurementFailure(f"its process crashed with {name}", damaged=damaged)


def test_a_process_that_does_not_end_is_ended(files, monkeypatch):
    monkeypatch.setattr(measurement, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(measurement, "_TIMEOUT", 0.5)
    assert "did not finish" in measurement._measure_once("tflite", files / "float32.tflite", 1, 1).reason


@pytest.mark.slow
def test_what_cannot_be_fed_is_unfit_and_not_damaged(tmp_path):
    module = tf.Module()
    module.one = tf.function(lambda x: {"y": x + 1}).get_concrete_function(tf.TensorSpec([1, 2], name="x"))
    module.two = tf.function(lambda x: {"y": x + 2}).get_concrete_function(tf.TensorSpec([1, 2], name="x"))
    tf.saved_model.save(module, str(tmp_path / "many"), signatures={"one": module.one, "two": module.two})
    (failure,) = measure([tmp_path / "many"], rounds=1, runs=1).values()
    assert "the signatures one, two" in failure.reason
    assert not failure.damaged


@pytest.mark.slow
def test_several_inputs(tmp_path):
    one, ids = keras.Input((3,), name="one"), keras.Input((2,), dtype="int32", name="ids")
    both = layers.Concatenate()([layers.Dense(4)(one), layers.Flatten()(layers.Embedding(7, 2)(ids))])
    saved_model.save(keras.Model([one, ids], both), tmp_path / "two", batch=1)
    (tmp_path / "two.tflite").write_bytes(convert(tmp_path / "two"))
    outcomes = measure([tmp_path / "two.tflite", tmp_path / "two"], rounds=1, runs=5)
    assert isinstance(outcomes[tmp_path / "two.tflite"], Measurement)
    assert isinstance(outcomes[tmp_path / "two"], Measurement)
