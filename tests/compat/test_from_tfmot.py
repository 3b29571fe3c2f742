"""Models that tfmot pruned, trained by it in a process of its own, as Keras 3 models: same outputs, same masks."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.compat.conversion import _convert
from tf_lottery.compat.tf_keras_layers import convert_layer
from tf_lottery.compat.tf_keras_models import convert_model
from tf_lottery.compat.tf_keras_reader import LayerWeights, ModelDescription
from tf_lottery.errors import DamagedError, UnfitError, UsageError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(24, 8, 8, 2)).astype("float32")

TRAIN = """
import sys
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras
import tf_lottery as tfl

folder = sys.argv[1]
x, L = np.load(folder + "/x.npy"), tf_keras.layers
y = np.arange(len(x)) % 3
tf_keras.utils.set_random_seed(0)


def sequential():
    return tf_keras.Sequential([
        L.Conv2D(6, 3, activation="relu", input_shape=(8, 8, 2)), L.BatchNormalization(), L.DepthwiseConv2D(2),
        L.SeparableConv2D(4, 2), L.MaxPooling2D(), L.Flatten(), L.Dropout(0.2), L.Dense(3)])


def functional():
    inputs = tf_keras.Input((8, 8, 2))
    hidden = L.Reshape((16, 8))(inputs)
    hidden = L.Add()([L.MultiHeadAttention(2, 3)(hidden, value=hidden), hidden])
    hidden = L.LSTM(5, return_sequences=True)(hidden)
    inner = tf_keras.Sequential([L.Dense(4, activation="tanh", input_shape=(16, 5)), L.LayerNormalization()])
    hidden = L.Concatenate()([inner(hidden), L.LeakyReLU(0.1)(hidden)])
    hidden = L.GRU(4)(hidden)
    return tf_keras.Model(inputs, [L.Dense(3)(hidden), hidden])


for name, make in (("sequential", sequential), ("functional", functional)):
    schedule = tfmot.sparsity.keras.PolynomialDecay(0.2, 0.7, begin_step=0, end_step=12, frequency=4)
    model = tfmot.sparsity.keras.prune_low_magnitude(make(), pruning_schedule=schedule)
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss if name == "sequential" else [loss, None])
    model.fit(x, y, batch_size=4, epochs=2, verbose=0, callbacks=[tfmot.sparsity.keras.UpdatePruningStep()])
    outputs = model.predict(x, verbose=0)
    np.savez(folder + f"/{name}_outputs.npz", *(outputs if isinstance(outputs, list) else [outputs]))

    def layers_of(model):
        for layer in model.layers:
            if isinstance(layer, tf_keras.Model):
                yield from layers_of(layer)
            else:
                yield layer

    masks = [mask.numpy() for layer in layers_of(model) for _, mask, _ in getattr(layer, "pruning_vars", [])]
    np.savez(folder + f"/{name}_masks.npz", *masks)
    # tfmot can't load its own SavedModel of an attention layer, so the wrapped model is read here.
    plain, read = tfl.from_tfmot(model)
    both = [outputs if isinstance(outputs, list) else [outputs] for outputs in (plain(x), model(x))]
    for mine, its in zip(*both, strict=True):
        np.testing.assert_allclose(np.array(mine), np.array(its), rtol=1e-6, atol=1e-6 * np.abs(its).max())
    pruned = [mask for path, mask in read.items() if "depthwise" not in path]
    assert all((mine == its).all() for mine, its in zip(pruned, masks, strict=True))
    stripped = tfmot.sparsity.keras.strip_pruning(model)
    for kind, what in (("wrapped", model), ("stripped", stripped)):
        if name == "sequential" or kind == "stripped":  # tfmot can't write two masks of one layer to an .h5 file
            what.save(folder + f"/{name}_{kind}.h5")
        what.save(folder + f"/{name}_{kind}")
    if name == "sequential":
        stripped.save(folder + f"/{name}_stripped.keras")

