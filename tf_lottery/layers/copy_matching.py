"""Which part of a copy is which of the model that it was made from: by path, or by order where paths differ.

Names differ where a constructor chooses them by a count, or a configuration leaves them out. A copy has the same
structure, so that its parts come in the same order.
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import keras

from tf_lottery.layers.paths import named_variables

NamedPart = TypeVar("NamedPart")


def matching_paths(
    source: Mapping[str, NamedPart], target: Mapping[str, NamedPart], fits: Callable[[NamedPart, NamedPart], bool]
) -> dict[str, str]:
    """Returns the path in a copy for the path of every part of a model; nothing where the copy has other parts.

    Args:
        source: The parts of the model by path, in order.
        target: Those of the copy.
        fits: Whether a part of the copy can be that of the model.

    Example:
        >>> matching_paths({"a": 1, "b": 2}, {"b": 2, "a": 1}, lambda one, other: one == other)
        {'a': 'a', 'b': 'b'}
        >>> matching_paths({"a": 1, "b": 2}, {"a_1": 1, "b_1": 2}, lambda one, other: one == other)
        {'a': 'a_1', 'b': 'b_1'}
        >>> matching_paths({"a": 1, "b": 2}, {"a_1": 2, "b_1": 1}, lambda one, other: one == other)
        {}
    """
    if len(source) != len(target):
        return {}
    same = source.keys() == target.keys()
    pairs = {path: path for path in source} if same else dict(zip(source, target, strict=True))
    return pairs if all(fits(source[one], target[other]) for one, other in pairs.items()) else {}


def matching_variables(model: keras.Model, copy: keras.Model) -> dict[str, str]:
    """Returns the path in a copy for the path of every variable of a model, as in `named_variables`.

    Args:
        model: A built model.
        copy: A model of the same structure. Where it has other variables, nothing is returned.
    """
    return matching_paths(named_variables(model), named_variables(copy), _same_shape)


def differing_paths(model: keras.Model, copy: keras.Model) -> list[str]:
    """Returns the paths of variables that only one of two models has, or that have other shapes.

    Args:
        model: A built model.
        copy: Another one.
    """
    source, target = named_variables(model), named_variables(copy)
    return sorted(
        path
        for path in {*source, *target}
        if path not in source or path not in target or not _same_shape(source[path], target[path])
    )


def _same_shape(one: Any, other: Any) -> bool:
    return tuple(one.shape) == tuple(other.shape)
