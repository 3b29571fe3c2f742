"""Gradients of SynFlow's flow: its slope, conserved in every network, beyond the range of floats, and where refused."""

from collections.abc import Callable

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from gradient_cases import TEN, maskable_weights, residual, ten
from tf_lottery.errors import UnfitError
from tf_lottery.training.gradients import path_gradients

L = keras.layers


def positive(model: keras.Model) -> keras.Model:
    """What R is the output of: absolute weights and scales, nothing added, logits; an ordinary Keras model."""
    copy = keras.models.clone_model(model)
    for path, weight in tfl.get_weights(model).items():
        added = path.endswith(("bias", "beta", "moving_mean"))
        if "seed" not in path:
            tfl.set_weights(copy, {path: np.zeros_like(weight) if added else np.abs(weight)})
    copy.get_layer("out").activation = keras.activations.linear
    return copy


def test_synflow_of_a_residual_network_is_the_slope_of_its_flow():
    model = residual()
    actual = path_gradients(model)
    ordinary = positive(model)
    ones = np.ones((1, 6, 6, 2), "float32")
    flow = float(np.sum(ordinary(ones, training=False)))
    scores = tfl.scores(maskable_weights(model, actual), "synflow", path_gradients=actual)
    sums = {key.split("/")[0]: float(score.sum()) for key, score in scores.items()}
    assert sums["stem"] == pytest.approx(flow, rel=1e-5)
    assert sums["out"] == pytest.approx(flow, rel=1e-5)
    assert sums["one"] == pytest.approx(sums["two"], rel=1e-12)
    assert sums["one"] < flow
    # R is linear in each single weight, up to which window a maximum is in: a step of 1 % is exact enough.
    for path, index in [("one/kernel", (1, 1, 0, 2)), ("two/kernel", (0, 1, 2, 1)), ("stem/kernel", (2, 2, 1, 0))]:
        weight = np.abs(tfl.get_weights(model)[path])
        changed = weight.copy()
        changed[index] += 0.01
        tfl.set_weights(ordinary, {path: changed})
        slope = (float(np.sum(ordinary(ones, training=False))) - flow) / 0.01
        tfl.set_weights(ordinary, {path: weight})
        assert actual[path][index] == pytest.approx(slope, rel=2e-2)


@pytest.mark.parametrize(
    "build",
    [
        lambda: [
            keras.Input((8, 8, 1)),
            L.Conv2D(3, 3, activation="relu"),
            L.MaxPooling2D(),
            L.Flatten(),
            L.Dense(4),
            L.Dense(2, "softmax"),
        ],
        lambda: [
            keras.Input((8, 8, 2)),
            L.Rescaling(1 / 255),
            L.SeparableConv2D(3, 3),
            L.LeakyReLU(),
            L.Flatten(),
            L.Dense(2),
        ],
        lambda: [keras.Input((6,)), L.Dense(5), L.BatchNormalization(), L.PReLU(), L.Dropout(0.5), L.Dense(3, "tanh")],
        lambda: [keras.Input((6,)), keras.Sequential([keras.Input((6,)), L.Dense(4, "relu"), L.Dense(3)]), L.Dense(2)],
        lambda: [
            keras.Input((4, 4, 2)),
            L.Conv2DTranspose(2, 3, dtype="mixed_float16"),
            L.GlobalAveragePooling2D(),
            L.Dense(2),
        ],
    ],
    ids=["conv", "separable", "norm", "nested", "transpose"],
)
def test_synflow_is_conserved_from_layer_to_layer(build: Callable[[], list]):
    model = keras.Sequential(build())
    actual = path_gradients(tfl.wrap(model))
    scores = tfl.scores(maskable_weights(model, actual), "synflow", path_gradients=actual)
    sums = [float(score.sum()) for score in scores.values()]
    assert min(sums) > 0
    assert sums == pytest.approx([sums[0]] * len(sums), rel=1e-6)


@pytest.mark.parametrize(
    ("depth", "scale"), [(60, 3.0), (100, 300.0), (100, 1e-5)], ids=["deep", "beyond", "vanishing"]
)
def test_synflow_in_deep_networks(depth, scale):
    # The flow is about 1e87, 1e345 and 1e-403: float32 ends at 1e38 and 1e-45, float64 at 1e308 and 1e-324.
    draw = np.random.default_rng(0)
    kernels = [np.float32(draw.normal(size=(12, 12)) * scale) for _ in range(depth)]
    nested = keras.Sequential([keras.Input((12,)), *(L.Dense(12, "relu") for _ in range(depth - 1))], name="body")
    model = keras.Sequential([keras.Input((12,)), nested, L.Dense(12, name="head")])
    actual = path_gradients(model)
    tfl.set_weights(model, dict(zip(actual, kernels, strict=True)))
    scores = tfl.scores(maskable_weights(model, actual), "synflow", path_gradients=path_gradients(model))
    # In NumPy, with the flow normalized after each layer: a layer's scores as parts of their sum. It must stay finite:
    # some BLAS kernels fill a register up with zeros, and infinity times zero makes NumPy warn.
    forward, backward, exponent = [np.ones(12)], [np.ones(12)], 0.0
    for kernel in kernels:
        flow = forward[-1] @ np.abs(kernel.astype(float))
        forward.append(flow / flow.sum())
        exponent += np.log10(flow.sum())
    assert exponent > 39 or exponent < -46
    for kernel in reversed(kernels):
        flow = np.abs(kernel.astype(float)) @ backward[-1]
        backward.append(flow / flow.sum())
    total = float(scores["head/kernel"].sum())
    for index, (key, kernel) in enumerate(zip(actual, kernels, strict=True)):
        part = np.abs(kernel) * np.outer(forward[index], backward[depth - 1 - index])
        np.testing.assert_allclose(scores[key] / total, part / part.sum(), rtol=1e-9)


def test_synflow_of_a_model_that_it_is_not_defined_for():
    norm = keras.Sequential([keras.Input((4,)), L.Dense(3), L.LayerNormalization(), L.Dense(2)])
    with pytest.raises(UnfitError, match=r"linear and positive .* LayerNormalization. Choose a criterion"):
        path_gradients(norm)
    query = keras.Input((4, 3))
    with pytest.raises(UnfitError, match="not defined for the layer 'attention' of class MultiHeadAttention"):
        path_gradients(keras.Model(query, L.MultiHeadAttention(1, 2, name="attention")(query, query)))
    words = keras.Sequential([keras.Input((4,), dtype="int32"), L.Embedding(5, 2), L.Flatten(), L.Dense(2)])
    with pytest.raises(UnfitError, match=r"inputs of real numbers. The input .* is of type int32"):
        path_gradients(words)
    nothing = {key: np.zeros(weight.shape, bool) for key, weight in TEN.items()}
    with pytest.raises(UnfitError, match="No path of unpruned weights"):
        path_gradients(ten(), nothing)
    with pytest.raises(UnfitError, match="keys of the masks do not fit"):
        path_gradients(ten(), {"first/kernel": np.ones((2, 2), bool)})
    enormous = keras.Sequential([keras.Input((1,)), *(L.Dense(1) for _ in range(80))])
    tfl.set_weights(enormous, {key: np.full((1, 1), 1e30) for key in path_gradients(enormous)})
    with pytest.raises(UnfitError, match="out of the range of float64"):
        path_gradients(enormous)
