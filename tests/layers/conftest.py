"""One small model for each kind of layer that can be masked, and for each way of putting layers together."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

L = keras.layers


class LayerOfUnits(L.Layer):
    """What the custom layers share: a number of units, which is all of their configuration."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable("tf_lottery_tests")
class Block(LayerOfUnits):
    """A custom layer that builds its sublayers in `build`."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.expand = L.Dense(units, activation="relu")
        self.norm = L.BatchNormalization()
        self.drop = L.Dropout(0.5, seed=3)

    def build(self, input_shape: Any) -> None:
        self.expand.build(input_shape)
        self.norm.build((*input_shape[:-1], self.units))
        self.scale = self.add_weight(shape=(self.units,), initializer="ones", name="scale")
        super().build(input_shape)

    def call(self, inputs: Any, training: bool = False) -> Any:
        return self.drop(self.norm(self.expand(inputs), training=training), training=training) * self.scale


@keras.saving.register_keras_serializable("tf_lottery_tests")
class LazyBlock(LayerOfUnits):
    """A custom layer without a `build`: Keras builds its sublayers at the first call."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.blocks = [L.Dense(units), L.Dense(units)]

    def call(self, inputs: Any, shift: Any = None) -> Any:
        for block in self.blocks:
            inputs = block(inputs)
        return inputs if shift is None else inputs + shift


