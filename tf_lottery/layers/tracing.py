"""The graph of a subclassed model: its `call` traced with symbolic tensors, whose history names the layers."""

import contextlib
import inspect
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.utils.text import one_line

MOST_MIXED = 5
"""Of how many inputs all choices of whole numbers and floats are tried."""


@dataclass(frozen=True)
class SymbolicGraph:
    """Inputs and outputs of a model as symbolic tensors, or nests of them.

    Attributes:
        inputs: The inputs; None if the model can't be traced.
        outputs: The outputs, likewise.
        reason: Why it can't be traced.
    """

    inputs: Any = None
    outputs: Any = None
    reason: str = ""

    @property
    def output_tensors(self) -> list[keras.KerasTensor]:
        """The outputs in one list; empty if the model can't be traced."""
        return [] if self.outputs is None else keras.tree.flatten(self.outputs)


@contextlib.contextmanager
def symbolic_graph(model: keras.Model) -> Iterator[SymbolicGraph]:
    """Yields the symbolic inputs and outputs of a built model.

    A functional model has them. The `call` of a subclassed one is traced for inference, with inputs of the shapes that
    it was built for, of whole numbers where an embedding reads them, and no other layer, or its operations take no
    others; what Keras notes of the calls of its layers is removed again.

    Args:
        model: A built model of any kind.
    """
    if is_nested_model(model):
        yield SymbolicGraph(model.inputs, model.outputs)
        return
    layers = model._flatten_layers(include_self=False)
    before = [(layer, len(layer._inbound_nodes), len(layer._outbound_nodes)) for layer in layers]
    try:
        yield _trace_with_dtypes(model)
    finally:
        for layer, inbound, outbound in before:
            del layer._inbound_nodes[inbound:]
            del layer._outbound_nodes[outbound:]


class ReadVariables(keras.StatelessScope):
    """A scope that changes no variable, and notes which are read in it.

    Attributes:
        read: The ids of these variables.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read: set[int] = set()

    def get_current_value(self, variable: keras.Variable) -> Any:
        """Returns the value that a variable has here, as Keras asks for it when the variable is read."""
        self.read.add(id(variable))
        return super().get_current_value(variable)


def call_for_inference(
    function: Callable[..., Any],
    model: keras.Model,
    values: Sequence[Any],
    scope: keras.StatelessScope | None = None,
) -> Any:
    """Returns what a subclassed model answers for its arguments, as `predict` calls it, and changes no variable.

    Args:
        function: The model itself, or its method `call`.
        model: A built subclassed model.
        values: An input, or a nest of them, for every argument of `input_shapes`.
        scope: The scope to call it in, such as `ReadVariables`.
    """
    known = inspect.signature(model.call).parameters
    options = {"training": False} if "training" in known else {}
    names = list(input_shapes(model))[1:]
    with scope or keras.StatelessScope():  # its `call` may assign variables
        if not set(names) <= set(known):
            return function(*values, **options)
        return function(values[0], **dict(zip(names, values[1:], strict=True)), **options)


def input_shapes(model: keras.Model) -> dict[str, Any]:
    """Returns the shapes that a subclassed model was built for, or nests of them, by argument; {} if not known.

    Args:
        model: A built model.
    """
    shapes = model.get_build_config() or {}
    return {name.removesuffix("_shape"): shape for name, shape in shapes.get("shapes_dict", shapes).items()}


def _trace_with_dtypes(model: keras.Model) -> SymbolicGraph:
    """Traces a model with inputs of floats, as far as its operations take them and no embedding reads them."""
    shapes = list(input_shapes(model).values())
    if not shapes:
        return SymbolicGraph(reason="the shapes of its inputs are not known: call it on data")
    count = len(keras.tree.flatten(_placeholders(shapes, itertools.repeat(False))))
    choices = [(False,) * count, (True,) * count]
    if count <= MOST_MIXED:
        choices = sorted(itertools.product([False, True], repeat=count), key=sum)
    graphs = (_trace(model, shapes, choice) for choice in choices)
    first = next(graphs)
    graph = first if first.inputs is not None else next((one for one in graphs if one.inputs is not None), first)
    inputs = keras.tree.flatten(graph.inputs)
    if not any(map(_is_read_by_embedding, inputs)):
        return graph
    whole = _trace(model, shapes, [tensor.dtype == "int32" or _is_read_by_embedding(tensor) for tensor in inputs])
    return graph if whole.inputs is None else whole


def _trace(model: keras.Model, shapes: Sequence[Any], whole: Iterable[bool]) -> SymbolicGraph:
    """Traces a model with inputs of these shapes; `whole` says of each whether it holds whole numbers."""
    try:
        inputs = _placeholders(shapes, iter(whole))
        outputs = call_for_inference(model.call, model, inputs)
    except Exception as error:  # code of the user's, which may use what symbolic tensors are not fit for
        return SymbolicGraph(reason=f"its `call` fails with symbolic tensors: {one_line(error)}")
    tensors = keras.tree.flatten(outputs)
    if not tensors or not all(isinstance(tensor, keras.KerasTensor) for tensor in tensors):
        return SymbolicGraph(reason="its `call` does not return symbolic tensors")
    return SymbolicGraph(inputs[0] if len(inputs) == 1 else inputs, outputs)


def _is_read_by_embedding(tensor: Any) -> bool:
    """Returns whether an embedding reads an input directly, and no other layer does."""
    if tensor is None:
        return False
    readers = [node.operation for node in tensor._keras_history.operation._outbound_nodes]
    layers = [reader for reader in readers if isinstance(reader, keras.layers.Layer)]
    return bool(layers) and all(isinstance(layer, keras.layers.Embedding) for layer in layers)


def _placeholders(shape: Any, whole: Iterator[bool], name: str | None = None) -> Any:
    """Returns a symbolic tensor of a shape (batch, ...), or the same nest of them, in the order that Keras flattens."""
    if isinstance(shape, dict):
        made = {key: _placeholders(shape[key], whole, key) for key in sorted(shape)}
        return {key: made[key] for key in shape}
    if isinstance(shape, (list, tuple)) and any(isinstance(item, (list, tuple, dict)) for item in shape):
        return [_placeholders(item, whole) for item in shape]
    return keras.Input(tuple(shape)[1:], dtype="int32" if next(whole) else "float32", name=name)
