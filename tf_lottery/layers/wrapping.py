"""`wrap` and `strip`: from a plain model to one with mask-applying layers and back, and access to its masks."""

import logging
from collections.abc import Container, Mapping, Sequence

import keras
import numpy as np
from keras import ops

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers.acceptance import check_model, check_prunable, is_wrapped, warn_of_kernels_left_out
from tf_lottery.layers.copy_matching import matching_variables
from tf_lottery.layers.copying import copy_layer, merge_masked_sums, rebuild
from tf_lottery.layers.lora import Lora, adapted_layers, adapted_variable, check_lora, computed_weight
from tf_lottery.layers.masked import Masked, refuse_quantization
from tf_lottery.layers.masked_variable import is_masked, mask_of
from tf_lottery.layers.paths import held_layer, named_layers, named_variables
from tf_lottery.layers.remaking import all_layers, copy_subclassed, refresh_constants
from tf_lottery.layers.selectors import Selector
from tf_lottery.layers.sparse import densify, is_sparsified
from tf_lottery.layers.subclassed import WrappedModel, forget_traces, mask_in_place, unmask_in_place
from tf_lottery.layers.sublayers import constructs_itself, is_made_from_own_config, is_nested_model
from tf_lottery.pruning.masks import Masks, as_array, as_real, validate

log = logging.getLogger(__name__)


def wrap(
    model: keras.Model,
    *,
    include: Selector | None = None,
    exclude: Selector | None = None,
    in_place: bool = False,
    lora: Lora = "error",
) -> keras.Model:
    """Returns a copy of the model with mask-applying layers; all masks start as ones.

    The copy trains in `fit` or in any custom loop, saves and loads as `.keras`, and computes what `model` computes. It
    is not compiled. Frozen layers (`trainable=False`) are masked too, and stay frozen. What is not masked, and why, is
    logged at INFO level, and returned by `discover`.

    Args:
        model: A built model: Sequential, functional or subclassed. A subclassed one, and a functional one whose class
            has a constructor of its own, is copied from its `get_config`; it keeps its layers, and its class becomes a
            subclass of its own.
        include: What to mask instead of the default (kernels of dense, convolution, recurrent, attention and embedding
            layers): layer names, glob patterns, or a predicate `(path, variable) -> bool`; see `discover`.
        exclude: What to leave alone, in the same form; it overrides `include`.
        in_place: Whether to share the weights with `model`, so that training the wrapped model trains `model` too, and
            the objects that were set on it; the masks hold for `model` too. A subclassed model, or one whose
            constructor makes its layers, is itself returned.
        lora: What is done with LoRA on masked weights, which adds a product to them: "error" refuses it, also later;
            "mask" masks the sum, so that pruned places compute as 0.0; "report" masks the weights alone, and
            `get_masks(model, computed=True)` says where layers compute with more than the masks keep.

    Raises:
        UsageError: If `model` is not a Keras 3 model, is already wrapped, can't be copied, has an attribute that can't
            be, has LoRA enabled on a maskable weight where that is refused, or a pattern matches nothing.
        UnfitError: If the model is not built, or nothing in it can be masked.
        NonFiniteError: If a maskable weight is NaN or infinite.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        >>> sorted(get_masks(wrap(model)))
        ['dense/kernel', 'dense_1/kernel']
    """
    check_lora(lora)
    check_model(model, subclassed=True)
    discovery = check_prunable(model, include=include, exclude=exclude, lora=lora)
    for path, reason in discovery.skipped.items():
        log.info("not masked: %s (%s)", path, reason)
    if include is None and exclude is None:
        warn_of_kernels_left_out(model, discovery)
    masked = {id(weight.variable) for weight in discovery.found.values()}
    if not is_nested_model(model) or is_made_from_own_config(model) or (in_place and constructs_itself(model)):
        return _mask_whole(model, masked, in_place=in_place, lora=lora)
    by_layer: dict[int, list[str]] = {}
    layers = named_layers(model)
    for weight in discovery.found.values():
        layer = layers[weight.layer_path]
        if is_nested_model(layer) and not is_made_from_own_config(layer):
            raise UnfitError(
                f"{weight.path!r} can't be masked: it is a weight of the functional model itself, of no layer.",
                "Hold it in a layer, or leave it out of `include`.",
            )
        by_layer.setdefault(id(layer), []).append(weight.weight_path)

    def wrap_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
        if is_made_from_own_config(layer):
            return _mask_whole(layer, masked, in_place=in_place, lora=lora)
        weights = by_layer.get(id(layer))
        if weights is None:
            return layer if in_place else copy_layer(layer)
        return Masked(layer if in_place else copy_layer(layer), weights, lora)

    wrapped = rebuild(model, wrap_layer, share_attributes=in_place, keep_classes=True)
    refuse_quantization(wrapped)
    if in_place:
        forget_traces(model)
    return wrapped