print(tf_keras.__version__)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What tfmot trained: its files, outputs and masks."""
    path = tmp_path_factory.mktemp("tfmot")
    np.save(path / "x.npy", X)
    subprocess.run(
        [sys.executable, "-c", TRAIN, str(path)],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        check=True,
        capture_output=True,
        text=True,
    )
    return path


# The masks of tfmot in the order of its layers, and the kernels that it leaves alone.
PRUNED = {
    "sequential": ["conv2d/kernel", "separable_conv2d/pointwise_kernel", "dense/kernel"],
    "functional": [
        *(f"multi_head_attention/{part}_dense/kernel" for part in ("query", "key", "value", "output")),
        "lstm/cell/kernel",
        "lstm/cell/recurrent_kernel",
        "sequential/dense/kernel",
        "gru/cell/kernel",
        "gru/cell/recurrent_kernel",
        "dense/kernel",
    ],
}
WHOLE = {
    "sequential": ["depthwise_conv2d/kernel", "separable_conv2d/depthwise_kernel"],
    "functional": [],
}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("sequential", "sequential_wrapped.h5"),
        pytest.param("sequential", "sequential_stripped.h5", marks=pytest.mark.slow),
        pytest.param("sequential", "sequential_stripped.keras", marks=pytest.mark.slow),
        pytest.param("sequential", "sequential_wrapped", marks=pytest.mark.slow),
        pytest.param("functional", "functional_stripped", marks=pytest.mark.slow),
        ("functional", "functional_stripped.h5"),
    ],
)
def test_outputs_and_masks(folder, name, file):
    model, masks = tfl.from_tfmot(folder / file)
    assert type(model) in (keras.Sequential, keras.Model, keras.src.models.functional.Functional)
    outputs = model.predict(X, verbose=0)
    outputs = outputs if isinstance(outputs, list) else [outputs]
    with np.load(folder / f"{name}_outputs.npz") as expected:
        for mine, its in zip(outputs, expected.values(), strict=True):
            np.testing.assert_allclose(mine, its, rtol=1e-6, atol=1e-6 * np.abs(its).max())
    assert sorted(masks) == sorted(PRUNED[name] + WHOLE[name])
    with np.load(folder / f"{name}_masks.npz") as expected:
        for path, mask in zip(PRUNED[name], expected.values(), strict=True):
            np.testing.assert_array_equal(masks[path], mask.astype(bool), err_msg=path)
            assert 0.2 < masks[path].mean() < 0.4
    assert all(masks[path].all() for path in WHOLE[name])
    wrapped = tfl.wrap(model)
    tfl.set_masks(wrapped, masks)
    np.testing.assert_array_equal(np.ravel(wrapped(X)[0]), np.ravel(model(X)[0]))


IN_ONE_PROCESS = """
import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras
import tf_lottery as tfl

net = tf_keras.Sequential([tf_keras.layers.Dense(8, input_shape=(6,)), tf_keras.layers.Dense(3)])
x = np.ones((2, 6), "float32")
pruned = tfmot.sparsity.keras.prune_low_magnitude(net)
for source in (net, pruned, tfmot.sparsity.keras.strip_pruning(pruned)):
    model, masks = tfl.from_tfmot(source)
    np.testing.assert_allclose(model(x).numpy(), source(x).numpy(), rtol=1e-6)
    assert sorted(masks) == ["dense/kernel", "dense_1/kernel"]

