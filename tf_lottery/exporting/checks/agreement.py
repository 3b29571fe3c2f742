"""How far the outputs of an exported file are from those of the Keras model, and whether that is accepted. NumPy only.

Float32. Two programs that add the same products in another order differ by rounding: about sqrt(terms) * 6e-8 of the
largest output per layer. Measured over dense, convolutional, multi-input and recurrent models the TFLite files reach
about 1e-7 to 2e-6 of the largest output, so `FLOAT32_TOLERANCE` is 1e-5. Wrong weights, a lost layer or a broken sparse
kernel give errors of 1e-2 and more.

Reduced precisions round weights, and int8 also what flows between layers, so each output differs a little. They are
judged by the root mean square of the error over the spread of the outputs about their means: 0 is exact, 1 is no better
than a constant. Measured: float16 about 3e-4, dynamic range 1e-2, int8 2e-2 to 1e-1. Beside the whole output, each
channel of its last axis is judged, so that large ones (boxes, say) don't hide the loss of small ones (scores). These
bounds alone would let a slightly wrong file pass; therefore a reduced file counts only where the float32 file of the
same model holds, and a sparse file only where it also answers as the dense file of the same precision does
(`TWIN_TOLERANCES`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import NonFiniteError, UnfitError

FLOAT32_TOLERANCE = 1e-5


@dataclass(frozen=True)
class PrecisionBounds:
    """What a reduced precision may cost.

    Attributes:
        whole: the largest error over the spread of a whole output.
        channel: the largest error over the spread of one of its channels.
        class_agreement: the least fraction of predicted classes that are equal.
    """

    whole: float
    channel: float
    class_agreement: float


REDUCED = {
    "float16": PrecisionBounds(0.01, 0.05, 0.99),
    "dynamic": PrecisionBounds(0.1, 0.3, 0.98),
    "int8": PrecisionBounds(0.25, 0.5, 0.95),
}
# The largest difference between the sparse and the dense file of one precision, of the largest output: rounding for
# float32 and float16; other kernels for the same int8 weights quantize what flows between layers a little differently.
TWIN_TOLERANCES = {"float32": 1e-5, "float16": 1e-4, "dynamic": 0.05, "int8": 0.02}
# A channel that varies less than this fraction of the one that varies most is not judged alone.
_NEGLIGIBLE = 1e-3

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Arrays `(samples, ...)` by the name of the output."""


@dataclass(frozen=True)
class OutputAgreement:
    """How far outputs are from those of the Keras model.

    Attributes:
        max_abs_error: largest absolute difference over all outputs.
        max_rel_error: largest difference, relative to the largest absolute value of the same output.
        rms_rel_error: root mean square of the differences over the spread of the same output about the means of its
            channels; the largest over outputs.
        class_agreement: fraction of predicted classes that are equal, the least over the outputs; None without classes.
        accuracy: fraction of right predictions, the mean over outputs with labels; None without.
        validation_accuracy: the same on validation samples.
        validation_loss: what the choice among files depends on where there is no accuracy: the fraction of predicted
            classes that differ, or, without classes, `rms_rel_error`; on the validation samples, or on all where there
            are none.
        failure: why the outputs are not accepted, in one line; empty if they are.
    """

    max_abs_error: float
    max_rel_error: float
    class_agreement: float | None
    accuracy: float | None
    failure: str = ""
    rms_rel_error: float = 0.0
    validation_accuracy: float | None = None
    validation_loss: float = 0.0


def compare_outputs(
    reference: Outputs, outputs: Outputs, *, precision: str = "float32", tolerance: float = FLOAT32_TOLERANCE
) -> OutputAgreement:
    """Compare outputs with the reference, output by output.

    Float32 outputs are accepted if every difference is at most `tolerance` times the largest absolute value of that
    output's reference, and every predicted class is equal, except where the reference itself is a near-tie: its two
    largest values closer than twice that difference. Other precisions are accepted within `REDUCED`.

    Args:
        reference: arrays `(samples, ...)` of the Keras model by output name, finite.
        outputs: arrays of the same names and shapes.
        precision: "float32", "float16", "dynamic" or "int8".
        tolerance: of float32, relative to the largest absolute reference value.

    Returns:
        An `OutputAgreement` without accuracies; its `failure` is empty if the outputs are accepted.

    Raises:
        NonFiniteError: if the reference has NaN or infinite values.

    Example:
        >>> one = {"y": np.array([[1.0, 3.0]])}
        >>> compare_outputs(one, {"y": np.array([[1.0, 3.5]])}).failure
        "output 'y' differs by 0.5, 1.7e-01 of its largest value (allowed: 1.0e-05)"
    """
    failures: list[str] = []
    absolute, relative, squared = 0.0, 0.0, 0.0
    class_agreements = []
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
        rms = error_over_spread(expected, received)
        absolute, relative, squared = (
            float(np.maximum(old, new))  # NaN stays
            for old, new in ((absolute, error), (relative, largest), (squared, rms))
        )
        if precision == "float32":
            failures += _exact_failures(name, expected, received, tolerance)
        else:
            failures += _reduced_failures(name, expected, received, rms, precision)
        if has_classes(expected):
            class_agreements.append(float((expected.argmax(-1) == received.argmax(-1)).mean()))
    class_agreement = min(class_agreements) if class_agreements else None
    return OutputAgreement(absolute, relative, class_agreement, None, "; ".join(failures), squared)


def has_classes(outputs: npt.NDArray[Any]) -> bool:
    """Return whether the largest value along the last axis is a predicted class."""
    return outputs.ndim >= 2 and outputs.shape[-1] >= 2


