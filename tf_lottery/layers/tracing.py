"""The outputs of a subclassed model as symbolic tensors, whose history names the layers that made them."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from tf_lottery.layers.sublayers import is_nested_model


@contextlib.contextmanager
def symbolic_outputs(model: keras.Model) -> Iterator[list[keras.KerasTensor]]:
    """Yields the outputs of a built model; none for a subclassed one whose `call` takes no symbolic tensors.

    A functional model has them. The `call` of a subclassed one is traced with inputs of the shapes that it was built
    for; what Keras notes of the calls of its layers is removed again.

    Args:
        model: A built model of any kind.
    """
    if is_nested_model(model):
        yield model.outputs
        return
    layers = model._flatten_layers(include_self=False)
    before = [(layer, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    try:
        yield _trace(model)
    finally:
        for layer, inbound, outbound in before:
            del layer._inbound_nodes[inbound:]
            del layer._outbound_nodes[outbound:]


def _trace(model: keras.Model) -> list[keras.KerasTensor]:
    shapes = model.get_build_config() or {}
    shapes = shapes.get("shapes_dict", shapes)
    try:
        inputs = [_placeholders(shape) for shape in shapes.values()]
        outputs = keras.tree.flatten(model.call(*inputs)) if inputs else []
    except Exception:  # code of the user's, which may use what symbolic tensors are not fit for
        return []
    return [tensor for tensor in outputs if isinstance(tensor, keras.KerasTensor)]


def _placeholders(shape: Any) -> Any:
    """Returns a symbolic tensor of a shape (batch, ...), or the same nest of them."""
    if isinstance(shape, dict):
        return {name: _placeholders(item) for name, item in shape.items()}
    if isinstance(shape, (list, tuple)) and any(isinstance(item, (list, tuple, dict)) for item in shape):
        return [_placeholders(item) for item in shape]
    return keras.Input(tuple(shape)[1:])
