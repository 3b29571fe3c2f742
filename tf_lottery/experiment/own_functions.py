"""What a user gives as a function or an object, by the name that the configuration stores. No TensorFlow.

A function that another process can import is named by its import path, `package.module:name`. Any other one is known in
this process only, and named by a digest of what it does, so that a changed one is another configuration.
"""

import functools
import hashlib
import inspect
import json
import types
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.controls import CONTROLS, Control, ControlLike
from tf_lottery.experiment.rewind_point import RewindLike, RewindPoint
from tf_lottery.pruning.criteria import CRITERIA, CriterionLike
from tf_lottery.utils import references

_CONSTANTS = (bool, int, float, str, bytes, type(None), tuple, list, dict, set, frozenset, np.ndarray, np.generic)


def criterion_name(criterion: CriterionLike) -> str:
    """Return the name of a criterion that is given as a function; anything else as it is."""
    if not callable(criterion):
        return criterion
    registered = (name for name, function in CRITERIA.items() if function is criterion)
    return next(registered, None) or _own_name(criterion, "criterion")


def rewind_name(rewind: RewindLike) -> str:
    """Return the text of a rewind point that is given as an object or a function; anything else as it is."""
    if isinstance(rewind, RewindPoint):
        return str(rewind)
    return _own_name(rewind, "rewind") if callable(rewind) else rewind


def variant_names(variants: ControlLike | Iterable[ControlLike]) -> Any:
    """Return variants in which controls that are given as objects or functions are named; anything else as it is."""
    if isinstance(variants, Control) or callable(variants):
        variants = (variants,)
    if isinstance(variants, str) or not isinstance(variants, Iterable):
        return variants
    return tuple(_control_name(item) if isinstance(item, Control) or callable(item) else item for item in variants)


def _control_name(control: Control | Callable[..., Any]) -> str:
    for name, registered in CONTROLS.items():
        if registered is control or registered.start is control:
            return name
    modules = (getattr(control.start, "__module__", ""),) if isinstance(control, Control) else ()
    return _own_name(control, "control", *modules)


def ladder_of_rounds(densities: Any, rounds: int) -> Any:
    """Return the densities that a function gives for each round; anything else as it is.

    Args:
        densities: a function from a round's number, 1 or more, to the fraction of the maskable weights that it keeps.
        rounds: the number of rounds after the dense one.

    Raises:
        UnfitError: the function fails.
        UsageError: it does not return numbers.
    """
    if not callable(densities):
        return densities
    name = getattr(densities, "__name__", type(densities).__name__)
    values = [references.call_own(densities, "densities function", name, number) for number in range(1, rounds + 1)]
    if not all(isinstance(value, int | float | np.integer | np.floating) for value in values):
        raise UsageError(f"The densities function {name!r} must return numbers. It returned: {values!r}.")
    return (1.0, *map(float, values))


def _own_name(value: Any, what: str, *modules: str) -> str:
    path = references.import_path(value, *modules)
    if path is not None:
        return path
    function = value.start if isinstance(value, Control) else value
    return references.register_local(getattr(function, "__name__", what), digest(value), value)


def digest(value: Any) -> str:
    """Return ten hexadecimal digits of the SHA-256 of what a function or a control does.

    The source of a function counts, its defaults, what it captures, and what it uses of the module that defines it.
    What it calls in other modules does not.
    """
    text = json.dumps(_describe(value, set()), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _describe(value: Any, seen: set[int]) -> Any:
    """Describe a value by JSON values; functions that are in `seen` have been described already."""
    from tf_lottery.training.identity import describe
    from tf_lottery.training.own_code import describe_compiled

    if id(value) in seen:
        return None
    if isinstance(value, Control):
        flags = {field.name: getattr(value, field.name) for field in fields(value) if field.name != "start"}
        return [_describe(value.start, seen), flags]
    if isinstance(value, functools.partial):
        return [_describe(value.func, seen), describe(value.args), describe(value.keywords)]
    if not inspect.isfunction(value):
        return describe(value)
    seen.add(id(value))
    # The source of a lambda is the whole line, which may hold several of them.
    code = describe_compiled(value.__code__) if value.__name__ == "<lambda>" or not _has_source(value) else None
    used = {name: value.__globals__[name] for name in _global_names(value.__code__) if name in value.__globals__}
    own = {name: held for name, held in used.items() if _belongs_to(held, value.__module__)}
    return [describe(value), code, {name: _describe(held, seen) for name, held in sorted(own.items())}]


def _has_source(function: Any) -> bool:
    try:
        return bool(inspect.getsource(function))
    except (OSError, TypeError):
        return False


def _global_names(code: types.CodeType) -> set[str]:
    """Return the global names that a function's code mentions, and the functions inside it."""
    inner = [_global_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return set(code.co_names).union(*inner)


def _belongs_to(value: Any, module: str) -> bool:
    """Return whether a global counts as a part of a module's functions: another function of it, or a constant."""
    if isinstance(value, functools.partial):
        return _belongs_to(value.func, module)
    return isinstance(value, _CONSTANTS) or (inspect.isfunction(value) and value.__module__ == module)


def functions_hash(*names: str) -> str:
    """Return a digest of the functions that import paths lead to; "" where no name is an import path.

    Args:
        *names: values of the configuration, e.g. its criterion.

    Raises:
        UsageError: there is no such function.
        UnfitError: its module can't be imported.
    """
    paths = sorted({name for name in names if references.is_import_path(name)})
    if not paths:
        return ""
    digests = {path: digest(references.resolve(path, what="function")) for path in paths}
    return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()[:16]


def control_digest(variant: str) -> str | None:
    """Return a digest of what a user's own control does; None for any other variant.

    Raises:
        UsageError: there is no such control.
        UnfitError: its module can't be imported.
    """
    return digest(references.resolve(variant, what="control")) if references.is_reference(variant) else None


def check_callable(name: str, what: str) -> Any:
    """Return the object that a name of the configuration refers to, if it can be called.

    Args:
        name: an import path, or the name of an object of this process.
        what: what it is, for messages, e.g. "criterion".

    Raises:
        UsageError: there is no such object, or it can't be called.
        UnfitError: its module can't be imported.
    """
    value = references.resolve(name, what=what)
    if not callable(value):
        raise UsageError(f"The {what} {name!r} must be a function. Received: {type(value).__name__}.")
    return value
