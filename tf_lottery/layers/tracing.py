"""The graph of a subclassed model: its `call` traced with symbolic tensors, whose history names the layers."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import keras

from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.utils.text import one_line


@dataclass(frozen=True)
class SymbolicGraph:
    """Inputs and outputs of a model as symbolic tensors, or nests of them.

    Attributes:
        inputs: The inputs; None if the model can't be traced.
        outputs: The outputs, likewise.
        reason: Why it can't be traced.
        output_tensors: The outputs in one list.
    """

    inputs: Any = None
    outputs: Any = None
    reason: str = ""
    output_tensors: list[keras.KerasTensor] = field(default_factory=list)


@contextlib.contextmanager
def symbolic_graph(model: keras.Model) -> Iterator[SymbolicGraph]:
    """Yields the symbolic inputs and outputs of a built model.

    A functional model has them. The `call` of a subclassed one is traced with inputs of the shapes that it was built
    for, of whole numbers where an embedding reads them; what Keras notes of the calls of its layers is removed again.

    Args:
        model: A built model of any kind.
    """
    if is_nested_model(model):
        yield SymbolicGraph(model.inputs, model.outputs, output_tensors=list(model.outputs))
        return
    layers = model._flatten_layers(include_self=False)
    before = [(layer, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    try:
        graph = _trace(model, dtype="float32")
        if graph.inputs is None or _read_by_embeddings(graph.inputs):
            whole = _trace(model, dtype="int32")
            graph = graph if whole.inputs is None else whole
        yield graph
    finally:
        for layer, inbound, outbound in before:
            del layer._inbound_nodes[inbound:]
            del layer._outbound_nodes[outbound:]


def _trace(model: keras.Model, *, dtype: str) -> SymbolicGraph:
    shapes = model.get_build_config() or {}
    shapes = shapes.get("shapes_dict", shapes)
    if not shapes:
        return SymbolicGraph(reason="the shapes of its inputs are not known: call it on data")
    inputs = [_placeholders(shape, dtype) for shape in shapes.values()]
    try:
        outputs = model.call(*inputs)
    except Exception as error:  # code of the user's, which may use what symbolic tensors are not fit for
        return SymbolicGraph(reason=f"its `call` fails with symbolic tensors: {one_line(error)}")
    tensors = keras.tree.flatten(outputs)
    if not tensors or not all(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        return SymbolicGraph(reason="its `call` does not return symbolic tensors")
    return SymbolicGraph(inputs[0] if len(inputs) == 1 else inputs, outputs, output_tensors=tensors)


def _read_by_embeddings(inputs: Any) -> bool:
    """Returns whether an embedding reads an input directly."""
    nodes = [node for tensor in keras.tree.flatten(inputs) for node in tensor._keras_history.operation._outbound_nodes]
    return any(isinstance(node.operation, keras.layers.Embedding) for node in nodes)


def _placeholders(shape: Any, dtype: str) -> Any:
    """Returns a symbolic tensor of a shape (batch, ...), or the same nest of them."""
    if isinstance(shape, dict):
        return {name: _placeholders(item, dtype) for name, item in shape.items()}
    if isinstance(shape, (list, tuple)) and any(isinstance(item, (list, tuple, dict)) for item in shape):
        return [_placeholders(item, dtype) for item in shape]
    return keras.Input(tuple(shape)[1:], dtype=dtype)