L = tf_keras.layers
rng = np.random.default_rng(0)
table, images = rng.normal(size=(5, 3)).astype("float32"), rng.random((5, 8, 8, 3)).astype("float32")
words, codes = np.array([["a b"], ["b"], ["z"]]), np.array([[3], [5], [8]])
layers = [
    (L.Normalization(mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 9.0]), table), (L.Normalization(), table),
    (L.Discretization(bin_boundaries=[-0.5, 0.0, 1.5]), table), (L.Discretization(num_bins=4), table),
    (L.Discretization(bin_boundaries=[-0.5, 0.5], output_mode="one_hot"), table[:, :1]),
    (L.CategoryEncoding(9, output_mode="one_hot"), codes), (L.Hashing(5), codes), (L.Rescaling(0.5, 1.0), table),
    (L.IntegerLookup(vocabulary=[3, 5, 7]), codes), (L.StringLookup(vocabulary=["a b", "b"]), words),
    (L.TextVectorization(vocabulary=["a", "b"], output_sequence_length=3), words),
    (L.Resizing(4, 4), images), (L.CenterCrop(4, 4), images), (L.RandomFlip(), images), (L.RandomRotation(0.1), images),
    (L.RandomZoom(0.1), images), (L.RandomTranslation(0.1, 0.1), images), (L.RandomContrast(0.1), images),
    (L.RandomBrightness(0.1), images),
]
for layer, data in layers:
    if layer.name in ("normalization_1", "discretization_1"):
        layer.adapt(table)
    source = tf_keras.Sequential([tf_keras.Input(data.shape[1:], dtype=tf.constant(data).dtype), layer])
    model, _ = tfl.from_tfmot(source)
    data = tf.constant(data)
    mine, its = model(data, training=False), source(data, training=False)
    np.testing.assert_allclose(np.array(mine, "float64"), np.array(its, "float64"), rtol=1e-6, err_msg=layer.name)
for layer, data in ((L.IntegerLookup(), codes), (L.TextVectorization(), words)):
    layer.adapt(data)
    try:
        tfl.from_tfmot(tf_keras.Sequential([tf_keras.Input((1,), dtype=tf.constant(data).dtype), layer]))
    except ValueError as error:
        print(error)
try:
    tfl.wrap(net)
except ValueError as error:
    print(error)


class Own(tf_keras.Model):
    def call(self, inputs):
        return inputs


for wrong in (Own(), tf_keras.Sequential([tf_keras.layers.Dense(2)])):
    if isinstance(wrong, Own):
        wrong(x)
    try:
        tfl.from_tfmot(wrong)
    except ValueError as error:
        print(error)
