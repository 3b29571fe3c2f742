"""Attributes that users set on an instance of a model or layer, which `from_config(get_config())` does not bring back.

`model.alpha = 5.0` after the constructor is part of what the model computes when its class reads `self.alpha`. Keras
knows nothing of it; a copy that trains as the model does has it too.
"""

import copy
import dis
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator
from types import CellType, CodeType
from typing import Any, TypeAlias

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.layers.sublayers import MASKS

Change: TypeAlias = Callable[[Any], Any]
"""From a configuration or attribute of a layer or model to that of its copy, such as one of another dtype."""
OF_WRAPPING = "tf_lottery_of_wrapping"
"""An attribute of what `wrap` sets on a layer, and copies do not have."""
_MISSING = object()
HARMLESS = (
    keras.losses.Loss,
    keras.initializers.Initializer,
    keras.regularizers.Regularizer,
    keras.constraints.Constraint,
    keras.optimizers.schedules.LearningRateSchedule,
)
"""Classes of objects that two models can share."""
PLAIN = (bool, int, float, complex, str, bytes, type(None), np.ndarray, np.generic)


def unchanged(setting: Any) -> Any:
    """Returns a configuration or attribute as it is."""
    return setting


def copy_plain_attributes(source: keras.layers.Layer, target: keras.layers.Layer, change: Change = unchanged) -> None:
    """Sets on a copy the plain attributes that differ: numbers, texts, arrays, and lists, tuples and dicts of those.

    Args:
        source: A model or layer. It is not changed.
        target: Its copy, of the same class, or of one of its bases.
        change: What is changed in them.
    """
    for name, value in _own_attributes(source, target):
        if _is_plain(value) and not _same(changed := change(value), vars(target).get(name, _MISSING)):
            setattr(target, name, _copy(changed))


def copy_own_attributes(
    source: keras.layers.Layer, target: keras.layers.Layer, *, share: bool = False, change: Change = unchanged
) -> None:
    """Sets on a copy the attributes that differ: plain ones, and objects that can be copied.

    An object that holds nothing but plain values, such as a dataclass of settings, is copied. Losses, which a `compile`
    of the class may have set, initializers, regularizers and the like are shared; a metric is made again from its
    configuration. Variables and tables of TensorFlow, which are no weights for Keras, are assigned. Other functions are
    not copied: they may read the model that they were made for.

    Attributes that classes of Keras set are left to Keras.

    Args:
        source: A model or layer. It is not changed.
        target: Its copy, of the same class, or of one of its bases.
        share: Whether an attribute that is not plain, and that the copy lacks, is set on it as the same object.
        change: What is changed in those that are plain.

    Raises:
        UsageError: If the copy lacks an attribute that cannot be copied, such as a second model, or has None there.
    """
    copy_plain_attributes(source, target, change)
    for name, value in _own_attributes(source, target):
        other = vars(target).get(name, _MISSING)
        if _is_plain(value) or _assign_tensorflow_state(value, other):
            continue
        if other is not _MISSING and _made_alike(value, other) and not _holds_untracked(value, source):
            continue  # the constructor made one for each
        elif share or isinstance(value, HARMLESS):
            setattr(target, name, value)
        elif _holds_plain(value):
            setattr(target, name, copy.deepcopy(value))
        elif isinstance(value, keras.metrics.Metric):  # of a `compile` of the class's own
            setattr(target, name, type(value).from_config(value.get_config()))
        elif not name.startswith("_"):
            raise UsageError(
                f"The attribute {name!r} of {source.name!r} was set after its class {type(source).__name__} made it, "
                f"and cannot be copied. Received: {type(value).__name__}.",
                "Share the model's objects with `in_place=True`, or set the attribute in the constructor.",
            )


def _own_attributes(source: keras.layers.Layer, target: keras.layers.Layer) -> list[tuple[str, Any]]:
    """The attributes of a model or layer that its copy may lack, by name."""
    if source is target or not isinstance(source, type(target)):
        return []
    of_keras = _names_set_by_keras(source.__class__)
    return [
        (name, value)
        for name, value in vars(source).items()
        if name not in of_keras
        and name not in (MASKS, "history")  # `fit` sets the history
        and not hasattr(value, OF_WRAPPING)
        and not isinstance(value, keras.Variable)  # which the copy made for itself, and may be masked
    ]


