"""The models of the zoo: all families of `keras.applications`, and tiny backbones of KerasHub; inputs for them."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

# One model of each family, on the smallest image that it takes.
APPLICATIONS = {
    "ConvNeXtTiny": 32,
    "DenseNet121": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "InceptionResNetV2": 75,
    "InceptionV3": 75,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "NASNetMobile": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "VGG16": 32,
    "VGG19": 32,
    "Xception": 71,
}

# Tiny sizes of backbones of KerasHub (the extra `hub`).
TEXT = {"vocabulary_size": 20, "num_layers": 2, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
BACKBONES: dict[str, dict[str, Any]] = {
    "BertBackbone": {**TEXT, "max_sequence_length": 8},
    "GPT2Backbone": {**TEXT, "max_sequence_length": 8},
    "WhisperBackbone": {**TEXT, "max_encoder_sequence_length": 16, "max_decoder_sequence_length": 8},
    "ViTBackbone": {
        "image_shape": (16, 16, 3),
        "patch_size": 8,
        "num_layers": 2,
        "num_heads": 2,
        "hidden_dim": 8,
        "mlp_dim": 16,
        "dropout_rate": 0.1,
    },
    "ResNetBackbone": {
        "input_conv_filters": [64],
        "input_conv_kernel_sizes": [3],
        "stackwise_num_filters": [64, 64],
        "stackwise_num_blocks": [1, 1],
        "stackwise_num_strides": [1, 2],
        "block_type": "basic_block",
        "image_shape": (16, 16, 3),
    },
    "MobileNetBackbone": {
        "stackwise_expansion": [[8, 16], [16]],
        "stackwise_num_blocks": [2, 1],
        "stackwise_num_filters": [[8, 8], [16]],
        "stackwise_kernel_size": [[3, 3], [5]],
        "stackwise_num_strides": [[2, 1], [1]],
        "stackwise_se_ratio": [[None, 0.25], [0.25]],
        "stackwise_activation": [["relu", "hard_swish"], ["hard_swish"]],
        "stackwise_padding": [[1, 1], [2]],
        "output_num_filters": 32,
        "depthwise_filters": 8,
        "depthwise_stride": 1,
        "depthwise_residual": False,
        "last_layer_filter": 32,
        "image_shape": (32, 32, 3),
    },
}

NAMES = {f"keras.applications.{name}": name for name in APPLICATIONS} | {
    f"keras_hub.models.{name}": name for name in BACKBONES
}
"""Every model by its name on the page."""


def zoo_model(name: str, **options: Any) -> keras.Model:
    """A new model of the zoo, with the same weights each time.

    Args:
        name: one of `NAMES`.
        options: further arguments of a family of `keras.applications`.
    """
    keras.utils.set_random_seed(0)
    short = NAMES[name]
    if short in BACKBONES:
        hub = pytest.importorskip("keras_hub", reason="the extra `hub` is not installed", exc_type=ImportError)
        return getattr(hub.models, short)(**BACKBONES[short])
    shape = (APPLICATIONS[short], APPLICATIONS[short], 3)
    make: Callable[..., keras.Model] = getattr(keras.applications, short)
    return make(weights=None, input_shape=shape, classes=10, **options)


def small_mobilenet() -> keras.Model:
    """The first blocks of a MobileNetV2, with a residual connection; small enough for the usual tests."""
    keras.utils.set_random_seed(0)
    whole = keras.applications.MobileNetV2(weights=None, input_shape=(32, 32, 3), alpha=0.35, include_top=False)
    features = keras.layers.GlobalAveragePooling2D()(whole.get_layer("block_2_add").output)
    return keras.Model(whole.input, keras.layers.Dense(10)(features))


def inputs_of(model: keras.Model, size: int = 2) -> Any:
    """Random images, or integers below 10 where a model takes tokens or a mask of ones."""
    random = np.random.default_rng(0)

    def draw(tensor: Any) -> np.ndarray:
        shape = (size, *(extent or 8 for extent in tensor.shape[1:]))
        if "mask" in tensor.name:
            return np.ones(shape, tensor.dtype)
        if "int" in tensor.dtype:
            return random.integers(0, 2 if "segment" in tensor.name else 10, shape).astype(tensor.dtype)
        return random.normal(size=shape).astype("float32")

    return keras.tree.map_structure(draw, model.input)


def arrays(outputs: Any) -> list[np.ndarray]:
    return [np.array(out) for out in keras.tree.flatten(outputs)]


def same(one: Any, other: Any) -> bool:
    return [a.tobytes() for a in arrays(one)] == [a.tobytes() for a in arrays(other)]


def targets_of(outputs: Any) -> Any:
    """Random targets of the shapes of some outputs."""
    random = np.random.default_rng(1)
    return keras.tree.map_structure(lambda out: random.normal(size=out.shape).astype("float32"), outputs)


def measure_statistics(model: keras.Model, x: Any) -> None:
    """Set the statistics of batch normalization to those of `x`.

    With those of a new model, mean 0 and variance 1, the outputs of a deep one hardly depend on its inputs.

    Args:
        model: a built model.
        x: a batch of inputs.
    """
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    model(x, training=True)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


def with_fixed_shapes(model: keras.Model) -> keras.Model:
    """The model on inputs of fixed shapes, 8 where its own are dynamic; itself if they are fixed."""
    if all(None not in tensor.shape[1:] for tensor in model.inputs):
        return model

    def fixed(tensor: Any) -> Any:
        return keras.Input([size or 8 for size in tensor.shape[1:]], dtype=tensor.dtype, name=tensor.name)

    inputs = keras.tree.map_structure(fixed, model.input)
    return keras.Model(inputs, model(inputs))
