"""Which model a source names, and what is refused."""

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.exporting.plain_model import make_deployable
from tf_lottery.exporting.sources.source_model import (
    check_kind,
    open_dense_network,
    open_source_model,
    ticket_origin,
)
from tf_lottery.results.ticket import Ticket


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("model.h5", "keras.models.load_model"),
        ("model.hdf5", "keras.models.load_model"),
        ("model.tflite", "measure.bench.bench"),
        ("saved", "measure.bench.bench"),
        ("model.pkl", "model.save"),
    ],
)
def test_files_of_other_kinds_are_no_missing_runs(name, remedy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "model.pkl").write_bytes(b"")
    with pytest.raises(UsageError, match=r"neither a run, nor a ticket \(`\.npz`\), nor a Keras model") as caught:
        open_source_model(name, tmp_path)
    assert remedy in caught.value.remedy


def test_a_file_has_no_rounds(tmp_path):
    for options in ({"round_number": 1}, {"replicate": 0}):
        with pytest.raises(UsageError, match="choose among the tickets of a run"):
            open_source_model("model.keras", tmp_path, **options)


def test_a_keras_file_is_a_model_without_a_configuration(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2)])
    path = tmp_path / "net.keras"
    model.save(path)
    source = open_source_model(str(path))
    assert (source.config, source.name, source.remarks) == ({}, "net", ())
    assert source.origin == {"kind": "Keras model", "file": "net.keras"}
    np.testing.assert_array_equal(source.model.get_weights()[0], model.get_weights()[0])
    np.testing.assert_array_equal(
        open_dense_network(str(path)).get_weights()[0], make_deployable(model)[0].get_weights()[0]
    )


def test_the_origin_of_a_ticket():
    masks = {"dense/kernel": np.array([[True], [False]])}
    weights = {"dense/kernel": np.array([[1.0], [0.0]], "float32")}
    recipe = {"round": 2, "replicate": 0, "config": {"preset": "digits-mlp", "rate": 0.2, "seed": None}, "row": {}}
    assert ticket_origin(Ticket(masks, weights, weights, recipe)) == {
        "kind": "ticket",
        "density": 0.5,
        "round": 2,
        "replicate": 0,
        "config": {"preset": "digits-mlp"},
    }


def test_kinds_of_files_are_checked_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"")
    (tmp_path / "old.h5").write_bytes(b"")
    for name in ("digits-mlp", "a.npz", "a.keras"):
        check_kind(name)
    check_kind("a.tflite", (".npz", ".keras", ".tflite"))
    for name, error, match in [
        ("saved", UnfitError, "is a SavedModel"),
        ("old.h5", UnfitError, "of another kind.*Save an HDF5 model again"),
        ("gone.h5", UsageError, "There is no file gone.h5"),
        ("gone.tflite", UsageError, r"Give a run, or a \.npz or \.keras file\."),
    ]:
        with pytest.raises(error, match=match):
            check_kind(name)
