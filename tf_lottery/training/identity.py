"""Descriptions of losses, metrics and optimizers that are the same in every process, as JSON values."""

import functools
import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from tf_lottery.layers.sublayers import has_automatic_name

DEPTH = 6  # of what a function captures, and what that captures; a cycle ends there
WRAPPED = ("fn", "_fn", "_fn_kwargs")
PLAIN = (bool, int, float, str, type(None))


def describe(value: Any, *, depth: int = DEPTH) -> Any:
    """A description of a value that is the same in every process, and another for another value.

    An object of Keras is described by its configuration; one of the caller's own class by its source and plain
    attributes as well, since a class without a `get_config` of its own has them nowhere else. A function is described
    by its source, defaults and what it captures, an array by its content.

    Args:
        value: a JSON value, an array, a function, or an object of Keras or of a class of the caller's.
        depth: how many levels of captured values are described.

    Example:
        >>> scaled = lambda factor: lambda x: factor * x
        >>> describe(scaled(2)) == describe(scaled(2)), describe(scaled(2)) == describe(scaled(3))
        (True, False)
    """
    if isinstance(value, PLAIN):
        return value
    if depth == 0:
        return type(value).__qualname__
    inner = functools.partial(describe, depth=depth - 1)
    if isinstance(value, list | tuple | set | frozenset):
        items = [inner(item) for item in value]
        return sorted(items, key=str) if isinstance(value, set | frozenset) else items
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, functools.partial):
        return [inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, np.ndarray | np.generic) or keras.ops.is_tensor(value) or isinstance(value, keras.Variable):
        array = keras.ops.convert_to_numpy(value)
        return [str(array.dtype), list(array.shape), hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()]
    if inspect.ismethod(value):
        return [inner(value.__func__), inner(value.__self__)]
    if inspect.isfunction(value):
        return [_source(value), inner(_captured(value)), inner(value.__defaults__), inner(value.__kwdefaults__)]
    if isinstance(value, type) or type(value).__module__ == "builtins":
        return getattr(value, "__qualname__", type(value).__qualname__)
    configuration, attributes = _configuration(value), getattr(value, "__dict__", {})
    names = ("name", "_name") if isinstance(getattr(value, "name", None), str) and has_automatic_name(value) else ()
    if isinstance(configuration, dict):
        configuration = {key: item for key, item in configuration.items() if key not in names}
    described = [type(value).__qualname__, inner(configuration)]
    # Keras's own wrappers of functions leave out of their configurations what they pass on, such as Huber's delta.
    described += [inner(attributes[key]) for key in WRAPPED if key in attributes]
    if type(value).__module__.startswith("keras."):
        return described
    plain = {key: item for key, item in attributes.items() if isinstance(item, PLAIN) and key not in names}
    return [*described, _source(type(value)), plain]


def _captured(function: Any) -> dict[str, Any]:
    """What a function takes from the function around it."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    captured = {}
    for name, cell in cells:
        try:
            captured[name] = cell.cell_contents
        except ValueError:  # a name that is not assigned yet
            captured[name] = None
    return captured


def _source(value: Any) -> str:
    try:
        return inspect.getsource(value)
    except (OSError, TypeError):
        return str(value.__qualname__)


def _configuration(value: Any) -> Any:
    try:
        return value.get_config()
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return None
