"""Networks of random shape, with zeros at random, for tests that take whatever comes."""

import keras
import numpy as np
from keras import layers

ACTIVATIONS = ("relu", "tanh", "linear", "relu6", "sigmoid", "gelu", "leaky_relu", "elu", "hard_swish")
WIDTHS = (1, 4, 7, 8, 12, 16, 30, 32, 48)
WORDS = 40


def random_network(seed):
    """Return a network, and its copy in float32: another object where it computes in half precision."""
    rng = np.random.default_rng([seed, 0])
    policy = str(rng.choice(["float32", "mixed_bfloat16", "mixed_float16"], p=[0.8, 0.1, 0.1]))
    keras.utils.set_random_seed(seed)
    model = _network(np.random.default_rng([seed, 1]), policy)
    prune_at_random(model, rng)
    if policy == "float32":
        return model, model
    copy = _network(np.random.default_rng([seed, 1]), "float32")
    copy.set_weights(model.get_weights())
    return model, copy


def in_float64(seed, model):
    """Return the network of a seed in float64, with the weights of a copy of it."""
    copy = _network(np.random.default_rng([seed, 1]), "float64")
    copy.set_weights(model.get_weights())
    return copy


def random_inputs(model, rng, count):
    """Return `count` random values of each input: words, pixels or normal ones, by its dtype."""
    ranges = {"int32": (0, WORDS), "uint8": (0, 256)}
    return [
        rng.integers(*ranges[tensor.dtype], (count, *tensor.shape[1:])).astype(tensor.dtype)
        if tensor.dtype in ranges
        else rng.normal(0, 1, (count, *tensor.shape[1:])).astype("float32")
        for tensor in model.inputs
    ]


def _network(rng, policy):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        kind = rng.choice([dense, image, pixels, sequence, text, attention, two_inputs, two_outputs, shared])
        inputs, tensor, heads = kind(rng)
        for _ in range(rng.integers(0 if kind in (image, pixels) else 1, 4)):
            branch = layers.Dense(_width(rng), _activation(rng), use_bias=_bias(rng))(tensor)
            tensor = layers.Concatenate()([branch, tensor]) if rng.random() < 0.2 else branch
        outputs = [_head(rng, tensor, f"head_{place}") for place in range(heads)]
        return keras.Model(inputs, outputs if heads > 1 else outputs[0])
    finally:
        keras.config.set_dtype_policy(before)


def _head(rng, tensor, name):
    tensor = layers.Dense(int(rng.choice([1, 2, 5, 10])), use_bias=_bias(rng))(tensor)
    activations = ["linear", "linear", "sigmoid", "softmax" if tensor.shape[-1] > 1 else "tanh"]
    return layers.Activation(str(rng.choice(activations)), dtype="float32", name=name)(tensor)


def dense(rng):
    """Features, which dense layers follow."""
    inputs = keras.Input((int(rng.choice([5, 16, 32, 40, 64])),))
    return inputs, inputs, 1


def image(rng, inputs=None):
    """Convolutions of all kinds."""
    side = int(rng.choice([7, 8, 12]))
    inputs = tensor = keras.Input((side, side, int(rng.choice([1, 3, 4])))) if inputs is None else inputs
    tensor = layers.Rescaling(1 / 255)(tensor) if inputs.dtype == "uint8" else tensor
    for _ in range(rng.integers(1, 4)):
        tensor = _image_layer(rng, tensor)
        if rng.random() < 0.4:
            tensor = layers.BatchNormalization()(tensor)
        if rng.random() < 0.2:
            tensor = layers.Add()([tensor, layers.Conv2D(tensor.shape[-1], 1, padding="same")(tensor)])
    pool = rng.choice([layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D, layers.Flatten, layers.Flatten])
    return inputs, pool()(tensor), 1


def pixels(rng):
    """An image of whole numbers, scaled inside."""
    return image(rng, keras.Input((8, 8, 3), dtype="uint8"))


def sequence(rng):
    """Recurrent layers and convolutions over steps."""
    tensor = inputs = keras.Input((6, 5))
    if rng.random() < 0.5:
        tensor = layers.Dense(_width(rng), _activation(rng))(tensor)  # on every step
    return inputs, _over_steps(rng, tensor), 1


def text(rng):
    """Words, embedded."""
    inputs = keras.Input((6,), dtype="int32")
    return inputs, _over_steps(rng, layers.Embedding(WORDS, int(rng.choice([4, 16, 32])))(inputs)), 1


