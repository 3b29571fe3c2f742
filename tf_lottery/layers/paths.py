"""Stable paths of layers and variables, which are the same for every build and reload of a model.

Keras's own `variable.path` differs between a built and a reloaded model, and automatic names count up within a process
(`dense`, then `dense_3` for a second build). Here an automatically named layer is numbered by its position among those
of its class in its model, and a sublayer inside a composite layer is named by the attribute that holds it:
`bidirectional/forward_layer/cell/kernel`.
"""

from collections.abc import Iterator

import keras

from tf_lottery.layers.masked import Masked
from tf_lottery.layers.sublayers import (
    canonical_name,
    children,
    free_name,
    is_nested_model,
    join,
    layers_beside_the_graph,
    owned_variables,
    variables_beside_the_graph,
)


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers of a model by path, nested models opened and input layers left out.

    A layer that is used twice has its first path only; a mask-applying layer has the path of the layer it holds.
    """
    return dict(_walk(model, "", set()))


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the variables of a model by path: weights, statistics and states of seed generators, but no masks.

    The plain and the wrapped model have the same paths in the same order.

    Example:
        >>> list(named_variables(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)])))
        ['dense/kernel', 'dense/bias']
    """
    named: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for path, layer in named_layers(model).items():
        for variable_path, variable, _ in variables_of(layer):
            if id(variable) not in seen:
                seen.add(id(variable))
                named[join(path, variable_path)] = variable
    return named


def variables_of(layer: keras.layers.Layer) -> list[tuple[str, keras.Variable, keras.layers.Layer]]:
    """Returns the variables of a layer of `named_layers` as tuples (path below it, variable, owner).

    The layers of a graph have paths of their own, so a Sequential or functional model has what is beside them.

    Args:
        layer: A layer, mask-applying or not.
    """
    layer = held_layer(layer)
    return variables_beside_the_graph(layer) if is_nested_model(layer) else owned_variables(layer)


def held_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns the layer that a mask-applying layer holds; any other layer is returned as it is."""
    return layer.layer if isinstance(layer, Masked) else layer


def _walk(model: keras.Model, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    for name, layer in _direct_layers(model):
        inner = held_layer(layer)
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        path = join(prefix, name)
        if is_nested_model(layer) or (isinstance(layer, keras.Model) and not is_nested_model(model)):
            yield from _walk(layer, path, seen)
        else:
            yield path, layer
    if model._trainable_variables + model._non_trainable_variables + model._seed_generators:
        yield prefix, model  # weights and seeds of its own, beside those of its layers


def _direct_layers(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the layers of a model by name: by attribute, if it is a subclassed one."""
    if not is_nested_model(model):
        yield from children(model).items()
        return
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for layer in model.layers:
        inner = held_layer(layer)
        if isinstance(inner, keras.layers.InputLayer):
            continue
        name = free_name(canonical_name(inner, counts), taken)
        taken.add(name)
        yield name, layer
    for name, layer in layers_beside_the_graph(model).items():
        yield free_name(name, taken), layer
