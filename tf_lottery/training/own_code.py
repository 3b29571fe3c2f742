"""A digest of the code of a caller's own functions and classes: changed code never continues the run of other code."""

import hashlib
import inspect
import json
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np

from tf_lottery.training.identity import describe

# Modules whose code is known by the version of their package.
_INSTALLED = ("site-packages", "dist-packages")
_KNOWN = {*sys.stdlib_module_names, "keras", "tensorflow", "numpy", "tf_lottery"}
_CONSTANTS = (bool, int, float, str, bytes, type(None), np.ndarray, np.generic)
_COLLECTIONS = (tuple, list, set, frozenset, Mapping)


def own_code_digest(values: Iterable[Any]) -> str:
    """Return the SHA-256 of the code that the caller wrote for some values; "" if there is none.

    Functions and classes count, those that they call or inherit from, and the constants of modules that they use. What
    an installed package holds does not: its version stands for it.

    Args:
        values: models, losses, metrics, optimizers, functions, or collections of them.
    """
    described: list[str] = []
    pending, seen = list(values), {}
    while pending:
        value = pending.pop()
        if id(value) in seen:
            continue
        seen[id(value)] = value  # held, so that no other value gets its id
        if isinstance(value, type | types.FunctionType) and _is_own(value):
            described.append(json.dumps([value.__qualname__, _code(value), _constants(value)], default=str))
        elif settings := _settings(value):
            described.append(json.dumps([type(value).__qualname__, describe(settings)], default=str))
        pending += _parts(value)
    return hashlib.sha256("\n".join(sorted(described)).encode()).hexdigest() if described else ""


def _is_own(value: Any) -> bool:
    """Whether a function, class or module is the caller's: of a script or module that no package installed."""
    name = value.__name__ if isinstance(value, types.ModuleType) else str(getattr(value, "__module__", ""))
    if name.partition(".")[0] in _KNOWN:
        return False
    file = str(getattr(sys.modules.get(name), "__file__", None) or "")
    return not any(folder in file for folder in _INSTALLED)


def _code(value: Any) -> Any:
    """The source of a function or class; the code itself where there is no source, or where a line may hold several."""
    try:
        if getattr(value, "__name__", "") != "<lambda>":
            return inspect.getsource(value)
    except (OSError, TypeError):
        pass
    return [describe_compiled(function.__code__) for function in _functions(value)]


def describe_compiled(code: types.CodeType) -> list[Any]:
    """Return a description of compiled code that is the same in every process of one version of Python."""
    return [code.co_code.hex(), list(code.co_names), [_constant(item) for item in code.co_consts]]


def _constant(item: Any) -> Any:
    if isinstance(item, types.CodeType):
        return describe_compiled(item)
    # The order of a set of texts is another one in each process.
    return sorted(map(repr, item)) if isinstance(item, frozenset) else repr(item)


def _functions(value: Any) -> list[types.FunctionType]:
    """A function itself, or those of a class, by name."""
    if not isinstance(value, type):
        return [value]
    members: list[Any] = []
    for _, member in sorted(vars(value).items()):
        members += (member.fget, member.fset) if isinstance(member, property) else [getattr(member, "__func__", member)]
    return [member for member in members if isinstance(member, types.FunctionType)]


def _constants(value: Any) -> dict[str, Any]:
    """The constants of its module that a function or class uses, and the defaults and captured values of a function."""
    constants = {name: held for name, held in _globals(value) if isinstance(held, _CONSTANTS)}
    collections = {name: held for name, held in _globals(value) if isinstance(held, _COLLECTIONS)}
    inner = [[function.__defaults__, function.__kwdefaults__, *_captured(function)] for function in _functions(value)]
    return {"globals": describe(constants), "collections": describe(collections), "defaults": describe(inner)}


def _globals(value: Any) -> Iterator[tuple[str, Any]]:
    """The global names that a function or class uses, with their values; names of the caller's modules as well."""
    for function in _functions(value):
        for name in sorted(names := _names(function.__code__)):
            held = function.__globals__.get(name)
            if isinstance(held, types.ModuleType):
                for inner in sorted(names & vars(held).keys()) if _is_own(held) else ():
                    yield f"{name}.{inner}", vars(held)[inner]
            elif name in function.__globals__:
                yield name, held


def _names(code: types.CodeType) -> set[str]:
    inner = (_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType))
    return set(code.co_names).union(*inner)


def _parts(value: Any) -> list[Any]:
    """The values of which one is made that may be the caller's code."""
    if isinstance(value, _CONSTANTS):
        return []
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, _COLLECTIONS):
        return list(value)
    if isinstance(value, partial):
        return [value.func, *value.args, *value.keywords.values()]
    if isinstance(value, types.MethodType):
        return [value.__func__, value.__self__]
    if isinstance(value, type):
        return [*value.__bases__, *_used(value)] if _is_own(value) else []
    if isinstance(value, types.FunctionType):
        return [*_used(value), *_captured(value)] if _is_own(value) else []
    if isinstance(value, keras.Model):
        return [type(value), *value._flatten_layers(include_self=False), *_own_attributes(value)]
    return [type(value), *_own_attributes(value)]


def _used(value: Any) -> list[Any]:
    return [held for _, held in _globals(value) if not isinstance(held, types.ModuleType)]


def _captured(function: types.FunctionType) -> list[Any]:
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(cell.cell_contents)
        except ValueError:  # a name that is not assigned yet
            continue
    return cells


def _settings(value: Any) -> dict[str, Any]:
    """The constants and collections in an object of the caller's class; {} where Keras keeps counters in it."""
    counted = keras.layers.Layer | keras.metrics.Metric | keras.optimizers.Optimizer
    if isinstance(value, counted | type | types.ModuleType) or not _is_own(type(value)):
        return {}
    attributes = getattr(value, "__dict__", {})
    kinds = (*_CONSTANTS, *_COLLECTIONS)
    return {key: held for key, held in attributes.items() if isinstance(held, kinds) and key not in ("name", "_name")}


def _own_attributes(value: Any) -> list[Any]:
    """The attributes of an object that are functions, or objects that may hold code of the caller's."""
    held = [item for item in getattr(value, "__dict__", {}).values() if not isinstance(item, _CONSTANTS)]
    return [item for item in held if isinstance(item, types.FunctionType | partial) or _may_hold_code(item)]


def _may_hold_code(item: Any) -> bool:
    if isinstance(item, keras.layers.Layer | keras.Variable | types.ModuleType | type):
        return False
    schedules = keras.optimizers.schedules.LearningRateSchedule
    return _is_own(type(item)) or isinstance(item, keras.optimizers.Optimizer | schedules)
