"""Stable names: every variable of a model by its path, the same for any build or reload of the model.

Keras's own `variable.path` differs between a built and a reloaded model, and automatic names count up within a process
(`dense`, then `dense_3` for a second build). Here an automatically named layer is numbered by its position among those of
its class in its model, and a sublayer inside a composite layer is named by the attribute that holds it:
`bidirectional/forward_layer/cell/kernel`.
"""

import re
from collections.abc import Iterator

import keras

from tf_lottery.layers.masked import Masked

SEPARATOR = "/"


def named_layers(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Each layer of a model by its path, nested models opened; a layer that is used twice has its first path only.

    A mask-applying layer stands under the path of the layer it holds.
    """
    return dict(_walk_model(model, "", set()))


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Each variable of a model by its path: weights, statistics and the states of seed generators, but no masks.

    The same keys in the same order for the plain and the wrapped model.
    """
    named: dict[str, keras.Variable] = {}
    seen: set[int] = set()
    for path, layer in named_layers(model).items():
        inner = layer.layer if isinstance(layer, Masked) else layer
        for variable_path, variable in layer_variables(inner).items():
            if id(variable) not in seen:
                seen.add(id(variable))
                named[join(path, variable_path)] = variable
    return named


def layer_variables(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Each variable of one layer and its sublayers by its path below the layer."""
    return {path: variable for path, variable, _ in owned_variables(layer)}


def owned_variables(layer: keras.layers.Layer) -> list[tuple[str, keras.Variable, keras.layers.Layer]]:
    """(path below `layer`, variable, the sublayer that owns it) for each variable of one layer and its sublayers."""
    found: list[tuple[str, keras.Variable, keras.layers.Layer]] = []
    taken: set[str] = set()
    for path, sublayer in _walk_sublayers(layer, "", set()):
        below = {id(variable) for child in _children(sublayer).values() for variable in child.variables}
        for variable in sublayer.variables:
            if id(variable) in below:
                continue
            name = _free(join(path, variable.name), taken)
            taken.add(name)
            found.append((name, variable, sublayer))
    return found


def join(*parts: str) -> str:
    """The parts of a path as one; empty parts are left out."""
    return SEPARATOR.join(part for part in parts if part)


def _walk_model(model: keras.Model, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    taken: set[str] = set()
    counts: dict[str, int] = {}
    for layer in model.layers:
        inner = layer.layer if isinstance(layer, Masked) else layer
        name = _canonical(inner, counts)
        name = _free(name, taken)
        taken.add(name)
        if id(inner) in seen:
            continue
        seen.add(id(inner))
        path = join(prefix, name)
        if is_nested_model(layer):
            yield from _walk_model(layer, path, seen)
        else:
            yield path, layer


def is_nested_model(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a Sequential or functional model, whose own layers are wrapped one by one."""
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def _canonical(layer: keras.layers.Layer, counts: dict[str, int]) -> str:
    base = _snake(type(layer).__name__)
    if not re.fullmatch(rf"{re.escape(base)}(_\d+)?", layer.name):
        return layer.name
    position = counts.get(base, 0)
    counts[base] = position + 1
    return f"{base}_{position}" if position else base


def _snake(name: str) -> str:
    """Keras's automatic name of a class: `Conv2D` -> `conv2d`, `MultiHeadAttention` -> `multi_head_attention`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _free(name: str, taken: set[str]) -> str:
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}~{number}", number + 1
    return candidate


def _walk_sublayers(
    layer: keras.layers.Layer, prefix: str, seen: set[int]
) -> Iterator[tuple[str, keras.layers.Layer]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield prefix, layer
    for name, child in _children(layer).items():
        yield from _walk_sublayers(child, join(prefix, name), seen)


def _children(layer: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """The direct sublayers, each under the attribute that holds it (or under `attribute_i` in a list)."""
    if is_nested_model(layer):
        counts: dict[str, int] = {}
        taken: set[str] = set()
        children = {}
        for child in layer.layers:
            name = _free(_canonical(child, counts), taken)
            taken.add(name)
            children[name] = child
        return children
    children = {}
    seen: set[int] = {id(layer)}
    for attribute, value in vars(layer).items():
        if attribute == "_layers" or attribute.startswith(("_self_", "_unconditional_")):  # lists kept by the trackers
            continue
        items = value if isinstance(value, list | tuple) else list(value.values()) if isinstance(value, dict) else [value]
        for position, item in enumerate(items):
            if isinstance(item, keras.layers.Layer) and id(item) not in seen:
                seen.add(id(item))
                name = attribute.lstrip("_")
                children[name if items[0] is value else f"{name}_{position}"] = item
    return children