def _assign_tensorflow_state(value: Any, other: Any) -> bool:
    """Gives variables and tables of TensorFlow in an attribute of a copy the content of the source's; False if none."""
    pairs = list(itertools.zip_longest(keras.tree.flatten(value), keras.tree.flatten(other)))
    tables = tf.lookup.experimental.MutableHashTable
    if not all(isinstance(one, tf.Variable | tables) and type(one) is type(two) for one, two in pairs):
        return False
    for one, two in pairs:
        if isinstance(one, tables):
            two.insert(*one.export())
        else:
            two.assign(tf.cast(one, two.dtype))
    return bool(pairs)


@functools.cache
def _names_set_by_keras(cls: type) -> frozenset[str]:
    """The attributes that the methods of a class's bases in Keras and TensorFlow assign."""
    names: set[str] = set()
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] not in ("keras", "tensorflow"):
            continue
        for member in vars(base).values():
            function = getattr(member, "fset", None) or getattr(member, "__func__", member)
            code = getattr(inspect.unwrap(function), "__code__", None) if callable(function) else None
            if code is not None:
                names.update(_assigned(code))
    return frozenset(names)


def _assigned(code: CodeType) -> Iterator[str]:
    for instruction in dis.get_instructions(code):
        if instruction.opname == "STORE_ATTR":
            yield str(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _assigned(constant)


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(_is_plain(item) for item in value)
    return isinstance(value, PLAIN) or _is_array(value)


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, np.generic)) or (isinstance(value, tf.Tensor) and hasattr(value, "numpy"))


def _made_alike(one: Any, other: Any) -> bool:
    """Whether two objects, such as metrics or functions, can be what one constructor made for two instances."""
    if type(one) is not type(other):
        return False
    if isinstance(one, functools.partial):
        return one.func is other.func and _same((one.args, one.keywords), (other.args, other.keywords))
    if isinstance(one, HARMLESS):
        return _same(_settings(one), _settings(other))
    if (code := getattr(one, "__code__", None)) is not None:
        cells, others = _closure(one), _closure(other)
        return (
            code is getattr(other, "__code__", None)
            and len(cells) == len(others)
            and all(_same(*pair) or not all(map(_is_plain, pair)) for pair in zip(cells, others, strict=True))
        )
    return not _holds_plain(one) or _same(vars(one), vars(other))


def _closure(function: Any) -> list[Any]:
    """The values that a function holds, without those that are not assigned yet."""
    return [cell.cell_contents for cell in function.__closure__ or () if cell != CellType()]


def _holds_untracked(value: Any, layer: keras.layers.Layer) -> bool:
    """Whether an object of the user's holds layers or variables that Keras does not see, so that no copy has them."""
    if not _is_of_users(value):
        return False
    held = [
        item for item in vars(value).values() if isinstance(item, (keras.layers.Layer, keras.Variable, tf.Variable))
    ]
    seen = {id(one) for one in (*layer._flatten_layers(), *layer.variables)}
    return any(id(item) not in seen for item in held)


def _is_of_users(value: Any) -> bool:
    kind = type(value).__module__.partition(".")[0]
    return kind not in ("keras", "tensorflow", "numpy") and bool(getattr(value, "__dict__", None))


def _settings(value: Any) -> dict[str, Any]:
    """The plain attributes of an object of Keras, without its name, which may count up in a process."""
    return {name: item for name, item in vars(value).items() if name != "name" and _is_plain(item)}


def _holds_plain(value: Any) -> bool:
    """Whether an object of the user's, such as a dataclass of settings, holds nothing but plain values."""
    return _is_of_users(value) and not callable(value) and _is_plain(vars(value))


def _copy(value: Any) -> Any:
    """A plain value of its own: Keras keeps lists and dicts in containers that belong to one layer."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return kind(_copy(item) for item in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def _same(one: Any, other: Any) -> bool:
    if _is_array(one) or _is_array(other):
        return type(one) is type(other) and one.dtype == other.dtype and np.array_equal(one, other)
    if one is other:
        return True
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(type(one) is type(other) and isinstance(one, PLAIN) and one == other)
