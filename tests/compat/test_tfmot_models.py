"""Models that tfmot's names prune: which weights, layers in models that `fit` builds, files, and the plain model."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.compat import tfmot
from tfmot_training import Recorder, X, fit, sequential

L = keras.layers


def test_which_weights_are_pruned():
    inputs = keras.Input((8, 8, 3))
    outputs = L.SeparableConv2D(4, 2)(L.DepthwiseConv2D(2)(L.Conv2D(4, 2)(inputs)))
    outputs = L.BatchNormalization()(L.Reshape((25, 4))(outputs))
    outputs = L.MultiHeadAttention(2, 3)(outputs, outputs)
    model = tfmot.prune_low_magnitude(keras.Model(inputs, L.Dense(2)(L.LSTM(3)(outputs))))
    assert sorted(tfl.get_masks(model)) == [
        "conv2d/kernel",
        "dense/kernel",
        "lstm/cell/kernel",
        "lstm/cell/recurrent_kernel",
        *(f"multi_head_attention/{part}_dense/kernel" for part in ("key", "output", "query", "value")),
        "separable_conv2d/pointwise_kernel",
    ]


class Outer(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = tfmot.prune_low_magnitude(L.Dense(8), tfmot.ConstantSparsity(0.5, 3))
        self.second = L.Dense(3)

    def call(self, inputs):
        return self.second(self.first(inputs))


@pytest.mark.parametrize("steps_per_execution", [1, 2])
def test_layers_in_models_that_fit_builds(tmp_path, steps_per_execution):
    sequence = keras.Sequential([tfmot.prune_low_magnitude(L.Dense(8), tfmot.ConstantSparsity(0.5, 1)), L.Dense(3)])
    fit(sequence, steps_per_execution=steps_per_execution)
    assert {path: int(mask.sum()) for path, mask in tfl.get_masks(sequence).items()} == {"dense/kernel": 24}
    sequence.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), sequence.predict(X, verbose=0))
    assert int(tfl.get_masks(again)["dense/kernel"].sum()) == 24
    outer, recorder = Outer(), Recorder()
    fit(outer, recorder, steps_per_execution=steps_per_execution)
    counts = [int(masks[0].sum()) for masks in recorder.masks]
    assert counts == ([48, 48, *[24] * 10] if steps_per_execution == 1 else [48, *[24] * 5])


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_files(tmp_path, suffix):
    schedule = tfmot.PolynomialDecay(0.0, 0.75, begin_step=0, end_step=10, frequency=5)
    model = tfmot.prune_low_magnitude(sequential(), schedule, block_size=[2, 1], block_pooling_type="MAX")
    fit(model)
    model.save(tmp_path / f"model.{suffix}")
    with tfmot.prune_scope():
        again = keras.models.load_model(tmp_path / f"model.{suffix}")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    layer = again.layers[0]
    assert layer.pruning_schedule.get_config() == schedule.get_config()
    assert (layer.block_size, layer.block_pooling_type, layer.sparsity_m_by_n) == ((2, 1), "MAX", None)
    assert [int(mask.sum()) for mask in tfl.get_masks(again).values()] == [12, 6]
    fit(again)


def test_files_of_weights(tmp_path):
    model = sequential()
    pruned, other = (tfmot.sparsity.keras.prune_low_magnitude(model) for _ in range(2))
    masks = {path: np.arange(mask.size).reshape(mask.shape) % 3 == 0 for path, mask in tfl.get_masks(pruned).items()}
    tfl.set_masks(pruned, masks)
    pruned.save_weights(tmp_path / "pruned.weights.h5")
    model.save_weights(tmp_path / "plain.weights.h5")
    tfl.load_weights(other, tmp_path / "pruned.weights.h5")
    for _ in range(2):
        np.testing.assert_array_equal(other(X), pruned(X))
        for path, mask in tfl.get_masks(other).items():
            np.testing.assert_array_equal(mask, masks[path])
        tfl.load_weights(other, tmp_path / "plain.weights.h5")  # the masks stay


def test_strip():
    model = tfmot.prune_low_magnitude(sequential(), tfmot.ConstantSparsity(0.5, 1))
    fit(model)
    plain = tfmot.strip_pruning(model)
    assert [type(layer) for layer in plain.layers] == [L.Dense, L.Dense]
    assert np.count_nonzero(plain.layers[0].kernel.numpy()) == 24
    np.testing.assert_array_equal(plain.predict(X, verbose=0), model.predict(X, verbose=0))
