"""Copies of models, layer by layer, with their weights."""

import inspect
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import keras

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers.acceptance import TRAINING_METHODS, own_methods
from tf_lottery.layers.masked import builds_itself
from tf_lottery.layers.own_attributes import copy_own_attributes
from tf_lottery.layers.paths import held_layer, named_layers, named_variables
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.utils.text import one_line

METHODS = ("call", "predict_step", *TRAINING_METHODS)
"""What a class may override, and a copy of another class would lose."""


def rebuild(
    model: keras.Model, replace: Callable[[keras.layers.Layer], keras.layers.Layer], *, share_attributes: bool = False
) -> keras.Model:
    """Returns a copy of the model in which every layer is replaced, nested models included; the weights are copied.

    Args:
        model: A built Sequential or functional model. It is not changed.
        replace: From a layer of the model to the layer of the copy. A layer that is returned as it is shares its
            weights with `model`.
        share_attributes: Whether attributes that the user set on the model or a layer, and that can't be copied, are
            shared; otherwise they are refused where a method of the user's may read them.

    Returns:
        The copy, not compiled.

    Raises:
        UsageError: If the model or a nested one has a class, or an attribute, that the copy can't keep.
        UnfitError: If a layer can't be copied from its configuration, or the copy has other weights.
    """
    compiled = [part for part in _with_nested_models(model) if part.compiled]
    try:
        # Keras would compile the copy from a serialized loss, which fails for a lambda.
        for part in compiled:
            part.compiled = False
        inputs = None if isinstance(model, keras.Sequential) else keras.tree.map_structure(copy_input, model.input)
        rebuilt = keras.models.clone_model(model, inputs, clone_function=replace, recursive=True)
    finally:
        for part in compiled:
            part.compiled = True
    if not rebuilt.built:
        rebuilt.build(model.input_shape)
    _check_classes(model, rebuilt)
    source, target = named_variables(model), named_variables(rebuilt)
    if set(source) != set(target):
        raise UnfitError(
            f"The copy of the model {model.name!r} has other weights: {', '.join(sorted(set(source) ^ set(target)))}.",
            "Its layers must be rebuilt by from_config(get_config()).",
        )
    for path, variable in target.items():
        if variable is not source[path]:
            variable.assign(source[path].value)
            variable.trainable = source[path].trainable
    layers = named_layers(model)
    for path, layer in named_layers(rebuilt).items():
        refresh_constants(held_layer(layer))
        if path in layers:
            copy_own_attributes(held_layer(layers[path]), held_layer(layer), share=share_attributes)
    for part, copy in zip(_with_nested_models(model), _with_nested_models(rebuilt), strict=True):
        # Its own flag alone: setting `trainable` to what it is does nothing, so a frozen copy could not be unfrozen.
        copy._trainable = part._trainable
        # What Keras's own methods don't read can be the same object in the copy.
        copy_own_attributes(part, copy, share=share_attributes or not own_methods(part, METHODS))
    return rebuilt


def copy_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Returns a layer of the same configuration, built if its class has a `build` method; weights are not copied.

    Raises:
        UnfitError: If the layer can't be built again from its configuration.
    """
    if isinstance(layer, keras.layers.Lambda):
        return _copy_lambda(layer)  # Keras refuses to make a function from a configuration
    try:
        config = model_config(layer) if isinstance(layer, keras.Model) else layer.get_config()
        copy = type(layer).from_config(config)
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
    if hasattr(layer, "save_assets"):  # a vocabulary, which is neither configuration nor variable
        with tempfile.TemporaryDirectory() as folder:
            layer.save_assets(folder)
            copy.load_assets(folder)
    return copy


def model_config(model: keras.Model) -> dict[str, Any]:
    """Returns the configuration of a model, from which its class makes it again.

    Where a subclassed model's class has none, Keras would give the constructor's defaults for its arguments.

    Raises:
        NotImplementedError: If its class has no `get_config`, and a constructor that takes arguments.
    """
    if is_nested_model(model) or not hasattr(type(model).get_config, "_is_default"):
        return dict(model.get_config())
    parameters = list(inspect.signature(type(model).__init__).parameters.values())[1:]
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    of_keras = ("name", "trainable", "dtype")
    own = [one.name for one in parameters if one.kind not in variadic and one.name not in of_keras]
    if own:
        raise NotImplementedError(f"its class has no `get_config`, so its {', '.join(own)} would be lost")
    return {}


def copy_input(tensor: keras.KerasTensor) -> keras.KerasTensor:
    """Returns a new model input of the same name, shape, dtype and options; Keras names one after its tensor."""
    layer = tensor._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


def refresh_constants(layer: keras.layers.Layer) -> None:
    """Updates what a layer derived from its variables, after they were assigned: the constants of `Normalization`."""
    if isinstance(layer, keras.layers.Normalization):
        layer.finalize_state()


def _copy_lambda(layer: keras.layers.Lambda) -> keras.layers.Lambda:
    same = {name: getattr(layer, name) for name in ("mask", "arguments", "name", "trainable")}
    return keras.layers.Lambda(layer.function, output_shape=layer._output_shape, dtype=layer.dtype_policy, **same)


def _with_nested_models(model: keras.Model) -> Iterator[keras.Model]:
    yield model
    for layer in model.layers:
        if is_nested_model(layer):
            yield from _with_nested_models(layer)


def _check_classes(model: keras.Model, rebuilt: keras.Model) -> None:
    """Raises if the copy has lost methods of the user's own class, such as a `train_step`."""
    for before, after in zip(_with_nested_models(model), _with_nested_models(rebuilt), strict=True):
        own = own_methods(before, METHODS)
        if own and type(before) is not type(after):
            raise UsageError(
                f"Subclassed models are not supported. Received: {type(before).__name__} (name {before.name!r}), "
                f"which has its own {', '.join(own)}.",
                "Make it a functional model, or give its class the constructor (inputs, outputs, **kwargs).",
            )
