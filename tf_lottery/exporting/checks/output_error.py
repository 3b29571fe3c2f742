"""How far the outputs of a file are from those of the Keras model, as figures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class OutputError:
    """How far one output is from that of the Keras model.

    Attributes:
        max_abs: largest absolute difference.
        max_rel: the same, relative to the largest absolute value.
        rms_rel: root mean square of the differences over the spread of the output about the means of its channels.
        class_agreement: fraction of predicted classes that are equal; None without classes.
    """

    max_abs: float
    max_rel: float
    rms_rel: float
    class_agreement: float | None = None

    @property
    def loss(self) -> float:
        """What the accuracy budget is about where there is no accuracy: classes that differ, or the relative error."""
        return self.rms_rel if self.class_agreement is None else 1 - self.class_agreement


MISSING = OutputError(float("nan"), float("nan"), float("nan"))
"""Of an output that is not there, or of another shape."""


@dataclass(frozen=True)
class OutputAgreement:
    """How far outputs are from those of the Keras model.

    Attributes:
        by_output: the error of each output, by its name.
        failure: why the outputs are not accepted, in one line; empty if they are.
        accuracy: fraction of right predictions, the mean over outputs with labels of classes; None without.
        validation_accuracy: the same on validation samples.
        losses: what the choice among files depends on, by output: the accuracy that the file loses on the validation
            samples; without labels the fraction of predicted classes that differ; without classes the relative error
            (root mean square); on the validation samples, or on all where there are none.
    """

    by_output: Mapping[str, OutputError]
    failure: str = ""
    accuracy: float | None = None
    validation_accuracy: float | None = None
    losses: Mapping[str, float] = field(default_factory=dict)

    @property
    def max_abs_error(self) -> float:
        """The largest absolute difference over all outputs."""
        return _worst([error.max_abs for error in self.by_output.values()])

    @property
    def max_rel_error(self) -> float:
        """The largest difference, relative to the largest absolute value of the same output."""
        return _worst([error.max_rel for error in self.by_output.values()])

    @property
    def rms_rel_error(self) -> float:
        """The largest root mean square of an output's differences over its spread."""
        return _worst([error.rms_rel for error in self.by_output.values()])

    @property
    def class_agreement(self) -> float | None:
        """The least fraction of predicted classes that are equal, of the outputs that have classes; None without."""
        agreements = [error.class_agreement for error in self.by_output.values() if error.class_agreement is not None]
        return min(agreements, default=None)

    @property
    def validation_loss(self) -> float:
        """The largest of the losses: the accuracy budget holds for every output."""
        return max(self.losses.values(), default=0.0)

    def records(self) -> dict[str, dict[str, float | None]]:
        """Return what a report holds of each output, by its name."""
        return {
            name: {
                "max_abs_error": error.max_abs,
                "rms_rel_error": error.rms_rel,
                "snr_db": decibels(error.rms_rel),
                "agreement": error.class_agreement,
                "validation_loss": self.losses.get(name),
            }
            for name, error in self.by_output.items()
        }


def decibels(rms_rel: float) -> float:
    """Return a relative error as the ratio of signal to noise; infinite of no error.

    Args:
        rms_rel: root mean square of the error over the spread of the outputs.

    Example:
        >>> decibels(0.01)
        40.0
    """
    return float("inf") if rms_rel == 0 else -20 * math.log10(rms_rel)


def _worst(values: list[float]) -> float:
    return float(np.max(values, initial=0.0))  # NaN stays
