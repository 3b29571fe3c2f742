"""Stable names for the variables of one layer and its sublayers.

A sublayer inside a composite layer is named by the attribute that holds it, `forward_layer/cell/kernel`; an
automatically named layer of a model by its class and its position among those of its class.
"""

import re
from collections.abc import Container, Iterator
from typing import Any

import keras

SEPARATOR = "/"
MASKS = "tf_lottery_masks"
"""The attribute in which a wrapped subclassed model holds its masks."""
# Attributes in which TensorFlow's and Keras's trackers list what an object holds.
_OF_TRACKERS = re.compile(rf"_layers|_(self_)?(unconditional|setattr|saveable|name_based|update_uid)\w*|{MASKS}")


def layer_variables(layer: keras.layers.Layer) -> dict[str, keras.Variable]:
    """Returns the variables of one layer and its sublayers, by path below the layer."""
    return {path: variable for path, variable, _ in owned_variables(layer)}


def owned_variables(layer: keras.layers.Layer) -> list[tuple[str, keras.Variable, keras.layers.Layer]]:
    """Returns the variables of one layer and its sublayers as tuples (path below `layer`, variable, owner).

    The owner is the sublayer whose own variable it is, not one of its sublayers'.
    """
    owned: list[tuple[str, keras.Variable, keras.layers.Layer]] = []
    taken: set[str] = set()
    for path, sublayer in sublayers_by_path(layer):
        inner = [*children(sublayer).values(), *filter(None, [getattr(sublayer, MASKS, None)])]
        below = {id(variable) for child in inner for variable in child.variables}
        for variable in sublayer.variables:
            if id(variable) in below:
                continue
            name = free_name(join(path, variable.name), taken)
            taken.add(name)
            owned.append((name, variable, sublayer))
    return owned


def sublayers_by_path(layer: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    """Returns a layer and its sublayers, each with its path below the layer: "" for the layer itself."""
    return list(_walk(layer, "", set()))


def children(layer: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Returns the direct sublayers by the attribute that holds them, or by `attribute_i` in a list or dict."""
    sublayers: dict[str, keras.layers.Layer] = {}
    if is_nested_model(layer):
        counts: dict[str, int] = {}
        for child in layer.layers:
            sublayers[free_name(canonical_name(child, counts), sublayers)] = child
        return sublayers
    seen = {id(layer)}
    for attribute, value in vars(layer).items():
        if _OF_TRACKERS.fullmatch(attribute):
            continue
        for suffix, item in _items(value):
            if isinstance(item, keras.layers.Layer) and id(item) not in seen:
                seen.add(id(item))
                sublayers[free_name(attribute.lstrip("_") + suffix, sublayers)] = item
    return sublayers


def is_nested_model(layer: object) -> bool:
    """Returns whether a layer is a Sequential or functional model, whose own layers are wrapped one by one."""
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def canonical_name(layer: keras.layers.Layer, counts: dict[str, int]) -> str:
    """Returns the layer's own name, or for an automatic one its class and its position among those of its class.

    Args:
        layer: A layer of a model.
        counts: How many automatically named layers of each class were named before, by class; updated here. The
            caller keeps one dict per model.
    """
    if not has_automatic_name(layer):
        return str(layer.name)
    base = _snake(type(layer).__name__)
    position = counts.get(base, 0)
    counts[base] = position + 1
    return f"{base}_{position}" if position else base


def has_automatic_name(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer's name looks like Keras's automatic ones: `dense`, `dense_3`."""
    return re.fullmatch(rf"{re.escape(_snake(type(layer).__name__))}(_\d+)?", layer.name) is not None


def free_name(name: str, taken: Container[str]) -> str:
    """Returns `name`, or the first of `name~2`, `name~3`, ... that is not in `taken`.

    Args:
        name: The wanted name.
        taken: The names in use.
    """
    candidate, number = name, 2
    while candidate in taken:
        candidate, number = f"{name}~{number}", number + 1
    return candidate


def join(*parts: str) -> str:
    """Returns the parts of a path as one path, without the empty ones."""
    return SEPARATOR.join(part for part in parts if part)


def _walk(layer: keras.layers.Layer, prefix: str, seen: set[int]) -> Iterator[tuple[str, keras.layers.Layer]]:
    if id(layer) in seen:
        return
    seen.add(id(layer))
    yield prefix, layer
    for name, child in children(layer).items():
        yield from _walk(child, join(prefix, name), seen)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields what an attribute holds, with a suffix for its place in (nested) lists and dicts."""
    if isinstance(value, list | tuple):
        nested: Any = enumerate(value)
    elif isinstance(value, dict):
        nested = enumerate(value.values())
    else:
        yield "", value
        return
    for position, item in nested:
        for suffix, leaf in _items(item):
            yield f"_{position}{suffix}", leaf


def _snake(name: str) -> str:
    """Returns Keras's automatic name of a class, such as `multi_head_attention` for `MultiHeadAttention`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
