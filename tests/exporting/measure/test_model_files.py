"""What a file of a model is, by its name, its tensors, or the report of its export."""

import json
from pathlib import Path

import pytest

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
