"""`wrap` and `strip`: from a plain model to one with mask-applying layers and back, and access to its masks."""

import logging
import os
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.layers.acceptance import check_model, check_prunable, is_wrapped
from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.paths import held_layer, named_layers, named_variables
from tf_lottery.layers.selectors import Selector
from tf_lottery.pruning.masks import Masks, validate
from tf_lottery.utils.text import one_line

log = logging.getLogger(__name__)


def wrap(
    model: keras.Model, *, include: Selector | None = None, exclude: Selector | None = None, in_place: bool = False
) -> keras.Model:
    """Returns a copy of the model with mask-applying layers; all masks start as ones.

    The copy trains in `fit` or in any custom loop, saves and loads as `.keras`, and computes what `model` computes. It
    is not compiled. Frozen layers (`trainable=False`) are masked too, and stay frozen. What is not masked, and why, is
    logged at INFO level, and returned by `discover`.

    Args:
        model: A built Sequential or functional model.
        include: What to mask instead of the default (kernels of dense, convolution, recurrent, attention and embedding
            layers): layer names, glob patterns, or a predicate `(path, variable) -> bool`; see `discover`.
        exclude: What to leave alone, in the same form; it overrides `include`.
        in_place: Whether to share the weights with `model`, so that training the wrapped model trains `model` too, and
            the objects that were set on it.

    Raises:
        UsageError: If `model` is not a Sequential or functional model, is already wrapped, has an attribute that can't
            be copied, or a pattern matches nothing.
        UnfitError: If the model is not built, or nothing in it can be masked.
        NonFiniteError: If a maskable weight is NaN or infinite.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> sorted(get_masks(wrap(model)))
        ['dense/kernel', 'dense_1/kernel']
    """
    check_model(model)
    discovery = check_prunable(model, include=include, exclude=exclude)
    for path, reason in discovery.skipped.items():
        log.info("not masked: %s (%s)", path, reason)
    by_layer: dict[int, list[str]] = {}
    layers = named_layers(model)
    for weight in discovery.found.values():
        by_layer.setdefault(id(layers[weight.layer_path]), []).append(weight.weight_path)

    def wrap_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        weights = by_layer.get(id(layer))
        if weights is None:
            return layer if in_place else copy_layer(layer)
        return Masked(layer if in_place else copy_layer(layer), weights)

    return rebuild(model, wrap_layer, share_attributes=in_place)


def strip(model: keras.Model) -> keras.Model:
    """Returns a plain copy of a wrapped model, with the masks applied to the weights and without custom objects.

    Args:
        model: A wrapped model. It keeps its masks.

    Raises:
        UsageError: If the model is not wrapped.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> wrapped = wrap(model)
        >>> set_masks(wrapped, {"dense/kernel": np.array([[True, False], [False, True]])})
        >>> (strip(wrapped).layers[0].kernel.numpy() != 0).tolist()
        [[True, False], [False, True]]
    """
    if not is_wrapped(model):
        raise UsageError("`strip` expects a wrapped model. Received a model without mask-applying layers.")
    apply_masks(model)
    return rebuild(model, lambda layer: copy_layer(held_layer(layer)), share_attributes=True)


def get_masks(model: keras.Model) -> Masks:
    """Returns the masks of a wrapped model: boolean arrays (copies) keyed by weight path.

    Raises:
        UsageError: If the model is not wrapped.
    """
    return {
        f"{path}/{weight}": mask
        for path, layer in masked_layers(model).items()
        for weight, mask in layer.get_masks().items()
    }


def set_masks(model: keras.Model, masks: Mapping[str, np.ndarray]) -> None:
    """Sets the masks of a wrapped model, and its stored weights to exactly 0.0 where they are pruned.

    Args:
        model: A wrapped model.
        masks: A boolean array for every masked weight, True where the weight is kept, keyed by weight path as in
            `get_masks`.

    Raises:
        UsageError: If the model is not wrapped.
        UnfitError: If a key is missing or unexpected, or a shape differs; nothing is changed then.
    """
    layers = masked_layers(model)
    shapes = {f"{p}/{w}": m.shape for p, layer in layers.items() for w, m in layer.mask_variables.items()}
    checked = validate(masks, shapes)
    for path, layer in layers.items():
        for weight, variable in layer.mask_variables.items():
            variable.assign(checked[f"{path}/{weight}"])
        layer.apply_masks()


def apply_masks(model: keras.Model) -> None:
    """Sets the stored weights of a wrapped model to exactly 0.0 where they are pruned."""
    for layer in masked_layers(model).values():
        layer.apply_masks()


def masked_layers(model: keras.Model) -> dict[str, Masked]:
    """Returns the mask-applying layers of a wrapped model by path.

    Raises:
        UsageError: If the model is not wrapped.
    """
    layers = {path: layer for path, layer in named_layers(model).items() if isinstance(layer, Masked)}
    if not layers:
        raise UsageError(
            "A wrapped model is expected. Received a model without mask-applying layers.", "`wrap` it first."
        )
    return layers


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns all variables of a model as arrays (copies) keyed by path; pruned weights are exactly 0.0.

    The paths are those of `get_masks`, and the same for a plain and a wrapped model.
    """
    if is_wrapped(model):
        apply_masks(model)
    return {path: np.array(ops.convert_to_numpy(v.value)) for path, v in named_variables(model).items()}


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Assigns variables by path; pruned weights stay exactly 0.0.

    Args:
        model: A built model, plain or wrapped.
        weights: Arrays of the variables' shapes, keyed by path as in `get_weights`. Variables that it does not name
            keep their values.

    Raises:
        UnfitError: If a path is unknown or a shape differs; nothing is changed then.
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
    """Loads a wrapped or plain model from a `.keras` file.

    Args:
        path: The path of the file.
        **kwargs: Passed to `keras.models.load_model`. Safe mode stays on unless `safe_mode=False` is passed.

    Raises:
        UsageError: If there is no such file.
        DamagedError: If the file can't be read as a Keras model.
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
