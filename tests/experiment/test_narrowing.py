"""A small dense network as masks: what it keeps is a dense network of its own, freshly initialized for its size."""

import keras
import numpy as np
import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.narrowing import narrow
from tf_lottery.layers import get_masks, set_masks, set_weights, wrap
from tf_lottery.pruning import masks as mask_tools

L = keras.layers


def narrowed(model, kept, seed=3):
    dense = {key: np.ones_like(mask) for key, mask in get_masks(wrap(model)).items()}
    return narrow(model, dense, kept=kept, seed=seed)


def test_lenet_300_100_becomes_a_narrower_one():
    model = keras.Sequential(
        [keras.Input((784,)), L.Dense(300, "relu", name="a"), L.Dense(100, "relu", name="b"), L.Dense(10, name="c")]
    )
    masks, weights = narrowed(model, 26_620)
    hidden = [int(masks[key].any(axis=0).sum()) for key in ("a/kernel", "b/kernel", "c/kernel")]
    assert hidden[2] == 10
    assert hidden[0] / 300 == pytest.approx(hidden[1] / 100, abs=0.01)
    expected = 784 * hidden[0] + hidden[0] * hidden[1] + hidden[1] * 10
    # As near as whole units allow: one unit of the first layer has about 800 weights.
    assert mask_tools.kept(masks) == expected == pytest.approx(26_620, abs=450)
    for key, mask in masks.items():
        assert mask[: mask.any(axis=1).sum(), : mask.any(axis=0).sum()].all()
        assert not weights[key][~mask].any()
        assert (weights[key][mask] != 0).all()
    # Glorot's uniform distribution for the small shape: limit sqrt(6 / (784 + units)).
    limit = np.sqrt(6 / (784 + hidden[0]))
    assert 0.99 * limit < np.abs(weights["a/kernel"]).max() <= limit


def test_a_narrowed_model_computes_what_a_small_model_does():
    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(12, 3, padding="same", name="stem")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    y = L.Conv2D(12, 3, padding="same", activation="relu", name="inner")(x)
    x = L.Add()([x, y])
    x = L.MaxPooling2D(4)(x)
    x = L.Dense(10, "relu", name="hidden")(L.Flatten()(x))
    model = keras.Model(inputs, L.Dense(4, name="out")(x))
    masks, weights = narrowed(model, 700)
    wrapped = wrap(model)
    set_weights(wrapped, weights)
    set_masks(wrapped, masks)
    units = {key.split("/")[0]: int(mask.any(axis=tuple(range(mask.ndim - 1))).sum()) for key, mask in masks.items()}
    assert units["out"] == 4
    assert units["stem"] == units["inner"] < 12
    assert units["hidden"] < 10

    inputs = keras.Input((8, 8, 3))
    x = L.Conv2D(units["stem"], 3, padding="same", name="stem")(inputs)
    x = L.BatchNormalization(name="norm")(x)
    y = L.Conv2D(units["inner"], 3, padding="same", activation="relu", name="inner")(x)
    x = L.Add()([x, y])
    x = L.Dense(units["hidden"], "relu", name="hidden")(L.Flatten()(L.MaxPooling2D(4)(x)))
    small = keras.Model(inputs, L.Dense(4, name="out")(x))
    for name in ("stem", "inner", "hidden", "out"):
        kernel, shape = f"{name}/kernel", small.get_layer(name).kernel.shape
        small.get_layer(name).kernel.assign(weights[kernel][masks[kernel]].reshape(shape))
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 3)).astype("float32")
    np.testing.assert_allclose(wrapped(images), small(images), atol=1e-5)
    assert mask_tools.kept(masks) == sum(int(np.prod(small.get_layer(n).kernel.shape)) for n in units)


def test_layers_of_unknown_units_are_refused():
    model = keras.Sequential([keras.Input((5, 4)), L.LSTM(6), L.Dense(2)])
    with pytest.raises(UnfitError, match="small_dense"):
        narrowed(model, 20)


def test_a_layer_that_is_not_pruned_is_refused():
    """Units outside of the corners reached the output through layers that the run excludes."""
    model = keras.Sequential([keras.Input((5,)), L.Dense(6, name="h"), L.Dense(2, name="out")])
    for excluded in ("h", "out"):
        dense = {key: np.ones_like(mask) for key, mask in get_masks(wrap(model, exclude=excluded)).items()}
        with pytest.raises(UnfitError, match="keeps its width"):
            narrow(model, dense, kept=10, seed=0)
