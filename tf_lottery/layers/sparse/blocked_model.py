"""A model whose layers between sparse convolutions run on blocked tensors."""

import functools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from tf_lottery.layers.sparse.blocked import from_lanes, to_lanes
from tf_lottery.layers.sparse.blocked_layers import FUNCTIONS, layout_of
from tf_lottery.layers.sparse.custom_call import LANES, compiled
from tf_lottery.layers.sparse.regions import Layout, Node, choose_blocked
from tf_lottery.layers.sparse.sparse_conv2d import SparseConv2D
from tf_lottery.layers.sparse.stock_dropout import StockDropout, draws_as_stock
from tf_lottery.layers.sublayers import is_made_from_own_config, is_nested_model

BLOCKED_AXES = 5


def run_blocked(model: keras.Model, *, stock_draws: bool = False) -> keras.Model:
    """Returns a model that shares all layers with another, and runs those between sparse convolutions on blocks.

    It computes the same, and is for use in memory alone. A model without sparse convolutions is returned itself.

    Args:
        model: A Sequential or functional model with sparse layers. It is not changed.
        stock_draws: Whether dropout draws what TensorFlow's own operations do, also under XLA.
    """
    if not any(isinstance(layer, SparseConv2D) for layer in model._flatten_layers()):
        return model
    graph = model._functional if isinstance(model, keras.Sequential) else model
    replaced = {
        id(layer): run_blocked(layer, stock_draws=stock_draws)
        for layer in graph.operations
        if is_nested_model(layer) and not is_made_from_own_config(layer)
    }
    if stock_draws:
        replaced |= {id(layer): StockDropout(layer) for layer in graph.operations if draws_as_stock(layer)}
    names = choose_blocked(graph_nodes(graph))
    chosen = {id(layer): OnBlocked(layer) for layer in graph.operations if layer.name in names}
    borders = _Borders()

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        if id(layer) in chosen:
            return borders.call_blocked(chosen[id(layer)], keras.tree.flatten((args, kwargs)))
        args, kwargs = keras.tree.map_structure(borders.plain, (args, kwargs))
        return replaced.get(id(layer), layer)(*args, **kwargs)

    inputs = keras.tree.map_structure(_new_input, graph.input)
    outputs = graph._run_through_graph(inputs, lambda operation: operation, call_fn=call)
    return keras.Model(inputs, outputs, name=model.name, trainable=model.trainable)


def graph_nodes(graph: keras.Model) -> list[Node]:
    """Returns the layers of a graph as `choose_blocked` takes them.

    A layer that is called twice stays plain, and so does one that gives images that are an output of the model.

    Args:
        graph: A functional model.
    """
    outputs = {id(tensor) for tensor in keras.tree.flatten(graph.output)}
    calls = [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]
    counts = Counter(node.operation.name for node in calls)
    nodes: dict[str, Node] = {}
    for node in calls:
        name = node.operation.name
        shapes = [tuple(tensor.shape) for tensor in node.input_tensors]
        layout = layout_of(node.operation, shapes) if counts[name] == 1 else Layout.PLAIN
        if layout is not Layout.REDUCES and any(id(tensor) in outputs for tensor in node.outputs):
            layout = Layout.PLAIN
        inputs = tuple(tensor._keras_history.operation.name for tensor in node.input_tensors)
        size = math.prod(size or 1 for size in node.outputs[0].shape[1:])
        nodes[name] = Node(name, layout, inputs, size)
    return list(nodes.values())


def _new_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


class _Borders:
    """Changes the layout of symbolic tensors, each once, while a model is made."""

    def __init__(self) -> None:
        self._plain_of: dict[int, tuple[Any, Any]] = {}
        self._blocked_of: dict[int, tuple[Any, Any]] = {}
        self._like: dict[int, Any] = {}

    def call_blocked(self, layer: "OnBlocked", inputs: Sequence[Any]) -> Any:
        """Returns the output of a layer, blocked unless it is plain by its nature."""
        blocked = [self._blocked(tensor) for tensor in inputs if isinstance(tensor, keras.KerasTensor)]
        likes = [self._like[id(tensor)] for tensor in blocked]
        output = layer(blocked, likes)
        if len(output.shape) == BLOCKED_AXES:
            self._like[id(output)] = likes[0]
        return output

    def plain(self, tensor: Any) -> Any:
        """Returns a tensor, or anything else, as layers that know nothing of blocks take it."""
        if id(tensor) not in self._like:
            return tensor
        if id(tensor) not in self._plain_of:
            self._plain_of[id(tensor)] = tensor, FromLanes()(tensor, self._like[id(tensor)])
        return self._plain_of[id(tensor)][1]

    def _blocked(self, tensor: Any) -> Any:
        if id(tensor) in self._like:
            return tensor
        if id(tensor) not in self._blocked_of:
            blocked = ToLanes()(tensor)
            self._like[id(blocked)] = tensor
            self._blocked_of[id(tensor)] = tensor, blocked
        return self._blocked_of[id(tensor)][1]


