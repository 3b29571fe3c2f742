"""Heads of attention and rows of embeddings of Keras layers: their axes, and what a pruned one adds to the output."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from tf_lottery.pruning.units import divide

L = keras.layers


@keras.saving.register_keras_serializable("tests")
class Block(L.Layer):
    """Attention inside a layer of the user's own."""

    def __init__(self, **options):
        super().__init__(**options)
        self.attention = L.MultiHeadAttention(2, 3)
        self.dense = L.Dense(4)

    def build(self, shape):
        self.attention.build(shape, shape)
        self.dense.build(shape)

    def call(self, inputs):
        return self.dense(self.attention(inputs, inputs))


def attention_model(layer):
    inputs = keras.Input((5, 6))
    return keras.Model(inputs, layer(inputs, inputs))


def places(model):
    """The axis of the heads, the layer and the heads of a unit, of each kernel that has heads."""
    axes = tfl.discover(model).axes
    return {path: (one.heads, one.attention, one.heads_per_unit) for path, one in axes.items() if one.heads is not None}


@pytest.mark.parametrize(
    ("make_layer", "query_heads"),
    [
        (lambda: L.MultiHeadAttention(3, 2, value_dim=4, name="attention"), 1),
        (lambda: L.GroupQueryAttention(2, 4, 2, name="attention"), 2),
    ],
    ids=["multi_head", "grouped_query"],
)
def test_query_heads_of_one_key_are_one_unit(make_layer, query_heads):
    model = attention_model(make_layer())
    for one in (model, tfl.wrap(model)):
        assert places(one) == {
            "attention/query_dense/kernel": (1, "attention", query_heads),
            "attention/key_dense/kernel": (1, "attention", 1),
            "attention/value_dense/kernel": (1, "attention", 1),
            "attention/output_dense/kernel": (0, "attention", query_heads),
        }


def test_attention_inside_other_layers():
    model = keras.Sequential([keras.Input((5, 6)), Block(name="first"), Block(name="second")])
    layers = {layer for _, layer, _ in places(model).values()}
    assert layers == {"first/attention", "second/attention"}
    assert len(places(model)) == 8
    assert tfl.discover(model).axes["first/dense/kernel"].heads is None


class Encoder(keras.Model):
    """A subclassed model with attention in a list."""

    def __init__(self):
        super().__init__()
        self.attentions = [L.MultiHeadAttention(2, 3), L.MultiHeadAttention(2, 3)]

    def call(self, inputs):
        for attention in self.attentions:
            inputs = attention(inputs, inputs)
        return inputs


def test_attention_of_a_subclassed_model():
    model = Encoder()
    model(np.zeros((1, 5, 6), "float32"))
    wrapped = tfl.wrap(model, in_place=True)
    axes, masks = tfl.discover(wrapped).axes, tfl.get_masks(wrapped)
    assert {one.attention for one in axes.values()} == {"attentions_0", "attentions_1"}
    scores = tfl.scores({path: tfl.get_weights(wrapped)[path] for path in masks})
    after = tfl.prune(scores, masks, rate=0.5, granularity="head", axes=axes)
    assert all(mask.sum() == mask.size / 2 for mask in after.values())
    tfl.set_masks(wrapped, after)
    assert tfl.density(tfl.get_masks(wrapped)) == 0.5


@pytest.mark.parametrize(
    "layer",
    [
        lambda: L.MultiHeadAttention(4, 2, value_dim=3, name="attention"),
        lambda: L.MultiHeadAttention(4, 2, output_shape=(2, 3), name="attention"),
        lambda: L.GroupQueryAttention(2, 8, 4, name="attention"),
    ],
)
def test_a_pruned_head_adds_nothing_to_the_output(layer):
    keras.utils.set_random_seed(0)
    model = attention_model(layer())
    for variable in model.variables:  # biases too
        variable.assign(np.random.default_rng(len(variable.path)).normal(size=variable.shape))
    wrapped = tfl.wrap(model)
    values, dense = tfl.get_weights(wrapped), tfl.get_masks(wrapped)
    scores = tfl.scores({path: values[path] for path in dense})
    masks = tfl.prune(scores, dense, rate=0.5, granularity="head", axes=tfl.discover(wrapped).axes)
    assert tfl.density(masks) == 0.5
    output = masks["attention/output_dense/kernel"]
    kept = np.flatnonzero(output.reshape(output.shape[0], -1).any(axis=1))
    queries = output.shape[0] // masks["attention/key_dense/kernel"].shape[1]
    for name in ("query", "key", "value"):
        heads = np.flatnonzero(masks[f"attention/{name}_dense/kernel"].any(axis=(0, 2)))
        assert heads.tolist() == (kept if name == "query" else kept[::queries] // queries).tolist()

    def outputs(masks):
        tfl.set_masks(wrapped, dense)
        tfl.set_weights(wrapped, values)
        tfl.set_masks(wrapped, masks)
        return wrapped.predict(np.random.default_rng(1).normal(size=(3, 5, 6)).astype("float32"), verbose=0)

    # The output kernel alone decides whether a head is seen.
    assert np.array_equal(outputs(masks), outputs({**dense, "attention/output_dense/kernel": output}))
    assert not np.allclose(outputs(masks), outputs(dense))


def words_model():
    inputs = keras.Input((5,), dtype="int32")
    x = L.Embedding(10, 4, name="words")(inputs)
    return keras.Model(inputs, L.Dense(2, name="output")(L.Flatten()(x)))


def test_rows_of_an_embedding_are_tokens():
    model = words_model()
    axes = tfl.discover(model).axes
    assert {path: one.rows for path, one in axes.items()} == {"words/embeddings": 0, "output/kernel": None}
    weights = tfl.get_weights(model)
    weights["words/embeddings"] = np.arange(40.0).reshape(10, 4)
    maskable = {path: weights[path] for path in axes}
    dense = {path: np.ones(value.shape, bool) for path, value in maskable.items()}
    with pytest.raises(UnfitError, match=r"output/kernel \(20, 2\): Dense has no rows of an embedding"):
        tfl.prune(tfl.scores(maskable), dense, rate=0.3, granularity="row", axes=axes)
    masks = tfl.prune(tfl.scores(maskable), dense, rate=0.3, granularity="row", indivisible="skip", axes=axes)
    assert masks["words/embeddings"].all(axis=1).tolist() == [False] * 3 + [True] * 7
    assert masks["output/kernel"].all()


def test_untied_reverse_embeddings_are_no_table():
    if not hasattr(L, "ReversibleEmbedding"):
        pytest.skip("this Keras has no ReversibleEmbedding")
    layer = L.ReversibleEmbedding(10, 4, tie_weights=False, name="words")
    inputs = keras.Input((5,), dtype="int32")
    model = keras.Model(inputs, layer(layer(inputs), reverse=True))
    shapes = {path: tuple(value.shape) for path, value in tfl.get_weights(model).items()}
    units = divide(shapes, granularity="row", indivisible="skip", axes=tfl.discover(model).axes)
    assert units.blocks == {"words/embeddings": (1, 4)}
    assert "no rows of an embedding" in units.remarks["words/reverse_embeddings"]
