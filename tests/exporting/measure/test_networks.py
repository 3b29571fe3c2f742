"""Files sorted by the network that they store, and the dense baselines of each network."""

import json

import keras
import pytest
from keras import layers

from tf_lottery.exporting.checks.checksums import digest
from tf_lottery.exporting.measure.dense_baselines import make_baseline
from tf_lottery.exporting.measure.model_files import FileIdentity, identify
from tf_lottery.exporting.measure.networks import sort_by_network


def test_baselines_among_the_files_and_beside_them(files, tmp_path):
    named = [files / name for name in ("sparse.tflite", "float32.tflite", "int8.tflite")]
    (network,) = sort_by_network(named)
    assert network.baselines == {"float32": named[1], "int8": named[2]}
    assert network.files == named
    assert sort_by_network(named[:1])[0].baselines == {}
    for path in named:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    records = [{"path": f"/elsewhere/{path.name}", "format": "tflite", "encoding": "dense"} for path in named[1:]]
    (tmp_path / "export.json").write_text(json.dumps({"files": [*records, {"path": "gone.tflite"}]}))
    (beside,) = sort_by_network([tmp_path / "sparse.tflite"])
    assert beside.baselines == {"float32": tmp_path / "float32.tflite", "int8": tmp_path / "int8.tflite"}
    assert beside.files == [tmp_path / "sparse.tflite"]


def test_networks_of_one_interface_are_distinguished_by_weights(files, tmp_path):
    narrow = keras.Sequential([keras.Input((48,)), layers.Dense(64, activation="relu"), layers.Dense(10)])
    named = [files / "float32.tflite", make_baseline(narrow, tmp_path, "float32"), files / "sparse.tflite"]
    assert [group.files for group in sort_by_network(named)] == [[named[0], named[2]], [named[1]]]


def test_slim_files_belong_to_the_network_of_their_folder(two_networks, files, tmp_path):
    for name in ("float32.tflite", "sparse.tflite"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    slim = tmp_path / "slim.tflite"
    slim.write_bytes((two_networks / "b" / "float32.tflite").read_bytes())  # other sizes, as a slimmed file has
    listed = [(tmp_path / "float32.tflite", "dense"), (slim, "slim")]
    records = [
        {"path": path.name, "format": "tflite", "precision": "float32", "encoding": kind, "sha256": digest(path)}
        for path, kind in listed
    ]
    (tmp_path / "export.json").write_text(json.dumps({"files": records}))
    (tmp_path / "net.keras").write_bytes((files / "whole.keras").read_bytes())
    named = [slim, tmp_path / "net.keras", two_networks / "b" / "float32.tflite"]
    one, other = sort_by_network(named)
    assert one.files == named[:2]
    assert one.baselines == {"float32": tmp_path / "float32.tflite"}
    assert other.files == named[2:]
    assert other.baselines == {"float32": named[2]}


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_baselines_are_made_of_a_model(precision, network, tmp_path):
    made = make_baseline(network(), tmp_path, precision)
    assert identify(made) == FileIdentity(precision, "dense")
