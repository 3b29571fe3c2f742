"""Runs whose layers train by the sparse kernels: how they begin, and how they are continued."""

import json
import logging

import keras
import numpy as np
import pytest
from run_content import assert_same, content

import tf_lottery as tfl
from reruns import StopError
from tf_lottery.errors import UnfitError
from tf_lottery.experiment.workers import trainer
from tf_lottery.layers.sparse import break_even, kernels, native
from tf_lottery.training.engine import Engine

pytestmark = pytest.mark.skipif(not kernels(), reason="installed without a C++ compiler: training is dense")
X = np.random.default_rng(0).normal(size=(64, 40)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")


class StopAt(keras.callbacks.Callback):
    def __init__(self, count):
        super().__init__()
        self.count = count

    def on_epoch_end(self, epoch, logs=None):
        self.count -= 1
        if self.count == 0:
            raise StopError


def convolutions():
    layers = [keras.layers.Reshape((5, 8, 1)), keras.layers.Conv2D(4, 3, padding="same")]
    layers += [keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Conv2D(4, 3, strides=2)]
    return [*layers, keras.layers.Dropout(0.2), keras.layers.Flatten(), keras.layers.Dense(2)]


def go(folder, sparse="on", rounds=2, callbacks=(), units=20, layers=None, **more):
    keras.utils.set_random_seed(0)
    dense = [keras.layers.Dense(units, "relu"), keras.layers.Dropout(0.2), keras.layers.Dense(2)]
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"rounds": rounds, "rate": 0.5, "steps": 6, "eval_every": 2, "rewind": "step:2", "verbose": 0} | more
    model = keras.Sequential([keras.Input((40,)), *(layers() if layers else dense)])
    return tfl.find_ticket(model, X, Y, loss=loss, run_dir=folder, sparse=sparse, callbacks=callbacks, **options)


def without_kernels(monkeypatch):
    monkeypatch.setattr(native, "library_path", lambda: None)
    native._load.cache_clear()


@pytest.fixture(autouse=True)
def kernels_again():
    yield
    native._load.cache_clear()


def environment(folder):
    return json.loads((folder / "environment.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("layers", [None, convolutions])
def test_a_stopped_run_goes_on_to_the_same_bytes(layers, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)
    go(tmp_path / "whole", layers=layers)
    with pytest.raises(StopError):
        go(tmp_path / "stopped", callbacks=[StopAt(4)], layers=layers)  # in the middle of round 1
    result = go(tmp_path / "stopped", layers=layers)
    assert_same(content(tmp_path / "stopped"), content(tmp_path / "whole"))
    ticket = result.ticket(2)
    weights = tfl.get_weights(ticket.model())
    assert all(not weights[path][~mask].any() for path, mask in ticket.masks.items())
    assert environment(tmp_path / "whole")["kernels"] == kernels().instruction_set


def test_a_run_that_was_begun_with_kernels_is_not_continued_without(tmp_path, monkeypatch, caplog):
    go(tmp_path)
    without_kernels(monkeypatch)
    with pytest.raises(UnfitError, match="was begun with the sparse kernels") as error:
        go(tmp_path, rounds=3)
    assert "set TF_LOTTERY_KERNELS=off to continue without" in str(error.value)
    monkeypatch.setenv(native.SETTING, "off")
    with caplog.at_level(logging.WARNING):
        go(tmp_path, rounds=3)
    assert "continues with another kernels" in caplog.text


def test_a_run_that_was_begun_without_kernels_stays_so(tmp_path, monkeypatch):
    monkeypatch.setattr(break_even, "COMPILING", 0.0)
    monkeypatch.setitem(break_even.BREAK_EVEN[break_even.DENSE], kernels().instruction_set, 0.5)  # on every processor
    with monkeypatch.context() as patch:
        without_kernels(patch)
        go(tmp_path / "run", sparse="auto", units=200)  # 40 x 200 weights, enough for the kernels
    native._load.cache_clear()
    go(tmp_path / "run", sparse="auto", units=200, rounds=3)
    assert "kernels" not in environment(tmp_path / "run")
    go(tmp_path / "other", sparse="auto", units=200, rounds=1)
    assert "kernels" in environment(tmp_path / "other")


def test_the_default_is_no_other_experiment_than_before(tmp_path):
    keys = [tfl.Config(sparse=setting).hash() for setting in ("auto", "on", "off")]
    assert keys[0] == tfl.Config().hash()
    assert len(set(keys)) == 3
    go(tmp_path, sparse="auto")
    assert "kernels" not in environment(tmp_path)  # layers so small never use them


def test_on_without_kernels_says_why(tmp_path, monkeypatch):
    without_kernels(monkeypatch)
    with pytest.raises(UnfitError, match=r"there are no kernels: tf_lottery was installed without them"):
        go(tmp_path / "run")


def test_searches_and_trainings_choose_by_their_own_lengths(tmp_path, monkeypatch):
    lengths = []
    monkeypatch.setattr(Engine, "expect", lambda engine, examples: lengths.append(examples))
    result = go(tmp_path / "run", "off", search_steps=3, batch_size=8, variants=("ticket",))
    assert sorted(row["variant"] for row in result.rows) == ["search", "search", "ticket", "ticket"]
    assert sorted(lengths) == [8 * 3, 8 * 3, 8 * 6, 8 * 6]