# Where the size of a batch is not known when a function is traced, tensors stay plain in it, and the layers that are
# held compute as they do: so what is blocked in a trace is seen by the number of axes.


class BlockedLayer(keras.layers.Layer):
    """A layer that reads or gives blocked tensors."""


class ToLanes(BlockedLayer):
    """Changes images to the blocked layout."""

    def call(self, images: Any) -> Any:
        """Returns blocked images, where the size of the batch is known.

        Args:
            images: Of shape (batch, height, width, channels).
        """
        images = keras.ops.cast(images, "float32")
        return images if images.shape[0] is None else compiled(to_lanes)(images)

    def compute_output_spec(self, images: Any) -> keras.KerasTensor:
        """Returns the shape of blocked images.

        Args:
            images: As for `call`.
        """
        return _blocked_spec(images.shape)


class FromLanes(BlockedLayer):
    """Changes blocked images back."""

    def call(self, blocked: Any, like: Any) -> Any:
        """Returns images of shape (batch, height, width, channels).

        Args:
            blocked: Blocked images.
            like: A tensor whose first axis is the batch.
        """
        return _plain(blocked, like.shape[0])

    def compute_output_spec(self, blocked: Any, like: Any) -> keras.KerasTensor:
        """Returns the shape of the images.

        Args:
            blocked: As for `call`.
            like: As for `call`.
        """
        _, channels, height, width, _ = blocked.shape
        return keras.KerasTensor((None, height, width, channels), "float32")


class OnBlocked(BlockedLayer):
    """Runs a layer of a model, whose variables it shares, on blocked images.

    Args:
        layer: The layer, built, of a class in `FUNCTIONS`.
    """

    def __init__(self, layer: keras.layers.Layer) -> None:
        """Holds the layer; makes no variables."""
        super().__init__(name=layer.name)
        self.layer = layer
        self.built = True

    def call(self, blocked: list[Any], likes: list[Any], training: bool | None = None) -> Any:
        """Returns what the layer gives, blocked.

        Args:
            blocked: Its inputs.
            likes: For each, a tensor whose first axis is the batch.
            training: As Keras passes it.
        """
        batches = [like.shape[0] for like in likes]
        if any(len(tensor.shape) != BLOCKED_AXES for tensor in blocked):
            plain = [_plain(tensor, batch) for tensor, batch in zip(blocked, batches, strict=True)]
            return self.layer(plain if len(plain) > 1 else plain[0])
        settings = {"batch": int(batches[0]), "training": bool(training)}
        return compiled(functools.partial(FUNCTIONS[type(self.layer)], self.layer, **settings))(*blocked)

    def compute_output_spec(self, blocked: list[Any], likes: list[Any], training: bool | None = None) -> Any:
        """Returns the shape of the output.

        Args:
            blocked: As for `call`.
            likes: As for `call`.
            training: Not used.
        """
        shapes = [(None, height, width, channels) for _, channels, height, width, _ in (one.shape for one in blocked)]
        shape = self.layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])
        return _blocked_spec(shape) if layout_of(self.layer, shapes) is not Layout.REDUCES else keras.KerasTensor(shape)


def _plain(tensor: tf.Tensor, batch: int | None) -> tf.Tensor:
    if batch is None or len(tensor.shape) != BLOCKED_AXES:
        return tensor
    return compiled(functools.partial(from_lanes, batch=batch))(tensor)


def _blocked_spec(shape: Sequence[int | None]) -> keras.KerasTensor:
    _, height, width, channels = shape
    return keras.KerasTensor((None, channels, height, width, LANES), "float32")
