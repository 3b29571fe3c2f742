"""How far the outputs of an exported file are from those of the Keras model, and whether that is accepted. NumPy only.

Float32. Two programs that add the same products in another order differ by rounding: about sqrt(terms) * 6e-8 of the
largest output per layer. Measured over dense, convolutional, multi-input and recurrent models the TFLite files reach
about 1e-7 to 2e-6 of the largest output, so `FLOAT32_TOLERANCE` is 1e-5. Wrong weights, a lost layer or a broken sparse
kernel give errors of 1e-2 and more. Deep networks can amplify rounding beyond that, in Keras as in a file; what they
are allowed instead is in `rounding`.

Reduced precisions round weights, and int8 also what flows between layers, so each output differs a little. They are
judged by the root mean square of the error over the spread of the outputs about their means: 0 is exact, 1 is no better
than a constant. Measured: float16 about 3e-4, int16x8 5e-3, dynamic range 1e-2, int8 2e-2 to 1e-1, int4 5e-2 to 2e-1.
Beside the whole output, each channel of its last axis is judged, so that large ones (boxes, say) don't hide the loss of
small ones (scores). These
bounds alone would let a slightly wrong file pass; therefore a reduced file counts only where the float32 file of the
same model holds, and a sparse file only where it also answers as the dense file of the same precision does
(`TWIN_TOLERANCES`).

Predicted classes are compared too, but only of outputs that hold some (`output_kinds`): in an image or a regression,
which value is the largest means nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from tf_lottery.errors import NonFiniteError
from tf_lottery.exporting.checks.output_error import MISSING, OutputAgreement, OutputError
from tf_lottery.exporting.labels import are_distributions
from tf_lottery.exporting.output_kinds import UNKNOWN, OutputKind

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
    "int16x8": PrecisionBounds(0.1, 0.3, 0.98),
    "int4": PrecisionBounds(0.25, 0.5, 0.95),
    "mixed": PrecisionBounds(0.1, 0.3, 0.98),
}
# The largest difference between the sparse and the dense file of one precision, of the largest output: rounding for
# float32 and float16; other kernels for the same int8 weights quantize what flows between layers a little differently.
# int16x8 has the same kernels behind a DENSIFY.
TWIN_TOLERANCES = {"float32": 1e-5, "float16": 1e-4, "dynamic": 0.05, "int8": 0.02, "int16x8": 1e-6, "mixed": 0.05}
# A channel that varies less than this fraction of the one that varies most is not judged alone.
_NEGLIGIBLE = 1e-3

Outputs: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Arrays `(samples, ...)` by the name of the output."""


def compare_outputs(
    reference: Outputs,
    outputs: Outputs,
    *,
    precision: str = "float32",
    tolerance: float | Mapping[str, float] = FLOAT32_TOLERANCE,
    kinds: Mapping[str, OutputKind] | None = None,
    bounds: PrecisionBounds | None = None,
) -> OutputAgreement:
    """Compare outputs with the reference, output by output.

    Float32 outputs are accepted if every difference is at most `tolerance` times the largest absolute value of that
    output's reference, and every predicted class is equal, except where the reference itself is a near-tie: its two
    largest values closer than twice that difference. Other precisions are accepted within `REDUCED`.

    Args:
        reference: arrays `(samples, ...)` of the Keras model by output name, finite.
        outputs: arrays of the same names and shapes.
        precision: "float32" or one of `REDUCED`.
        tolerance: of float32, relative to the largest absolute reference value; one for all outputs, or by name.
        kinds: what the outputs hold, by name; an output that is not in it is compared as numbers.
        bounds: what may differ, instead of what the precision allows.

    Returns:
        An `OutputAgreement` without accuracies and losses; its `failure` is empty if the outputs are accepted.

    Raises:
        NonFiniteError: if the reference has NaN or infinite values.

    Example:
        >>> one = {"y": np.array([[1.0, 3.0]])}
        >>> compare_outputs(one, {"y": np.array([[1.0, 3.5]])}).failure
        "output 'y' differs by 0.5, 1.7e-01 of its largest value (allowed: 1.0e-05)"
    """
    bounds = bounds or REDUCED.get(precision)
    failures: list[str] = []
    errors: dict[str, OutputError] = {}
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
            errors[name] = MISSING
            continue
        kind = (kinds or {}).get(name, UNKNOWN)
        errors[name] = error = _error(expected, received, kind)
        if bounds is None:
            allowed = tolerance if isinstance(tolerance, float) else tolerance[name]
            failures += _exact_failures(name, expected, received, allowed, kind)
        else:
            failures += _reduced_failures(name, expected, received, error, bounds)
    return OutputAgreement(errors, "; ".join(failures))