def _exact_failures(name: str, expected: npt.NDArray[Any], received: npt.NDArray[Any], tolerance: float) -> list[str]:
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


def error_over_spread(expected: npt.NDArray[Any], received: npt.NDArray[Any]) -> float:
    """Return the root mean square of the error over that of the outputs about their channels' means; 0 is exact.

    Outputs that do not vary, or are of a single sample, are taken about zero.

    Args:
        expected: `(samples, ..., channels)`.
        received: an array of the same shape.

    Example:
        >>> error_over_spread(np.array([[999.0], [1001.0]]), np.array([[1000.0], [1000.0]]))
        1.0
    """
    channels = _channels(expected)
    spread = float(np.sqrt(np.mean(np.square(channels - channels.mean(0))))) if channels.size else 0.0
    return _ratio(_root_mean_square(received - expected), spread or _root_mean_square(expected))


def _reduced_failures(
    name: str, expected: npt.NDArray[Any], received: npt.NDArray[Any], rms: float, precision: str
) -> list[str]:
    bounds = REDUCED[precision]
    failures = []
    if not rms <= bounds.whole:
        failures.append(
            f"output {name!r} has an error of {rms:.1e} of its spread (root mean square; allowed: {bounds.whole:g})"
        )
    elif lost := _lost_channels(expected, received, bounds.channel):
        failures.append(
            f"output {name!r} loses channel {lost[0]}{f' and {len(lost) - 1} more' if lost[1:] else ''}: the error is "
            f"more than {bounds.channel:g} of its spread"
        )
    if has_classes(expected):
        equal = float((expected.argmax(-1) == received.argmax(-1)).mean())
        if not equal >= bounds.class_agreement:
            failures.append(
                f"output {name!r}: {100 * equal:.1f} % of the predicted classes agree (needed: "
                f"{100 * bounds.class_agreement:g} %)"
            )
    return failures


def _lost_channels(expected: npt.NDArray[Any], received: npt.NDArray[Any], bound: float) -> list[int]:
    """Channels of the last axis whose error exceeds the bound; none where the channels are one distribution."""
    channels, errors = _channels(expected), _channels(received) - _channels(expected)
    if not channels.size or _are_distributions(channels):
        return []
    spreads, sizes = channels.std(0), np.sqrt(np.mean(np.square(errors), 0))
    judged = spreads > _NEGLIGIBLE * spreads.max()
    return [int(place) for place in np.flatnonzero(judged & ~(sizes <= bound * spreads))]


def _are_distributions(rows: npt.NDArray[Any]) -> bool:
    # Of a softmax, the probabilities of rare classes may round to nothing.
    return rows.shape[1] > 1 and bool((rows >= 0).all() and np.allclose(rows.sum(1), 1, atol=1e-3))


def _channels(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values as `(everything else, channels)`."""
    return values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else (0.0 if part == 0 else float("inf"))


def _root_mean_square(values: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def accuracy(outputs: npt.NDArray[Any], labels: npt.NDArray[Any] | None) -> float | None:
    """Return the fraction of samples that are predicted right, or None where outputs and labels are no classes.

    Of several channels the largest is the predicted class. A single channel is a class where its labels are 0 and 1:
    above 0.5 for outputs between 0 and 1 (probabilities), above 0 for others (logits).

    Args:
        outputs: `(samples, ..., classes)`.
        labels: class indices `(samples, ...)` or `(samples, ..., 1)`, or rows like `outputs` that are one-hot or
            probabilities. Other rows of that shape, and numbers for a single channel, are targets of a regression.

    Raises:
        UnfitError: if the labels have another shape, are no numbers, or have a class index outside the outputs.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biuf":
        raise UnfitError(f"Expected labels that are numbers; received dtype {labels.dtype}.", "Give class indices.")
    if outputs.ndim < 2 or outputs.shape[-1] == 1:
        return _binary_accuracy(outputs.reshape(len(outputs), -1), labels)
    predicted = outputs.argmax(-1)
    if labels.shape == outputs.shape:
        if not _are_distributions(_channels(labels.astype(np.float64))):
            return None
        labels = labels.argmax(-1)
    elif labels.shape == (*predicted.shape, 1):
        labels = labels[..., 0]
    if labels.shape != predicted.shape:
        raise UnfitError(
            f"Expected labels of shape {predicted.shape} or one-hot {outputs.shape}; received {labels.shape}.",
            "Give one class index, or one one-hot row, per sample.",
        )
    if not np.array_equal(labels, np.floor(labels)):
        raise UnfitError(
            "Expected class indices as labels; received fractions.", "Give whole numbers, or one-hot rows."
        )
    if labels.size and not (labels.min() >= 0 and labels.max() < outputs.shape[-1]):
        raise UnfitError(
            f"Expected labels from 0 to {outputs.shape[-1] - 1}; received {labels.min()} to {labels.max()}.",
            "Give labels of the data that the model was trained for.",
        )
    return float((predicted == labels).mean())


def _binary_accuracy(outputs: npt.NDArray[Any], labels: npt.NDArray[Any]) -> float | None:
    if labels.size != outputs.size:
        raise UnfitError(
            f"Expected one label for each of {outputs.size} outputs; received labels of shape {labels.shape}.",
            "Give one label per sample.",
        )
    if not np.isin(labels, (0, 1)).all():
        return None
    threshold = 0.5 if outputs.size and outputs.min() >= 0 and outputs.max() <= 1 else 0.0
    return float(((outputs > threshold) == labels.reshape(outputs.shape).astype(bool)).mean())
