"""Subclassed models: copies of the same class and weights, and the class of a wrapped one, which holds the masks.

A subclassed model keeps its methods and layers when it is wrapped. Its class becomes a subclass of the user's, so that
a saved file knows which weights are masked; the masks are the variables of one layer that it holds.
"""

import functools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.layers.copying import model_config
from tf_lottery.layers.masked import builds_itself, refuse_new_weights
from tf_lottery.layers.masked_variable import mask_variable, read_once, unmask_variable
from tf_lottery.layers.own_attributes import OF_WRAPPING, copy_own_attributes
from tf_lottery.layers.paths import named_variables
from tf_lottery.layers.sublayers import MASKS, children, join
from tf_lottery.utils.text import one_line


class _Masks(keras.layers.Layer):
    """Holds the masks of a model as variables, by weight path. It computes nothing."""

    def __init__(self, shapes: Mapping[str, Sequence[int]]) -> None:
        super().__init__(name="masks")
        self.by_path = {
            path: self.add_weight(
                name=f"{path.replace('/', '_')}_mask", shape=shape, dtype="bool", initializer="ones", trainable=False
            )
            for path, shape in shapes.items()
        }
        self.built = True


@keras.saving.register_keras_serializable("tf_lottery")
class WrappedModel:
    """What the class of a wrapped subclassed model adds to the user's: a configuration that holds what is masked."""

    def get_config(self) -> dict[str, Any]:
        """Returns the user's configuration, how the layers were built, and the paths of the masked weights."""
        masks: _Masks = getattr(self, MASKS)
        return {
            "model": serialize_plain(self),
            "builds": build_configs(self),
            "weights": list(masks.by_path),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        """Makes the model, its weights and masks of ones.

        Args:
            config: As from `get_config`.
            custom_objects: Classes of the user's by name, as in Keras.
        """
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        build_like(model, config["builds"])
        return mask_in_place(model, config["weights"])


def mask_in_place(model: keras.Model, paths: Sequence[str]) -> keras.Model:
    """Masks weights of a subclassed model, whose class becomes a subclass of its own; returns the model.

    Args:
        model: A built subclassed model, not masked.
        paths: The paths of the weights to mask, as in `named_variables`.
    """
    variables = named_variables(model)
    masks = _Masks({path: tuple(variables[path].shape) for path in paths})
    model._tracker.unlock()
    setattr(model, MASKS, masks)
    model._tracker.lock()
    kind: Any = type(model)
    model.__class__ = _wrapped_class(kind)
    for path, mask in masks.by_path.items():
        mask_variable(variables[path], mask)
    refuse_new_weights(model)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.RNN):
            _read_once_a_call(layer)
    forget_traces(model)
    return model


def unmask_in_place(model: keras.Model) -> keras.Model:
    """Makes a model that `mask_in_place` masked plain again, with zeros where weights are pruned; returns the model."""
    variables = named_variables(model)
    for path in getattr(model, MASKS).by_path:
        variables[path].assign(variables[path].value)
        unmask_variable(variables[path])
    for layer in model._flatten_layers(include_self=False):
        for name in [name for name, value in vars(layer).items() if hasattr(value, OF_WRAPPING)]:
            vars(layer).pop(name)
    masks = getattr(model, MASKS)
    model._tracker.unlock()
    model._tracker.untrack(masks)
    vars(model).pop(MASKS)
    model._tracker.lock()
    model.__class__ = plain_class(model)
    forget_traces(model)
    return model


def plain_class(model: keras.Model) -> Any:
    """Returns the user's class of a subclassed model, wrapped or plain."""
    return type(model).__mro__[2] if isinstance(model, WrappedModel) else type(model)


def copy_subclassed(model: keras.Model, *, share: bool = False) -> keras.Model:
    """Returns a plain copy of a subclassed model, of its own class, with the same weights.

    Args:
        model: A built subclassed model, wrapped or plain. It is not changed.
        share: Whether attributes that can't be copied are shared, as for `rebuild`.

    Raises:
        UsageError: If its class can't be made from its configuration, or the copy has other weights or attributes.
    """
    kind = plain_class(model)
    try:
        # The scope goes before the registry, which in a notebook may know another class by this name.
        with keras.saving.custom_object_scope({kind.__name__: kind, keras.saving.get_registered_name(kind): kind}):
            copy = keras.saving.deserialize_keras_object(serialize_plain(model))
        build_like(copy, build_configs(model))
    except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError) as error:
        raise _no_copy(model, one_line(error)) from error
    source, target = named_variables(model), named_variables(copy)
    differing = sorted(
        {path for path in (*source, *target) if path not in source or path not in target}
        | {path for path in set(source) & set(target) if source[path].shape != target[path].shape}
    )
    if differing:
        raise _no_copy(model, f"the copy has other weights: {', '.join(differing[:5])}")
    layers, copies = dict(_sublayers(model)), dict(_sublayers(copy))
    for path, layer in layers.items():
        if path in copies:
            copies[path]._trainable = layer._trainable
            if layer is not model and (changed := _changed_settings(layer, copies[path])):
                raise _no_copy(
                    model,
                    f"its layer {path} has another {', '.join(changed)} than the class of the model gives it",
                )
            copy_own_attributes(layer, copies[path], share=share)
    for path, variable in target.items():
        variable.assign(source[path].value)
        variable.trainable = source[path].trainable
    return copy


