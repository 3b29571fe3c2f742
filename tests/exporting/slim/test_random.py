"""Random networks: the slimmed model computes the same, and is never larger."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.studies.calculations.live_units import find_live_units


@pytest.mark.parametrize("first", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (20, 40, 60, 80))])
def test_random_networks_compute_the_same(first, random_model, difference):
    smaller = 0
    for seed in range(first, first + 20):
        model = random_model(seed)
        multiple = (1, 1, 8, 3)[seed % 4]
        slimmed, report = tfl.slim(model, multiple=multiple)
        assert difference(model, slimmed) <= 1e-5, f"seed {seed}"
        assert report.parameters_after == slimmed.count_params() <= model.count_params(), f"seed {seed}"
        smaller += report.removed > 0
        keras.utils.clear_session(free_memory=False)
    assert smaller >= 10  # most of them have dead units, or the test would say nothing


@pytest.mark.parametrize("seed", range(3))
def test_slimming_twice_finds_nothing_more(seed, random_model):
    slimmed, _ = tfl.slim(random_model(seed))
    again, report = tfl.slim(slimmed)
    assert report.removed == 0
    assert [w.shape for w in again.get_weights()] == [w.shape for w in slimmed.get_weights()]
    assert all(np.array_equal(a, b) for a, b in zip(again.get_weights(), slimmed.get_weights(), strict=True))


def test_the_same_model_gives_the_same_bits(random_model):
    one, other = tfl.slim(random_model(5))[0], tfl.slim(random_model(5))[0]
    assert all(np.array_equal(a, b) for a, b in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("seed", range(4))
def test_a_chain_keeps_exactly_the_units_on_paths_of_weights(seed, difference):
    """Without biases every dead unit is zero, so what is left are the live units that the masks alone determine."""
    rng = np.random.default_rng(seed)
    dense = [keras.layers.Dense(units, activation="relu") for units in (40, 30, 5)]
    convolutions = [keras.layers.Conv2D(12, 3, padding="same", activation="relu"), keras.layers.MaxPooling2D()]
    model = keras.Sequential([keras.Input((6, 6, 3)), *convolutions, keras.layers.Flatten(), *dense])
    kernels = []
    for layer in (convolutions[0], *dense):
        kernel, bias = layer.get_weights()
        kernels.append(rng.random(kernel.shape) < (0.05 if layer is not dense[-1] else 0.2))
        layer.set_weights([rng.normal(size=kernel.shape) * kernels[-1], bias])
    slimmed, report = tfl.slim(model)
    live = [int(level.sum()) for level in find_live_units(kernels)]
    assert [layer.units_after for layer in report.layers[:-1]] == [max(1, n) for n in live[1:-1]]
    assert difference(model, slimmed) <= 1e-6