def _mask_whole(model: keras.Model, masked: Container[int], *, in_place: bool, lora: Lora) -> keras.Model:
    """Returns a model that its class makes, or a copy of it, with the variables of these ids masked."""
    paths = [path for path, variable in named_variables(model).items() if id(variable) in masked]
    if not paths:
        return model if in_place else copy_subclassed(model)
    if in_place:
        return mask_in_place(model, paths, lora=lora)
    copy = copy_subclassed(model)
    in_copy = matching_variables(model, copy)
    return mask_in_place(copy, [in_copy[path] for path in paths], lora=lora)


def strip(model: keras.Model, *, in_place: bool = False) -> keras.Model:
    """Returns a plain copy of a wrapped model, with the masks applied to the weights and without custom objects.

    LoRA stays in the copy, unless its sums are masked (`wrap(model, lora="mask")`): then they are its kernels.

    Args:
        model: A wrapped model, or one of `sparsify`. It keeps its masks.
        in_place: Whether to make a subclassed model, or one whose constructor makes its layers, itself plain again and
            return it, which needs no copy.

    Raises:
        UsageError: If the model is not wrapped, or a subclassed model can't be copied.

    Example:
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
        >>> wrapped = wrap(model)
        >>> set_masks(wrapped, {"dense/kernel": np.array([[True, False], [False, True]])})
        >>> (strip(wrapped).layers[0].kernel.numpy() != 0).tolist()
        [[True, False], [False, True]]
    """
    if is_sparsified(model):
        model = densify(model)
    if not is_wrapped(model):
        raise UsageError("`strip` expects a wrapped model. Received a model without mask-applying layers.")
    if isinstance(model, WrappedModel):
        if in_place:
            return unmask_in_place(model)
        stripped = copy_subclassed(model, share=True)
    elif in_place:
        raise UsageError("Only a subclassed model is stripped in place.", "Call `strip(model)`: it returns a copy.")
    else:
        stripped = rebuild(model, lambda layer: copy_layer(held_layer(layer)), share_attributes=True, keep_classes=True)
    merge_masked_sums(model, stripped)
    return stripped


def copy_model(model: keras.Model) -> keras.Model:
    """Returns a plain copy of a plain model, not compiled, with its weights.

    Raises:
        UsageError: If it can't be copied.
        UnfitError: If a layer can't be.
    """
    if not is_nested_model(model) or is_made_from_own_config(model):
        return copy_subclassed(model)
    return rebuild(model, copy_layer, keep_classes=True)


def get_masks(model: keras.Model, *, computed: bool = False) -> Masks:
    """Returns the masks of a wrapped model: boolean arrays (copies) keyed by weight path.

    Args:
        model: A wrapped model.
        computed: Whether places count as kept where LoRA adds something to a pruned weight, as it may with
            `wrap(model, lora="report")`; `density` of these masks is the density of what computes.

    Raises:
        UsageError: If the model is not wrapped.
    """
    variables = masked_variables(model)
    masks = {path: np.array(ops.convert_to_numpy(mask_of(v).value)) for path, v in variables.items()}
    sums = _computed_weights(model) if computed else {}
    return {path: mask | (sums[path] != 0) if path in sums else mask for path, mask in masks.items()}


