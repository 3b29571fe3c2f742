"""One candidate file of an export, between its writing and its publication."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.export.integrity import digest, gzip_size, size
from tf_lottery.export.verification import Comparison


@dataclass(frozen=True)
class Candidate:
    """A written file or folder in the staging folder, with what its verification measured.

    Attributes:
        file: where it lies now.
        suffix: what is appended to the export's name, e.g. `_float32_sparse.tflite`.
        format, precision, encoding: as in the contract.
        comparison: with the Keras model's outputs.
        latency_us_median: microseconds for one sample, or None.
    """

    file: Path
    suffix: str
    format: str
    precision: str
    encoding: str
    comparison: Comparison
    latency_us_median: float | None = None

    def record(self, path: Path) -> dict[str, Any]:
        """The entry of the report's `files`, for a candidate that is published as `path`."""
        return {
            "path": str(path),
            "format": self.format,
            "precision": self.precision,
            "encoding": self.encoding,
            "bytes": size(self.file),
            "gzip_bytes": gzip_size(self.file),
            "sha256": digest(self.file),
            "max_abs_error": self.comparison.max_abs_error,
            "agreement": self.comparison.agreement,
            "accuracy": self.comparison.accuracy,
            "latency_us_median": self.latency_us_median,
        }


@dataclass(frozen=True)
class Refusal:
    """A candidate that is not offered, and why. `mismatch`: it was written and computed something else."""

    format: str
    precision: str
    encoding: str
    reason: str
    mismatch: bool = False

    def record(self) -> dict[str, Any]:
        """The entry of the report's `refused`."""
        return {
            "format": self.format,
            "precision": self.precision,
            "encoding": self.encoding,
            "reason": self.reason,
        }
