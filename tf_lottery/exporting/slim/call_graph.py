"""A model as a flat list of layer calls over numbered tensors, with nested models opened."""

from dataclasses import dataclass, field
from typing import Any

import keras

from tf_lottery.exporting.slim.channel_map import TensorShape
from tf_lottery.layers.sublayers import is_nested_model


@dataclass(frozen=True)
class Call:
    """One call of a layer, or of an operation such as `x + y`.

    Attributes:
        layer: The layer; several calls may share it.
        arguments: Keras's record of the call's arguments.
        inputs: Numbers of the tensors that the call takes, in the order of its arguments.
        outputs: Numbers of the tensors that it returns.
    """

    layer: Any
    arguments: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def takes_only_tensors(self) -> bool:
        """Whether every argument is a tensor, None or False."""
        return _only_tensors(self.arguments)

    def repeat(self, layer: Any, tensors: dict[int, Any]) -> list[Any]:
        """Calls another layer with the arguments of this call.

        Args:
            layer: The layer or function to call.
            tensors: The tensors to pass, by the numbers of `inputs`.

        Returns:
            The outputs as a flat list.
        """
        filling = {id(old): tensors[n] for old, n in zip(self.arguments.keras_tensors, self.inputs, strict=True)}
        args, kwargs = self.arguments.fill_in(filling)
        return list(keras.tree.flatten(layer(*args, **kwargs)))


@dataclass(frozen=True)
class CallGraph:
    """The calls of a model in an order in which they can be made.

    Attributes:
        calls: The calls.
        inputs: Numbers of the model's inputs.
        outputs: Numbers of the model's outputs.
        shapes: The shape of every tensor by its number, with the batch.
    """

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: dict[int, TensorShape] = field(repr=False)

    def producer(self, tensor: int) -> Any:
        """Returns the layer that makes a tensor; None for an input."""
        return next((call.layer for call in self.calls if tensor in call.outputs), None)

    def channels(self, tensor: int) -> int:
        """Returns the number of channels, the length of the last axis; 0 if there is none or it is not known."""
        shape = self.shapes[tensor]
        return (shape[-1] or 0) if len(shape) > 1 else 0

    @property
    def is_chain(self) -> bool:
        """Whether every call takes one tensor, the output of the call before, and no layer is called twice."""
        before = [self.inputs, *(call.outputs for call in self.calls)]
        after = [*(call.inputs for call in self.calls), self.outputs]
        once = len({id(call.layer) for call in self.calls}) == len(self.calls)
        simple = all(call.takes_only_tensors and len(call.outputs) == 1 for call in self.calls)
        return before == after and once and simple


def trace_calls(model: keras.Model) -> CallGraph:
    """Returns the call graph of a built functional or Sequential model."""
    tracer = _Tracer()
    inputs = tracer.number(model.inputs)
    outputs = tracer.follow(model, inputs)
    return CallGraph(tuple(tracer.calls), inputs, outputs, tracer.shapes)


def calls_its_layers(model: keras.Model) -> bool:
    """Returns whether a model's `call` is Keras's own, which calls its layers and does nothing else."""
    return bool(type(model).call.__module__.startswith("keras."))


class _Tracer:
    """The calls and shapes that were met so far."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.shapes: dict[int, TensorShape] = {}

    def number(self, tensors: list[keras.KerasTensor]) -> tuple[int, ...]:
        """Returns new numbers for tensors, in their order."""
        first = len(self.shapes)
        self.shapes.update({first + i: tuple(tensor.shape) for i, tensor in enumerate(tensors)})
        return tuple(range(first, first + len(tensors)))

    def follow(self, model: keras.Model, inputs: tuple[int, ...]) -> tuple[int, ...]:
        """Records the calls of a model on numbered inputs, and returns the numbers of its outputs."""
        graph = _functional(model)
        numbers = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.is_input or any(id(tensor) not in numbers for tensor in node.input_tensors):
                    continue
                taken = tuple(numbers[id(tensor)] for tensor in node.input_tensors)
                if _can_be_opened(node):
                    outputs = self.follow(node.operation, taken)
                    # A nested model's own shapes may leave open what the call determines.
                    known = dict(zip(outputs, (tuple(tensor.shape) for tensor in node.outputs), strict=True))
                    self.shapes.update({n: shape for n, shape in known.items() if n not in taken})
                else:
                    outputs = self.number(node.outputs)
                    self.calls.append(Call(node.operation, node.arguments, taken, outputs))
                numbers.update(zip(map(id, node.outputs), outputs, strict=True))
        return tuple(numbers[id(tensor)] for tensor in graph.outputs)


def _functional(model: keras.Model) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def _can_be_opened(node: Any) -> bool:
    """Returns whether a call is one of a nested model that does nothing but call its layers."""
    model = node.operation
    if not is_nested_model(model) or not calls_its_layers(model) or not _only_tensors(node.arguments):
        return False
    if len(node.arguments.args) != 1:
        return False
    if len(node.input_tensors) == len(_functional(model).inputs) == 1:
        return True
    try:
        keras.tree.assert_same_structure(node.arguments.args[0], model.input)
    except (TypeError, ValueError):
        return False
    return True


def _only_tensors(arguments: Any) -> bool:
    leaves = keras.tree.flatten((arguments.args, arguments.kwargs))
    return all(isinstance(leaf, keras.KerasTensor) or leaf is None or leaf is False for leaf in leaves)
