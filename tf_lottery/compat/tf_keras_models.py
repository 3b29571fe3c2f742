"""Models of Keras 3 from the configurations of tf_keras: Sequential and functional ones, nested too."""

from collections.abc import Mapping
from typing import Any

import keras

from tf_lottery.compat.tf_keras_layers import convert_layer
from tf_lottery.compat.tf_keras_reader import Place
from tf_lottery.errors import UnfitError
from tf_lottery.utils.text import one_line

MODELS = ("Sequential", "Functional", "Model")


def convert_model(data: Mapping[str, Any]) -> tuple[keras.Model, dict[Place, keras.layers.Layer]]:
    """Returns the model of Keras 3 that a configuration of tf_keras describes, and its layers by place.

    Args:
        data: The class and the configuration of a model: keys "class_name" and "config".

    Raises:
        UnfitError: If it can't be converted.
    """
    if data["class_name"] not in MODELS:
        raise UnfitError(
            f"A Sequential or functional model is expected. Received: class {data['class_name']}.",
            "Convert its Sequential and functional parts.",
        )
    layers: dict[Place, keras.layers.Layer] = {}
    return _model(data, (), layers), layers


def _model(data: Mapping[str, Any], place: Place, layers: dict[Place, keras.layers.Layer]) -> keras.Model:
    config = data["config"]
    if data["class_name"] == "Sequential":
        parts = []
        for item in config["layers"]:
            if item["class_name"] == "InputLayer":
                parts.append(_input(item["config"]))
            else:
                parts.append(_layer(item, item["config"]["name"], place, layers))
        return keras.Sequential(parts, name=config["name"])
    return _Graph(config, place, layers).model()


def _layer(
    item: Mapping[str, Any], name: str, place: Place, layers: dict[Place, keras.layers.Layer]
) -> keras.layers.Layer:
    if item["class_name"] in MODELS:
        return _model(item, (*place, name), layers)
    layer = layers[*place, name] = convert_layer(item)
    return layer


def _input(config: Mapping[str, Any]) -> keras.KerasTensor:
    shape = config.get("batch_input_shape") or config["batch_shape"]
    return keras.Input(batch_shape=tuple(shape), dtype=config["dtype"], name=config["name"])


class _Graph:
    """A functional model, whose layers are called as the configuration says."""

    def __init__(self, config: Mapping[str, Any], place: Place, layers: dict[Place, keras.layers.Layer]) -> None:
        self.config = config
        self.tensors: dict[tuple[str, int], list[Any]] = {}
        self.calls: list[tuple[str, int, keras.layers.Layer, Any]] = []
        for item in config["layers"]:
            name = item["name"]
            if item["class_name"] == "InputLayer":
                self.tensors[name, 0] = [_input(item["config"])]
                continue
            layer = _layer(item, name, place, layers)
            # The first call of a model is the one that made it.
            first = 1 if item["class_name"] in MODELS else 0
            for number, node in enumerate(item["inbound_nodes"], first):
                self.calls.append((name, number, layer, node))

    def model(self) -> keras.Model:
        """Returns the model."""
        waiting = self.calls
        while waiting:
            ready = [call for call in waiting if self._is_ready(call[3])]
            if not ready:
                names = ", ".join(name for name, *_ in waiting)
                raise UnfitError(f"The calls of the layers {names} depend on something that is not in the model.")
            for name, number, layer, node in ready:
                self.tensors[name, number] = keras.tree.flatten(self._call(name, layer, node))
            waiting = [call for call in waiting if call[:2] not in self.tensors]
        inputs, outputs = (self._structure(self.config[key]) for key in ("input_layers", "output_layers"))
        return keras.Model(inputs, outputs, name=self.config["name"])

    def _call(self, name: str, layer: keras.layers.Layer, node: Any) -> Any:
        references = _references(node)
        inputs = [self._tensor(reference) for reference in references]
        options = node[0][3] if isinstance(node[0], list) and len(node[0]) > 3 else {}
        arguments = {
            key: self._tensor(value) if _is_reference(value) else value
            for key, value in options.items()
            if value is not None
        }
        if arguments.get("training") is True:
            raise UnfitError(
                f"The layer {name!r} of class {type(layer).__name__} is called with training=True. tf_keras then "
                "computes so in `predict` too, and Keras 3 does not.",
                "Change the call before the model is converted.",
            )
        try:
            return layer(inputs[0] if len(inputs) == 1 else inputs, **arguments)
        except (TypeError, ValueError) as error:
            raise UnfitError(
                f"The layer {name!r} of class {type(layer).__name__} is called in a way that Keras 3 does not take: "
                f"{one_line(error)}",
                "Change the call before the model is converted.",
            ) from error

    def _is_ready(self, node: Any) -> bool:
        used = _references(node)
        for item in node:
            if isinstance(item, list) and len(item) > 3:
                used = [*used, *(value for value in item[3].values() if _is_reference(value))]
        return all((reference[0], reference[1]) in self.tensors for reference in used)

    def _tensor(self, reference: Any) -> Any:
        return self.tensors[reference[0], reference[1]][reference[2]]

    def _structure(self, references: Any) -> Any:
        if isinstance(references, Mapping):
            return {key: self._structure(value) for key, value in references.items()}
        if _is_reference(references):
            return self._tensor(references)
        tensors = [self._structure(reference) for reference in references]
        return tensors[0] if len(tensors) == 1 else tensors


def _references(node: Any) -> list[Any]:
    """Returns the tensors that a call takes as its first argument: (layer, number of call, number of output)."""
    if not isinstance(node, list) or not all(_is_reference(item) for item in node):
        raise UnfitError(
            f"A layer of the model is called with inputs in a structure that is not read: {str(node)[:100]}.",
            "Call it with a tensor, or a list of tensors.",
        )
    return node


def _is_reference(value: Any) -> bool:
    return isinstance(value, list) and len(value) in (3, 4) and isinstance(value[0], str) and isinstance(value[1], int)