def _error(expected: npt.NDArray[Any], received: npt.NDArray[Any], kind: OutputKind) -> OutputError:
    largest = float(np.abs(received - expected).max(initial=0.0))
    return OutputError(
        largest,
        _ratio(largest, float(np.abs(expected).max(initial=0.0))),
        error_over_spread(expected, received),
        float((kind.predictions(expected) == kind.predictions(received)).mean()) if kind.has_classes else None,
    )


def _exact_failures(
    name: str, expected: npt.NDArray[Any], received: npt.NDArray[Any], tolerance: float, kind: OutputKind
) -> list[str]:
    failures = []
    error, scale = float(np.abs(received - expected).max(initial=0.0)), float(np.abs(expected).max(initial=0.0))
    ratio = _ratio(error, scale)
    if not ratio <= tolerance:  # written so that NaN fails
        failures.append(
            f"output {name!r} differs by {error:.4g}, {ratio:.1e} of its largest value (allowed: {tolerance:.1e})"
        )
    if kind.has_argmax:
        equal = kind.predictions(expected) == kind.predictions(received)
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
    name: str, expected: npt.NDArray[Any], received: npt.NDArray[Any], error: OutputError, bounds: PrecisionBounds
) -> list[str]:
    failures = []
    if not error.rms_rel <= bounds.whole:
        failures.append(
            f"output {name!r} has an error of {error.rms_rel:.1e} of its spread (root mean square; allowed: "
            f"{bounds.whole:.2g})"
        )
    elif lost := _lost_channels(expected, received, bounds.channel):
        failures.append(
            f"output {name!r} loses channel {lost[0]}{f' and {len(lost) - 1} more' if lost[1:] else ''}: the error is "
            f"more than {bounds.channel:.2g} of its spread"
        )
    if error.class_agreement is not None and not error.class_agreement >= bounds.class_agreement:
        failures.append(
            f"output {name!r}: {100 * error.class_agreement:.1f} % of the predicted classes agree (needed: "
            f"{100 * bounds.class_agreement:g} %)"
        )
    return failures


def _lost_channels(expected: npt.NDArray[Any], received: npt.NDArray[Any], bound: float) -> list[int]:
    """Channels of the last axis whose error exceeds the bound; none where the channels are one distribution."""
    channels, errors = _channels(expected), _channels(received) - _channels(expected)
    if not channels.size or are_distributions(channels):
        return []  # of a softmax, the probabilities of rare classes may round to nothing
    spreads, sizes = channels.std(0), np.sqrt(np.mean(np.square(errors), 0))
    judged = spreads > _NEGLIGIBLE * spreads.max()
    return [int(place) for place in np.flatnonzero(judged & ~(sizes <= bound * spreads))]


def _channels(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values as `(everything else, channels)`."""
    return values.reshape(-1, values.shape[-1]) if values.ndim > 1 else values.reshape(-1, 1)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else (0.0 if part == 0 else float("inf"))


def _root_mean_square(values: npt.NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0


def accuracy(outputs: npt.NDArray[Any], labels: npt.NDArray[Any], kind: OutputKind) -> float | None:
    """Return the fraction of predictions that are right, or None where the output has no classes.

    Args:
        outputs: `(samples, ...)`.
        labels: of the same samples, such as `label_readings` reads as the kind's.
        kind: that of the output.
    """
    if not kind.has_classes:
        return None
    return float((kind.predictions(outputs) == kind.label_classes(labels, outputs.shape)).mean())
