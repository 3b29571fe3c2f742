"""Embeddings, attention and the bodies of loops are stored sparse, and every way of reading the files is right."""

import keras
import numpy as np
import pytest
from independent_reader import read
from keras import layers

from tf_lottery.exporting.tflite import encoding, flatbuffers
from tf_lottery.exporting.tflite import tflite_writer as tflite

WORDS, LENGTH = 500, 20
PRUNED = ("kernel", "embeddings")
TEXTS = np.random.default_rng(1).integers(0, WORDS, (8, LENGTH)).astype("int32")


def classifier(middle):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((LENGTH,), dtype="int32")
    model = keras.Model(inputs, layers.Dense(4, "softmax")(middle(layers.Embedding(WORDS, 32)(inputs))))
    random = np.random.default_rng(0)
    for weight in model.weights:
        if weight.path.endswith(PRUNED):
            weight.assign(weight.numpy() * 9 * (random.random(weight.shape) < 0.1))
    return model


def attention(features):
    attended = layers.MultiHeadAttention(4, 8)(features, features)
    features = layers.LayerNormalization()(features + attended)
    hidden = layers.Dense(32)(layers.Dense(64, "relu")(features))
    return layers.GlobalAveragePooling1D()(layers.LayerNormalization()(features + hidden))


MODELS = {
    "LSTM": lambda features: layers.LSTM(32)(features),
    "GRU": lambda features: layers.Bidirectional(layers.GRU(32))(features),
    "attention": attention,
}
# Of the 1-D arrays, tables and operators of these small files there are more bytes than of the weights.
MOST = {"LSTM": 0.22, "GRU": 0.24, "attention": 0.43}


@pytest.mark.parametrize("precision", ["float32", pytest.param("dynamic", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["LSTM", pytest.param("GRU", marks=pytest.mark.slow), "attention"])
def test_text_models(tmp_path, name, precision):
    model = classifier(MODELS[name])
    dense, sparse = tmp_path / "dense.tflite", tmp_path / "sparse.tflite"
    dense.write_bytes(tflite.convert_dense(model, tmp_path, precision=precision))
    made = encoding.encode_weights(dense.read_bytes(), precision=precision)["rows"]
    sparse.write_bytes(made)
    graphs = flatbuffers.read(made).subgraphs
    rows = [tensor for graph in graphs for tensor in graph.tensors if tensor.sparsity is not None]
    assert len(rows) == sum(weight.path.endswith(PRUNED) for weight in model.weights)
    expected, answers = (read(file, {"input": TEXTS}) for file in (dense, sparse))
    exact = model(TEXTS).numpy()
    assert np.ptp(exact, axis=0).min() > 0.05  # the answers depend on the texts
    for way, answer in expected.items():
        if isinstance(answer, str):  # a loop of batch 1 takes no other
            assert name != "attention"
            assert "batch" in way
            continue
        # In dynamic range the default interpreter runs dense and sparse layers by kernels that round in other ways.
        if precision == "float32" or "no delegates" in way:
            np.testing.assert_array_equal(answers[way]["output"], answer["output"], err_msg=way)
        for one in (answer, answers[way]):
            np.testing.assert_allclose(one["output"], exact, atol=1e-5 if precision == "float32" else 0.02, err_msg=way)
    if precision == "float32":
        assert len(made) < MOST[name] * dense.stat().st_size
