"""Copies of models, layer by layer, with their weights."""

import warnings
from collections.abc import Callable, Iterator

import keras

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import remaking
from tf_lottery.layers.acceptance import TRAINING_METHODS, own_methods
from tf_lottery.layers.copy_matching import differing_paths, matching_paths, matching_variables
from tf_lottery.layers.lora import adapters, enable_adapters, merge_masked_sum
from tf_lottery.layers.masked import builds_itself
from tf_lottery.layers.own_attributes import Change, copy_own_attributes, copy_plain_attributes, unchanged
from tf_lottery.layers.paths import held_layer, named_layers, named_variables
from tf_lottery.layers.remaking import (
    copy_assets,
    copy_subclassed,
    copy_variable,
    model_config,
    own_classes,
    paired_layers,
    refresh_constants,
)
from tf_lottery.layers.sublayers import (
    constructs_itself,
    is_made_from_own_config,
    is_nested_model,
    plain_class,
    sublayers_by_path,
)
from tf_lottery.utils.text import one_line

METHODS = ("call", "predict_step", *TRAINING_METHODS)
"""What a class may override, and a copy of another class would lose."""


def rebuild(
    model: keras.Model,
    replace: Callable[[keras.layers.Layer], keras.layers.Layer],
    *,
    share_attributes: bool = False,
    keep_classes: bool = False,
    change: Change = unchanged,
) -> keras.Model:
    """Returns a copy of the model in which every layer is replaced, nested models included; the weights are copied.

    Args:
        model: A built Sequential or functional model. It is not changed.
        replace: From a layer of the model to the layer of the copy. A layer that is returned as it is shares its
            weights with `model`.
        share_attributes: Whether attributes that the user set on the model or a layer, and that can't be copied, are
            shared; otherwise they are refused where a method of the user's may read them.
        keep_classes: Whether a nested model that its class makes from a configuration is replaced as one layer.
            Otherwise its layers are, and the copy has a plain functional model in its place.
        change: What `replace` changes in configurations, which is changed in inputs and attributes too.

    Returns:
        The copy, not compiled.

    Raises:
        UsageError: If the model or a nested one has a class, or an attribute, that the copy can't keep.
        UnfitError: If a layer can't be copied from its configuration, or the copy has other weights.
    """
    if replace is copy_layer and is_made_from_own_config(model):
        return copy_subclassed(model, share=share_attributes)
    rebuilt = clone_graph(model, replace, keep_classes=keep_classes, change=change)
    if not rebuilt.built:
        rebuilt.build(model.input_shape)
    parts = list(zip(_opened(model, keep_classes), _opened(rebuilt, keep_classes), strict=True))
    for part, copy in parts:
        _keep_class(part, copy, warn=keep_classes)
    layer_pairs = _layer_pairs(model, rebuilt)
    for layer, copy in layer_pairs:
        if copy is not layer:  # such as one that its first call builds
            enable_adapters(copy, adapters(layer))
    source, target = named_variables(model), named_variables(rebuilt)
    pairs = matching_variables(model, rebuilt)
    if not pairs and (source or target):
        raise UnfitError(
            f"The copy of the model {model.name!r} has other weights: "
            f"{', '.join(differing_paths(model, rebuilt)[:5])}.",
            "Its layers must be rebuilt by from_config(get_config()).",
        )
    for path, other in pairs.items():
        if target[other] is not source[path]:
            copy_variable(source[path], target[other])
    for layer, copy in layer_pairs:
        copy_settings(layer, copy, share=share_attributes, change=change)
    for part, copy in parts:
        # Its own flag alone: setting `trainable` to what it is does nothing, so a frozen copy could not be unfrozen.
        copy._trainable = part._trainable
        # What Keras's own methods don't read can be the same object in the copy.
        copy_own_attributes(part, copy, share=share_attributes or not own_methods(part, METHODS), change=change)
    return rebuilt