@keras.saving.register_keras_serializable("tf_lottery_tests")
class GatedCell(LayerOfUnits):
    """A recurrent cell of a user's own, with a layer inside and a kernel of its own."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(units, **kwargs)
        self.state_size = units
        self.gate = L.Dense(units, activation="sigmoid")

    def build(self, input_shape: Any) -> None:
        self.gate.build((input_shape[0], input_shape[-1] + self.units))
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        gate = self.gate(ops.concatenate([inputs, states[0]], axis=-1))
        state = gate * states[0] + (1 - gate) * ops.tanh(inputs @ self.kernel)
        return state, [state]

    def maskable_weights(self) -> list[keras.Variable]:
        return [self.kernel]


def _sequential(shape: tuple[int, ...], *stack: Any, dtype: str = "float32") -> keras.Model:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *stack])


def _shared_layer() -> keras.Model:
    shared = L.Dense(4, activation="tanh")
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    return keras.Model([first, second], L.Dense(2)(L.Concatenate()([shared(first), shared(shared(second))])))


def _shared_model() -> keras.Model:
    tower = keras.Sequential([keras.Input((4,)), L.Dense(5), L.BatchNormalization(), L.Dense(3)])
    first, second = keras.Input((4,), name="first"), keras.Input((4,), name="second")
    return keras.Model({"first": first, "second": second}, L.Dense(2)(tower(first) - tower(second)))


def _nested() -> keras.Model:
    inner_in = keras.Input((6,))
    inner = keras.Model(inner_in, [L.Dense(4)(inner_in), L.Dense(5, name="named")(inner_in)], name="inner")
    stack = keras.Sequential([keras.Input((4,)), L.Dense(4), keras.Sequential([keras.Input((4,)), L.Dense(3)])])
    inputs = keras.Input((6,))
    left, right = inner(inputs)
    return keras.Model(inputs, {"left": stack(left), "right": right})


def _operations() -> keras.Model:
    inputs = keras.Input((4,))
    hidden = L.Dense(4)(inputs)
    hidden = ops.relu(hidden + inputs) * 2.0 - ops.mean(hidden, axis=-1, keepdims=True)
    return keras.Model(inputs, [L.Dense(3)(hidden), hidden[:, :2]])


def _keyword_call() -> keras.Model:
    inputs, shift = keras.Input((4,)), keras.Input((3,))
    return keras.Model([inputs, shift], LazyBlock(3)(inputs, shift=shift))


def _attention(causal: bool = False, masked: bool = False) -> keras.Model:
    query, value = keras.Input((5, 8), name="query"), keras.Input((5, 8), name="value")
    options: dict[str, Any] = {"use_causal_mask": causal}
    inputs = [query, value]
    if masked:
        inputs.append(keras.Input((5, 5), dtype="bool", name="allowed"))
        options["attention_mask"] = inputs[-1]
    attention = L.MultiHeadAttention(num_heads=2, key_dim=4, dropout=0.3, seed=1)
    return keras.Model(inputs, attention(query, value, **options))


def _attention_scores() -> keras.Model:
    query = keras.Input((5, 8))
    out, scores = L.MultiHeadAttention(2, 4)(query, query, return_attention_scores=True)
    return keras.Model(query, [out, scores])


def _initial_state() -> keras.Model:
    inputs, state = keras.Input((5, 3)), keras.Input((4,))
    sequence, last = L.GRU(4, return_state=True, return_sequences=True)(inputs, initial_state=state)
    return keras.Model([inputs, state], [sequence, last])


def _tied_embedding(**options: Any) -> keras.Model:
    embedding, inputs = L.ReversibleEmbedding(7, 4, **options), keras.Input((5,), dtype="int32")
    return keras.Model(inputs, embedding(L.Dense(4)(embedding(inputs)), reverse=True))


def _branches() -> keras.Model:
    # Parallel layers of one shape, made in another order than they are used.
    first, second, third, last = L.Dense(4), L.Dense(4), L.Dense(4), L.Dense(4)
    inputs = keras.Input((4,))
    left, right = third(inputs), first(inputs)
    return keras.Model(inputs, [last(L.Concatenate()([right, left])), second(left), right])


def _adapted() -> keras.Model:
    norm = L.Normalization()
    norm.adapt(np.array([[1.0, 20.0, 3.0], [5.0, 40.0, 2.0]], "float32"))
    return _sequential((3,), norm, L.Dense(2))


IMAGE, VOLUME = (6, 6, 3), (4, 4, 4, 2)
KINDS: dict[str, Callable[[], keras.Model]] = {
    "dense": lambda: _sequential((4,), L.Dense(5, activation="relu"), L.Dense(3, activation="softmax")),
    "einsum_dense": lambda: _sequential((5, 4), L.EinsumDense("abc,cde->abde", (None, 2, 3), bias_axes="de")),
    "conv1d": lambda: _sequential((6, 3), L.Conv1D(4, 3, padding="causal", dilation_rate=2)),
    "conv2d": lambda: _sequential(IMAGE, L.Conv2D(4, 3, strides=2), L.Flatten(), L.Dense(2)),
    "conv2d_groups": lambda: _sequential((6, 6, 4), L.Conv2D(4, 3, groups=2)),
    "conv3d": lambda: _sequential(VOLUME, L.Conv3D(3, 2)),
    "conv1d_transpose": lambda: _sequential((6, 3), L.Conv1DTranspose(4, 3, strides=2)),
    "conv2d_transpose": lambda: _sequential(IMAGE, L.Conv2DTranspose(2, 3, strides=2, padding="same")),
    "conv3d_transpose": lambda: _sequential(VOLUME, L.Conv3DTranspose(3, 2)),
    "depthwise_conv1d": lambda: _sequential((6, 3), L.DepthwiseConv1D(3, depth_multiplier=2)),
    "depthwise_conv2d": lambda: _sequential(IMAGE, L.DepthwiseConv2D(3, depth_multiplier=2)),
    "separable_conv1d": lambda: _sequential((6, 3), L.SeparableConv1D(4, 3)),
    "separable_conv2d": lambda: _sequential(IMAGE, L.SeparableConv2D(4, 3)),
    "embedding": lambda: _sequential((5,), L.Embedding(7, 4), L.Flatten(), L.Dense(2), dtype="int32"),
    "embedding_mask": lambda: _sequential(
        (5,), L.Embedding(7, 4, mask_zero=True), L.LSTM(3), L.Dense(2), dtype="int32"
    ),
    "embedding_tied": _tied_embedding,
    "embedding_untied": lambda: _tied_embedding(tie_weights=False),
    "simple_rnn": lambda: _sequential((5, 3), L.SimpleRNN(4)),
    "lstm": lambda: _sequential((5, 3), L.LSTM(4, return_sequences=True, dropout=0.2, seed=1), L.LSTM(2)),
    "gru": lambda: _sequential((5, 3), L.GRU(4, recurrent_dropout=0.2, seed=1)),
    "gru_initial_state": _initial_state,
    "lstm_stateful": lambda: keras.Sequential([keras.Input(batch_shape=(3, 5, 3)), L.LSTM(4, stateful=True)]),
    "gru_stateful_dropout": lambda: keras.Sequential(
        [keras.Input(batch_shape=(3, 5, 3)), L.GRU(4, stateful=True, dropout=0.3, seed=2), L.Dense(2)]
    ),
    "custom_cell": lambda: _sequential((5, 3), L.RNN(GatedCell(4)), L.Dense(2)),
    "conv_lstm1d": lambda: _sequential((3, 6, 2), L.ConvLSTM1D(2, 3)),
    "conv_lstm2d": lambda: _sequential((2, 4, 4, 2), L.ConvLSTM2D(2, 3)),
    "conv_lstm3d": lambda: _sequential((2, 3, 3, 3, 2), L.ConvLSTM3D(2, 2)),
    "bidirectional_conv": lambda: _sequential((2, 4, 4, 2), L.Bidirectional(L.ConvLSTM2D(2, 3))),
    "bidirectional": lambda: _sequential((5, 3), L.Bidirectional(L.LSTM(4)), L.Dense(2)),
    "time_distributed": lambda: _sequential((5, 3), L.TimeDistributed(L.Dense(4)), L.TimeDistributed(L.Dense(2))),
    "stacked_cells": lambda: _sequential((5, 3), L.RNN([L.LSTMCell(4), L.GRUCell(3)])),
    "rnn_cell": lambda: _sequential((5, 3), L.RNN(L.SimpleRNNCell(4))),
    "attention": _attention,
    "attention_causal": lambda: _attention(causal=True),
    "attention_mask": lambda: _attention(masked=True),
    "attention_scores": _attention_scores,
    "grouped_query_attention": lambda: _grouped_query(),
    "spectral_dense": lambda: _sequential((4,), L.SpectralNormalization(L.Dense(5), power_iterations=2), L.Dense(2)),
    "spectral_conv": lambda: _sequential(IMAGE, L.SpectralNormalization(L.Conv2D(4, 3)), L.Flatten(), L.Dense(2)),
    "spectral_embedding": lambda: _sequential(
        (5,), L.SpectralNormalization(L.Embedding(7, 4)), L.Flatten(), L.Dense(2), dtype="int32"
    ),
    "shared_layer": _shared_layer,
    "shared_model": _shared_model,
    "nested": _nested,
    "operations": _operations,
    "keyword_call": _keyword_call,
    "dropout_norm": lambda: _sequential((4,), L.Dense(6), L.BatchNormalization(), L.Dropout(0.5), L.Dense(2)),
    "layer_norm": lambda: _sequential(
        (4,), L.Dense(6), L.LayerNormalization(), L.GaussianNoise(0.1, seed=1), L.Dense(2)
    ),
    "other_weights": lambda: _sequential(
        IMAGE, L.Conv2D(4, 3), L.GroupNormalization(2), L.PReLU(), L.RMSNormalization(), L.Flatten(), L.Dense(2)
    ),
    "activity_loss": lambda: _sequential((4,), L.Dense(5, activity_regularizer="l2"), L.Dense(2)),
    "kernel_loss": lambda: _sequential(
        (4,), L.Dense(5, kernel_regularizer=keras.regularizers.L1L2(0.01, 0.02)), L.Dense(2)
    ),
    "constraint": lambda: _sequential((4,), L.Dense(5, kernel_constraint="max_norm"), L.Dense(2)),
    "custom": lambda: _sequential((4,), Block(5), L.Dense(2)),
    "custom_lazy": lambda: _sequential((4,), LazyBlock(5), L.Dense(2)),
    "branches": _branches,
    "normalization": _adapted,
    "float16": lambda: _sequential(
        (4,),
        L.Dense(5, dtype="mixed_float16"),
        L.BatchNormalization(dtype="mixed_float16"),
        L.Dense(2, dtype="float32"),
    ),
}


def _grouped_query() -> keras.Model:
    query, value = keras.Input((5, 8)), keras.Input((4, 8))
    return keras.Model([query, value], L.GroupQueryAttention(4, num_query_heads=4, num_key_value_heads=2)(query, value))


@dataclass(frozen=True)
class Kind:
    """A named way to make a small model, the same one at each call, and inputs for it."""

    name: str
    build: Callable[[], keras.Model]

    def model(self, seed: int = 0) -> keras.Model:
        keras.utils.set_random_seed(seed)
        return self.build()

    def inputs(self, model: keras.Model, seed: int = 0) -> Any:
        random = np.random.default_rng(seed)

        def draw(tensor: Any) -> np.ndarray:
            shape = (3, *tensor.shape[1:])
            if tensor.dtype == "bool":
                return random.random(shape) < 0.7
            if tensor.dtype == "int32":
                return random.integers(0, 7, shape, dtype="int32")
            return random.normal(size=shape).astype("float32")

        structure = model.inputs[0] if isinstance(model, keras.Sequential) else model.input
        return keras.tree.map_structure(draw, structure)


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each kind of model in turn."""
    return Kind(request.param, KINDS[request.param])


@pytest.fixture
def kinds() -> dict[str, Kind]:
    """All kinds of models by name."""
    return {name: Kind(name, build) for name, build in KINDS.items()}


@pytest.fixture
def random_masks() -> Callable[..., dict[str, np.ndarray]]:
    """A function that draws masks of about half the weights, shaped as the masks it is given."""

    def draw(masks: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
        random = np.random.default_rng(seed)
        return {key: random.random(mask.shape) < 0.5 for key, mask in masks.items()}

    return draw
