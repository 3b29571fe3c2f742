"""As what labels can be read beside the outputs that they are for: classes, yes or no, numbers. NumPy only."""

from typing import Any

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import UnfitError

CLASSES, YES_OR_NO, NUMBERS = "classes", "yes or no", "numbers"
"""The readings."""


def label_readings(labels: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> list[str]:
    """Return as what labels can be read: "classes", "yes or no", "numbers"; the likeliest first.

    Args:
        labels: class indices `(samples, ...)` or `(samples, ..., 1)`, or values like `outputs`.
        outputs: the Keras model's for the same samples, `(samples, ...)`.

    Raises:
        UnfitError: the labels have another shape, are no numbers, or have a class index outside the outputs.

    Example:
        >>> label_readings(np.array([1, 0]), np.zeros((2, 3))), label_readings(np.array([0.5, 7]), np.zeros((2, 1)))
        (['classes'], ['numbers'])
    """
    labels, shape = np.asarray(labels), outputs.shape
    if labels.dtype.kind not in "biuf":
        raise UnfitError(f"Expected labels that are numbers; received dtype {labels.dtype}.", "Give class indices.")
    if labels.shape == shape or (width(outputs) == 1 and labels.size == outputs.size):
        zeros_and_ones = bool(np.isin(labels, (0, 1)).all())
        one_hot = labels.shape == shape and are_distributions(labels.astype(np.float64))
        return [CLASSES] * one_hot + [YES_OR_NO] * zeros_and_ones + [NUMBERS]
    if width(outputs) == 1:
        raise UnfitError(
            f"Expected one label for each of {outputs.size} outputs; received labels of shape {labels.shape}.",
            "Give one label per sample.",
        )
    if labels.shape not in (shape[:-1], (*shape[:-1], 1)):
        raise UnfitError(
            f"Expected labels of shape {shape[:-1]}, or one-hot rows or targets of shape {shape}; received "
            f"{labels.shape}.",
            "Give one class index, or one row like the output, per sample.",
        )
    if not np.array_equal(labels, np.floor(labels)):
        raise UnfitError(
            "Expected class indices as labels; received fractions.",
            f"Give whole numbers, or rows of shape {shape} that are one-hot or targets of a regression.",
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < shape[-1]):
        raise UnfitError(
            f"Expected labels from 0 to {shape[-1] - 1}; received {labels.min()} to {labels.max()}.",
            "Give labels of the data that the model was trained for.",
        )
    return [CLASSES]


def are_distributions(values: npt.NDArray[Any]) -> bool:
    """Return whether the values along the last axis are probabilities of several classes."""
    return width(values) > 1 and bool((values >= 0).all() and np.allclose(values.sum(-1), 1, atol=1e-3))


def width(values: npt.NDArray[Any]) -> int:
    """Return the length of the last axis; 1 of an array that has the samples' axis alone."""
    return int(values.shape[-1]) if values.ndim > 1 else 1