def _layer_pairs(model: keras.Model, copy: keras.Model) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
    layers, copies = named_layers(model), named_layers(copy)
    matched = matching_paths(layers, copies, lambda one, two: True)
    return [(held_layer(layers[path]), held_layer(copies[other])) for path, other in matched.items()]


def merge_masked_sums(model: keras.Model, copy: keras.Model) -> None:
    """Replaces LoRA in the plain copy of a wrapped model by kernels that hold the sums, where the model masks them.

    Args:
        model: A wrapped model.
        copy: A plain copy of it, with LoRA as in the model.
    """
    for layer, other in _layer_pairs(model, copy):
        inner = dict(sublayers_by_path(other))
        for path, one in sublayers_by_path(layer):
            if path in inner:
                merge_masked_sum(one, inner[path])


def copy_settings(
    layer: keras.layers.Layer, copy: keras.layers.Layer, *, share: bool, change: Change = unchanged
) -> None:
    """Copies what a configuration does not hold of a layer and of those inside it, which its constructor makes.

    Args:
        layer: A layer of a model.
        copy: Its copy, with the same weights.
        share: Whether attributes that can't be copied are shared, as for `rebuild`.
        change: What is changed in attributes.
    """
    if layer is copy:
        return
    inner = dict(sublayers_by_path(copy))
    for path, one in sublayers_by_path(layer):
        other = inner.get(path)
        if other is None or one is other:
            continue
        if path:
            other._trainable = one._trainable
            copy_assets(one, other)
        refresh_constants(other)
        copy_own_attributes(one, other, share=share, change=change)


def made_again(model: keras.Model) -> keras.Model:
    """Returns a plain model of the same class and structure, with new weights.

    Raises:
        UsageError: If its class can't be made from its configuration.
        UnfitError: If a layer can't be.
    """
    if not is_nested_model(model) or constructs_itself(model):
        return remaking.made_again(model)
    return clone_graph(model, lambda layer: copy_layer(held_layer(layer)), keep_classes=False)


def clone_graph(
    model: keras.Model,
    replace: Callable[[keras.layers.Layer], keras.layers.Layer],
    *,
    keep_classes: bool = True,
    change: Change = unchanged,
) -> keras.Model:
    """Returns a copy of a model's graph, uncompiled, with new weights; a layer that is used twice is replaced once.

    Args:
        model: A built Sequential or functional model. It is not changed.
        replace: From a layer of the model to the layer of the copy, which may be the same.
        keep_classes: As for `rebuild`.
        change: As for `rebuild`.
    """
    replaced: dict[int, keras.layers.Layer] = {}

    def clone_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if id(layer) not in replaced:
            if keep_classes and is_made_from_own_config(layer):
                copy = replace(layer)
                # A graph may also call a layer inside it, such as its embedding.
                replaced.update((id(one), other) for one, other in paired_layers(layer, copy))
            elif is_nested_model(layer):
                copy = keras.models.clone_model(layer, None, clone_layer)
            else:
                copy = replace(layer)
            replaced[id(layer)] = copy
        return replaced[id(layer)]

    inputs = None
    if not isinstance(model, keras.Sequential):
        inputs = keras.tree.map_structure(lambda tensor: copy_input(tensor, change), model.input)
    elif change is not unchanged:
        inputs = copy_input(model.inputs[0], change)
    compiled = [part for part in _opened(model, False) if part.compiled]
    try:
        # Keras would compile the copy from a serialized loss, which fails for a lambda.
        for part in compiled:
            part.compiled = False
        return keras.models.clone_model(model, inputs, clone_function=clone_layer)
    finally:
        for part in compiled:
            part.compiled = True


