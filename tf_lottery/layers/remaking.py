"""Copies of models that their own class makes: subclassed ones, and functional ones whose constructor makes the layers.

The model is serialized as a whole and made again from that, so the copy has its class, its methods and what its
constructor sets. Its layers are matched with those of the model by structure.
"""

import inspect
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.layers.copy_matching import differing_paths, matching_paths, matching_variables
from tf_lottery.layers.lora import adapters, enable_adapters
from tf_lottery.layers.masked import builds_itself
from tf_lottery.layers.own_attributes import Change, copy_own_attributes, unchanged
from tf_lottery.layers.paths import named_variables
from tf_lottery.layers.sublayers import (
    children,
    constructs_itself,
    is_made_from_own_config,
    is_nested_model,
    is_own,
    join,
    plain_class,
)
from tf_lottery.utils.text import one_line

LOOKUPS = (keras.layers.StringLookup, keras.layers.IntegerLookup, keras.layers.TextVectorization)
"""Layers with a vocabulary, which is no variable."""


def copy_subclassed(model: keras.Model, *, share: bool = False, change: Change = unchanged) -> keras.Model:
    """Returns a plain copy of a model, of its own class, with the same weights.

    Args:
        model: A built model, wrapped or plain, which its class makes from its configuration. It is not changed.
        share: Whether attributes that can't be copied are shared, as for `rebuild`.
        change: What is changed in its configuration and attributes, and those of its layers.

    Raises:
        UsageError: If its class can't be made from its configuration, or the copy has other weights or attributes.
    """
    copy = made_again(model, change=change)
    pairs = matching_variables(model, copy)
    source, target = named_variables(model), named_variables(copy)
    for path, other in pairs.items():
        copy_variable(source[path], target[other])
    for one, other in paired_layers(model, copy):
        other._trainable = one._trainable
        copy_own_attributes(one, other, share=share, change=change)
        copy_assets(one, other)
        refresh_constants(other)
        if one is not model and (changed := _changed_settings(one, other, change)):
            raise _no_copy(
                model, f"its layer {one.name!r} has another {', '.join(changed)} than the class of the model gives it"
            )
    return copy


def made_again(model: keras.Model, *, change: Change = unchanged) -> keras.Model:
    """Returns a plain model that the class of a model makes from its configuration, with new weights.

    Args:
        model: A built model, wrapped or plain.
        change: What is changed in its configuration and that of its layers.

    Raises:
        UsageError: If its class can't be made from its configuration, or the new model has other weights.
    """
    try:
        # The scope goes before the registry, which in a notebook may know another class by a name. What was serialized
        # a moment ago is as safe as the model itself.
        with keras.saving.custom_object_scope(own_classes(model)):
            copy: keras.Model = keras.saving.deserialize_keras_object(change(serialize_plain(model)), safe_mode=False)
        build_like(copy, build_configs(model))
        for one, other in paired_layers(model, copy):
            enable_adapters(other, {path: rank for path, rank in adapters(one).items() if not path})
    except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError) as error:
        if shared := sorted(name for name, kinds in _own_kinds(model).items() if len(kinds) > 1):
            raise UsageError(
                f"The model {model.name!r} of class {plain_class(model).__name__} can't be copied: two of its classes "
                f"have the name {', '.join(shared)}, by which Keras finds them.",
                "Register them with `keras.saving.register_keras_serializable` by names of their own, or pass "
                "in_place=True.",
            ) from error
        raise _no_copy(model, one_line(error)) from error
    if not matching_variables(model, copy):
        raise _no_copy(model, f"the copy has other weights: {', '.join(differing_paths(model, copy)[:5])}")
    return copy


def _changed_settings(layer: keras.layers.Layer, copy: keras.layers.Layer, change: Change) -> list[str]:
    """Returns what else than wanted is another in the configurations of a layer and of its copy, names aside."""
    try:
        one, other = change(layer.get_config()), copy.get_config()
    except (NotImplementedError, TypeError, ValueError):
        return []  # nothing is known of it but its attributes, which are compared elsewhere
    texts, others = _without_names(one), _without_names(other)
    keys = [key for key in {**texts, **others} if key not in ("name", "build_config", "trainable")]
    return [key for key in keys if texts.get(key) != others.get(key)]


