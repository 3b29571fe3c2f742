"""Which models are accepted: one function and one wording for each fact about a model.

`check_model` decides which kinds of models are taken at all. To take another kind, such as a subclassed model, widen it
there and teach `copying` to rebuild it; a model whose own methods a copy would lose is refused by `copying.rebuild`.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.layers.discovery import Discovery, discover
from tf_lottery.layers.kinds import looks_like_kernel
from tf_lottery.layers.lora import Lora, adaptable_variables, reason_refused
from tf_lottery.layers.masked_variable import is_masked
from tf_lottery.layers.paths import named_variables
from tf_lottery.layers.selectors import Selector
from tf_lottery.layers.sublayers import is_nested_model

LEAST_COVERAGE = 0.9
"""The fraction of the weights in trainable kernels that is masked without a warning."""
TRAINING_METHODS = ("train_step", "test_step", "compute_loss", "compute_metrics")
"""What `fit` and `evaluate` call on a model, and a class may override."""
TRAINING_LOOPS = ("fit", "evaluate", "make_train_function", "make_test_function")
"""The loops around those, which experiments replace by their own."""


def check_model(
    model: Any, *, source: str = "", error: type[UsageError] | type[UnfitError] = UsageError, subclassed: bool = False
) -> keras.Model:
    """Returns the model if it is a built model of Keras 3: Sequential, functional or, where that is taken, subclassed.

    Args:
        model: What should be a model.
        source: The function or file that gave it, for messages; empty for an argument.
        error: What a model of another kind raises: `UnfitError` where a file or a function that is named by a text
            gave it.
        subclassed: Whether a subclassed model is taken too.

    Raises:
        UsageError: If it is no Keras 3 model, or a subclassed one that is not taken; or `error`.
        UnfitError: If it is not built.
    """
    origin = f" from {source}" if source else ""
    if not isinstance(model, keras.Model):
        remedy = "Make it with `import keras` (not tf_keras)."
        if is_of_tf_keras(model):
            remedy = "Convert it: `model, masks = tf_lottery.from_tfmot(model)`, also where tfmot did not prune it."
        raise error(
            f"A keras.Model is expected{origin}. Received: {type(model).__module__}.{type(model).__name__}.",
            remedy,
        )
    if not is_nested_model(model):
        if subclassed and model.built and model.variables and not _has_unbuilt_layers(model):
            return model
        if subclassed:
            raise UnfitError(
                f"The model {model.name!r}{origin} is not built: its weights do not exist yet.",
                "Call it once on a batch of data: model(x).",
            )
        raise error(
            f"Subclassed models are not supported. Received{origin}: {type(model).__name__} (name {model.name!r}).",
            "Make it a functional model: keras.Model(inputs, outputs).",
        )
    if not model.built or not getattr(model, "inputs", None):
        raise UnfitError(
            f"The model {model.name!r}{origin} is not built: its weights do not exist yet.",
            "Start it with keras.Input(shape), or call model.build(input_shape) first.",
        )
    return model


def _has_unbuilt_layers(model: keras.Model) -> bool:
    """Returns whether none of a model's layers has weights yet: Keras's `build` makes those of the model alone."""
    layers = model._flatten_layers(include_self=False)
    return not any(layer.weights for layer in layers) and any(not layer.built for layer in layers)


def is_of_tf_keras(model: Any) -> bool:
    """Returns whether an object is a model of tf_keras, which Keras 3 does not take."""
    return any(kind.__module__.split(".")[0] == "tf_keras" and kind.__name__ == "Model" for kind in type(model).__mro__)


def own_methods(model: keras.Model, names: Sequence[str]) -> list[str]:
    """Returns those of some methods that are not Keras's: of the user's class, or set on the model.

    Args:
        model: A model.
        names: Names of methods that every model has.
    """
    return [
        name
        for name in names
        if name in vars(model) or not str(getattr(type(model), name).__module__).startswith("keras.")
    ]


def check_has_no_training_loop(
    model: keras.Model, *, source: str = "", error: type[UsageError] | type[UnfitError] = UsageError
) -> None:
    """Raises if a model has a training loop of its own, which experiments would leave out.

    Args:
        model: A built model, as from `check_model`.
        source: The function or file that gave it, for messages; empty for an argument.
        error: What is raised.

    Raises:
        UsageError: If its class, or the model, has a method of `TRAINING_LOOPS` of its own; or `error`.
    """
    own = own_methods(model, TRAINING_LOOPS)
    if own:
        origin = f" from {source}" if source else ""
        raise error(
            "Experiments train in a loop of their own, which runs a model's own "
            f"{', '.join(f'`{name}`' for name in TRAINING_METHODS)}, but no loop. Received{origin}: "
            f"{type(model).__name__} (name {model.name!r}) with its own {', '.join(own)}.",
            "Move what it does into `train_step`, or train the model of `tf_lottery.wrap` in its own loop.",
        )


def is_wrapped(model: keras.Model) -> bool:
    """Returns whether a model has masked variables."""
    return any(is_masked(variable) for variable in named_variables(model).values())


def check_prunable(
    model: keras.Model, *, include: Selector | None = None, exclude: Selector | None = None, lora: Lora = "error"
) -> Discovery:
    """Returns what can be masked in a model, unless that is nothing.

    Args:
        model: A built model, as from `check_model`.
        include: What to mask instead of the default, as for `wrap`.
        exclude: What to leave alone, as for `wrap`.
        lora: What is done with LoRA, as for `wrap`.

    Raises:
        UsageError: If the model is wrapped already, a pattern matches nothing, or LoRA is refused.
        UnfitError: If no weight can be masked.
        NonFiniteError: If a maskable weight is NaN or infinite.
    """
    if is_wrapped(model):
        raise UsageError("The model is already wrapped.", "Use `set_masks` to change its masks, or `strip` it first.")
    discovery = discover(model, include=include, exclude=exclude)
    if not discovery.found:
        reasons = "; ".join(f"{path}: {reason}" for path, reason in discovery.skipped.items()) or "it has no weights"
        raise UnfitError(f"Nothing in the model can be masked ({reasons}).", "Name weights by `include`.")
    check_finite({path: weight.variable for path, weight in discovery.found.items()})
    _check_lora(model, discovery, lora)
    _check_float8(model, discovery)
    return discovery


def quantized_layers(model: keras.Model) -> dict[str, str]:
    """Returns how Keras quantized layers of a model, by the name of the layer: "int8", "int4", "float8", ..."""
    return {layer.name: layer.quantization_mode for layer in model._flatten_layers() if _is_quantized(layer)}


def _is_quantized(layer: keras.layers.Layer) -> bool:
    return getattr(layer, "quantization_mode", None) is not None


def _check_float8(model: keras.Model, discovery: Discovery) -> None:
    """Raises if a maskable weight is of a quantized layer: in float8 kernels stay floats, and scales are trained."""
    paths = {id(weight.variable): path for path, weight in discovery.found.items()}
    for layer in filter(_is_quantized, model._flatten_layers()):
        quantized = [paths[id(variable)] for variable in layer._trainable_variables if id(variable) in paths]
        if quantized:
            raise UsageError(
                f"{', '.join(quantized)} can't be masked: Keras quantized the layer {layer.name!r} "
                f"({layer.quantization_mode}).",
                "Wrap the model before `quantize`, or leave the layer out: `exclude`.",
            )


def _check_lora(model: keras.Model, discovery: Discovery, lora: Lora) -> None:
    """Raises if a maskable weight has LoRA enabled, and computes with the kernel plus a product that is not masked."""
    paths = {id(weight.variable): path for path, weight in discovery.found.items()}
    for layer in model._flatten_layers():
        if not getattr(layer, "lora_enabled", False):
            continue
        adapted = [paths[id(variable)] for variable in adaptable_variables(layer) if id(variable) in paths]
        if adapted and (reason := reason_refused(layer, lora)):
            raise UsageError(
                f"A mask of {', '.join(adapted)} would not hold: LoRA is enabled, and {reason}.",
                'Leave the layer out (`exclude`), or add the product to the kernel: `strip(wrap(model, lora="mask"))` '
                "returns a model without LoRA."
                if lora == "error"
                else "Leave the layer out: `exclude`.",
            )


def warn_of_kernels_left_out(model: keras.Model, discovery: Discovery) -> None:
    """Warns if less than `LEAST_COVERAGE` of the weights in trainable kernels are masked, naming the largest others.

    Args:
        model: A built model.
        discovery: What `wrap` masks in it by default.
    """
    variables = named_variables(model)
    others = {path: variables[path] for path in discovery.skipped if path in variables}
    kernels = {
        path: math.prod(variable.shape)
        for path, variable in others.items()
        if looks_like_kernel(variable) and keras.backend.is_float_dtype(variable.dtype)
    }
    masked = sum(math.prod(weight.variable.shape) for weight in discovery.found.values())
    coverage = masked / (masked + sum(kernels.values()))
    if coverage < LEAST_COVERAGE:
        largest = sorted(kernels, key=lambda path: -kernels[path])[:3]
        warnings.warn(
            f"Only {coverage:.0%} of the weights in trainable kernels are masked. The largest that are left out: "
            f"{', '.join(f'{path} ({kernels[path]:,} weights)' for path in largest)}. Name them by `include`, or give "
            "their layer a method `maskable_weights()` that returns them.",
            stacklevel=3,
        )


def check_finite(variables: Mapping[str, keras.Variable], *, source: str = "") -> None:
    """Raises if a value of a variable is NaN or infinite.

    Args:
        variables: Variables by the names that messages call them by; those without floats are left out.
        source: The function or file that gave the model, for messages.

    Raises:
        NonFiniteError: If a value is; the message names the variable.
    """
    for name, variable in variables.items():
        if not keras.backend.is_float_dtype(variable.dtype):
            continue
        values = np.asarray(keras.ops.convert_to_numpy(variable.value))
        bad = values.size - int(np.count_nonzero(np.isfinite(values)))
        if bad:
            origin = f" from {source}" if source else ""
            raise NonFiniteError(
                f"The weights of {name!r}{origin} must be finite. Received: {bad} NaN or infinite of {values.size} "
                "values.",
                "Train the model again with a smaller learning rate, or take an earlier round or file.",
            )


def check_weights_finite(model: keras.Model, *, source: str = "") -> None:
    """Raises if a variable of a model, masked or not, is NaN or infinite.

    Args:
        model: A built model.
        source: The function or file that gave it, for messages.

    Raises:
        NonFiniteError: If one is; the message names it.
    """
    check_finite({variable.path: variable for variable in model.variables}, source=source)