def _changed_settings(layer: keras.layers.Layer, copy: keras.layers.Layer) -> list[str]:
    """Returns what is another in the configurations of a layer and of its copy, names aside."""
    try:
        one, other = layer.get_config(), copy.get_config()
    except (NotImplementedError, TypeError, ValueError):
        return []  # nothing is known of it but its attributes, which are compared elsewhere
    names = ("name", "build_config", "trainable")
    keys = [key for key in {**one, **other} if key not in names]
    return [key for key in keys if _without_names(one.get(key)) != _without_names(other.get(key))]


def _without_names(document: Any) -> str:
    return re.sub(r'"(name|shared_object_id)": ("[^"]*"|\d+)', "", json.dumps(document, sort_keys=True, default=repr))


def build_like(model: keras.Model, builds: Mapping[str, Any]) -> None:
    """Builds the layers of a new model, each as it was built in another one.

    Args:
        model: A model that is not built.
        builds: The build configuration of each layer of the other model by path, parents first.
    """
    layers = dict(_sublayers(model))
    for path, config in builds.items():
        if path not in layers:
            layers = dict(_sublayers(model))  # a layer above may have made it when it was built
        layer = layers.get(path)
        if layer is not None and not layer.built and config and builds_itself(layer):
            layer.build_from_config(config)
    for path, layer in reversed(list(_sublayers(model))):
        if path in builds and not layer.built:
            layer.built = True
            config = builds[path] or {}
            # A file of the copy says so, and Keras builds the layer from it.
            layer._build_shapes_dict = config.get("shapes_dict", config) or None


def build_configs(model: keras.Model) -> dict[str, Any]:
    """Returns the build configuration of a model and of each of its layers by path, parents first."""
    return {path: layer.get_build_config() for path, layer in _sublayers(model) if layer.built}


def _sublayers(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yields the model and all its layers by path, parents first."""
    seen: set[int] = set()
    pending = [("", model)]
    while pending:
        path, layer = pending.pop(0)
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield path, layer
        pending += [(join(path, name), child) for name, child in children(layer).items()]


def serialize_plain(model: keras.Model) -> dict[str, Any]:
    """Returns the configuration of a subclassed model, wrapped or plain, as one of the user's class.

    Raises:
        NotImplementedError: If its class has no `get_config` with the arguments of its constructor.
    """
    kind, own = plain_class(model), type(model)
    model.__class__ = kind
    try:
        config = model_config(model)
    finally:
        model.__class__ = own
    return {
        "module": kind.__module__,
        "class_name": kind.__name__,
        "config": keras.saving.serialize_keras_object(config),
        "registered_name": keras.saving.get_registered_name(kind),
    }


def _no_copy(model: keras.Model, reason: str) -> UsageError:
    return UsageError(
        f"The model {model.name!r} of class {plain_class(model).__name__} can't be copied: {reason}.",
        "Pass in_place=True, or give its class a `get_config` with all arguments of its constructor.",
    )


def _read_once_a_call(layer: keras.layers.RNN) -> None:
    """Makes a recurrent layer read its masked variables once a call; its loop would mask them at each step."""
    call = layer.call

    @functools.wraps(call)
    def call_reading_once(*args: Any, **kwargs: Any) -> Any:
        with read_once(layer.variables):
            return call(*args, **kwargs)

    setattr(call_reading_once, OF_WRAPPING, True)
    vars(layer)["call"] = call_reading_once  # not an attribute that Keras tracks


def forget_traces(model: keras.Model) -> None:
    """Drops the compiled functions of `fit`, which read the variables as they were traced."""
    model.train_function = model.test_function = model.predict_function = None


@functools.cache
def _wrapped_class(kind: Any) -> type:
    wrapped = type(f"Wrapped{kind.__name__}", (WrappedModel, kind), {"__module__": kind.__module__})
    return keras.saving.register_keras_serializable("tf_lottery", "WrappedModel")(wrapped)  # type: ignore[no-any-return]
