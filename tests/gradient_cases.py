"""Small networks for gradients, with what these are by hand or in NumPy."""

from typing import Any

import keras
import numpy as np

import tf_lottery as tfl

L = keras.layers


def by_layer(first: Any, second: Any, third: Any) -> dict[str, Any]:
    """What the three layers of `ten` have, by the paths of their kernels."""
    return {"first/kernel": first, "second/kernel": second, "third/kernel": third}


# Ten weights in three linear layers, 2 -> 2 -> 2 -> 1.
TEN = by_layer(np.array([[1.0, -2.0], [3.0, 1.0]]), np.array([[2.0, 1.0], [-1.0, 1.0]]), np.array([[1.0], [-3.0]]))


def ten(activation: str = "linear") -> keras.Model:
    names = [path.partition("/")[0] for path in TEN]
    layers = [L.Dense(TEN[f"{n}/kernel"].shape[1], activation, use_bias=False, name=n) for n in names]
    model = keras.Sequential([keras.Input((2,)), *layers])
    tfl.set_weights(model, TEN)
    return model


def maskable_weights(model: keras.Model, like: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    weights = tfl.get_weights(model)
    return {key: weights[key] for key in like}


def check(actual: dict[str, np.ndarray], expected: dict[str, Any], rtol: float) -> None:
    """Equal keys, and differences of at most `rtol` of the largest value of the array."""
    assert actual.keys() == expected.keys()
    for key, array in actual.items():
        wanted = np.asarray(expected[key])
        np.testing.assert_allclose(array, wanted, rtol=0, atol=rtol * np.abs(wanted).max(), err_msg=key)


CROSS_ENTROPY = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


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