def copy_layer(layer: keras.layers.Layer, change: Change = unchanged) -> keras.layers.Layer:
    """Returns a layer of the same configuration, built if its class has a `build` method; weights are not copied.

    Args:
        layer: A layer, or an operation of a functional model.
        change: What is changed in its configuration and attributes.

    Raises:
        UnfitError: If the layer can't be built again from its configuration.
    """
    if isinstance(layer, keras.layers.Lambda):
        return _copy_lambda(layer, change)  # Keras refuses to make a function from a configuration
    if is_made_from_own_config(layer):
        return copy_subclassed(layer, change=change)
    try:
        config = model_config(layer) if isinstance(layer, keras.Model) else layer.get_config()
        own = own_classes(layer) if isinstance(layer, keras.layers.Layer) else {}
        with keras.saving.custom_object_scope(own):  # of a cell, say, whose class is not registered
            copy = type(layer).from_config(change(config))
    except (TypeError, ValueError, NotImplementedError) as error:
        raise UnfitError(
            f"The layer {layer.name!r} of class {type(layer).__name__} cannot be copied: {one_line(error)}",
            "Give its class a `get_config` with all arguments of its constructor.",
        ) from error
    if not isinstance(layer, keras.layers.Layer):  # an operation of a functional model, such as `x + 1`
        return copy
    config = layer.get_build_config()
    if layer.built and not copy.built and config and builds_itself(layer):
        copy.build_from_config(config)
    if copy.built:
        enable_adapters(copy, adapters(layer))
    copy_assets(layer, copy)
    copy_plain_attributes(layer, copy, change)  # what `adapt` of a layer of the user's set is needed to call it
    return copy


def copy_input(tensor: keras.KerasTensor, change: Change = unchanged) -> keras.KerasTensor:
    """Returns a new model input of the same name, shape, dtype and options; Keras names one after its tensor.

    Args:
        tensor: An input of a model.
        change: What is changed in its configuration.
    """
    layer = tensor._keras_history.operation
    return type(layer).from_config(change(layer.get_config())).output


def _copy_lambda(layer: keras.layers.Lambda, change: Change) -> keras.layers.Lambda:
    same = {name: getattr(layer, name) for name in ("mask", "arguments", "name", "trainable")}
    policy = keras.dtype_policies.get(change(keras.dtype_policies.serialize(layer.dtype_policy)))
    return keras.layers.Lambda(layer.function, output_shape=layer._output_shape, dtype=policy, **same)


def _opened(model: keras.Model, keep_classes: bool) -> Iterator[keras.Model]:
    """Yields a model and the nested ones whose layers are replaced one by one, parents first."""
    yield model
    for layer in model.layers:
        if is_nested_model(layer) and not (keep_classes and is_made_from_own_config(layer)):
            yield from _opened(layer, keep_classes)


def _keep_class(model: keras.Model, copy: keras.Model, *, warn: bool) -> None:
    """Gives a copy of a model's graph the model's class; warns or raises where that would need its constructor.

    Args:
        model: A Sequential or functional model.
        copy: A copy of its graph.
        warn: Whether to warn if the copy loses what computes nothing, such as a method `generate`.

    Raises:
        UsageError: If the copy would lose methods that compute or train, such as a `train_step`.
    """
    kind = plain_class(model)
    if type(copy) is kind or kind.__module__.startswith("keras."):
        return
    own = own_methods(model, METHODS)
    if not constructs_itself(model) and (isinstance(model, keras.Sequential) or own):
        copy.__class__ = kind  # its constructor takes a graph or layers, and what else it sets are attributes
        return
    if own:
        raise UsageError(
            f"The model {model.name!r} of class {kind.__name__}, which has its own {', '.join(own)}, can't be copied "
            "by its graph: its constructor makes its layers.",
            "Pass in_place=True, or give its class a `get_config` with all arguments of its constructor.",
        )
    lost = sorted(name for name in vars(kind) if not name.startswith("_"))
    if lost and warn:
        warnings.warn(
            f"The copy of the model {model.name!r} is a functional model without what the class {kind.__name__} adds "
            f"({', '.join(lost)}), since the class has no `get_config`.",
            stacklevel=4,
        )