def _without_names(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns a configuration as texts, with the names of layers, also in connections, numbered by their order."""
    whole = json.dumps(config, sort_keys=True, default=repr)
    numbers = {name: str(number) for number, name in enumerate(dict.fromkeys(re.findall(r'"name": ("[^"]*")', whole)))}
    texts = {}
    for key, value in config.items():
        text = re.sub(r'"shared_object_id": \d+', "", json.dumps(value, sort_keys=True, default=repr))
        texts[key] = re.sub(r'"[^"]*"', lambda match: numbers.get(match[0], match[0]), text)
    return texts


def paired_layers(model: keras.Model, copy: keras.Model) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    """Returns the model and its layers, each with that of the copy.

    Args:
        model: A model, wrapped or plain.
        copy: A copy of it, wrapped or plain.
    """
    layers, copies = dict(all_layers(model)), dict(all_layers(copy))
    same = matching_paths(layers, copies, lambda one, other: plain_class(one) is plain_class(other))
    paths = same or {path: path for path in layers if path in copies}
    return [(layers[path], copies[other]) for path, other in paths.items()]


def serialize_plain(model: keras.Model) -> dict[str, Any]:
    """Returns a model as Keras serializes it, not compiled and not wrapped: of the user's class.

    Raises:
        NotImplementedError: As from `model_config`.
    """
    kind = plain_class(model)
    return {
        "module": kind.__module__,
        "class_name": kind.__name__,
        "config": keras.saving.serialize_keras_object(model_config(model)),
        "registered_name": keras.saving.get_registered_name(kind),
    }


def model_config(model: keras.Model) -> dict[str, Any]:
    """Returns the configuration of a model, from which its class (the user's, if it is wrapped) makes it again.

    Where a subclassed model's class has none, Keras would give the constructor's defaults for its arguments.

    Raises:
        NotImplementedError: If its class has no `get_config`, and a constructor that takes arguments.
    """
    kind = plain_class(model)
    if is_nested_model(model):
        has_config = is_made_from_own_config(model) or not constructs_itself(model)
    else:
        has_config = not hasattr(kind.get_config, "_is_default")
    if has_config:
        wrapped = type(model)
        model.__class__ = kind
        try:
            return dict(model.get_config())
        finally:
            model.__class__ = wrapped
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    of_keras = ("name", "trainable", "dtype")
    own = [one.name for one in parameters if one.kind not in variadic and one.name not in of_keras]
    if own:
        raise NotImplementedError(f"its class has no `get_config`, so its {', '.join(own)} would be lost")
    return {}


def build_configs(model: keras.Model) -> dict[str, Any]:
    """Returns how the layers of a model were built, by path, parents first."""
    return {path: layer.get_build_config() for path, layer in all_layers(model) if layer.built}


def build_like(model: keras.Model, builds: Mapping[str, Any]) -> None:
    """Builds the layers of a new model, each as it was built in another one.

    Args:
        model: A model that is not built.
        builds: The build configuration of each layer of the other model by path, parents first.
    """
    layers = dict(all_layers(model))
    for path, config in builds.items():
        if path not in layers:
            layers = dict(all_layers(model))  # a layer above may have made it when it was built
        layer = layers.get(path)
        if layer is not None and not layer.built and config and builds_itself(layer):
            layer.build_from_config(config)
    for path, layer in reversed(list(all_layers(model))):
        if path in builds and not layer.built:
            layer.built = True
            config = builds[path] or {}
            # A file of the copy says so, and Keras builds the layer from it.
            layer._build_shapes_dict = config.get("shapes_dict", config) or None


def all_layers(model: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
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


def copy_variable(variable: keras.Variable, copy: keras.Variable) -> None:
    """Copies the value of a variable, and what training asks of it: users set these on built layers, too.

    Args:
        variable: A variable of a model.
        copy: That of a copy, of the same shape.
    """
    copy.assign(variable.value)
    copy.trainable = variable.trainable
    copy.regularizer, copy.constraint = variable.regularizer, variable.constraint


def copy_assets(layer: keras.layers.Layer, copy: keras.layers.Layer) -> None:
    """Copies what is neither configuration nor variable of a layer: a vocabulary, and the weights of its terms.

    Args:
        layer: A layer of a model.
        copy: A layer of the same configuration.
    """
    if not hasattr(layer, "save_assets"):
        return
    if isinstance(layer, LOOKUPS):
        terms: dict[str, Any] = {}
        layer.save_own_variables(terms)
        if terms:
            copy.load_own_variables(terms)
    with tempfile.TemporaryDirectory() as folder:
        layer.save_assets(folder)
        copy.load_assets(folder)


def refresh_constants(layer: keras.layers.Layer) -> None:
    """Updates what a layer derived from its variables, after they were assigned, by the methods that Keras has for it.

    `Normalization` has `finalize_state`, and so may a layer of the user's; another may derive its constants where Keras
    loads its variables.
    """
    kind = type(layer)
    if not layer.built:
        return
    finalizes = hasattr(layer, "finalize_state") and is_own(kind, "finalize_state")
    if finalizes or isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()
    elif is_own(kind, "load_own_variables") and not kind.__module__.startswith("tf_lottery."):
        values: dict[str, Any] = {}
        layer.save_own_variables(values)
        layer.load_own_variables({key: keras.ops.convert_to_numpy(value) for key, value in values.items()})


def own_classes(layer: keras.layers.Layer) -> dict[str, Any]:
    """Returns the classes of a layer or model and its sublayers that are not Keras's, by the names Keras looks for.

    A name that two of them share is left out.
    """
    return {name: next(iter(kinds)) for name, kinds in _own_kinds(layer).items() if len(kinds) == 1}


def _own_kinds(layer: keras.layers.Layer) -> dict[str, set[type]]:
    kinds: dict[str, set[type]] = {}
    for one in layer._flatten_layers():
        kind = plain_class(one)
        if not kind.__module__.startswith("keras."):
            for name in (kind.__name__, keras.saving.get_registered_name(kind)):
                kinds.setdefault(name, set()).add(kind)
    return kinds


def _no_copy(model: keras.Model, reason: str) -> UsageError:
    return UsageError(
        f"The model {model.name!r} of class {plain_class(model).__name__} can't be copied: {reason}.",
        "Pass in_place=True, or give its class a `get_config` with all arguments of its constructor.",
    )