"""


@pytest.mark.slow
def test_models_of_tf_keras_in_this_process():
    done = subprocess.run([sys.executable, "-c", IN_ONE_PROCESS], check=True, capture_output=True, text=True)
    integers, text, wrap, subclassed, unbuilt = done.stdout.splitlines()[-5:]
    assert "class IntegerLookup was adapted to data, and its vocabulary is in no argument" in integers
    assert "class TextVectorization was adapted to data, and its vocabulary is in no argument" in text
    assert "Convert it: `model, masks = tf_lottery.from_tfmot(model)`" in wrap
    assert "Received: class Own" in subclassed
    assert "is not built" in unbuilt


def layer(kind, **config):
    return {"class_name": kind, "config": {"name": "one", "trainable": True, "dtype": "float32", **config}}


def test_layers_by_their_configurations():
    dense = convert_layer(
        layer("PruneLowMagnitude", layer=layer("Dense", units=3, activation="relu"), block_size=[1, 1])
    )
    assert (type(dense), dense.units, dense.activation) == (keras.layers.Dense, 3, keras.activations.relu)
    leaky = convert_layer(layer("LeakyReLU", alpha=0.25))
    assert leaky.negative_slope == 0.25
    policy = {"module": "keras.mixed_precision", "class_name": "Policy", "config": {"name": "mixed_float16"}}
    assert convert_layer(layer("Dense", units=3) | {"config": {"units": 3, "dtype": policy}}).compute_dtype == "float16"
    norm = convert_layer(layer("BatchNormalization", axis=[3], renorm=False, momentum=0.9))
    assert (norm.axis, norm.momentum) == (3, 0.9)
    both = convert_layer(layer("Bidirectional", layer=layer("GRU", units=4, time_major=False), merge_mode="sum"))
    assert (both.forward_layer.units, both.merge_mode) == (4, "sum")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (layer("RandomCrop", height=2, width=2), "class RandomCrop computes something else in Keras 3"),
        (layer("ThresholdedReLU", theta=1.0), "class ThresholdedReLU has no counterpart"),
        (layer("Lambda", function="x"), "class Lambda has no counterpart"),
        (layer("TFOpLambda", function="math.add"), "class TFOpLambda has no counterpart"),
        (layer("Custom>Dense", units=3), "class Dense has no counterpart"),
        (layer("DepthwiseConv2D", kernel_size=[2, 2], groups=2), "does not take: groups=2"),
        (layer("LSTM", units=2, time_major=True), "does not take: time_major=True"),
        (layer("Dense", units=-1), "can't be made in Keras 3"),
        (
            layer("Activation", activation="hard_sigmoid"),
            "the activation 'hard_sigmoid', which computes something else",
        ),
        (layer("ConvLSTM1D", recurrent_activation="hard_sigmoid"), "the recurrent_activation 'hard_sigmoid'"),
    ],
)
def test_layers_that_can_not_be_converted(data, message):
    with pytest.raises(UnfitError, match=message):
        convert_layer(data)


def test_graphs_that_can_not_be_converted():
    def graph(node):
        inputs = {"class_name": "InputLayer", "name": "in", "inbound_nodes": []}
        inputs["config"] = {"batch_input_shape": [None, 4], "dtype": "float32", "name": "in"}
        dense = {**layer("Dense", units=2), "name": "one", "inbound_nodes": [node]}
        config = {"name": "net", "layers": [inputs, dense]}
        config |= {"input_layers": [["in", 0, 0]], "output_layers": [["one", 0, 0]]}
        return {"class_name": "Functional", "config": config}

    model, layers = convert_model(graph([["in", 0, 0, {}]]))
    assert model.output_shape == (None, 2)
    assert list(layers) == [("one",)]
    with pytest.raises(UnfitError, match="depend on something that is not in the model"):
        convert_model(graph([["other", 0, 0, {}]]))
    with pytest.raises(UnfitError, match="in a structure that is not read"):
        convert_model(graph({"a": ["in", 0, 0, {}]}))
    with pytest.raises(UnfitError, match="in a way that Keras 3 does not take"):
        convert_model(graph([["in", 0, 0, {"speed": 3}]]))
    with pytest.raises(UnfitError, match=r"called with training=True\. tf_keras then"):
        convert_model(graph([["in", 0, 0, {"training": True}]]))
    with pytest.raises(UnfitError, match="Received: class Net"):
        convert_model({"class_name": "Net", "config": {}})


def test_what_is_no_model_of_tfmot(tmp_path):
    with pytest.raises(UsageError, match="`wrap` takes models of Keras 3 as they are"):
        tfl.from_tfmot(keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]))
    with pytest.raises(UsageError, match="There is no model file"):
        tfl.from_tfmot(tmp_path / "none.h5")
    (tmp_path / "model.h5").write_text(json.dumps({}))
    with pytest.raises(DamagedError, match="can't be read as a model of tf_keras"):
        tfl.from_tfmot(tmp_path / "model.h5")


def test_a_converted_normalization_computes_with_its_statistics():
    normalization = {"name": "norm", "axis": [-1], "mean": None, "variance": None, "invert": False}
    layers = [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_input_shape": [None, 2], "dtype": "float32"}},
        {"class_name": "Normalization", "config": normalization},
        {"class_name": "Dense", "config": {"name": "dense", "units": 1, "activation": "linear", "use_bias": False}},
    ]
    config = {"class_name": "Sequential", "config": {"name": "net", "layers": layers}}
    statistics = [np.array([10.0, 100.0], "float32"), np.array([4.0, 25.0], "float32"), np.array(0)]
    weights = {
        ("norm",): LayerWeights(["mean", "variance", "count"], statistics),
        ("dense",): LayerWeights(["kernel"], [np.array([[1.0], [1.0]], "float32")]),
    }
    model, _ = _convert(ModelDescription(config, weights))
    assert model(np.array([[12.0, 110.0]], "float32")).numpy().item() == pytest.approx(2 / 2 + 10 / 5)
