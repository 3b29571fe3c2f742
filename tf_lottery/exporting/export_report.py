"""What an export made, what it refused, and why: the `tf-lottery.export/1` document."""

import json
from dataclasses import dataclass, field
from typing import Any

from tf_lottery.utils.files import json_text, strict

SCHEMA = "tf-lottery.export/1"
REPORT = "export.json"

FILE_FIELDS = (
    "path",
    "format",
    "precision",
    "encoding",
    "layout",
    "bytes",
    "gzip_bytes",
    "sha256",
    "max_abs_error",
    "max_rel_error",
    "rms_rel_error",
    "agreement",
    "accuracy",
    "validation_accuracy",
    "validation_loss",
    "latency_us_median",
    "note",
)
REFUSED_FIELDS = ("format", "precision", "encoding", "reason")


@dataclass(frozen=True)
class ExportReport:
    """The outcome of one export.

    Attributes:
        files: one dict per written and verified file or folder, with the keys `FILE_FIELDS`. `bytes` and `gzip_bytes`
            are sizes in bytes (of a folder: the sum over its files); `max_abs_error` is the largest absolute difference
            from the Keras model's outputs, `max_rel_error` the same relative to the largest output, `rms_rel_error` the
            root mean square of the differences over the spread of the outputs; `agreement` and the accuracies are
            fractions or None where the outputs are no classes or no labels were given; `latency_us_median` is in
            microseconds for one sample, or None where it was not measured; `layout` tells how sparse weights are
            stored.
        refused: one dict per candidate that was not written, with the keys `REFUSED_FIELDS`.
        best: the path of the file to ship, see `choice.choose`.
        samples: "given", or "random" if no samples were given and random ones were compared.
        sample_count: how many samples were compared.
        notes: sentences on anything that the export changed, e.g. a mixed-precision model that now computes in float32.
        candidates: every verified candidate, those not written too (their `path` is None), with the keys `FILE_FIELDS`.
        keras: the Keras model's own `accuracy` and `validation_accuracy`, `parameters`, and its kernels' `density`.
        findings: sentences on what the best file gains, and on what is smaller or faster than it.
        goal, max_drop: what the best file was to be, within what loss of accuracy.
        slimmed: what slimming removed, see `tf_lottery.exporting.slim`; None if it was not asked for.
    """

    files: tuple[dict[str, Any], ...]
    refused: tuple[dict[str, Any], ...] = ()
    best: str | None = None
    samples: str = "given"
    sample_count: int = 0
    notes: tuple[str, ...] = field(default=())
    candidates: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    keras: dict[str, Any] = field(default_factory=dict, repr=False)
    slimmed: dict[str, Any] | None = field(default=None, repr=False)
    findings: tuple[str, ...] = ()
    goal: str = "balanced"
    max_drop: float = 0.005

    def to_json(self) -> dict[str, Any]:
        """The document of the contract as a dict that `json.dumps(..., allow_nan=False)` accepts: NaN becomes None.

        Example:
            >>> ExportReport(files=()).to_json()["schema"]
            'tf-lottery.export/1'
        """
        document = {
            "schema": SCHEMA,
            "best": self.best,
            "files": [dict(record) for record in self.files],
            "refused": [dict(record) for record in self.refused],
            "samples": self.samples,
            "sample_count": self.sample_count,
            "notes": list(self.notes),
            "candidates": [dict(record) for record in self.candidates],
            "keras": self.keras,
            "slimmed": self.slimmed,
            "findings": list(self.findings),
            "goal": self.goal,
            "max_drop": self.max_drop,
        }
        return strict(document)

    def refusals(self) -> list[str]:
        """One line per reason of a refusal, with all that was refused for it.

        Example:
            >>> cell = {"format": "tflite", "precision": "int8", "reason": "no samples"}
            >>> refused = ({**cell, "encoding": "dense"}, {**cell, "encoding": "sparse"})
            >>> ExportReport(files=(), refused=refused).refusals()
            ['tflite int8 (dense, sparse): no samples']
        """
        by_reason: dict[str, dict[str, list[str]]] = {}
        for record in self.refused:
            kind = record["format"] if record["format"] != "tflite" else f"tflite {record['precision']}"
            by_reason.setdefault(record["reason"], {}).setdefault(kind, []).append(record["encoding"])
        lines = []
        for reason, kinds in by_reason.items():
            by_encodings: dict[str, list[str]] = {}
            for kind, encodings in kinds.items():
                by_encodings.setdefault(", ".join(dict.fromkeys(encodings)), []).append(kind)
            named = [f"{', '.join(group)} ({encodings})" for encodings, group in by_encodings.items()]
            lines.append(f"{'; '.join(named)}: {reason}")
        return lines

    def dumps(self) -> str:
        """`to_json` as indented text."""
        return f"{json_text(self.to_json(), indent=2)}\n"


def is_report(content: bytes) -> bool:
    """Is `content` a document of this schema?"""
    try:
        return json.loads(content).get("schema") == SCHEMA
    except (ValueError, AttributeError):
        return False
