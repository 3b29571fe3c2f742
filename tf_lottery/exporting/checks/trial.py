"""What every file of one export is tried on: real inputs, what Keras answers to them, labels, calibration inputs."""

from dataclasses import dataclass, replace

import numpy as np

from tf_lottery.exporting.checks.agreement import Comparison, accuracy, compare
from tf_lottery.exporting.signature import Signature

# How many samples a comparison should have.
ENOUGH = 256


@dataclass(frozen=True)
class Trial:
    """Inputs, reference outputs and labels of one export.

    Attributes:
        signature: names, shapes and dtypes of the model's inputs and outputs.
        samples: one array `(samples, ...)` per input, in the signature's order: those that are reported, then those of
            the validation part.
        reference: what the original Keras model answers to them, by output name.
        labels: per output the labels of the reported samples, or None.
        validation_labels: per output the labels of the validation samples, or None.
        validation: how many samples at the end are of the validation part.
        calibration: other real samples, by input name, on which int8 ranges are found; None if there are none.
        real: whether the samples are real, not random.
    """

    signature: Signature
    samples: list[np.ndarray]
    reference: dict[str, np.ndarray]
    labels: list[np.ndarray | None]
    validation_labels: list[np.ndarray | None]
    validation: int = 0
    calibration: dict[str, np.ndarray] | None = None
    real: bool = True

    @property
    def count(self) -> int:
        return len(self.samples[0])

    @property
    def named_samples(self) -> dict[str, np.ndarray]:
        return dict(zip(self.signature.inputs, self.samples, strict=True))

    def judge(self, outputs: dict[str, np.ndarray], *, precision: str = "float32") -> Comparison:
        """Compare a file's outputs with the reference on all samples, and count right answers where labels are there.

        What is counted for the choice among files is of the validation samples alone, where there are some.
        """
        found = compare(self.reference, outputs, precision=precision)
        if found.failure:
            return found
        chosen_on = found
        if self.validation:
            part = slice(self.count - self.validation, None)
            chosen_on = compare(_part(self.reference, part), _part(outputs, part), precision=precision)
        return replace(
            found,
            accuracy=self._accuracy(outputs, slice(0, self.count - self.validation), self.labels),
            validation_accuracy=self._accuracy(
                outputs, slice(self.count - self.validation, None), self.validation_labels
            ),
            validation_loss=1 - chosen_on.agreement if chosen_on.agreement is not None else chosen_on.rms_rel_error,
        )

    def accuracies(self) -> tuple[float | None, float | None]:
        """The Keras model's own accuracy on the reported and on the validation samples."""
        own = self.judge(self.reference)
        return own.accuracy, own.validation_accuracy

    def remarks(self) -> list[str]:
        """What the trial can't tell, one sentence each."""
        found = []
        if self.count < ENOUGH:
            found.append(f"Compared on {self.count} samples only: {ENOUGH} or more are better.")
        labelled = [name for name, given in zip(self.signature.outputs, self.labels, strict=True) if given is not None]
        if labelled and self.accuracies()[0] is None:
            found.append(f"The labels of {', '.join(labelled)} are no classes: no accuracy is told.")
        return found

    def _accuracy(self, outputs: dict[str, np.ndarray], part: slice, labels: list[np.ndarray | None]) -> float | None:
        """The mean over the outputs that have labels and classes."""
        scores = [
            accuracy(np.asarray(outputs[name], np.float64)[part], given)
            for name, given in zip(self.signature.outputs, labels, strict=True)
            if given is not None
        ]
        known = [score for score in scores if score is not None]
        return float(np.mean(known)) if known else None


def _part(outputs: dict[str, np.ndarray], part: slice) -> dict[str, np.ndarray]:
    return {name: array[part] for name, array in outputs.items()}
