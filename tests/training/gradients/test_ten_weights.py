"""Criteria by gradients on a network of ten weights: scores and masks by hand."""

import itertools

import numpy as np
import pytest

import tf_lottery as tfl
from gradient_cases import TEN, by_layer, check, ten
from tf_lottery.training.gradients import gradients, hessian_gradients, path_function, path_gradients

# One example with the target 1; the loss is the squared error.
X, Y = np.array([[1.0, 1.0]]), np.array([[1.0]])


def masks_of(scores: dict[str, np.ndarray], rate: float) -> dict[str, list]:
    masks = {key: np.ones(score.shape, bool) for key, score in scores.items()}
    pruned = tfl.prune(scores, masks, rate=rate, scope="global")
    return {key: mask.astype(int).tolist() for key, mask in pruned.items()}


# Forward: h1 = x W1 = (4, -1); h2 = h1 W2 = (9, 3); f = h2 W3 = 0; L = (f - 1)^2 = 1, dL/df = -2.
# Backward, of f: b2 = W3 = (1, -3); b1 = W2 b2 = (-1, -4).
# df/dW1 = x_i b1_j, df/dW2 = h1_i b2_j, df/dW3 = h2; the gradient of L is -2 times these.
OUTPUT_GRADIENT = by_layer(np.array([[-1, -4], [-1, -4]]), np.array([[4, -12], [-1, 3]]), np.array([[9], [3]]))


@pytest.mark.parametrize("prepare", [lambda m: m, tfl.wrap], ids=["plain", "wrapped"])
def test_snip_on_ten_weights(prepare):
    actual = gradients(prepare(ten()), X, Y, loss="mse")
    assert all(array.dtype == np.float32 for array in actual.values())
    check(actual, {key: -2 * array for key, array in OUTPUT_GRADIENT.items()}, 1e-6)
    scores = tfl.scores(TEN, "snip", gradients=actual)
    hand = by_layer([[2, 16], [6, 8]], [[16, 24], [2, 6]], [[18], [18]])
    check(scores, hand, 1e-6)
    # The two that score 2 go first, then the two that score 6.
    assert masks_of(scores, 0.2) == by_layer([[0, 1], [1, 1]], [[1, 1], [0, 1]], [[1], [1]])
    assert masks_of(scores, 0.4) == by_layer([[0, 1], [0, 1]], [[1, 1], [0, 0]], [[1], [1]])


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
# Scores w (H g) = -1176 w df/dw + 2 w dN/dw.
GRASP = by_layer(
    np.array([[1176 + 244, -9408 + 128], [3528 + 732, 4704 - 64]]),
    np.array([[-9408 + 272, 14112 + 72], [-1176 + 68, -3528 + 84]]),
    np.array([[-10584 + 84], [10584 + 732]]),
)


@pytest.mark.parametrize("prepare", [lambda m: m, tfl.wrap], ids=["plain", "wrapped"])
def test_grasp_on_ten_weights(prepare):
    actual = hessian_gradients(prepare(ten()), X, Y, loss="mse")
    scores = tfl.scores(TEN, "grasp", hessian_gradients=actual)
    check(scores, GRASP, 1e-6)
    # The lowest: -10500 in the third layer, -9280 in the first, -9136 in the second.
    assert masks_of(scores, 0.3) == by_layer([[1, 0], [1, 1]], [[0, 1], [1, 1]], [[0], [1]])


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
    hand = by_layer([[5, 8], [15, 4]], [[8, 12], [3, 9]], [[11], [21]])
    check(scores, hand, 1e-15)
    assert {float(score.sum()) for score in scores.values()} == {32.0}
    assert masks_of(scores, 0.3) == by_layer([[0, 1], [1, 0]], [[1, 1], [0, 1]], [[1], [1]])


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
