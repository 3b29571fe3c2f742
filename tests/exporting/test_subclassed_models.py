"""Subclassed models are slimmed and exported as functional ones of their layers, or refused with the reason."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError

L = keras.layers
RNG = np.random.default_rng(0)


class Block(L.Layer):
    """A residual block: what it computes inside is not traced."""

    def __init__(self, units, **options):
        super().__init__(**options)
        self.units = units
        self.inner = L.Dense(units, "relu")

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return x + self.inner(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


class Net(keras.Model):
    """Without `get_config`, and with arguments: it can't be copied by its class."""

    def __init__(self, units):
        super().__init__()
        self.stem, self.blocks, self.head = L.Dense(units, "relu"), [Block(units)], {"out": L.Dense(3, name="out")}

    def call(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head["out"](x)


class Plain(keras.Model):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = L.Dense(8, "relu"), L.Dense(6, "relu"), L.Dense(2)

    def call(self, x):
        return self.last(self.second(self.first(x)))


class Tokens(keras.Model):
    def __init__(self):
        super().__init__()
        self.table, self.pool, self.out = L.Embedding(20, 4), L.GlobalAveragePooling1D(), L.Dense(2)

    def call(self, tokens):
        return self.out(self.pool(self.table(tokens)))


def built(model, *shape):
    model(np.zeros(shape, "float32"))
    return model


def served(loaded, x):
    (output,) = loaded.signatures["serving_default"](tf.constant(x)).values()
    return output


def test_a_wrapped_one_is_exported_with_its_zeros(tmp_path):
    model = tfl.wrap(built(Net(8), 1, 5), in_place=True)
    masks = {path: RNG.random(mask.shape) < 0.2 for path, mask in tfl.get_masks(model).items()}
    tfl.set_masks(model, masks)
    x = RNG.normal(size=(40, 5)).astype("float32")
    # By hand, from the kernels times the masks.
    weights = {path: array * masks.get(path, 1) for path, array in tfl.get_weights(model).items()}
    hidden = np.maximum(x @ weights["stem/kernel"] + weights["stem/bias"], 0)
    hidden = hidden + np.maximum(hidden @ weights["blocks_0/inner/kernel"] + weights["blocks_0/inner/bias"], 0)
    expected = hidden @ weights["head_0/kernel"] + weights["head_0/bias"]
    options = {"format": ["tflite", "saved_model"], "precision": "float32", "samples": x}
    report = tfl.export(model, tmp_path, encoding="dense", **options)
    assert {file["format"] for file in report.files} == {"tflite", "saved_model"}
    assert "The subclassed model Net was traced" in report.notes[0]
    loaded = tf.saved_model.load(next(file["path"] for file in report.files if file["format"] == "saved_model"))
    np.testing.assert_allclose(served(loaded, x), expected, rtol=1e-5, atol=1e-5)
    assert type(model).__mro__[2] is Net
    assert not any(layer._inbound_nodes for layer in model._flatten_layers(include_self=False))


def test_dead_units_go():
    model = built(Plain(), 1, 5)
    kernel = model.last.kernel.numpy()
    kernel[[1, 4]] = 0  # nothing reads two of the six units before
    model.last.kernel.assign(kernel)
    smaller, report = tfl.slim(model)
    assert report.removed == 2
    x = RNG.normal(size=(7, 5)).astype("float32")
    np.testing.assert_allclose(smaller(x), model(x), rtol=1e-6, atol=1e-6)


def test_a_block_is_a_barrier_with_a_reason():
    _, report = tfl.slim(built(Net(8), 1, 5))
    assert any("block" in name for name in report.left_alone)


def test_tokens_are_whole_numbers(tmp_path):
    model = built(Tokens(), 1, 6)
    report = tfl.export(model, tmp_path, format="saved_model", samples=RNG.integers(0, 20, (9, 6)))
    loaded = tf.saved_model.load(report.files[0]["path"])
    tokens = RNG.integers(0, 20, (3, 6)).astype("int32")
    np.testing.assert_allclose(served(loaded, tokens), model(tokens), rtol=1e-6)


class OwnWeights(Plain):
    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(2,), initializer="ones")

    def call(self, x):
        return super().call(x) * self.scale


class Counting(Plain):
    """Counts its training steps, and averages its weights in a layer that only training calls."""

    def __init__(self):
        super().__init__()
        self.steps = self.add_weight(name="steps", shape=(), dtype="int32", initializer="zeros", trainable=False)
        self.average = L.Dense(2, trainable=False)
        self.average.build((None, 6))

    def train_step(self, data):
        self.steps.assign_add(1)
        self.average.kernel.assign(0.9 * self.average.kernel + 0.1 * self.last.kernel)
        return super().train_step(data)


class CountedSteps(Counting):
    def call(self, x):
        return super().call(x) * keras.ops.where(self.steps < 100, 1.0, 2.0)


def test_what_only_training_reads_is_left_out(tmp_path):
    model = built(Counting(), 1, 5)
    x = RNG.normal(size=(7, 5)).astype("float32")
    smaller, _ = tfl.slim(model)
    np.testing.assert_allclose(smaller(x), model(x), rtol=1e-6, atol=1e-6)
    assert len(smaller.weights) == 6
    (file,) = tfl.export(model, tmp_path, format="keras").files
    np.testing.assert_allclose(keras.models.load_model(file["path"])(x), model(x), rtol=1e-6, atol=1e-6)


class OwnTensorFlow(Plain):
    def call(self, x):
        return tf.nn.relu(super().call(x))


class ByCount(Plain):
    calls = 0

    def call(self, x):
        self.calls += 1
        return super().call(x) * self.calls


class ByBatch(Plain):
    def call(self, x):
        return super().call(x) * (3.0 if (x.shape[0] or 0) > 4 else 1.0)


@pytest.mark.parametrize(
    ("cls", "reason"),
    [
        (ByBatch, "differs by .* depends on more than its inputs and weights"),
        (OwnWeights, "no layer that it calls holds its weights own_weights.*/scale"),
        (CountedSteps, "no layer that it calls holds its weights counted_steps.*/steps"),
        (OwnTensorFlow, "its `call` fails with symbolic tensors"),
        (ByCount, "differs by .* depends on more than its inputs and weights"),
    ],
)
@pytest.mark.parametrize("door", ["slim", "export"])
def test_what_cannot_be_traced_is_refused_with_the_reason(cls, reason, door, tmp_path):
    model = built(cls(), 1, 5)
    with pytest.raises(UnfitError, match=rf"of class {cls.__name__} can't be traced: .*{reason}"):
        tfl.slim(model) if door == "slim" else tfl.export(model, tmp_path)
    assert list(tmp_path.iterdir()) == []
