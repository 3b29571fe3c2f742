"""What the caller's model answers on samples, whatever kind it is of; and its float32 copy, if it is half-precise."""

from typing import Any

import keras
import numpy.typing as npt

from tf_lottery.errors import CheckFailed, UnfitError
from tf_lottery.exporting.checks.agreement import Outputs, compare_outputs
from tf_lottery.exporting.checks.half_precision import half_precision_bounds
from tf_lottery.exporting.signature import Signature, keras_outputs, outputs_of, structure
from tf_lottery.layers.precision_copy import other_floats
from tf_lottery.layers.sublayers import is_nested_model
from tf_lottery.layers.tracing import call_for_inference, input_shapes
from tf_lottery.utils.silence import quiet
from tf_lottery.utils.text import one_line


def model_outputs(
    own: keras.Model, plain: keras.Model, arrays: list[npt.NDArray[Any]], signature: Signature
) -> Outputs:
    """Return the outputs of the caller's model, by name.

    Args:
        own: the caller's model, wrapped or plain, functional or subclassed.
        plain: the functional model that was made from it.
        arrays: one array `(samples, ...)` per input, in the order of the signature.
        signature: that of the plain model.

    Raises:
        UnfitError: the model does not run on the samples.
    """

    def call_subclassed(packed: Any) -> Any:
        return call_for_inference(own, own, packed if len(input_shapes(own)) > 1 else [packed])

    try:
        with quiet():
            if is_nested_model(own):
                return keras_outputs(own, arrays, signature)
            return outputs_of(call_subclassed, structure(plain)[0], arrays, signature)
    except Exception as error:  # of the user's own layers, which may raise anything
        raise UnfitError(
            f"The Keras model itself does not run on the samples: {one_line(error)}.",
            "Give samples as the model was trained on: `samples=...`.",
        ) from error


def float32_outputs(
    own: keras.Model, plain: keras.Model, arrays: list[npt.NDArray[Any]], signature: Signature, outputs: Outputs
) -> Outputs | None:
    """Return what the float32 copy of a half-precision model answers; None for another model.

    Args:
        own: the caller's model.
        plain: the model that was made from it, which computes in float32.
        arrays: one array `(samples, ...)` per input, in the order of the signature.
        signature: that of the plain model.
        outputs: those of the caller's model.

    Raises:
        CheckFailed: the copy answers otherwise than rounding explains.
    """
    bounds = half_precision_bounds(own)
    if bounds is None:
        return None
    answers = model_outputs(plain, plain, arrays, signature)
    failure = compare_outputs(outputs, answers, bounds=bounds).failure
    if failure:
        dtypes = ", ".join(other_floats(own))
        raise CheckFailed(
            f"In float32 the model computes something else than in {dtypes}, by more than rounding: {failure}.",
            "Nothing was written. Give real samples, as the model was trained on, or export a float32 model.",
        )
    return answers
