"""What an export made, what it refused, and why: the `tf-lottery.export/1` document."""

import json
import math
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "tf-lottery.export/1"
REPORT = "export.json"

FILE_FIELDS = (
    "path",
    "format",
    "precision",
    "encoding",
    "bytes",
    "gzip_bytes",
    "sha256",
    "max_abs_error",
    "agreement",
    "accuracy",
    "latency_us_median",
)
REFUSED_FIELDS = ("format", "precision", "encoding", "reason")


@dataclass(frozen=True)
class ExportReport:
    """The outcome of one export.

    Attributes:
        files: one dict per written and verified file or folder, with the keys `FILE_FIELDS`. `bytes` and `gzip_bytes`
            are sizes in bytes (of a folder: the sum over its files); `max_abs_error` is the largest absolute difference
            from the Keras model's outputs; `agreement` and `accuracy` are fractions or None where the outputs are no
            classes or no labels were given; `latency_us_median` is in microseconds for one sample, or None where it was
            not measured.
        refused: one dict per candidate that was not written, with the keys `REFUSED_FIELDS`.
        best: the path of the file to ship: the smallest TFLite file; without one the SavedModel, then the `.keras`
            file.
        samples: "given", or "random" if no samples were given and random ones were compared.
        sample_count: how many samples were compared.
        notes: sentences on anything that the export changed, e.g. a mixed-precision model that now computes in float32.
    """

    files: tuple[dict[str, Any], ...]
    refused: tuple[dict[str, Any], ...] = ()
    best: str | None = None
    samples: str = "given"
    sample_count: int = 0
    notes: tuple[str, ...] = field(default=())

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
        }
        return _strict(document)

    def dumps(self) -> str:
        """`to_json` as indented text."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"


def choose_best(files: tuple[dict[str, Any], ...]) -> str | None:
    """The path to ship: the smallest file of the first format present among TFLite, SavedModel and `.keras`."""
    for wanted in ("tflite", "saved_model", "keras"):
        candidates = [record for record in files if record["format"] == wanted]
        if candidates:
            return min(candidates, key=lambda record: record["bytes"])["path"]
    return None


def is_report(content: bytes) -> bool:
    """Is `content` a document of this schema?"""
    try:
        return json.loads(content).get("schema") == SCHEMA
    except (ValueError, AttributeError):
        return False


def _strict(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
