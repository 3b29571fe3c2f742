"""Gradients and Hessian products of losses: NumPy derivations, no trace in the model, and what is refused."""

import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from gradient_cases import (
    CROSS_ENTROPY,
    by_hand,
    check,
    image_data,
    maskable_weights,
    numeric_product,
    residual,
    small,
    small_data,
)
from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning import criteria as scoring
from tf_lottery.training.gradients import gradients, hessian_gradients, path_gradients

L = keras.layers


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
