"""Does an exported file compute what the Keras model computes? NumPy only.

Float32. Two programs that add the same products in another order differ by rounding: about sqrt(terms) * 6e-8 of the
largest output per layer. Measured over dense, convolutional, multi-input and recurrent models the TFLite files reach
about 1e-7 to 2e-6 of the largest output, so `FLOAT32_TOLERANCE` is 1e-5. Wrong weights, a lost layer or a broken sparse
kernel give errors of 1e-2 and more.

Reduced precisions round weights, and int8 also what flows between layers, so each output differs a little. They are
judged by the root mean square of the error, relative to that of the outputs, and by the predicted classes: float16
measures about 3e-4, dynamic range 1e-2, int8 2e-2 to 1e-1. These bounds alone would let a slightly wrong file pass;
therefore a reduced file counts only where the float32 file of the same model holds, and a sparse file only where it
also answers as the dense file of the same precision does (`TWIN_TOLERANCES`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError

FLOAT32_TOLERANCE = 1e-5
# Root mean square of the error over that of the reference, and the least agreement of predicted classes.
REDUCED_TOLERANCES = {"float16": (5e-3, 0.99), "dynamic": (0.05, 0.98), "int8": (0.15, 0.95)}
# The largest difference between the sparse and the dense file of one precision, of the largest output: rounding for
# float32 and float16; other kernels for the same int8 weights quantize what flows between layers a little differently.
TWIN_TOLERANCES = {"float32": 1e-5, "float16": 1e-4, "dynamic": 0.05, "int8": 0.02}

Outputs = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Comparison:
    """How far outputs are from the reference.

    Attributes:
        max_abs_error: largest absolute difference over all outputs.
        max_rel_error: largest difference, relative to the largest absolute value of the same output.
        rms_rel_error: root mean square of the differences, relative to that of the same output; the largest over
            outputs.
        agreement: fraction of predicted classes that are equal (the least over the outputs), None without classes.
        accuracy: fraction of right predictions (the mean over labelled outputs), None without labels.
        validation_accuracy: the same on validation samples.
        failure: why the comparison does not hold, in one line; empty if it holds.
    """

    max_abs_error: float
    max_rel_error: float
    agreement: float | None
    accuracy: float | None
    failure: str = ""
    rms_rel_error: float = 0.0
    validation_accuracy: float | None = None


def compare(
    reference: Outputs, outputs: Outputs, *, precision: str = "float32", tolerance: float = FLOAT32_TOLERANCE
) -> Comparison:
    """Compare outputs with the reference, output by output.

    Float32 holds if every difference is at most `tolerance` times the largest absolute value of that output's
    reference, and every predicted class is equal, except where the reference itself is a near-tie: its two largest
    values closer than twice that difference. Other precisions hold within `REDUCED_TOLERANCES`.

    Args:
        reference: arrays `(samples, ...)` of the Keras model by output name, finite.
        outputs: arrays of the same names and shapes.
        precision: "float32", "float16", "dynamic" or "int8".
        tolerance: of float32, relative to the largest absolute reference value.

    Returns:
        A `Comparison` without accuracies; `failure` tells whether it holds.

    Raises:
        NonFiniteError: if the reference has NaN or infinite values.

    Example:
        >>> one = {"y": np.array([[1.0, 3.0]])}
        >>> compare(one, {"y": np.array([[1.0, 3.5]])}).failure
        "output 'y' differs by 0.5, 1.7e-01 of its largest value (allowed: 1.0e-05)"
    """
    failures: list[str] = []
    absolute, relative, squared = 0.0, 0.0, 0.0
    agreements = []
    for name, expected in reference.items():
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
            absolute = relative = squared = float("nan")
            continue
        error = float(np.abs(received - expected).max(initial=0.0))
        largest = _ratio(error, float(np.abs(expected).max(initial=0.0)))
        rms = _ratio(_root_mean_square(received - expected), _root_mean_square(expected))
        absolute, relative, squared = (
            float(np.maximum(old, new))  # NaN stays
            for old, new in ((absolute, error), (relative, largest), (squared, rms))
        )
        if precision == "float32":
            failures += _exact_failures(name, expected, received, tolerance)
        else:
            failures += _reduced_failures(name, expected, received, rms, precision)
        if has_classes(expected):
            agreements.append(float((expected.argmax(-1) == received.argmax(-1)).mean()))
    agreement = min(agreements) if agreements else None
    return Comparison(absolute, relative, agreement, None, "; ".join(failures), squared)


def has_classes(outputs: np.ndarray) -> bool:
    """Whether the largest of the last axis is a predicted class."""
    return outputs.ndim >= 2 and outputs.shape[-1] >= 2


def _exact_failures(name: str, expected: np.ndarray, received: np.ndarray, tolerance: float) -> list[str]:
    failures = []
    error, scale = float(np.abs(received - expected).max(initial=0.0)), float(np.abs(expected).max(initial=0.0))
    ratio = _ratio(error, scale)
    if not ratio <= tolerance:  # written so that NaN fails
        failures.append(
            f"output {name!r} differs by {error:.4g}, {ratio:.1e} of its largest value (allowed: {tolerance:.1e})"
        )
    if has_classes(expected):
        equal = expected.argmax(-1) == received.argmax(-1)
        top = np.partition(expected, -2, axis=-1)[..., -2:]
        wrong = int((~equal & ~(top[..., 1] - top[..., 0] <= 2 * tolerance * scale)).sum())
        if wrong:
            failures.append(f"output {name!r}: {wrong} of {equal.size} predicted classes differ")
    return failures


def _reduced_failures(name: str, expected: np.ndarray, received: np.ndarray, rms: float, precision: str) -> list[str]:
    most, least = REDUCED_TOLERANCES[precision]
    failures = []
    if not rms <= most:
        failures.append(f"output {name!r} has an error of {rms:.1e} (root mean square; allowed: {most:.1e})")
    if has_classes(expected):
        equal = float((expected.argmax(-1) == received.argmax(-1)).mean())
        if not equal >= least:
            failures.append(
                f"output {name!r}: {100 * equal:.1f} % of the predicted classes agree (needed: {100 * least:g} %)"
            )
    return failures


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else (0.0 if part == 0 else float("inf"))


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


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
