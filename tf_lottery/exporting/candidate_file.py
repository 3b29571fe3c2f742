"""One file of an export between its writing and its publication: a candidate, or the reason of its refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy.typing as npt

from tf_lottery.exporting.checks.checksums import digest, gzip_size, size
from tf_lottery.exporting.checks.output_error import OutputAgreement, decibels
from tf_lottery.exporting.export_report import REFUSED_FIELDS
from tf_lottery.exporting.file_metadata import FileMetadata
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP


@dataclass(frozen=True)
class CandidateFile:
    """A written file or folder in the staging folder, with what its verification measured.

    Attributes:
        file: where it lies now.
        suffix: what is appended to the export's name, e.g. `_float32_sparse.tflite`.
        format: "tflite", "saved_model", "keras" or "onnx".
        precision: one of `precision_names.PRECISIONS`; of other formats "float32".
        encoding: "dense", "sparse", "slim" or "slim-sparse".
        agreement: with the Keras model's outputs.
        latency_us_median: microseconds for one sample, or None where it was not measured.
        layout: how pruned weights are stored: "rows", "1x4" or "1x16"; empty for dense ones.
        note: a sentence on how the file was made, where that needs one.
        outputs: arrays `(samples, ...)` by output name, which the sparse file of the same precision is compared with.
        content: of a TFLite file, without the metadata that was added to it; other files are made of it.
        quantization: how the whole numbers of inputs and outputs stand for real ones, by "inputs" and "outputs" and
            their names; None for a file that takes and gives float32.
        arena_bytes: an estimate of the tensor arena that it needs on a microcontroller; None for other targets.
        free_dimensions: the places of the dimensions that take any size, the batch being 0, by the name of the input;
            None where nothing is known of them.
    """

    file: Path
    suffix: str
    format: str
    precision: str
    encoding: str
    agreement: OutputAgreement
    latency_us_median: float | None = None
    layout: str = ""
    note: str = ""
    outputs: dict[str, npt.NDArray[Any]] = field(default_factory=dict, repr=False, compare=False)
    content: bytes = field(default=b"", repr=False, compare=False)
    quantization: dict[str, dict[str, dict[str, Any]]] | None = None
    arena_bytes: int | None = None
    free_dimensions: dict[str, list[int]] | None = None

    def record(self, path: Path) -> dict[str, Any]:
        """Return the entry of the report's `files`, for a candidate that is published as `path`."""
        return {
            "path": str(path),
            "format": self.format,
            "precision": self.precision,
            "encoding": self.encoding,
            "layout": self.layout,
            "bytes": size(self.file),
            "gzip_bytes": gzip_size(self.file),
            "sha256": digest(self.file),
            "max_abs_error": self.agreement.max_abs_error,
            "max_rel_error": self.agreement.max_rel_error,
            "rms_rel_error": self.agreement.rms_rel_error,
            "snr_db": decibels(self.agreement.rms_rel_error),
            "agreement": self.agreement.class_agreement,
            "accuracy": self.agreement.accuracy,
            "validation_accuracy": self.agreement.validation_accuracy,
            "validation_loss": self.agreement.validation_loss,
            "outputs": self.agreement.records(),
            "latency_us_median": self.latency_us_median,
            "note": self.note,
            "io": "float32" if self.quantization is None else "int8",
            "quantization": self.quantization,
            "arena_bytes": self.arena_bytes,
            "free_dimensions": self.free_dimensions,
        }


@dataclass(frozen=True)
class Refusal:
    """A candidate that is not offered.

    Attributes:
        format: as of a `CandidateFile`.
        precision: as of a `CandidateFile`.
        encoding: as of a `CandidateFile`.
        reason: why, in one line.
        mismatch: whether a file was written that computes something else than the Keras model.
        crashed: whether a process crashed on the model.
    """

    format: str
    precision: str
    encoding: str
    reason: str
    mismatch: bool = False
    crashed: bool = False

    def record(self) -> dict[str, Any]:
        """Return the entry of the report's `refused`."""
        return {name: getattr(self, name) for name in REFUSED_FIELDS}


@dataclass(frozen=True)
class WantedFiles:
    """Which files a writer is to make of one model.

    Attributes:
        slim: whether the model is the slimmed one, for the names of encodings.
        bases: "dense", "sparse" or both.
        precisions: some of `precision_names.PRECISIONS`.
        hopeless: why precisions are not tried, by name: a process crashed on the model that was slimmed.
        io: what int8 files take and give, "float32" or "int8".
        target: "micro" for files that TensorFlow Lite Micro runs; empty for any.
        batch: how many samples a TFLite file takes at a time.
        max_drop: the accuracy budget, within which the precision "mixed" chooses the bits of weights.
        metadata: what TFLite files say of their inputs and outputs; None for nothing.
    """

    slim: bool = False
    bases: tuple[str, ...] = ("dense", "sparse")
    precisions: tuple[str, ...] = ("float32", "float16", "dynamic", "int8")
    hopeless: Mapping[str, str] = field(default_factory=dict)
    io: str = "float32"
    target: str = ""
    batch: int = 1
    max_drop: float = DEFAULT_MAX_DROP
    metadata: FileMetadata | None = None

    def encoding(self, base: str) -> str:
        """Return the report's name of the encoding of a base, "dense" or "sparse"."""
        return encoding_name(base, slim=self.slim)


ALL_FILES = WantedFiles()
"""Every file of a model that is not slimmed."""


def encoding_name(base: str, *, slim: bool) -> str:
    """Return the report's name of an encoding.

    Args:
        base: "dense" or "sparse".
        slim: whether the model is the slimmed one.

    Example:
        >>> encoding_name("sparse", slim=True)
        'slim-sparse'
    """
    return {"dense": "slim", "sparse": "slim-sparse"}[base] if slim else base


def file_suffix(*parts: str) -> str:
    """Return what is appended to an export's name, made of parts such as a precision; empty ones are skipped.

    Example:
        >>> file_suffix("float32", "slim-sparse", "")
        '_float32_slim_sparse'
    """
    return "".join(f"_{part.replace('-', '_')}" for part in parts if part)
