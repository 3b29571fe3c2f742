"""Gradients of the sum over all paths of the products of absolute weights: the flow that SynFlow scores by."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UnfitError
from tf_lottery.layers import get_masks, is_wrapped, named_layers, named_variables
from tf_lottery.layers.copying import copy_layer, rebuild
from tf_lottery.layers.kinds import kind_of
from tf_lottery.layers.lora import has_masked_lora
from tf_lottery.layers.masked import builds_itself
from tf_lottery.layers.paths import held_layer
from tf_lottery.layers.remaking import refresh_constants
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.pruning.masks import Masks, validate
from tf_lottery.training.gradients.loss import GradientArrays
from tf_lottery.training.gradients.maskable import maskable

ADDITIVE = ("bias", "beta", "mean")
FLOAT64_EXPONENT = 1000
PRECISE_EXPONENT = 900  # below 2**-1022, float64 loses digits
PLAIN_EXPONENT = 300


def path_gradients(model: keras.Model, masks: Mapping[str, np.ndarray] | None = None) -> GradientArrays:
    """dR/d|w|, with R the sum over all paths of the product of the absolute weights (Tanaka et al. 2020, 2006.05467).

    R is the sum of the outputs for an input of ones, in evaluation mode, of a copy with absolute weights and scales,
    zero biases, shifts and moving means, and linear activations: for what is positive a ReLU is linear anyway, and a
    last softmax would make R a constant. The copy computes in float64. Where R is beyond 2**(+-300) all the same, as in
    very deep networks, its input and its output are scaled by a power of two, so that R is near 1: all scores have the
    factor in common, and the ranking is the same.

    Args:
        model: a built model, wrapped or plain, of layers that are linear but for their activation; it is not changed.
        masks: the masks to compute with, by weight path; by default the model's own, or none.

    Returns:
        float64 arrays by weight path; 0.0 where pruned.

    Raises:
        UnfitError: the masks do not fit, inputs are integers, the network is not linear without its activations, or no
            path reaches the output.

    Example:
        >>> layers = [keras.layers.Dense(1, "relu", kernel_initializer=keras.initializers.Constant(-3)) for _ in "ab"]
        >>> path_gradients(keras.Sequential([keras.Input((1,)), *layers]))
        {'dense/kernel': array([[3.]]), 'dense_1/kernel': array([[3.]])}
    """
    return path_function(model)(masks)


def path_function(model: keras.Model) -> Callable[[Mapping[str, np.ndarray] | None], GradientArrays]:
    """`path_gradients` of one model and its weights of now, as a function of masks.

    SynFlow takes a hundred gradients under a hundred masks; the copy is made once.

    Args:
        model: as for `path_gradients`.
    """
    copy = _linear_copy(model)
    variables = {path: named_variables(copy)[path] for path in maskable(model)}
    weights = {path: np.array(keras.ops.convert_to_numpy(variable.value)) for path, variable in variables.items()}
    own = get_masks(model) if is_wrapped(model) else {path: np.ones(w.shape, bool) for path, w in weights.items()}

    def compute(masks: Mapping[str, np.ndarray] | None = None) -> GradientArrays:
        checked: Masks = own if masks is None else validate(masks, {path: w.shape for path, w in weights.items()})
        for path, variable in variables.items():
            variable.assign(np.where(checked[path], weights[path], 0.0))
        gradients = _gradients(copy, [variable.value for variable in variables.values()])
        return {
            path: np.where(checked[path], gradient, 0.0) for path, gradient in zip(variables, gradients, strict=True)
        }

    return compute


def _gradients(copy: keras.Model, watched: list[Any]) -> list[np.ndarray]:
    """dR/dw for every tensor of `watched`, scaled by a power of two if R is beyond the plain exponents."""
    exponent = _exponent(copy)
    if exponent is None:
        raise UnfitError(
            "No path of unpruned weights leads from the inputs to the outputs.", "Start from masks that keep more."
        )
    half = 0 if abs(exponent) <= PLAIN_EXPONENT else -exponent // 2
    with tf.GradientTape() as tape:
        tape.watch(watched)
        scaled = _flow(copy, half) * 2.0**half
    gradients = tape.gradient(scaled, watched, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    arrays = [np.asarray(tf.convert_to_tensor(gradient)) for gradient in gradients]
    if not all(np.isfinite(array).all() for array in arrays):
        raise _beyond()
    return arrays


def _exponent(copy: keras.Model) -> int | None:
    """The power of two of R, from the first scale of the input at which float64 holds it; None if R is zero.

    Raises:
        UnfitError: R is not proportional to the input, or out of all range.
    """
    flow = 0.0
    for scale in (0, -FLOAT64_EXPONENT, FLOAT64_EXPONENT):
        flow = float(_flow(copy, scale))
        if math.isfinite(flow) and abs(flow) > 2.0**-PRECISE_EXPONENT:
            break
    if not math.isfinite(flow):
        raise _beyond()
    if flow == 0:
        return None
    towards = -1 if flow > 1 else 1  # away from the ends of the range
    if flow < 0 or not math.isclose(float(_flow(copy, scale + towards)), flow * 2.0**towards, rel_tol=1e-9):
        kinds = sorted({type(held_layer(layer)).__name__ for layer in named_layers(copy).values()})
        raise UnfitError(
            "The sum over paths is defined for networks that are linear and positive if activations are linear "
            f"and their weights positive. This one is not; its layers are of the kinds {', '.join(kinds)}.",
            "Choose a criterion that uses data, such as snip or grasp.",
        )
    return math.frexp(flow)[1] - scale


def _flow(copy: keras.Model, exponent: int) -> tf.Tensor:
    """R for an input of 2**exponent everywhere."""
    inputs = [
        tf.fill([1, *(size or 1 for size in tensor.shape[1:])], tf.constant(2.0**exponent, tf.float64))
        for tensor in copy.inputs
    ]
    outputs = copy(keras.tree.pack_sequence_as(copy.input, inputs) if len(inputs) > 1 else inputs[0], training=False)
    return tf.add_n([tf.reduce_sum(tf.cast(output, tf.float64)) for output in keras.tree.flatten(outputs)])


def _linear_copy(model: keras.Model) -> keras.Model:
    """A plain copy in float64 without activations, with absolute weights and without what is added to the flow."""
    for tensor in model.inputs:
        if not keras.backend.is_float_dtype(tensor.dtype):
            raise UnfitError(
                f"The sum over paths needs inputs of real numbers. The input {tensor.name!r} is of type "
                f"{tensor.dtype}.",
                "Choose a criterion that uses data, such as snip or grasp.",
            )
    copy = rebuild(model, _linear, share_attributes=True)
    _compute_in_float64(copy)
    for path, variable in named_variables(copy).items():
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        added = any(part in path.rpartition("/")[2] for part in ADDITIVE)
        value = np.abs(keras.ops.convert_to_numpy(variable.value))
        variable.assign(np.zeros_like(value) if added else value)
    for layer in named_layers(copy).values():
        refresh_constants(layer)
    return copy


def _linear(layer: Any) -> Any:
    """A copy of one layer, or operation of a functional model, in float64 with linear activations."""
    inner = held_layer(layer)
    adapted = isinstance(inner, keras.layers.Layer) and has_masked_lora(inner)
    if kind_of(inner).path_sum == "undefined" or adapted:
        raise UnfitError(
            f"The sum over paths is not defined for the layer {inner.name!r} of class {type(inner).__name__}"
            f"{' with LoRA' if adapted else ''}.",
            "Choose a criterion that uses data, such as snip or grasp.",
        )
    if kind_of(inner).path_sum == "identity":
        return keras.layers.Identity(name=inner.name, dtype="float64")
    if not isinstance(inner, keras.layers.Layer) or isinstance(inner, keras.layers.Lambda):
        copy = copy_layer(inner)
        if isinstance(copy, keras.layers.Lambda):
            copy.dtype_policy = "float64"
        return copy
    copy = type(inner).from_config(_linear_config(inner.get_config()))
    config = inner.get_build_config()
    if config and not copy.built and builds_itself(inner):
        copy.build_from_config(config)
    return copy


def _linear_config(config: Any) -> Any:
    """A configuration with float64 for each `dtype` and "linear" for each activation, in nested layers too."""
    if isinstance(config, list | tuple):
        return type(config)(_linear_config(item) for item in config)
    if not isinstance(config, dict):
        return config
    changed = {key: _linear_config(value) for key, value in config.items()}
    changed |= {key: "float64" for key in config if key == "dtype"}
    return changed | {key: "linear" for key in config if key in ("activation", "recurrent_activation")}


def _compute_in_float64(model: keras.Model) -> None:
    """Make a model, and the models in it, pass their inputs on in float64: Keras casts them to the type of `Input`."""
    model.dtype_policy = "float64"
    inputs = [layer for layer in model._layers if isinstance(layer, keras.layers.InputLayer)]
    for tensor in [*model.inputs, *inputs]:  # a functional model asks its symbolic inputs, a Sequential one its layer
        tensor._dtype = "float64"
    for layer in model.layers:
        if is_nested_model(layer):
            _compute_in_float64(layer)


def _beyond() -> UnfitError:
    return UnfitError(
        "The sum over paths is out of the range of float64, with the input scaled by 2**(+-1000) too.",
        "Scale the initial weights, or use normalization layers.",
    )
