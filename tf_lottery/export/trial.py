"""What every file of one export is tried on: real inputs, what Keras answers to them, labels, calibration inputs."""

from dataclasses import dataclass, replace

import numpy as np

from tf_lottery.export.signature import Signature
from tf_lottery.export.verification import Comparison, accuracy, compare


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
        """Compare a file's outputs with the reference, and count right answers where labels are there."""
        found = compare(self.reference, outputs, precision=precision)
        if found.failure:
            return found
        reported = self.count - self.validation
        return replace(
            found,
            accuracy=self._accuracy(outputs, slice(0, reported), self.labels),
            validation_accuracy=self._accuracy(outputs, slice(reported, None), self.validation_labels),
        )

    def accuracies(self) -> tuple[float | None, float | None]:
        """The Keras model's own accuracy on the reported and on the validation samples."""
        own = self.judge(self.reference)
        return own.accuracy, own.validation_accuracy

    def _accuracy(self, outputs: dict[str, np.ndarray], part: slice, labels: list[np.ndarray | None]) -> float | None:
        """The mean over the outputs that have labels and classes."""
        scores = []
        for name, given in zip(self.signature.outputs, labels, strict=True):
            received = np.asarray(outputs[name], np.float64)[part]
            if given is not None and received.ndim >= 2 and received.shape[-1] >= 2:
                scores.append(accuracy(received, given))
        return float(np.mean(scores)) if scores else None
