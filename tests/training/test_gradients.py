"""Gradients for criteria: a network of ten weights by hand, NumPy derivations, and no trace in the model."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning import criteria as scoring
from tf_lottery.training.gradients import gradients, hessian_gradients, path_function, path_gradients

L = keras.layers

# Ten weights in three linear layers, 2 -> 2 -> 2 -> 1; one example x = (1, 1) with target 1 and squared error.
TEN = {
    "first/kernel": np.array([[1.0, -2.0], [3.0, 1.0]]),
    "second/kernel": np.array([[2.0, 1.0], [-1.0, 1.0]]),
    "third/kernel": np.array([[1.0], [-3.0]]),
}
X, Y = np.array([[1.0, 1.0]]), np.array([[1.0]])


def ten(activation: str = "linear") -> keras.Model:
    names = [path.partition("/")[0] for path in TEN]
    layers = [L.Dense(TEN[f"{n}/kernel"].shape[1], activation, use_bias=False, name=n) for n in names]
    model = keras.Sequential([keras.Input((2,)), *layers])
    tfl.set_weights(model, TEN)
    return model


def masks_of(scores: dict[str, np.ndarray], rate: float) -> dict[str, list]:
    masks = {key: np.ones(score.shape, bool) for key, score in scores.items()}
    pruned = tfl.prune(scores, masks, rate=rate, scope="global")
    return {key: mask.astype(int).tolist() for key, mask in pruned.items()}


def maskable_weights(model: keras.Model, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    weights = tfl.get_weights(model)
    return {key: weights[key] for key in like}


def check(actual: dict[str, np.ndarray], expected: dict[str, Any], rtol: float) -> None:
    """Equal keys, and differences of at most `rtol` of the largest value of the array."""
    assert actual.keys() == expected.keys()
    for key, array in actual.items():
        wanted = np.asarray(expected[key])
        np.testing.assert_allclose(array, wanted, rtol=0, atol=rtol * np.abs(wanted).max(), err_msg=key)


# Forward: h1 = x W1 = (4, -1); h2 = h1 W2 = (9, 3); f = h2 W3 = 0; L = (f - 1)^2 = 1, dL/df = -2.
# Backward, of f: b2 = W3 = (1, -3); b1 = W2 b2 = (-1, -4).
# df/dW1 = x_i b1_j, df/dW2 = h1_i b2_j, df/dW3 = h2; the gradient of L is -2 times these.
OUTPUT_GRADIENT = {
    "first/kernel": np.array([[-1, -4], [-1, -4]]),
    "second/kernel": np.array([[4, -12], [-1, 3]]),
    "third/kernel": np.array([[9], [3]]),
}


@pytest.mark.parametrize("prepare", [lambda m: m, tfl.wrap], ids=["plain", "wrapped"])
def test_snip_on_ten_weights(prepare):
    actual = gradients(prepare(ten()), X, Y, loss="mse")
    assert all(array.dtype == np.float32 for array in actual.values())
    check(actual, {key: -2 * array for key, array in OUTPUT_GRADIENT.items()}, 1e-6)
    scores = tfl.scores(TEN, "snip", gradients=actual)
    hand = {"first/kernel": [[2, 16], [6, 8]], "second/kernel": [[16, 24], [2, 6]], "third/kernel": [[18], [18]]}
    check(scores, hand, 1e-6)
    # The two that score 2 go first, then the two that score 6.
    assert masks_of(scores, 0.2) == {
        "first/kernel": [[0, 1], [1, 1]],
        "second/kernel": [[1, 1], [0, 1]],
        "third/kernel": [[1], [1]],
    }
    assert masks_of(scores, 0.4) == {
        "first/kernel": [[0, 1], [0, 1]],
        "second/kernel": [[1, 1], [0, 0]],
        "third/kernel": [[1], [1]],
    }


def test_snip_is_the_derivative_by_the_mask():
    # |dL/dm| at m = 1, by central differences of the loss with each weight scaled by 1 +- 1e-4.
    def loss(weights: dict[str, np.ndarray]) -> float:
        return float(
            ((X @ weights["first/kernel"] @ weights["second/kernel"] @ weights["third/kernel"] - Y) ** 2).sum()
        )

    numeric = {}
    for key, weight in TEN.items():
        numeric[key] = np.zeros(weight.shape)
        for index in np.ndindex(weight.shape):
            values = []
            for m in (1 + 1e-4, 1 - 1e-4):
                scaled = {**TEN, key: weight.copy()}
                scaled[key][index] *= m
                values.append(loss(scaled))
            numeric[key][index] = abs(values[0] - values[1]) / 2e-4
    check(tfl.scores(TEN, "snip", gradients=gradients(ten(), X, Y, loss="mse")), numeric, 1e-6)


# With r = f - 1 = -1: g = 2 r df/dw, and H g = 4 r N df/dw + 2 r^2 dN/dw, where N = |df/dw|^2.
# N = |h2|^2 + |h1|^2 |b2|^2 + |x|^2 |b1|^2 = 90 + 17 * 10 + 2 * 17 = 294.
# dN/dW1 = 2 x_i (W2 h2)_j + 2 |b2|^2 x_i h1_j     = (42, -12) + (80, -20) = (122, -32) in both rows
# dN/dW2 = 2 h1_i h2_j + 2 |x|^2 b1_i b2_j         = ((72, 24), (-18, -6)) + ((-4, 12), (-16, 48))
# dN/dW3 = 2 |h1|^2 b2 + 2 |x|^2 W2' b1            = (34, -102) + 4 (2, -5) = (42, -122)
GRASP = {
    # w (H g) = -1176 w df/dw + 2 w dN/dw
    "first/kernel": np.array([[1176 + 244, -9408 + 128], [3528 + 732, 4704 - 64]]),
    "second/kernel": np.array([[-9408 + 272, 14112 + 72], [-1176 + 68, -3528 + 84]]),
    "third/kernel": np.array([[-10584 + 84], [10584 + 732]]),
}


@pytest.mark.parametrize("prepare", [lambda m: m, tfl.wrap], ids=["plain", "wrapped"])
def test_grasp_on_ten_weights(prepare):
    actual = hessian_gradients(prepare(ten()), X, Y, loss="mse")
    scores = tfl.scores(TEN, "grasp", hessian_gradients=actual)
    check(scores, GRASP, 1e-6)
    # The lowest: -10500 in the third layer, -9280 in the first, -9136 in the second.
    assert masks_of(scores, 0.3) == {
        "first/kernel": [[1, 0], [1, 1]],
        "second/kernel": [[0, 1], [1, 1]],
        "third/kernel": [[0], [1]],
    }


def test_grasp_keeps_what_the_gradient_flow_needs():
    # Shrinking a weight by a thousandth changes |g|^2 by -2 * 0.001 * score, to first order.
    def flow(weights: dict[str, np.ndarray]) -> float:
        first, second, third = weights.values()
        h1, b1 = X @ first, second @ third
        gradient = [X.T @ b1.T, h1.T @ third.T, (h1 @ second).T]
        residual = (h1 @ second @ third - Y).item()
        return sum(float(((2 * residual * part) ** 2).sum()) for part in gradient)

    for key, weight in TEN.items():
        for index in np.ndindex(weight.shape):
            changed = {**TEN, key: weight.copy()}
            changed[key][index] *= 1 - 1e-6
            lost = (flow(TEN) - flow(changed)) / 2e-6
            assert lost == pytest.approx(GRASP[key][index], abs=1)


@pytest.mark.parametrize("prepare", [lambda m: m, tfl.wrap], ids=["plain", "wrapped"])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh", "softmax"])
def test_synflow_on_ten_weights(activation, prepare):
    # |W|: h1 = (4, 3), h2 = (11, 7), R = 11 + 3 * 7 = 32; backward b2 = (1, 3), b1 = (5, 4).
    # Scores: W1 |w| b1_j, W2 |w| h1_i b2_j, W3 |w| h2; each layer's sum is R. Activations count as linear.
    scores = tfl.scores(TEN, "synflow", path_gradients=path_gradients(prepare(ten(activation))))
    hand = {"first/kernel": [[5, 8], [15, 4]], "second/kernel": [[8, 12], [3, 9]], "third/kernel": [[11], [21]]}
    check(scores, hand, 1e-15)
    assert {float(score.sum()) for score in scores.values()} == {32.0}
    assert masks_of(scores, 0.3) == {
        "first/kernel": [[0, 1], [1, 0]],
        "second/kernel": [[1, 1], [0, 1]],
        "third/kernel": [[1], [1]],
    }


def test_synflow_is_the_sum_over_the_paths_that_masks_leave():
    masks = {key: np.ones(weight.shape, bool) for key, weight in TEN.items()}
    masks["first/kernel"][1, 0] = masks["second/kernel"][0, 1] = False
    alive = {key: np.abs(weight) * masks[key] for key, weight in TEN.items()}
    first, second, third = alive.values()
    expected = {key: np.zeros(weight.shape) for key, weight in TEN.items()}
    for i, j, k in itertools.product(range(2), repeat=3):
        product = first[i, j] * second[j, k] * third[k, 0]
        expected["first/kernel"][i, j] += product
        expected["second/kernel"][j, k] += product
        expected["third/kernel"][k, 0] += product
    model = ten()
    check(tfl.scores(TEN, "synflow", path_gradients=path_gradients(model, masks)), expected, 1e-15)
    wrapped = tfl.wrap(model)
    tfl.set_masks(wrapped, masks)
    actual = path_gradients(wrapped)
    check(tfl.scores(TEN, "synflow", path_gradients=actual), expected, 1e-15)
    assert all((actual[key][~masks[key]] == 0).all() for key in masks)
    # One copy serves many masks, in any order.
    function = path_function(model)
    function(
        {key: ~mask | (mask.shape[1] == 1) for key, mask in masks.items()} | {"first/kernel": masks["first/kernel"]}
    )
    for key, array in function(masks).items():
        np.testing.assert_array_equal(array, actual[key])
    np.testing.assert_array_equal(function(None)["third/kernel"], [[11], [7]])


def small(**options: Any) -> keras.Model:
    """A float64 network without batch norm: 3 -> 4 (tanh) -> 2 logits, with biases."""
    keras.utils.set_random_seed(0)
    hidden = L.Dense(4, "tanh", bias_initializer="normal", dtype="float64", name="hidden", **options)
    return keras.Sequential([keras.Input((3,), dtype="float64"), hidden, L.Dense(2, dtype="float64", name="out")])


def small_data(count: int = 7) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    return draw.normal(size=(count, 3)), draw.integers(0, 2, count)


def by_hand(weights: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """The gradient of the mean cross-entropy of `small`, in NumPy."""
    hidden = np.tanh(x @ weights["hidden/kernel"] + weights["hidden/bias"])
    logits = hidden @ weights["out/kernel"] + weights["out/bias"]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (p - np.eye(2)[y]) / len(x)
    back = error @ weights["out/kernel"].T * (1 - hidden**2)
    return {"hidden/kernel": x.T @ back, "out/kernel": hidden.T @ error}


def numeric_product(
    weights: dict[str, np.ndarray], g: dict[str, np.ndarray], x: np.ndarray, y: np.ndarray
) -> dict[str, np.ndarray]:
    """H g by central differences of `by_hand` along g."""
    sides = [by_hand({k: w + step * g.get(k, 0) for k, w in weights.items()}, x, y) for step in (1e-4, -1e-4)]
    return {key: (sides[0][key] - sides[1][key]) / 2e-4 for key in g}


CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.mark.parametrize("batch", [2, 7, 100])
def test_gradient_and_hessian_are_those_of_all_examples(batch):
    x, y = small_data()
    model = small()
    weights = tfl.get_weights(model)
    g = by_hand(weights, x, y)
    check(gradients(model, x, y, loss=CROSS_ENTROPY, batch=batch), g, 1e-6)
    check(hessian_gradients(model, x, y, loss=CROSS_ENTROPY, batch=batch), numeric_product(weights, g, x, y), 1e-6)


def test_losses_as_compile_takes_them():
    x, y = small_data()
    model = small()
    expected = by_hand(tfl.get_weights(model), x, y)
    column, one_hot = y[:, None], np.eye(2)[y]
    summed = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="sum")
    probabilities = keras.Sequential([model, L.Softmax(dtype="float64")])
    check(gradients(model, x, column, loss=CROSS_ENTROPY), expected, 1e-6)
    check(gradients(model, x, y.tolist(), loss=[CROSS_ENTROPY]), expected, 1e-6)
    check(gradients(model, tf.constant(x), y, loss=summed, batch=4), expected, 1e-6)
    for loss in ("categorical_crossentropy", keras.losses.categorical_crossentropy):
        actual = gradients(probabilities, x, one_hot, loss=loss)
        check({key.removeprefix("sequential/"): array for key, array in actual.items()}, expected, 1e-5)
    # A weight of 0 leaves an example out, but not of the count.
    weight = np.array([1.0, 1, 1, 0, 0, 0, 0])
    part = by_hand(tfl.get_weights(model), x[:3], y[:3])
    actual = gradients(model, x, y, loss=CROSS_ENTROPY, sample_weight=weight, batch=4)
    check(actual, {key: array * 3 / 7 for key, array in part.items()}, 1e-6)


def test_several_inputs_and_outputs():
    keras.utils.set_random_seed(1)
    left, right = keras.Input((2,), name="left"), keras.Input((3,), name="right")
    joined = L.Concatenate()([L.Dense(2, name="a")(left), L.Dense(2, name="b")(right)])
    model = keras.Model(
        {"left": left, "right": right},
        {"size": L.Dense(1, name="size")(joined), "kind": L.Dense(3, name="kind")(joined)},
    )
    draw = np.random.default_rng(0)
    x = {"left": draw.normal(size=(5, 2)), "right": draw.normal(size=(5, 3))}
    y = {"size": draw.normal(size=(5, 1)), "kind": draw.normal(size=(5, 3))}
    actual = gradients(model, x, y, loss={"size": "mse", "kind": "mae"}, batch=2)
    with tf.GradientTape() as tape:
        out = model(x)
        loss = tf.reduce_mean((out["size"] - y["size"]) ** 2) + tf.reduce_mean(tf.abs(out["kind"] - y["kind"]))
    variables = [model.get_layer(path.split("/")[0]).kernel.value for path in actual]
    check(actual, dict(zip(actual, tape.gradient(loss, variables), strict=True)), 1e-5)
    paths = path_gradients(model)
    scores = tfl.scores(maskable_weights(model, paths), "synflow", path_gradients=paths)
    sums = {key: float(score.sum()) for key, score in scores.items()}
    assert sums["a/kernel"] + sums["b/kernel"] == pytest.approx(sums["size/kernel"] + sums["kind/kernel"], rel=1e-12)


def test_regularisation_losses_do_not_count():
    x, y = small_data()
    with_decay = small(kernel_regularizer="l2", activity_regularizer="l2")
    check(gradients(with_decay, x, y, loss=CROSS_ENTROPY), gradients(small(), x, y, loss=CROSS_ENTROPY), 1e-7)
    wrapped = tfl.wrap(with_decay)
    check(
        hessian_gradients(wrapped, x, y, loss=CROSS_ENTROPY), hessian_gradients(small(), x, y, loss=CROSS_ENTROPY), 1e-7
    )


def test_frozen_layers_are_scored_too():
    # `wrap` masks them, so a criterion has to score them.
    x, y = small_data()
    model = small()
    expected = by_hand(tfl.get_weights(model), x, y)
    model.layers[0].trainable = False
    for prepared in (model, tfl.wrap(model)):
        check(gradients(prepared, x, y, loss=CROSS_ENTROPY), expected, 1e-6)


def test_pruned_weights_have_no_gradient_and_do_not_count():
    x, y = small_data()
    model = tfl.wrap(small())
    masks = {key: np.random.default_rng(0).random(mask.shape) < 0.5 for key, mask in tfl.get_masks(model).items()}
    tfl.set_masks(model, masks)
    for layer in model.layers:  # as a foreign optimizer with momentum leaves them
        for variable in layer.masked_variables.values():
            variable.assign_add(np.where(layer.get_masks()["kernel"], 0.0, 5.0))
    masked = {key: np.where(masks.get(key, True), w, 0) for key, w in tfl.get_weights(tfl.strip(model)).items()}
    expected = {key: array * masks[key] for key, array in by_hand(masked, x, y).items()}
    check(gradients(model, x, y, loss=CROSS_ENTROPY), expected, 1e-6)
    products = {key: array * masks[key] for key, array in numeric_product(masked, expected, x, y).items()}
    check(hessian_gradients(model, x, y, loss=CROSS_ENTROPY), products, 1e-6)


def residual(norm: bool = True, dtype: str = "float32") -> keras.Model:
    """A residual network with batch norm, max pooling, dropout and a softmax."""
    keras.utils.set_random_seed(2)

    def block(x: Any, name: str) -> Any:
        y = L.Conv2D(3, 3, padding="same", use_bias=not norm, name=name, dtype=dtype)(x)
        return L.BatchNormalization(name=f"{name}_norm", dtype=dtype)(y) if norm else y

    inputs = keras.Input((6, 6, 2), dtype=dtype)
    x = L.ReLU(dtype=dtype)(block(inputs, "stem"))
    y = block(L.Activation("relu", dtype=dtype)(block(x, "one")), "two")
    x = L.MaxPooling2D(dtype=dtype)(L.ReLU(dtype=dtype)(L.Add(dtype=dtype)([x, y])))
    x = L.Dropout(0.5, seed=4, dtype=dtype)(L.GlobalAveragePooling2D(dtype=dtype)(x))
    model = keras.Model(inputs, L.Dense(4, "softmax", name="out", dtype=dtype)(x))
    draw = np.random.default_rng(5)
    for path, weight in tfl.get_weights(model).items():
        if path.endswith(("bias", "beta", "gamma", "moving_mean")):
            tfl.set_weights(model, {path: draw.normal(size=weight.shape)})
        if path.endswith("moving_variance"):
            tfl.set_weights(model, {path: draw.uniform(0.5, 2, size=weight.shape)})
    return model


def image_data(count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(6)
    return draw.normal(size=(count, 6, 6, 2)), draw.integers(0, 4, count)


@pytest.mark.parametrize("prepare", [lambda m: m, tfl.wrap], ids=["plain", "wrapped"])
def test_batch_norm_trains_and_nothing_stays_behind(prepare):
    model = prepare(residual())
    x, y = image_data()
    model.compile("sgd", "mse")
    compiled = (model.optimizer, model.loss)
    before = tfl.get_weights(model)
    assert any("seed" in path for path in before)
    assert any("moving" in path for path in before)
    actual = gradients(model, x, y, loss="sparse_categorical_crossentropy", batch=4)
    again = gradients(model, x, y, loss="sparse_categorical_crossentropy", batch=4)
    hessian_gradients(model, x, y, loss="sparse_categorical_crossentropy", batch=4)
    path_gradients(model)
    assert (model.optimizer, model.loss) == compiled
    assert not model.optimizer.built
    for path, weight in tfl.get_weights(model).items():
        np.testing.assert_array_equal(weight, before[path], err_msg=path)
    for path in actual:  # the same draws of Dropout each time
        np.testing.assert_array_equal(actual[path], again[path])
    # By an ordinary tape in training mode, batch by batch; it does leave a trace, and draws the same numbers.
    sums = dict.fromkeys(actual, 0.0)
    variables = {path: tfl.layers.named_variables(model)[path].value for path in actual}
    for start in (0, 4, 8):
        with tf.GradientTape() as tape:
            loss = keras.losses.SparseCategoricalCrossentropy()(
                y[start : start + 4], model(x[start : start + 4], training=True)
            )
        for path, g in zip(actual, tape.gradient(loss, list(variables.values())), strict=True):
            sums[path] = sums[path] + g.numpy() * len(y[start : start + 4]) / 10
    check(actual, sums, 1e-5)


def test_hessian_of_a_residual_network_by_differences_of_its_gradients():
    # Batches and the draws of Dropout have to be the same in all passes for this to hold, and the derivative of batch
    # norm's variance by its mean must not be left out: with `tf.nn.moments` as it is, 8 % are missing.
    x, y = image_data()
    model = residual(dtype="float64")
    arguments: dict[str, Any] = {"loss": "sparse_categorical_crossentropy", "batch": 4}
    g = gradients(model, x, y, **arguments)
    exact = hessian_gradients(model, x, y, **arguments)
    start, step, sides = tfl.get_weights(model), 1e-3, []
    for sign in (1, -1):
        tfl.set_weights(model, {path: start[path] + sign * step * g[path] for path in g})
        sides.append(gradients(model, x, y, **arguments))
    check(exact, {path: (sides[0][path].astype(float) - sides[1][path]) / (2 * step) for path in g}, 2e-3)


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


def test_bad_input():
    model, (x, y) = small(), small_data()
    with pytest.raises(UsageError, match="need data: `x` is None"):
        gradients(model, None, y, loss="mse")
    with pytest.raises(UsageError, match="need data: `y` is None"):
        hessian_gradients(model, x, None, loss="mse")
    with pytest.raises(UnfitError, match=r"same number of examples, at least one. Received: 5, 7"):
        gradients(model, x, y[:5], loss=CROSS_ENTROPY)
    with pytest.raises(UnfitError, match=r"at least one. Received: 0"):
        gradients(model, x[:0], y[:0], loss=CROSS_ENTROPY)
    with pytest.raises(UsageError, match=r"`batch` must be a positive integer. Received: 0"):
        gradients(model, x, y, loss=CROSS_ENTROPY, batch=0)
    with pytest.raises(UsageError, match=r"`x` must be an array, or a list or dict of arrays. Received: .*Dataset"):
        gradients(model, tf.data.Dataset.from_tensors(x), y, loss=CROSS_ENTROPY)
    with pytest.raises(UsageError, match=r"Keras does not take the loss .*no_such_loss"):
        gradients(model, x, y, loss="no_such_loss")
    with pytest.raises(UsageError, match="`loss` must be a loss"):
        gradients(model, x, y, loss=None)
    with pytest.raises(UsageError, match="Keras does not take the loss or the targets"):
        gradients(model, x, np.ones((7, 3)), loss="mse")
    with pytest.raises(UnfitError, match="The model does not take the data"):
        gradients(model, x[:, :2], y, loss=CROSS_ENTROPY)
    with pytest.raises(NonFiniteError, match="gradients of 'hidden/kernel' must be finite"):
        gradients(model, x * np.nan, y, loss=CROSS_ENTROPY)
    with pytest.raises(UnfitError, match="Nothing in the model can be masked"):
        gradients(keras.Sequential([keras.Input((3,)), L.Softmax()]), x, y, loss=CROSS_ENTROPY)


def test_the_public_name_is_a_function():
    # Importing the room must not bind its name in the place of the function's.
    code = "import tf_lottery.training.gradients, tf_lottery.exporting, tf_lottery as tfl, inspect\n"
    code += (
        "assert all(inspect.isfunction(getattr(tfl, name)) for name in ('gradients', 'export', 'slim', 'find_ticket'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert scoring.SOURCES["gradients"].count("tfl.gradients(model, x, y, loss=...)") == 1
