"""How far a float32 model may be from the half-precision model that it was made from.

A layer that computes in float16 or bfloat16 rounds its inputs, its weights and its outputs, each by at most the unit
roundoff u of the type, relative to their size: 2^-11 or 2^-8. Errors of independent roundings add by their squares, so
about `u * sqrt(3 * layers)` reaches the outputs, of the size of what flows through the layers. The spread of the
outputs, which the error is judged by, can be smaller than that size: measured over dense, residual, convolutional,
recurrent and attention models of 2 to 33 layers with random weights, the error is 0.2 to 3.8 times that number, and 7.2
times in the worst channel of an output. `MARGIN` and `CHANNEL_MARGIN` are about twice and three times the worst.

A layer that lost its state (statistics, a table, a constant) gives outputs that have little to do with the right ones:
an error of about 1 or more, as a constant has. `MOST` and `MOST_OF_CHANNEL` stay below that, however deep the model is.
"""

import math

import keras

from tf_lottery.exporting.checks.agreement import PrecisionBounds

UNIT_ROUNDOFF = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
MARGIN, CHANNEL_MARGIN = 8, 24
MOST, MOST_OF_CHANNEL = 0.5, 0.9


def half_precision_bounds(model: keras.Model) -> PrecisionBounds | None:
    """Return how far a float32 model may be from this one, which it was made from; None if this one is exact, too.

    Predicted classes are not judged: in half precision the two largest values are often equal.

    Args:
        model: a built model of any kind.
    """
    rounding = [layer for layer in model._flatten_layers() if layer.compute_dtype in UNIT_ROUNDOFF]
    if not rounding:
        return None
    count = sum(_has_float_variables(layer) for layer in rounding)
    error = max(UNIT_ROUNDOFF[layer.compute_dtype] for layer in rounding) * math.sqrt(3 * max(count, 1))
    return PrecisionBounds(min(MARGIN * error, MOST), min(CHANNEL_MARGIN * error, MOST_OF_CHANNEL), 0.0)


def _has_float_variables(layer: keras.layers.Layer) -> bool:
    own = layer._trainable_variables + layer._non_trainable_variables
    return any(keras.backend.is_float_dtype(variable.dtype) for variable in own)
