"""Nested structures of arrays: several inputs as a tuple or a dictionary of arrays."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tf_lottery.errors import UsageError

Tree = Any
"""An array, or a tuple or dictionary of trees."""


def to_arrays(value: Any, *, what: str) -> Tree:
    """Turn array-likes into arrays, and lists of arrays into tuples.

    A list or tuple is a node (several inputs) if each of its items is an array, a dictionary or again a tuple of
    arrays; otherwise it is one array-like, such as a list of numbers.

    Args:
        value: an array-like, or a list, tuple or dictionary of them.
        what: what the value is, for messages.

    Raises:
        UsageError: the value is of a type, or of a shape, that makes no array of numbers.
    """
    if isinstance(value, dict):
        if not value:
            raise UsageError(f"{what} is an empty dictionary.", "Give it at least one array.")
        return {key: to_arrays(item, what=f"{what}[{key!r}]") for key, item in value.items()}
    if isinstance(value, (list, tuple)) and value and all(_is_node(item) for item in value):
        return tuple(to_arrays(item, what=f"{what}[{index}]") for index, item in enumerate(value))
    try:
        array = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{what} cannot be made an array: {error}.", "Give examples of one shape.") from error
    # np.number and bool are recognized by kind; bfloat16 and its like have kind "V" but a floating name.
    if array.dtype.kind not in "biufc" and "float" not in array.dtype.name:
        raise UsageError(
            f"{what} must be an array of numbers. Received: {type(value).__name__} of dtype {array.dtype}.",
            "Give a NumPy array, or a tuple or dictionary of arrays for several inputs.",
        )
    return array


def _is_node(item: Any) -> bool:
    if isinstance(item, (list, tuple)):
        return bool(item) and all(_is_node(part) for part in item)
    return isinstance(item, dict) or (hasattr(item, "__array__") and getattr(item, "ndim", 0) > 0)


def leaves(tree: Tree, path: str = "") -> Iterator[tuple[str, np.ndarray]]:
    """Yield the path and the array of each leaf of a tree.

    Dictionaries are walked in sorted order of their keys, as Keras does.

    Args:
        tree: an array, or tuples and dictionaries of arrays.
        path: the path of `tree` itself.

    Yields:
        (path, array): the path is "" for a bare array, "[0]", "['left']", ... inside a structure.
    """
    if isinstance(tree, dict):
        for key in sorted(tree):
            yield from leaves(tree[key], f"{path}[{key!r}]")
    elif isinstance(tree, tuple):
        for index, item in enumerate(tree):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, tree


def map_leaves(function: Callable[[np.ndarray], Any], tree: Tree) -> Any:
    """Return the same structure with `function` applied to each array.

    Args:
        function: from an array to any value.
        tree: an array, or tuples and dictionaries of arrays.

    Example:
        >>> map_leaves(lambda array: array.shape, {"a": np.zeros((2, 3))})
        {'a': (2, 3)}
    """
    if isinstance(tree, dict):
        return {key: map_leaves(function, item) for key, item in tree.items()}
    if isinstance(tree, tuple):
        return tuple(map_leaves(function, item) for item in tree)
    return function(tree)
