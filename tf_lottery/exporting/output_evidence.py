"""What a Keras model says of its outputs: the losses that it was compiled with, and its last activations."""

import re
from collections.abc import Mapping
from typing import Any

import keras

from tf_lottery.exporting.slim.call_graph import trace_calls

# What stands behind the last activation and changes no value of it.
_PASSING = ("Reshape", "Flatten", "Permute", "Cropping1D", "Cropping2D", "Dropout", "Identity")


def loss_names(model: keras.Model, outputs: tuple[str, ...]) -> list[str]:
    """Return Keras's name of the loss of each output, e.g. "mean_squared_error"; empty where it is not known.

    Args:
        model: as the caller gave it; one that is not compiled has no loss.
        outputs: names of the outputs, in order.
    """
    loss = model.loss if getattr(model, "compiled", False) else None
    if isinstance(loss, Mapping):
        keys = list(getattr(model, "output_names", None) or outputs)
        names = [(name, keys[place] if place < len(keys) else name) for place, name in enumerate(outputs)]
        losses = [loss.get(name, loss.get(key)) for name, key in names]
    elif isinstance(loss, list | tuple):
        losses = list(loss)
    else:
        losses = [loss] * len(outputs)
    return [_loss_name(entry) for entry in losses] if len(losses) == len(outputs) else [""] * len(outputs)


def _loss_name(loss: Any) -> str:
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return ""
    kind = loss if callable(loss) and hasattr(loss, "__name__") else type(loss)
    if loss is None or not kind.__module__.startswith("keras."):
        return ""  # one of the caller's own may have any name
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", kind.__name__).lower()


def last_activations(model: keras.Model) -> list[str]:
    """Return Keras's name of the last activation of each output, e.g. "softmax"; empty where there is none.

    Args:
        model: a plain functional or Sequential model; nested models are opened.
    """
    graph = trace_calls(model)
    makers = {number: call for call in graph.calls for number in call.outputs}
    activations = []
    for number in graph.outputs:
        call = makers.get(number)
        while call is not None and len(call.inputs) == 1 and _passes(call.layer):
            call = makers.get(call.inputs[0])
        activations.append("" if call is None else _activation(call.layer))
    return activations


def _passes(layer: Any) -> bool:
    linear = isinstance(layer, keras.layers.Activation) and layer.activation is keras.activations.linear
    return linear or type(layer).__name__ in _PASSING


def _activation(layer: Any) -> str:
    if type(layer).__name__ in ("Softmax", "Sigmoid"):  # a layer, or an operation of `keras.ops`
        return type(layer).__name__.lower() if getattr(layer, "axis", -1) == -1 else ""
    activation = getattr(layer, "activation", None)
    return str(getattr(activation, "__name__", "")) if activation is not keras.activations.linear else ""
