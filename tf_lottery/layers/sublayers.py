"""Stable names for the variables of one layer and its sublayers.

A sublayer inside a composite layer is named by the attribute that holds it, `forward_layer/cell/kernel`; an
automatically named layer of a model by its class and its position among those of its class.
"""

import functools
import inspect
import re
from collections.abc import Container, Iterator
from typing import Any

import keras

SEPARATOR = "/"
MASKS = "tf_lottery_masks"
"""The attribute in which a wrapped subclassed model holds its masks."""
PLAIN_CLASS = "tf_lottery_plain_class"
"""The attribute in which the class of a wrapped subclassed model holds the user's class."""
# Attributes in which TensorFlow's and Keras's trackers list what an object holds.
OF_TRACKERS = re.compile(
    r"_layers|_functional|_operations(_by_depth)?|_nodes(_by_depth)?"
    r"|_self_(unconditional|setattr|saveable|name_based|update_uid)_\w+"
    rf"|{MASKS}"
)


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
            name = free_name(join(path, _variable_name(sublayer, variable)), taken)
            taken.add(name)
            owned.append((name, variable, sublayer))
    return owned


def variables_beside_the_graph(
    model: keras.Model,
) -> list[tuple[str, keras.Variable, keras.layers.Layer]]:
    """Returns the weights and seeds that a Sequential or functional model has beside those of its layers.

    They come as tuples (path, variable, model), as from `owned_variables`.
    """
    own = [*model._trainable_variables, *model._non_trainable_variables, *(one.state for one in model._seed_generators)]
    taken: set[str] = set()
    owned: list[tuple[str, keras.Variable, keras.layers.Layer]] = []
    for variable in own:
        name = free_name(_variable_name(model, variable), taken)
        taken.add(name)
        owned.append((name, variable, model))
    return owned


def sublayers_by_path(layer: keras.layers.Layer) -> list[tuple[str, keras.layers.Layer]]:
    """Returns a layer and its sublayers, each with its path below the layer: "" for the layer itself."""
    return list(_walk(layer, "", set()))


def children(layer: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    """Returns the direct sublayers by the attribute that holds them, or by `attribute_i` in a list, dict or set."""
    if not is_nested_model(layer):
        return _held_by_attributes(layer)
    sublayers: dict[str, keras.layers.Layer] = {}
    counts: dict[str, int] = {}
    for child in layer.layers:
        sublayers[free_name(canonical_name(child, counts), sublayers)] = child
    for name, child in layers_beside_the_graph(layer).items():
        sublayers[free_name(name, sublayers)] = child
    return sublayers


def layers_beside_the_graph(model: keras.Model) -> dict[str, keras.layers.Layer]:
    """Returns the layers with weights that a class of the user's adds to the graph of its model, by attribute."""
    if not constructs_itself(model):
        return {}
    covered = {id(variable) for layer in model.layers for variable in layer.variables}
    tracked = {id(layer) for layer in model._layers}
    return {
        name: layer
        for name, layer in _held_by_attributes(model).items()
        if id(layer) in tracked and any(id(variable) not in covered for variable in layer.variables)
    }


def _held_by_attributes(layer: keras.layers.Layer) -> dict[str, keras.layers.Layer]:
    sublayers: dict[str, keras.layers.Layer] = {}
    seen = {id(layer)}
    for attribute, value in vars(layer).items():
        if OF_TRACKERS.fullmatch(attribute):
            continue
        for suffix, item in attribute_items(value):
            if isinstance(item, keras.layers.Layer) and id(item) not in seen:
                seen.add(id(item))
                sublayers[free_name(attribute.lstrip("_") + suffix, sublayers)] = item
    return sublayers


def is_nested_model(layer: object) -> bool:
    """Returns whether a layer is a Sequential or functional model, whose own layers are wrapped one by one."""
    return isinstance(layer, keras.Sequential) or (isinstance(layer, keras.Model) and hasattr(layer, "operations"))


def plain_class(model: keras.Model) -> Any:
    """Returns the user's class of a subclassed model, wrapped or plain."""
    return getattr(type(model), PLAIN_CLASS, type(model))


def constructs_itself(model: object) -> bool:
    """Returns whether a Sequential or functional model is of a class whose own constructor makes its layers."""
    return is_nested_model(model) and _has_own_constructor(plain_class(model))


def is_made_from_own_config(model: object) -> bool:
    """Returns whether a model constructs itself, and its class has a `get_config` from which it can do so again."""
    return constructs_itself(model) and is_own(plain_class(model), "get_config")


@functools.cache
def _has_own_constructor(kind: type) -> bool:
    if not is_own(kind, "__init__"):
        return False
    spec = inspect.getfullargspec(kind.__init__)  # type: ignore[misc]
    takes_a_graph = {"inputs", "outputs"} <= set(spec.args)
    takes_anything = spec.varargs is not None and spec.varkw is not None and not is_own(kind, "get_config")
    return issubclass(kind, keras.Sequential) or not (takes_a_graph or takes_anything)


def is_own(kind: type, method: str) -> bool:
    """Returns whether a method of a class is not Keras's.

    Args:
        kind: A class of models or layers.
        method: The name of a method that it has.
    """
    return not str(getattr(kind, method).__module__).startswith("keras.")


def canonical_name(layer: keras.layers.Layer, counts: dict[str, int]) -> str:
    """Returns the layer's own name, or for an automatic one its class and its position among those of its class.

    Args:
        layer: A layer of a model.
        counts: How many automatically named layers of each class were named before, by class; updated here. The
            caller keeps one dict per model.
    """
    if not has_automatic_name(layer):
        return str(layer.name)
    base = _snake(plain_class(layer).__name__)
    position = counts.get(base, 0)
    counts[base] = position + 1
    return f"{base}_{position}" if position else base


def has_automatic_name(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer's name looks like Keras's automatic ones: `dense`, `dense_3`."""
    return re.fullmatch(rf"{re.escape(_snake(plain_class(layer).__name__))}(_\d+)?", layer.name) is not None


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


def attribute_items(value: Any) -> Iterator[tuple[str, Any]]:
    """Yields what an attribute holds, with a suffix for its place in (nested) lists, dicts and sets of layers."""
    if isinstance(value, list | tuple):
        nested: Any = enumerate(value)
    elif isinstance(value, dict):
        nested = enumerate(value.values())
    elif isinstance(value, set | frozenset):  # whose order is another in the next process: by name, `dense_9` first
        nested = enumerate(sorted((one for one in value if isinstance(one, keras.layers.Layer)), key=_by_number))
    else:
        yield "", value
        return
    for position, item in nested:
        for suffix, leaf in attribute_items(item):
            yield f"_{position}{suffix}", leaf


def _by_number(layer: keras.layers.Layer) -> tuple[str, int]:
    base, number = re.fullmatch(r"(.*?)_?(\d*)", layer.name).groups()  # type: ignore[union-attr]
    return base, int(number or 0)


def _variable_name(owner: keras.layers.Layer, variable: keras.Variable) -> str:
    """Returns the name of a variable; for an automatic one, which counts up in a process, its attribute."""
    if re.fullmatch(r"variable(_\d+)?", variable.name) is None:
        return str(variable.name)
    return next((name.lstrip("_") for name, value in vars(owner).items() if value is variable), "variable")


def _snake(name: str) -> str:
    """Returns Keras's automatic name of a class, such as `multi_head_attention` for `MultiHeadAttention`."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
