"""`fresh`: a new run beside one that is there, of which nothing is lost."""

import hashlib

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.experiment.run import fresh_directory

L = keras.layers
X, Y = np.random.default_rng(0).normal(size=(40, 6)).astype("float32"), np.arange(40) % 3


def find(run_dir, **options):
    model = keras.Sequential([keras.Input((6,)), L.Dense(4, kernel_initializer="ones"), L.Dense(3, "softmax")])
    given = {"loss": "sparse_categorical_crossentropy", "rounds": 0, "steps": 4, "batch_size": 16, "verbose": 0}
    return tfl.find_ticket(model, X, Y, run_dir=run_dir, jit_compile=False, **{**given, **options})


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_the_remedy_for_an_occupied_directory_can_be_followed(tmp_path):
    path = tmp_path / "run"
    find(path)
    before = digests(path)
    with pytest.raises(UsageError, match=r"holds a run of another configuration.*`fresh=True`"):
        find(path, rate=0.4)
    result = find(path, rate=0.4, fresh=True)
    assert result.run_dir == tmp_path / "run-2"
    assert digests(path) == before
    assert find(path, rate=0.4, fresh=True).run_dir == tmp_path / "run-3"
    assert find(tmp_path / "run-2", rate=0.4).rows == result.rows  # resumed: nothing is trained again


def test_without_a_run_there_is_nothing_to_start_over_from(tmp_path):
    assert find(tmp_path / "run", fresh=True).run_dir == tmp_path / "run"
    assert len(find(None, fresh=True).rows) == 1


def test_names_of_fresh_directories(tmp_path, monkeypatch):
    for name in ("a[1]", "a[1]-4", "a[1]-b", "empty"):
        (tmp_path / name).mkdir()
    (tmp_path / "a[1]" / "notes.txt").write_text("")
    assert fresh_directory(tmp_path / "a[1]") == tmp_path / "a[1]-5"
    assert fresh_directory(tmp_path / "empty") == tmp_path / "empty"
    monkeypatch.chdir(tmp_path / "a[1]")
    assert fresh_directory(".") == tmp_path / "a[1]-5"
