"""One candidate file of an export, between its writing and its publication."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.exporting.checks.agreement import Comparison
from tf_lottery.exporting.checks.checksums import digest, gzip_size, size


@dataclass(frozen=True)
class Candidate:
    """A written file or folder in the staging folder, with what its verification measured.

    Attributes:
        file: where it lies now.
        suffix: what is appended to the export's name, e.g. `_float32_sparse.tflite`.
        format, precision, encoding: as in the contract.
        comparison: with the Keras model's outputs.
        latency_us_median: microseconds for one sample, or None.
        layout: how pruned weights are stored: "rows", "1x4" or "1x16"; empty for dense ones.
        note: a sentence on how the file was made, where that needs one.
        outputs: its outputs, for the comparison with its twins.
    """

    file: Path
    suffix: str
    format: str
    precision: str
    encoding: str
    comparison: Comparison
    latency_us_median: float | None = None
    layout: str = ""
    note: str = ""
    outputs: dict[str, np.ndarray] = field(default_factory=dict, repr=False, compare=False)

    def record(self, path: Path) -> dict[str, Any]:
        """The entry of the report's `files`, for a candidate that is published as `path`."""
        return {
            "path": str(path),
            "format": self.format,
            "precision": self.precision,
            "encoding": self.encoding,
            "layout": self.layout,
            "bytes": size(self.file),
            "gzip_bytes": gzip_size(self.file),
            "sha256": digest(self.file),
            "max_abs_error": self.comparison.max_abs_error,
            "max_rel_error": self.comparison.max_rel_error,
            "rms_rel_error": self.comparison.rms_rel_error,
            "agreement": self.comparison.agreement,
            "accuracy": self.comparison.accuracy,
            "validation_accuracy": self.comparison.validation_accuracy,
            "validation_loss": self.comparison.validation_loss,
            "latency_us_median": self.latency_us_median,
            "note": self.note,
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


def encoding_name(base: str, *, slim: bool) -> str:
    """The contract's name of an encoding: "dense" or "sparse" of the whole model, "slim" or "slim-sparse"."""
    return {"dense": "slim", "sparse": "slim-sparse"}[base] if slim else base


def file_suffix(*parts: str) -> str:
    """What is appended to an export's name: `_float32_slim_sparse` of ("float32", "slim-sparse"); no empty parts."""
    return "".join(f"_{part.replace('-', '_')}" for part in parts if part)
