"""What a file of a model is, by its name, its tensors, or the report of its export."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.exporting.checks.checksums import digest
from tf_lottery.exporting.measure.model_files import FileIdentity, identify, model_format
from tf_lottery.exporting.measure.networks import sort_by_network


def test_kinds(files, tmp_path):
    names = {path.name: model_format(path) for path in files.iterdir()}
    assert names["float32.tflite"] == "tflite"
    assert names["whole.keras"] == "keras"
    assert names["fixed"] == "saved_model"
    assert model_format(tmp_path) is None
    assert model_format(Path(__file__)) is None


@pytest.mark.parametrize(
    ("name", "identity", "baseline"),
    [
        ("float32.tflite", FileIdentity("float32", "dense"), "float32"),
        ("int8.tflite", FileIdentity("int8", "dense"), "int8"),
        ("dynamic.tflite", FileIdentity("dynamic", "dense"), None),
        ("sparse.tflite", FileIdentity("float32", "sparse"), None),
        ("text.tflite", FileIdentity(), None),
        ("half.tflite", FileIdentity(), None),
        ("whole.keras", FileIdentity(), None),
    ],
)
def test_files_are_known_by_their_tensors(files, name, identity, baseline):
    assert identify(files / name) == identity
    assert identify(files / name).baseline == baseline


def test_the_report_of_an_export_identifies_its_own_bytes(files, tmp_path):
    copy = tmp_path / "a.tflite"
    copy.write_bytes((files / "float32.tflite").read_bytes())
    record = {"path": str(copy), "format": "tflite", "precision": "float32", "encoding": "slim", "sha256": digest(copy)}
    (tmp_path / "export.json").write_text(json.dumps({"files": [record]}))
    assert identify(copy) == FileIdentity("float32", "slim")
    assert sort_by_network([copy])[0].baselines == {}
    copy.write_bytes((files / "int8.tflite").read_bytes())
    assert identify(copy) == FileIdentity("int8", "dense")
    (tmp_path / "export.json").write_text("[")
    assert identify(copy) == FileIdentity("int8", "dense")


def test_a_float16_file_may_hold_an_embedding_in_float32(tmp_path):
    """Its sparse rows are more bytes than all the rest, which does not make it a float32 file."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Embedding(400, 32), keras.layers.GlobalAveragePooling1D(), keras.layers.Dense(64)]
    model = keras.Sequential([keras.Input((8,), dtype="int32"), *layers])
    table = layers[0].embeddings
    table.assign(np.where(np.random.default_rng(0).random(table.shape) < 0.9, 0, table.numpy()))
    samples = np.random.default_rng(1).integers(0, 400, (40, 8))
    chosen = {"format": "tflite", "precision": "float16", "encoding": "sparse"}
    (record,) = tfl.export(model, tmp_path, samples=samples, **chosen).files
    (tmp_path / "export.json").unlink()
    assert identify(Path(record["path"])) == FileIdentity("float16", "sparse")
