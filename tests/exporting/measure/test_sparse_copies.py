"""Copies of pruned Keras files that compute by the sparse kernels, beside the files themselves."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import tf_lottery as tfl
from kernel_settings import skip_without_kernels
from tf_lottery.exporting.measure import loaders, run_benchmark
from tf_lottery.exporting.measure.sparse_copies import make_sparse_copy
from tf_lottery.layers.sparse import native


@pytest.fixture
def needs_kernels():
    skip_without_kernels("on")


@pytest.fixture(scope="module")
def pruned(tmp_path_factory):
    """A Keras file of which the first layer is mostly zeros."""
    model = keras.Sequential([keras.Input((48,)), layers.Dense(256, activation="relu"), layers.Dense(10)])
    kernel = model.layers[0].kernel
    kernel.assign(kernel * (np.random.default_rng(0).random(kernel.shape) < 0.05))
    file = tmp_path_factory.mktemp("pruned") / "net.keras"
    model.save(file)
    return file


def layer_names(file):
    return [type(layer).__name__ for layer in tfl.load_model(file).layers]


@pytest.mark.usefixtures("needs_kernels")
def test_the_copy_computes_the_same_with_what_is_not_zero(pruned, tmp_path, monkeypatch):
    copy, reason = make_sparse_copy(pruned, tmp_path)
    assert (layer_names(copy), reason) == (["SparseDense", "Dense"], "")
    assert tfl.load_model(copy).layers[0].capacity == np.count_nonzero(tfl.load_model(pruned).layers[0].kernel)
    inputs = np.random.default_rng(1).normal(size=(7, 48)).astype("float32")
    answers = [tfl.load_model(file).predict(inputs, verbose=0) for file in (pruned, copy)]
    np.testing.assert_allclose(answers[1], answers[0], rtol=1e-5, atol=1e-5)
    assert make_sparse_copy(copy, tmp_path) == (None, "")
    monkeypatch.setattr(loaders, "_tensorflow", lambda threads: tf)  # whose threads can't be set any more
    assert len(run_benchmark.run("keras", str(copy), threads=1, runs=3, seconds=1.0)["latency_us"]) == 3


def test_what_has_no_zeros_has_no_copy(tmp_path):
    (tmp_path / "copies").mkdir()
    keras.Sequential([keras.Input((4,)), layers.Dense(3)]).save(tmp_path / "dense.keras")
    assert make_sparse_copy(tmp_path / "dense.keras", tmp_path / "copies") == (None, "")
    assert list((tmp_path / "copies").iterdir()) == []


@pytest.mark.usefixtures("needs_kernels")
def test_a_pruned_convolution_is_named(tmp_path):
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3, name="first", dilation_rate=2)])
    model.layers[0].kernel.assign(np.zeros((3, 3, 1, 2)))
    model.save(tmp_path / "net.keras")
    copy, reason = make_sparse_copy(tmp_path / "net.keras", tmp_path)
    assert copy is None
    assert "No layer of the model" in reason
    assert "first: it is dilated" in reason


def test_without_kernels_there_is_none_and_the_reason_is_said(pruned, tmp_path, monkeypatch):
    monkeypatch.setenv(native.SETTING, "off")
    assert make_sparse_copy(pruned, tmp_path) == (None, "there are no kernels: TF_LOTTERY_KERNELS is off")
