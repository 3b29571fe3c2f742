"""How the data of a model are scaled: by its run, by the dtype of its input, or by its own first layers."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_lottery.errors import UsageError

if TYPE_CHECKING:
    import keras

# What an input goes through that a model scales itself: layers, and what Keras makes of `x / 255 - 0.5`.
_SCALING = ("Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add")


def choose_normalization(
    model: "keras.Model", normalization: str | None, *, run: str | None
) -> tuple[str, tuple[str, ...]]:
    """Return how data are to be scaled for a model, and remarks on the choice.

    Args:
        model: a built functional or Sequential model.
        normalization: what the caller asks for; None to choose.
        run: the normalization of the model's own training; None if it is not known.

    Returns:
        The name of a normalization ("unit" where nothing else is known), and sentences.

    Raises:
        UsageError: the model's input takes whole numbers, and scaled ones are asked for.
    """
    dtype = str(model.inputs[0].dtype)
    if "int" in dtype or dtype == "bool":
        if normalization not in (None, "none"):
            raise UsageError(
                f"The model takes whole numbers ({dtype}), which data scaled by `normalization={normalization!r}` are "
                "not.",
                "Pass `normalization='none'`: raw values.",
            )
        if normalization is None:
            return "none", (f"The model takes {dtype}: it gets the raw values of the data (`normalization='none'`).",)
        return "none", ()
    if normalization or run:
        return str(normalization or run), ()
    scaling = scaling_layers(model)
    if not scaling:
        return "unit", ()
    remark = (
        f"warning: the model begins with {' and '.join(scaling)}, so it may scale its input itself, and the data "
        "are scaled to [0, 1] before it. If it was trained on raw values, add `normalization='none'` (else unit)."
    )
    return "unit", (remark,)


def scaling_layers(model: "keras.Model") -> list[str]:
    """Return the classes of the layers and operations that scale the input before the first layer with weights."""
    classes: dict[str, None] = {}
    for operation in _operations(model):
        class_name = type(operation).__name__
        if class_name in _SCALING:
            classes[class_name] = None
        elif getattr(operation, "weights", None):
            break
    return list(classes)


def takes_pixels(model: "keras.Model") -> bool:
    """Return whether a model begins by scaling pixels from 0 to 255 itself: to a range of 1 or 2, or about their mean.

    A layer that scales other numbers, such as those of [0, 1] to [-1, 1], says nothing of what it was before that.
    """
    for operation in _operations(model):
        class_name = type(operation).__name__
        if class_name == "Rescaling":
            return bool(np.isclose(255 * np.abs(np.asarray(operation.scale, np.float64)), [[1], [2]], rtol=0.01).any())
        if class_name == "Normalization":
            return not operation.invert and operation.mean is not None and bool(np.max(operation.mean) > 1)
        if getattr(operation, "weights", None):
            break
    return False


def _operations(model: Any) -> Iterator[Any]:
    """Layers and operations from the input to the output, those of nested models in place."""
    for operation in getattr(model, "operations", None) or model.layers:
        if hasattr(operation, "layers"):
            yield from _operations(operation)
        else:
            yield operation
