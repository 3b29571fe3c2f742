"""A model as a flat list of calls over numbered tensors, nested models opened."""

from dataclasses import dataclass, field
from typing import Any

import keras

from tf_lottery.layers.sublayers import is_nested_model


@dataclass(frozen=True)
class Call:
    """One call of a layer (or of an operation such as `x + y`).

    Attributes:
        layer: what is called; several calls may share it.
        arguments: Keras's record of the call's arguments.
        inputs: numbers of the tensors that it takes, in the order of the arguments.
        outputs: numbers of the tensors that it makes.
    """

    layer: Any
    arguments: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def plain(self) -> bool:
        """Whether the layer is called with nothing but tensors; None and False count as nothing."""
        return _plain(self.arguments)

    def repeated(self, layer: Any, tensors: dict[int, keras.KerasTensor]) -> list[keras.KerasTensor]:
        """The outputs of another layer, called in the same way on the tensors of the same numbers."""
        filling = {id(old): tensors[n] for old, n in zip(self.arguments.keras_tensors, self.inputs, strict=True)}
        args, kwargs = self.arguments.fill_in(filling)
        return keras.tree.flatten(layer(*args, **kwargs))


@dataclass(frozen=True)
class Program:
    """The calls of a model in an order in which they can be made; `shapes` of all tensors include the batch."""

    calls: tuple[Call, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    shapes: dict[int, tuple[int | None, ...]] = field(repr=False)

    def maker(self, tensor: int) -> Any:
        """The layer that makes a tensor; None for an input."""
        return next((call.layer for call in self.calls if tensor in call.outputs), None)

    def width(self, tensor: int) -> int:
        """The number of channels: the length of the last axis; 0 where there is none or it is not known."""
        shape = self.shapes[tensor]
        return (shape[-1] or 0) if len(shape) > 1 else 0

    @property
    def is_chain(self) -> bool:
        """Whether each call takes what the one before made, each layer is called once, with nothing but a tensor."""
        before = [self.inputs, *(call.outputs for call in self.calls)]
        after = [*(call.inputs for call in self.calls), self.outputs]
        once = len({id(call.layer) for call in self.calls}) == len(self.calls)
        return before == after and once and all(call.plain and len(call.outputs) == 1 for call in self.calls)


def program_of(model: keras.Model) -> Program:
    """The program of a built functional or Sequential model."""
    tracing = _Tracing()
    inputs = tracing.numbered(model.inputs)
    outputs = tracing.follow(model, inputs)
    return Program(tuple(tracing.calls), inputs, outputs, tracing.shapes)


class _Tracing:
    """The calls and shapes found so far."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.shapes: dict[int, tuple[int | None, ...]] = {}

    def numbered(self, tensors: list[keras.KerasTensor]) -> tuple[int, ...]:
        first = len(self.shapes)
        self.shapes.update({first + i: tuple(tensor.shape) for i, tensor in enumerate(tensors)})
        return tuple(range(first, first + len(tensors)))

    def follow(self, model: keras.Model, inputs: tuple[int, ...]) -> tuple[int, ...]:
        graph = _graph(model)
        numbers = dict(zip(map(id, graph.inputs), inputs, strict=True))
        for depth in sorted(graph._nodes_by_depth, reverse=True):
            for node in graph._nodes_by_depth[depth]:
                if node.is_input or any(id(tensor) not in numbers for tensor in node.input_tensors):
                    continue
                taken = tuple(numbers[id(tensor)] for tensor in node.input_tensors)
                if _can_be_opened(node):
                    made = self.follow(node.operation, taken)
                    # A nested model's own shapes may leave open what the call settles.
                    known = dict(zip(made, (tuple(tensor.shape) for tensor in node.outputs), strict=True))
                    self.shapes.update({n: shape for n, shape in known.items() if n not in taken})
                else:
                    made = self.numbered(node.outputs)
                    self.calls.append(Call(node.operation, node.arguments, taken, made))
                numbers.update(zip(map(id, node.outputs), made, strict=True))
        return tuple(numbers[id(tensor)] for tensor in graph.outputs)


def _graph(model: keras.Model) -> Any:
    return model._functional if isinstance(model, keras.Sequential) else model


def _can_be_opened(node: Any) -> bool:
    """Whether the call is one of a nested model that does nothing but call its layers."""
    model = node.operation
    if not is_nested_model(model) or not calls_its_layers(model) or not _plain(node.arguments):
        return False
    if len(node.arguments.args) != 1:
        return False
    if len(node.input_tensors) == len(_graph(model).inputs) == 1:
        return True
    try:
        keras.tree.assert_same_structure(node.arguments.args[0], model.input)
    except (TypeError, ValueError):
        return False
    return True


def calls_its_layers(model: keras.Model) -> bool:
    """Whether a model's `call` is Keras's own, which calls its layers and does nothing else."""
    return type(model).call.__module__.startswith("keras.")


def _plain(arguments: Any) -> bool:
    leaves = keras.tree.flatten((arguments.args, arguments.kwargs))
    return all(isinstance(leaf, keras.KerasTensor) or leaf is None or leaf is False for leaf in leaves)
