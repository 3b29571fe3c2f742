"""What a file says of sizes is compared with what it holds before memory is taken: variables, weights, documents."""

import io
import json
import threading

import h5py
import keras
import numpy as np
import pytest
from hostile_architectures import HUGE, of_keras
from sent_files import MODEL, ROW, archive, ticket_arrays

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, ResourceError, UnfitError
from tf_lottery.exporting.sources.sample_file import read_sample_file
from tf_lottery.layers import model_from_architecture, variable_limit
from tf_lottery.layers.variable_limit import limited_variables
from tf_lottery.utils import array_archive, documents

WEIGHTS_BYTES = 2600  # of MODEL


def test_an_architecture_asks_for_no_more_than_its_weights(tmp_path):
    document = json.dumps(HUGE["a dense layer of 2 GB"])
    with pytest.raises(UnfitError, match=r"asks for 2,048 MB of variables and more, its weights have 0\.0 MB"):
        model_from_architecture(document, weights_bytes=WEIGHTS_BYTES)
    ticket = ticket_arrays({"schema": "tf-lottery.ticket/1", "row": ROW, "architecture": document})
    (tmp_path / "sent.npz").write_bytes(archive(ticket))
    with pytest.raises(UnfitError, match="asks for"):
        tfl.load_ticket(tmp_path / "sent.npz").model()


def test_an_architecture_asks_for_no_more_than_the_memory(monkeypatch):
    monkeypatch.setattr(variable_limit, "available_memory", lambda: 2599.0)
    with pytest.raises(ResourceError, match="GB are free"):
        model_from_architecture(json.dumps(MODEL))
    monkeypatch.setattr(variable_limit, "available_memory", lambda: 2600.0)
    assert model_from_architecture(json.dumps(MODEL)).count_params() == 650
    monkeypatch.setattr(variable_limit, "available_memory", lambda: None)
    assert model_from_architecture(json.dumps(MODEL), weights_bytes=1).count_params() == 650  # below 64 MiB


def test_the_limit_ends_with_its_block_and_holds_for_its_thread():
    before = keras.Variable.__init__
    with pytest.raises(UnfitError), limited_variables(8):
        keras.Variable(np.zeros, shape=(1 << 30, np.int64(4)), dtype="float32")
    assert keras.Variable.__init__ is before
    made = []
    with limited_variables(8):
        keras.Variable("zeros", shape=(4,))
        thread = threading.Thread(target=lambda: made.append(keras.Variable("zeros", shape=(1 << 25,))))
        thread.start()
        thread.join()
    assert made[0].shape == (1 << 25,)


def test_a_model_file_asks_for_no_more_than_its_weights(tmp_path):
    keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)]).save(tmp_path / "whole.keras")
    assert tfl.load_model(tmp_path / "whole.keras").count_params() == 650
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    model.compile("adam", keras.losses.MeanSquaredError())
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "compiled.keras")
    model.save(tmp_path / "compiled.h5")
    for name in ("compiled.keras", "compiled.h5"):
        assert tfl.load_model(tmp_path / name).optimizer is not None


@pytest.mark.parametrize("kind", ["a huge shape", "another file"])
def test_weights_that_are_not_in_their_file(tmp_path, kind):
    (tmp_path / "secret").write_bytes(bytes(2560))
    options = {"chunks": (64, 64)} if kind == "a huge shape" else {"external": [(str(tmp_path / "secret"), 0, 2560)]}
    with h5py.File(tmp_path / "sent.weights.h5", "w") as file:
        shape = (30_000, 30_000) if kind == "a huge shape" else (64, 10)
        file.create_dataset("layers/dense/vars/0", shape, "f4", **options)
    model = keras.Sequential([keras.Input((64,)), keras.layers.Dense(10)])
    with pytest.raises(UnfitError, match=r"would become|lies in another file"):
        tfl.load_weights(model, tmp_path / "sent.weights.h5")


def test_samples_that_inflate(tmp_path, monkeypatch):
    (tmp_path / "sent.npz").write_bytes(archive({"x": np.zeros((4, 1000), "float32")}))
    assert read_sample_file(tmp_path / "sent.npz")["samples"].shape == (4, 1000)
    monkeypatch.setattr(array_archive, "SMALL", 1000)
    monkeypatch.setattr(array_archive, "MOST_EXPANSION", 2)
    with pytest.raises(DamagedError, match="would become"):
        read_sample_file(tmp_path / "sent.npz")


def test_documents_of_too_many_values(monkeypatch):
    monkeypatch.setattr(documents, "MOST_VALUES", 3)
    monkeypatch.setattr(documents, "MOST_TOML", 8)
    assert documents.parse_json("[1, 2, 3]") == [1, 2, 3]
    assert documents.parse_toml(b"a = 1\n") == {"a": 1}
    for content in ("[1, 2, 3, 4]", b"[[[[]]]]", '{"a": {"b": [{}]}}'):
        with pytest.raises(ValueError, match="more than 3 values"):
            documents.parse_json(content)
    with pytest.raises(ValueError, match="more than 8 bytes"):
        documents.parse_toml(b"a = 1000000")


@pytest.mark.parametrize("text", ["{} = 1", "[{}]\na = 1", "a = {{{} = 1}}"])
def test_dotted_keys_of_too_many_parts(text):
    """Python's parser would take minutes for a megabyte of them."""
    with pytest.raises(ValueError, match="nested more than 200 levels"):
        documents.parse_toml(text.format(".".join(["a"] * 200_000)).encode())


def test_dots_in_values_are_no_parts_of_a_key():
    values = [number / 10 for number in range(1, 1000)]
    assert documents.parse_toml(f"a = {values}".encode()) == {"a": values}


def test_archives_of_weights_of_numpy(monkeypatch):
    content = archive({"dense": np.zeros(8, "float32")})
    array_archive.check_headers(io.BytesIO(content), len(content))
    monkeypatch.setattr(array_archive, "SMALL", 1000)
    with pytest.raises(ValueError, match="would become"):
        array_archive.check_headers(io.BytesIO(archive({"a": np.zeros(1 << 20, "float32")})), 1000)


def test_a_larger_layer_is_made_where_nothing_limits_it():
    assert model_from_architecture(json.dumps(of_keras("Dense", units=1000))).count_params() == 65_000