def _computed_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns the weights to which LoRA adds a product, with it, by path."""
    sums = {id(adapted_variable(layer)): computed_weight(layer) for layer in adapted_layers(model)}
    named = named_variables(model).items()
    return {path: np.array(ops.convert_to_numpy(sums[id(v)])) for path, v in named if id(v) in sums}


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
    variables = masked_variables(model)
    checked = validate(masks, {path: tuple(variable.shape) for path, variable in variables.items()})
    for path, variable in variables.items():
        mask_of(variable).assign(checked[path])
        variable.assign(variable.value)


def apply_masks(model: keras.Model) -> None:
    """Sets the stored weights of a wrapped model to exactly 0.0 where they are pruned.

    What is read of them is 0.0 in any case; this also drops what an optimizer added to the stored values.
    """
    for variable in masked_variables(model).values():
        variable.assign(variable.value)


def masked_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns the masked variables of a wrapped model by path.

    Raises:
        UsageError: If the model is not wrapped.
    """
    variables = {path: variable for path, variable in named_variables(model).items() if is_masked(variable)}
    if not variables:
        raise UsageError(
            "A wrapped model is expected. Received a model without mask-applying layers.", "`wrap` it first."
        )
    return variables


def get_weights(model: keras.Model, *, computed: bool = False) -> dict[str, np.ndarray]:
    """Returns all variables of a model as arrays (copies) keyed by path; pruned weights are exactly 0.0.

    The paths are those of `get_masks`, and the same for a plain and a wrapped model.

    Args:
        model: A built model, plain or wrapped.
        computed: Whether weights come with the product that LoRA adds to them, as layers compute with them and as
            `scores` should see them.
    """
    weights = {path: np.array(ops.convert_to_numpy(v.value)) for path, v in named_variables(model).items()}
    return weights | (_computed_weights(model) if computed else {})


def set_weights(model: keras.Model, weights: Mapping[str, np.ndarray] | Sequence[np.ndarray]) -> None:
    """Assigns variables by path; pruned weights stay exactly 0.0.

    Args:
        model: A built model, plain or wrapped.
        weights: Arrays of the variables' shapes, keyed by path as in `get_weights`; variables that it does not name
            keep their values. Or a list, as the plain model's own method `get_weights` returns it.

    Raises:
        UsageError: If `weights` is neither a dictionary nor a list.
        UnfitError: If a path is unknown, a shape or the length of a list differs, or an array holds no real numbers;
            nothing is changed then.
    """
    variables = named_variables(model)
    if not isinstance(weights, Mapping):
        weights = _by_path(model, weights)
    arrays = {path: as_array(weight, what=f"weights of {path!r}") for path, weight in weights.items()}
    for path, array in arrays.items():
        if path not in variables or tuple(variables[path].shape) != array.shape:
            expected = tuple(variables[path].shape) if path in variables else "no variable of this path"
            raise UnfitError(f"Weights of {path!r} with shape {array.shape} do not fit the model ({expected}).")
        arrays[path] = as_real(array, what=f"weights of {path!r}")
    for path, array in arrays.items():
        variables[path].assign(array)
    for _, layer in all_layers(model):
        refresh_constants(layer)
    if is_wrapped(model):
        apply_masks(model)


def _by_path(model: keras.Model, weights: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """Returns the weights of a list, in the order of the plain model's own `get_weights`, by path."""
    if isinstance(weights, str | bytes) or not hasattr(weights, "__len__"):
        raise UsageError(
            f"`weights` must be a dictionary of arrays by path, or a list. Received: {type(weights).__name__}.",
            "`get_weights` gives such a dictionary.",
        )
    paths = {id(variable): path for path, variable in named_variables(model).items()}
    order = [paths[id(variable)] for variable in model.weights if id(variable) in paths]
    if len(order) != len(weights):
        raise UnfitError(
            f"A list of {len(order)} weights is expected. Received: {len(weights)}.",
            "Take `get_weights()` of a plain model of the same architecture.",
        )
    return dict(zip(order, weights, strict=True))
