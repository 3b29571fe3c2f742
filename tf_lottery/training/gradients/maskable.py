"""The weights that gradients are taken of."""

import keras

from tf_lottery.layers.acceptance import check_model, check_prunable, is_wrapped
from tf_lottery.layers.wrapping import masked_variables


def maskable(model: keras.Model) -> dict[str, keras.Variable]:
    """Return the maskable weights by path: the masked ones, or, in a plain model, those that `wrap` would mask."""
    check_model(model)
    if is_wrapped(model):
        return masked_variables(model)
    return {path: weight.variable for path, weight in check_prunable(model).found.items()}
