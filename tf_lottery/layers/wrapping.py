"""`wrap` and `strip`: a model with mask-applying layers, and the plain model back; masks in and out."""

import logging
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_lottery.errors import DamagedError, NonFiniteError, UnfitError, UsageError
from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.layers.discovery import Discovery, Selector, discover
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.paths import held_layer, named_layers, named_variables
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.pruning.masks import Masks, validate
from tf_lottery.utils.text import one_line

log = logging.getLogger(__name__)


def wrap(
    model: keras.Model, *, include: Selector | None = None, exclude: Selector | None = None, in_place: bool = False
) -> keras.Model:
    """A copy of `model` whose maskable weights are held by mask-applying layers; all masks start as ones.

    It trains in `fit` or in any custom loop, saves and loads as `.keras`, and computes what `model` computes. It is not
    compiled. Frozen layers (`trainable=False`) are masked too, and stay frozen. What is not masked, and why, is logged
    at INFO level and told by `discover`.

    Args:
        model: a built Sequential or functional model.
        include: what to mask instead of the default (kernels of dense, convolution, recurrent, attention and embedding
            layers): layer names, glob patterns, or a predicate `(path, variable) -> bool`; see `discover`.
        exclude: what to leave alone, said the same way.
        in_place: share the weights with `model`, so that training the wrapped model trains `model` as well.

    Raises:
        UsageError: not a Sequential or functional model, already wrapped, or a pattern matches nothing.
        UnfitError: the model is not built, or nothing in it can be masked.
        NonFiniteError: a maskable weight is NaN or infinite.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> sorted(get_masks(wrap(model)))
        ['dense/kernel', 'dense_1/kernel']
    """
    check_wrappable(model)
    if is_wrapped(model):
        raise UsageError("The model is already wrapped.", "Use `set_masks` to change its masks, or `strip` it first.")
    found = discover(model, include=include, exclude=exclude)
    check_maskable(found)
    for path, reason in found.skipped.items():
        log.info("not masked: %s (%s)", path, reason)
    by_layer: dict[int, list[str]] = {}
    layers = named_layers(model)
    for weight in found.found.values():
        by_layer.setdefault(id(layers[weight.layer_path]), []).append(weight.weight_path)

    def wrapped(layer: keras.layers.Layer) -> keras.layers.Layer:
        weights = by_layer.get(id(layer))
        if weights is None:
            return layer if in_place else copy_layer(layer)
        return Masked(layer if in_place else copy_layer(layer), weights)

    return rebuild(model, wrapped)


def strip(model: keras.Model) -> keras.Model:
    """The plain model: masks applied to the weights, no custom objects. A copy; `model` keeps its masks.

    Raises:
        UsageError: the model is not wrapped.
    """
    if not is_wrapped(model):
        raise UsageError("`strip` expects a wrapped model. Received a model without mask-applying layers.")
    apply_masks(model)
    return rebuild(model, lambda layer: copy_layer(held_layer(layer)))


def get_masks(model: keras.Model) -> Masks:
    """The masks of a wrapped model: boolean arrays (copies) keyed by weight path."""
    return {
        f"{path}/{weight}": mask
        for path, layer in masked_layers(model).items()
        for weight, mask in layer.get_masks().items()
    }


def set_masks(model: keras.Model, masks: Mapping[str, np.ndarray]) -> None:
    """Set the masks of a wrapped model, and its stored weights to exactly 0.0 where pruned.

    Args:
        model: a wrapped model.
        masks: one boolean array for every masked weight, keyed by weight path, as from `get_masks`.

    Raises:
        UnfitError: a key is missing or extra, or a shape differs; nothing is changed then.
    """
    layers = masked_layers(model)
    shapes = {f"{p}/{w}": m.shape for p, layer in layers.items() for w, m in layer.mask_variables.items()}
    checked = validate(masks, shapes)
    for path, layer in layers.items():
        for weight, variable in layer.mask_variables.items():
            variable.assign(checked[f"{path}/{weight}"])
        layer.apply_masks()


def apply_masks(model: keras.Model) -> None:
    """Set the stored weights of a wrapped model to exactly 0.0 where pruned."""
    for layer in masked_layers(model).values():
        layer.apply_masks()


def masked_layers(model: keras.Model) -> dict[str, Masked]:
    """The mask-applying layers of a wrapped model by path.

    Raises:
        UsageError: there are none.
    """
    layers = {path: layer for path, layer in named_layers(model).items() if isinstance(layer, Masked)}
    if not layers:
        raise UsageError(
            "A wrapped model is expected. Received a model without mask-applying layers.", "`wrap` it first."
        )
    return layers


def is_wrapped(model: keras.Model) -> bool:
    """Whether a model has mask-applying layers."""
    return any(isinstance(layer, Masked) for layer in named_layers(model).values())


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """All variables of a model as arrays (copies) keyed by path; masked weights with exactly 0.0 where pruned."""
    if is_wrapped(model):
        apply_masks(model)
    return {path: np.array(ops.convert_to_numpy(v.value)) for path, v in named_variables(model).items()}


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assign variables by path; those that `weights` does not name keep their values, and pruned ones are exactly 0.0.

    Raises:
        UnfitError: a path is unknown or a shape differs; nothing is changed then.
    """
    variables = named_variables(model)
    for path, weight in weights.items():
        if path not in variables or tuple(variables[path].shape) != np.shape(weight):
            expected = tuple(variables[path].shape) if path in variables else "no variable of this path"
            raise UnfitError(f"Weights of {path!r} with shape {np.shape(weight)} do not fit the model ({expected}).")
    for path, weight in weights.items():
        variables[path].assign(weight)
    if is_wrapped(model):
        apply_masks(model)


def load_model(path: str | os.PathLike[str], **kwargs: Any) -> keras.Model:
    """Load a `.keras` file, wrapped or plain.

    Args:
        path: the file.
        **kwargs: passed to `keras.models.load_model`; safe mode stays on unless `safe_mode=False` is given.

    Raises:
        UsageError: there is no such file.
        DamagedError: the file can't be read as a Keras model.
    """
    if not os.path.exists(path):
        raise UsageError(f"There is no model file {os.fspath(path)!r}.", "Give the path of a .keras file.")
    try:
        return keras.models.load_model(path, **kwargs)
    except (ValueError, OSError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DamagedError(
            f"{os.fspath(path)!r} can't be loaded as a Keras model: {one_line(error)}",
            "Check that it is a whole .keras file; custom classes must be registered or given as `custom_objects`.",
        ) from error


def check_wrappable(model: object) -> None:
    """Raise unless `model` is a built Sequential or functional model."""
    if not isinstance(model, keras.Model):
        raise UsageError(f"A keras.Model is expected. Received: {type(model).__module__}.{type(model).__name__}.")
    if not is_nested_model(model):
        raise UsageError(
            f"Subclassed models are not supported. Received: {type(model).__name__} (name {model.name!r}).",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )
    if not model.built or not getattr(model, "inputs", None):
        raise UnfitError(
            f"The model {model.name!r} is not built, so it has no weights to mask.",
            "Start it with keras.Input(shape), or call model.build(input_shape) first.",
        )


def check_maskable(found: Discovery) -> None:
    """Raise unless something can be masked and all of it is finite."""
    if not found.found:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in found.skipped.items()) or "it has no weights"
        raise UnfitError(f"Nothing in the model can be masked ({reasons}).", "Name weights by `include`.")
    for path, weight in found.found.items():
        if not np.isfinite(ops.convert_to_numpy(weight.variable.value)).all():
            raise NonFiniteError(f"The weights of {path!r} must be finite. Received NaN or infinite values.")
