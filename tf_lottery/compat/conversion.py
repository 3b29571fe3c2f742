"""`from_tfmot`: a model that tfmot pruned becomes a plain Keras 3 model and its masks."""

import os
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tf_lottery.compat.tf_keras_models import convert_model
from tf_lottery.compat.tf_keras_reader import LayerWeights, ModelDescription, describe_model, read_description
from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.layers import discover, named_variables
from tf_lottery.layers.acceptance import is_of_tf_keras
from tf_lottery.layers.remaking import refresh_constants
from tf_lottery.pruning.masks import Masks
from tf_lottery.utils.child_process import ProgramError, program, run_program
from tf_lottery.utils.optional import require


def from_tfmot(model: Any) -> tuple[keras.Model, Masks]:
    """Returns a plain Keras 3 model that computes what a model pruned by tfmot does, and its masks.

    The model is converted by its configuration, layer by layer of the same class name, and its weights by their order.
    It is not compiled. To train it further with its masks: `wrapped = wrap(model)`, `set_masks(wrapped, masks)`.

    Args:
        model: A model of tf_keras, Sequential or functional, as `prune_low_magnitude` or `strip_pruning` returns it; or
            the path of its `.h5` or `.keras` file or of its SavedModel, which is loaded in a process of its own. A
            SavedModel runs the code in it: load one that you trust.

    Returns:
        The model, with exactly 0.0 where pruned, and masks by weight path, as `set_masks` takes them. Masks are those
        of tfmot. A stripped model has none any more, so there every weight that is exactly 0.0 counts as pruned.

    Raises:
        UsageError: If `model` is none of these, or tf_keras is not installed.
        UnfitError: If it is a subclassed model, or has a layer or an argument that Keras 3 does not have.
        DamagedError: If the file can't be loaded.

    Example:
        `plain, masks = from_tfmot("pruned.h5")`
    """
    if isinstance(model, str | os.PathLike):
        description = _read_file(Path(model))
    elif is_of_tf_keras(model):
        description = describe_model(model)
    else:
        raise UsageError(
            "`model` must be a model of tf_keras, or the path of its file. Received: "
            f"{type(model).__module__}.{type(model).__name__}.",
            "`wrap` takes models of Keras 3 as they are.",
        )
    return _convert(description)


def _read_file(path: Path) -> ModelDescription:
    if not path.exists():
        raise UsageError(f"There is no model file {os.fspath(path)!r}.", "Give the path of a file or SavedModel.")
    require("tf_keras", "Files of tfmot")
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "TF_USE_LEGACY_KERAS": "1"}
        try:
            code = program("tf_lottery.compat.tf_keras_reader")
            run_program(code, [path.absolute(), folder], name="tf_keras", environment=environment)
        except ProgramError as error:
            raise DamagedError(
                f"{os.fspath(path)!r} can't be read as a model of tf_keras: {error.reason}",
                "Check that it is a whole file, and that its layers are of tf_keras and tfmot.",
            ) from error
        return read_description(Path(folder))


def _convert(description: ModelDescription) -> tuple[keras.Model, Masks]:
    model, layers = convert_model(description.config)
    masks_by_variable: dict[int, Any] = {}
    for place, weights in description.layers.items():
        if weights.values:
            masks_by_variable |= _assign_weights("/".join(place), layers[place], weights)
    variables = named_variables(model)
    masks: Masks = {}
    for path in discover(model).found:
        value = np.array(keras.ops.convert_to_numpy(variables[path].value))
        if description.is_wrapped:
            masks[path] = masks_by_variable.get(id(variables[path]), np.ones(value.shape, bool))
        else:
            masks[path] = value != 0
    return model, masks


def _assign_weights(name: str, layer: keras.layers.Layer, weights: LayerWeights) -> dict[int, Any]:
    """Assigns the weights of a layer, with 0.0 where they are pruned; returns the masks by the id of the variable."""
    if isinstance(layer, keras.layers.Discretization):  # Keras 3 holds what it was adapted to in no weight
        (layer.summary,) = weights.values
        layer.finalize_state()
        return {}
    variables = layer.weights
    here = [(variable.name, tuple(variable.shape)) for variable in variables]
    depthwise = isinstance(layer, keras.layers.DepthwiseConv1D | keras.layers.DepthwiseConv2D)
    names = ["kernel" if depthwise and own == "depthwise_kernel" else own for own in weights.names]
    there = [(own, value.shape) for own, value in zip(names, weights.values, strict=True)]
    if here != there:
        raise UnfitError(
            f"The weights of the layer {name!r} of class {type(layer).__name__} differ between tf_keras and Keras 3: "
            f"{there}, {here}.",
            "Put another layer in its place before the model is converted.",
        )
    masks = {}
    for position, (variable, value) in enumerate(zip(variables, weights.values, strict=True)):
        mask = weights.masks.get(position)
        variable.assign(value if mask is None else np.where(mask, value, np.zeros((), value.dtype)))
        if mask is not None:
            masks[id(variable)] = mask
    refresh_constants(layer)
    return masks
