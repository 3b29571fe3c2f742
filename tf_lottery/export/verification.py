"""Does an exported file compute what the Keras model computes? NumPy only.

Tolerance. Two float32 programs that add the same products in another order differ by rounding: about
sqrt(terms) * 6e-8 of the largest output per layer. Measured over dense, convolutional, multi-input and recurrent models
the TFLite files reach about 1e-7 to 2e-6 of the largest output, so `FLOAT32_TOLERANCE` is 1e-5. Wrong weights, a lost
layer or a broken sparse kernel give errors of 1e-2 and more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError

FLOAT32_TOLERANCE = 1e-5

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """How far outputs are from the reference.

    Attributes:
        max_abs_error: largest absolute difference over all outputs.
        max_rel_error: largest difference, relative to the largest absolute value of the same output.
        agreement: fraction of predicted classes that are equal (the least over the outputs), None without classes.
        accuracy: fraction of right predictions (the mean over labelled outputs), None without labels.
        failure: why the comparison does not hold, in one line; empty if it holds.
    """

    max_abs_error: float
    max_rel_error: float
    agreement: float | None
    accuracy: float | None
    failure: str = ""


def compare(
    reference: Outputs,
    outputs: Outputs,
    *,
    labels: Sequence[np.ndarray | None] | None = None,
    tolerance: float = FLOAT32_TOLERANCE,
) -> Comparison:
    """Compare outputs with the reference, output by output.

    It holds if every difference is at most `tolerance` times the largest absolute value of that output's reference, and
    every predicted class is equal, except where the reference itself is a near-tie: its two largest values closer than
    twice that difference.

    Args:
        reference: arrays `(samples, ...)` of the Keras model by output name, finite.
        outputs: arrays of the same names and shapes.
        labels: one entry per output, in the order of `reference`: class indices `(samples, ...)`, one-hot or
            probability rows like the output, or None.
        tolerance: relative to the largest absolute reference value.

    Returns:
        A `Comparison`; `failure` tells whether it holds.

    Raises:
        NonFiniteError: if the reference has NaN or infinite values.

    Example:
        >>> one = {"y": np.array([[1.0, 3.0]])}
        >>> compare(one, {"y": np.array([[1.0, 3.5]])}).failure
        "output 'y' differs by 0.5, 1.7e-01 of its largest value (allowed: 1.0e-05)"
    """
    failures: list[str] = []
    absolute, relative = 0.0, 0.0
    agreements, accuracies = [], []
    for position, (name, expected) in enumerate(reference.items()):
        expected = np.asarray(expected, np.float64)
        if not np.isfinite(expected).all():
            raise NonFiniteError(
                f"The Keras model's own output {name!r} has NaN or infinite values on the samples.",
                "Check the samples and the weights: such outputs cannot be compared.",
            )
        received = np.asarray(outputs[name], np.float64) if name in outputs else None
        if received is None or received.shape != expected.shape:
            shape = None if received is None else received.shape
            failures.append(f"output {name!r}: expected shape {expected.shape}, received {shape}")
            absolute = relative = float("nan")
            continue
        error = float(np.abs(received - expected).max(initial=0.0))
        scale = float(np.abs(expected).max(initial=0.0))
        ratio = error / scale if scale > 0 else (0.0 if error == 0 else float("inf"))
        absolute, relative = float(np.maximum(absolute, error)), float(np.maximum(relative, ratio))
        if not ratio <= tolerance:  # written so that NaN fails
            failures.append(
                f"output {name!r} differs by {error:.4g}, {ratio:.1e} of its largest value (allowed: {tolerance:.1e})"
            )
        if expected.ndim >= 2 and expected.shape[-1] >= 2:
            equal = expected.argmax(-1) == received.argmax(-1)
            agreements.append(float(equal.mean()))
            top = np.partition(expected, -2, axis=-1)[..., -2:]
            near_tie = top[..., 1] - top[..., 0] <= 2 * tolerance * scale
            wrong = int((~equal & ~near_tie).sum())
            if wrong:
                failures.append(f"output {name!r}: {wrong} of {equal.size} predicted classes differ")
            if labels is not None and labels[position] is not None:
                accuracies.append(accuracy(received, labels[position]))
    return Comparison(
        absolute,
        relative,
        min(agreements) if agreements else None,
        float(np.mean(accuracies)) if accuracies else None,
        "; ".join(failures),
    )


def accuracy(outputs: np.ndarray, labels: np.ndarray | None) -> float:
    """The fraction of samples whose largest output is at the label.

    Args:
        outputs: `(samples, ..., classes)`.
        labels: class indices `(samples, ...)` or `(samples, ..., 1)`, or one-hot rows like `outputs`.

    Raises:
        UnfitError: if the labels have another shape, or a class index outside the outputs.
    """
    labels = np.asarray(labels)
    predicted = outputs.argmax(-1)
    if labels.shape == outputs.shape:
        labels = labels.argmax(-1)
    elif labels.shape == (*predicted.shape, 1):
        labels = labels[..., 0]
    if labels.shape != predicted.shape:
        raise UnfitError(
            f"Expected labels of shape {predicted.shape} or one-hot {outputs.shape}; received {labels.shape}.",
            "Give one class index, or one one-hot row, per sample.",
        )
    if labels.size and not (0 <= labels.min() and labels.max() < outputs.shape[-1]):
        raise UnfitError(
            f"Expected labels from 0 to {outputs.shape[-1] - 1}; received {labels.min()} to {labels.max()}.",
            "Give labels of the data that the model was trained for.",
        )
    return float((predicted == labels).mean())
