"""The plain model that is exported for a user's: stripped, without optimizer, computing in float32."""

import keras

from tf_lottery.errors import LotteryError, UnfitError, UsageError
from tf_lottery.layers import is_wrapped, strip
from tf_lottery.layers.acceptance import check_model, check_weights_finite, own_methods, quantized_layers
from tf_lottery.layers.functional_copy import functional_copy
from tf_lottery.layers.precision_copy import copy_in_precision, other_floats
from tf_lottery.layers.sparse import is_sparsified
from tf_lottery.layers.sublayers import is_nested_model, plain_class
from tf_lottery.layers.wrapping import copy_model
from tf_lottery.utils.text import one_line


def make_deployable(model: keras.Model) -> tuple[keras.Model, tuple[str, ...]]:
    """Return the plain model to export for a user's model, which is not changed.

    The result has no `Masked` layers (zeros stand where weights are pruned), no optimizer, loss or metrics (a custom
    loss would be needed to load the file), and the float32 policy in every layer: a mixed-precision model would store
    its float16 computations in the file.

    Args:
        model: a built model, wrapped or plain. A subclassed one becomes a functional model of its layers.

    Returns:
        The model, and notes on what was changed, one sentence each.

    Raises:
        UsageError: if it is no Keras model.
        UnfitError: if it is not built, has a string input, can't be traced, or cannot be rebuilt in float32.
        NonFiniteError: if a weight is NaN or infinite.
    """
    if not isinstance(model, keras.Model):
        raise UsageError(
            f"Expected a keras.Model to export, received {type(model).__module__}.{type(model).__qualname__}.",
            "Give a Keras 3 model; for a file, load it first with `tf_lottery.load_model(path)`.",
        )
    notes: tuple[str, ...] = ()
    if not is_nested_model(model):
        kind, model = plain_class(model).__name__, functional_copy(check_model(model, subclassed=True))
        notes = (f"The subclassed model {kind} was traced: the files hold a functional model of its layers.",)
    elif is_wrapped(model) or is_sparsified(model):
        model = strip(model)
    _check(model)
    if quantized := quantized_layers(model):
        modes = ", ".join(dict.fromkeys(quantized.values()))
        notes += (f"Keras quantized the layers {', '.join(quantized)} ({modes}); the exported files compute so, too.",)
    if floats := other_floats(model):
        model = in_precision(model, "float32")
        notes += (f"The model computes in {', '.join(floats)}; the exported files compute in float32.",)
    elif getattr(model, "compiled", False):
        model = _without_optimizer(model)
    return model, notes


def _check(model: keras.Model) -> None:
    kind = f"{type(model).__name__} {model.name!r}"
    if not model.built or not getattr(model, "inputs", None):
        raise UnfitError(f"{kind} is not built.", "Call it once on data or start it with a `keras.Input`.")
    for tensor in model.inputs:
        if tensor.dtype == "string":
            raise UnfitError(
                f"{kind} has the string input {tensor.name!r}.", "Export the part of the model behind its text layers."
            )
    check_weights_finite(model)


def _without_optimizer(model: keras.Model) -> keras.Model:
    # The same layers and weights under a new, uncompiled model object; of a class with its own `call`, a copy.
    if own_methods(model, ["call"]):
        return copy_model(model)
    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0], name=model.name)
    return keras.Model(model.input, model.output, name=model.name)


def in_precision(model: keras.Model, dtype: str) -> keras.Model:
    """Return a copy of a plain model whose weights, inputs and computations have another precision.

    Args:
        model: a built functional or Sequential model.
        dtype: "float32" or "float64".

    Raises:
        UnfitError: if it can't be rebuilt from its configuration.
    """
    try:
        return copy_in_precision(model, dtype)
    except (LotteryError, TypeError, ValueError) as error:
        reason = error.cause if isinstance(error, LotteryError) else one_line(error)
        raise UnfitError(
            f"{type(model).__name__} {model.name!r} cannot be rebuilt in {dtype}: {reason}",
            "Register its custom layers with `keras.saving.register_keras_serializable`, or export a float32 model.",
        ) from error