def attention(rng):
    """A block of self-attention over words."""
    inputs = keras.Input((6,), dtype="int32")
    width = int(rng.choice([8, 16, 32]))
    tensor = layers.Embedding(WORDS, width)(inputs)
    tensor = tensor + layers.MultiHeadAttention(2, 8)(tensor, tensor)
    tensor = layers.LayerNormalization()(tensor) if rng.random() < 0.7 else tensor
    return inputs, layers.GlobalAveragePooling1D()(layers.Dense(width, _activation(rng))(tensor)), 1


def two_inputs(rng):
    """Two inputs, and one or two outputs."""
    inputs = [keras.Input((int(rng.choice([16, 40])),), name="one"), keras.Input((4,), name="other")]
    parts = [layers.Dense(_width(rng), _activation(rng))(tensor) for tensor in inputs]
    return inputs, layers.Concatenate()(parts), int(rng.choice([1, 2]))


def two_outputs(rng):
    """Two outputs of one image."""
    inputs, tensor, _ = image(rng)
    return inputs, tensor, 2


def shared(rng):
    """A layer that is called twice, on two tensors or on its own output."""
    inputs = keras.Input((32,))
    width = _width(rng)
    layer = layers.Dense(width, _activation(rng), use_bias=_bias(rng))
    first, second = (layers.Dense(width, _activation(rng))(inputs) for _ in range(2))
    if rng.random() < 0.5:
        return inputs, layers.Concatenate()([layer(first), layer(second)]), 1
    return inputs, layer(layer(first)), 1


def _over_steps(rng, tensor):
    kind = str(rng.choice(["LSTM", "GRU", "Conv1D", "Bidirectional", "pool"]))
    if kind == "Conv1D":
        return layers.Flatten()(layers.Conv1D(_width(rng), 3, activation=_activation(rng))(tensor))
    if kind == "pool":
        return layers.GlobalAveragePooling1D()(tensor)
    if kind == "Bidirectional":
        return layers.Bidirectional(layers.LSTM(8))(tensor)
    return getattr(layers, kind)(_width(rng))(tensor)


def _image_layer(rng, tensor):
    padding = str(rng.choice(["same", "valid"]))
    size = int(rng.choice([1, 3])) if min(tensor.shape[1:3]) >= 3 else 1
    options = {"padding": padding, "activation": _activation(rng), "use_bias": _bias(rng)}
    stride, filters = int(rng.choice([1, 1, 2])), _width(rng)
    kind = str(rng.choice(["conv", "depthwise", "separable", "transposed", "maximum", "average", "upsampled"]))
    if kind == "depthwise":
        return layers.DepthwiseConv2D(size, strides=stride, **options)(tensor)
    if kind == "separable":
        return layers.SeparableConv2D(filters, size, strides=stride, **options)(tensor)
    if kind == "transposed":
        return layers.Conv2DTranspose(filters, size, **options)(tensor)
    tensor = layers.Conv2D(filters, size, strides=stride, **options)(tensor)
    if kind == "maximum":
        return layers.MaxPooling2D(2, padding="same")(tensor)
    if kind == "average":
        return layers.AveragePooling2D(2, padding="same")(tensor)
    if kind == "upsampled":
        return layers.ZeroPadding2D(1)(layers.UpSampling2D()(tensor))
    return tensor


def _activation(rng):
    return str(rng.choice(ACTIVATIONS))


def _bias(rng):
    return bool(rng.random() < 0.8)


def _width(rng):
    return int(rng.choice(WIDTHS))


def prune_at_random(model, rng):
    """Zeros at random: single weights, blocks along the input axis, whole channels, or all of a layer's weights."""
    scale = float(rng.choice([3, 3, 3, 0.3, 10]))
    for layer in model.layers:
        for variable in layer.trainable_variables:
            value = variable.numpy()
            if value.ndim < 2:
                variable.assign(rng.normal(0, 0.3, value.shape) + (variable.name == "gamma"))
                continue
            rate = rng.choice([0.0, 0.5, 0.8, 0.95, 0.99, 1.0], p=[0.2, 0.2, 0.2, 0.2, 0.17, 0.03])
            unit = rng.choice(["one", "4", "16", "channel"])
            shape, axis = value.shape, (0 if value.ndim == 2 else -2)
            if unit == "one" or (unit != "channel" and shape[axis] % int(unit)):
                keep = rng.random(shape) >= rate
            elif unit == "channel":
                keep = np.broadcast_to(rng.random(shape[-1]) >= rate, shape)
            else:
                units = list(shape)
                units[axis] //= int(unit)
                keep = np.repeat(rng.random(units) >= rate, int(unit), axis)
            variable.assign(value * keep * scale)
        for variable in layer.non_trainable_variables:
            if "variance" in variable.name:
                variable.assign(rng.uniform(0.5, 2, variable.shape))
