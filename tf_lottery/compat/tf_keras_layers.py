"""Layers of Keras 3 from the configurations of tf_keras: classes of the same name, without arguments that are gone."""

import inspect
from collections.abc import Mapping
from typing import Any

import keras

from tf_lottery.compat.tf_keras_reader import WRAPPER
from tf_lottery.errors import UnfitError
from tf_lottery.utils.text import one_line

OF_EVERY_LAYER = ("name", "trainable", "dtype")
RENAMED = {("LeakyReLU", "alpha"): "negative_slope"}
NO_MATTER = (
    "batch_input_shape",
    "implementation",
    "input_length",
    "query_shape",
    "key_shape",
    "value_shape",
    "sparse",
    "ragged",
    "fused",
    "kernel_initializer",  # of separable convolutions, which have others
    "rng_type",  # of augmentation, which does nothing but in training
    "vocabulary_size",
    "idf_weights_size",
)
"""Arguments that Keras 3 does without, whatever they are: they say nothing of what a layer computes."""
UNUSED = {"groups": 1}
"""Arguments that some layers of Keras 3 do not take, by their value where they are not used; that of others is None."""
HELD = ("layer", "backward_layer", "cell")
"""Arguments that are layers themselves."""
OTHER_ACTIVATIONS = ("hard_sigmoid",)
"""Activations that compute something else in Keras 3: clip(0.2 x + 0.5, 0, 1) has become clip(x / 6 + 0.5, 0, 1)."""
OTHER_LAYERS = ("RandomCrop",)
"""Layers that compute something else in Keras 3, for inference too."""
NO_CODE = ("Lambda", "TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer")


def convert_layer(data: Mapping[str, Any]) -> keras.layers.Layer:
    """Returns the layer of Keras 3 that a configuration of tf_keras describes, with tfmot's layer around it left out.

    Args:
        data: The class and the configuration of a layer: keys "class_name" and "config".

    Raises:
        UnfitError: If Keras 3 has no such layer, or not this argument of it.
    """
    name, config = data["class_name"].split(">")[-1], dict(data["config"])
    if name == WRAPPER:
        return convert_layer(config["layer"])
    kind = getattr(keras.layers, name, None)
    if kind is None or name in NO_CODE or ">" in data["class_name"]:
        raise UnfitError(
            f"The layer {config.get('name', '')!r} of class {name} has no counterpart of that name in Keras 3.",
            "Put a layer that Keras 3 has in its place, before the model is converted: `keras.layers`.",
        )
    if name in OTHER_LAYERS:
        raise UnfitError(
            f"The layer {config.get('name', '')!r} of class {name} computes something else in Keras 3.",
            "Take it out of the model, and crop the images before.",
        )
    if name == "Discretization" and config.get("output_mode") == "int":
        config.pop("dtype", None)  # of its outputs; Keras 3 casts the inputs to it
    accepted = _arguments(kind)
    arguments = {}
    for key, value in config.items():
        if key.endswith("activation") and value in OTHER_ACTIVATIONS:
            raise UnfitError(
                f"The layer {config.get('name', '')!r} of class {name} has the {key} {value!r}, which computes "
                "something else in Keras 3.",
                "Train the model with another one, such as 'sigmoid', before it is converted.",
            )
        renamed = RENAMED.get((name, key), key)
        if renamed in accepted:
            arguments[renamed] = _convert_argument(key, value)
        elif (
            key not in (*NO_MATTER, *OF_EVERY_LAYER)
            and value is not None
            and value is not False
            and UNUSED.get(key) != value
        ):
            raise UnfitError(
                f"The layer {config.get('name', '')!r} of class {name} has an argument that Keras 3 does not take: "
                f"{key}={value!r}.",
                "Change the layer before the model is converted.",
            )
    try:
        layer: keras.layers.Layer = kind.from_config(arguments) if name == "InputLayer" else kind(**arguments)
    except (TypeError, ValueError) as error:
        raise UnfitError(
            f"The layer {config.get('name', '')!r} of class {name} can't be made in Keras 3: {one_line(error)}",
            "Change the layer before the model is converted.",
        ) from error
    return layer


def _arguments(kind: type) -> set[str]:
    own = {
        parameter.name
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    }
    takes_more = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(kind).parameters.values())
    return own | set(OF_EVERY_LAYER if takes_more else ())


def _convert_argument(key: str, value: Any) -> Any:
    if key in HELD and isinstance(value, Mapping):
        return convert_layer(value)
    if key == "cells":
        return [convert_layer(cell) for cell in value]
    if key == "dtype" and isinstance(value, Mapping):  # a policy
        return value["config"]["name"]
    if key == "axis" and isinstance(value, list) and len(value) == 1:
        return value[0]
    return tuple(value) if isinstance(value, list) else value
