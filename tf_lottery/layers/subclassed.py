"""The class of a wrapped model that its own class makes: a subclass of the user's, which holds the masks.

A subclassed model, and a functional one whose constructor makes its layers, keeps its methods and layers when it is
wrapped. Its class becomes a subclass of the user's, so that a saved file knows which weights are masked; the masks are
the variables of one layer that it holds.
"""

import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import keras

from tf_lottery.layers.lora import Lora, adapters, enable_adapters, merge_masked_sum, release_lora
from tf_lottery.layers.masked import guard_weights, refuse_quantization
from tf_lottery.layers.masked_variable import mask_variable, read_once, unmask_variable
from tf_lottery.layers.own_attributes import OF_WRAPPING
from tf_lottery.layers.paths import named_variables
from tf_lottery.layers.remaking import build_configs, build_like, serialize_plain
from tf_lottery.layers.sublayers import MASKS, PLAIN_CLASS, plain_class


class _Masks(keras.layers.Layer):
    """Holds the masks of a model as variables, by weight path. It computes nothing."""

    def __init__(self, shapes: Mapping[str, Sequence[int]], lora: Lora) -> None:
        super().__init__(name="masks")
        self.lora = lora
        self.by_path = {
            path: self.add_weight(
                name=f"{path.replace('/', '_')}_mask", shape=shape, dtype="bool", initializer="ones", trainable=False
            )
            for path, shape in shapes.items()
        }
        self.built = True

    def load_own_variables(self, store: Any) -> None:
        """Loads the masks of a file; without any, those of a plain model's file, all masks stay."""
        if store.keys():
            super().load_own_variables(store)


@keras.saving.register_keras_serializable("tf_lottery")
class WrappedModel:
    """What the class of a wrapped subclassed model adds to the user's: a configuration that holds what is masked."""

    def get_config(self) -> dict[str, Any]:
        """Returns the user's configuration, how the layers were built, and the paths of the masked weights."""
        masks: _Masks = getattr(self, MASKS)
        order = list(named_variables(self))
        lora = {"lora": masks.lora, "adapters": adapters(self)} if masks.lora != "error" else {}
        return {
            **lora,
            "model": serialize_plain(self),
            "builds": build_configs(self),
            "weights": list(masks.by_path),
            "positions": [order.index(path) for path in masks.by_path],
        }

    def __reduce__(self) -> Any:
        """Returns how the model is copied and pickled: as Keras does it, but not by the name of a class made here."""
        reduced: Any = super().__reduce__()
        return _unpickle, reduced[1]

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets weights from a list as `get_weights` returns it, or as that of the plain model does."""
        model: Any = self
        masks, own = getattr(model, MASKS).weights, model.weights
        if len(weights) == len(own) - len(masks):
            ids = {id(mask) for mask in masks}
            values = iter(weights)
            weights = [variable.numpy() if id(variable) in ids else next(values) for variable in own]
        super().set_weights(weights)  # type: ignore[misc]

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> keras.Model:
        """Makes the model, its weights and masks of ones; from a configuration of the user's class, a plain model.

        Args:
            config: As from `get_config`.
            custom_objects: Classes of the user's by name, as in Keras.
        """
        if "builds" not in config:
            return getattr(cls, PLAIN_CLASS).from_config(config)
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects=custom_objects)
        build_like(model, config["builds"])
        enable_adapters(model, config.get("adapters", {}))
        order, paths = list(named_variables(model)), config["weights"]
        if not set(paths) <= set(order):  # a constructor that counts its instances has named its layers by that
            paths = [order[position] for position in config["positions"]]
        return mask_in_place(model, paths, lora=config.get("lora", "error"))


def _unpickle(file: Any) -> keras.Model:
    return keras.Model._unpickle_model(file)


def mask_in_place(model: keras.Model, paths: Sequence[str], *, lora: Lora = "error") -> keras.Model:
    """Masks weights of a model that its class makes; the class becomes a subclass of its own. Returns the model.

    Args:
        model: A built model, subclassed or with a constructor that makes its layers, not masked.
        paths: The paths of the weights to mask, as in `named_variables`.
        lora: What is done with LoRA on them, as for `wrap`.
    """
    variables = named_variables(model)
    masks = _Masks({path: tuple(variables[path].shape) for path in paths}, lora)
    with _unlocked(model):
        setattr(model, MASKS, masks)
    kind: Any = type(model)
    model.__class__ = _wrapped_class(kind)
    for path, mask in masks.by_path.items():
        mask_variable(variables[path], mask)
    guard_weights(model, lora)
    refuse_quantization(model)
    for layer in model._flatten_layers(include_self=False):
        if isinstance(layer, keras.layers.RNN):
            _read_once_a_call(layer)
    forget_traces(model)
    return model


def unmask_in_place(model: keras.Model) -> keras.Model:
    """Makes a model that `mask_in_place` masked plain again, with zeros where weights are pruned; returns the model."""
    variables = named_variables(model)
    for layer in model._flatten_layers(include_self=False):
        merge_masked_sum(layer, layer)
        release_lora(layer)
    for path in getattr(model, MASKS).by_path:
        variables[path].assign(variables[path].value)
        unmask_variable(variables[path])
    for layer in model._flatten_layers():
        for name, value in list(vars(layer).items()):
            if hasattr(value, OF_WRAPPING):
                vars(layer).pop(name)
                if callable(replaced := getattr(value, OF_WRAPPING)):
                    vars(layer)[name] = replaced
    with _unlocked(model):
        model._tracker.untrack(getattr(model, MASKS))
        vars(model).pop(MASKS)
    model.__class__ = plain_class(model)
    forget_traces(model)
    return model


@contextlib.contextmanager
def _unlocked(model: keras.Model) -> Iterator[None]:
    """Lets layers be added to a built model; Keras leaves functional models open, and locks subclassed ones."""
    locked = model._tracker.locked
    model._tracker.unlock()
    try:
        yield
    finally:
        if locked:
            model._tracker.lock()


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
    members = {"__module__": kind.__module__, PLAIN_CLASS: kind}
    wrapped = type(f"Wrapped{kind.__name__}", (WrappedModel, kind), members)
    return keras.saving.register_keras_serializable("tf_lottery", "WrappedModel")(wrapped)  # type: ignore[no-any-return]
