"""`ExportReport`: the files of an export, what was refused, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Any, TypeAlias, cast

from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.results.tables.formats import decibels_text, percent, plural
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import json_text, strict
from tf_lottery.utils.html import table

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
    "snr_db",
    "agreement",
    "accuracy",
    "validation_accuracy",
    "validation_loss",
    "outputs",
    "latency_us_median",
    "note",
    "io",
    "quantization",
    "arena_bytes",
    "free_dimensions",
)
REFUSED_FIELDS = ("format", "precision", "encoding", "reason")


FileRecord: TypeAlias = Mapping[str, Any]
"""An entry of a report's `files`, with the keys `FILE_FIELDS`."""


@dataclass(frozen=True, repr=False)
class ExportReport:
    """The outcome of one export. A notebook shows it as a table of files and a list of what was refused.

    Attributes:
        files: one dict per written and verified file or folder, with the keys `FILE_FIELDS`. `bytes` and `gzip_bytes`
            are sizes in bytes (of a folder: the sum over its files); `max_abs_error` is the largest absolute difference
            from the Keras model's outputs, `max_rel_error` the same relative to the largest output, `rms_rel_error` the
            root mean square of the differences over the spread of the outputs, `snr_db` the same in decibels (infinite
            where the outputs are equal); `agreement` and the accuracies are fractions, or None where the outputs are no
            classes or there are no labels; `validation_loss` is what the accuracy budget is compared with, the largest
            over the outputs; `outputs` has the errors of each output by its name; `latency_us_median` is in
            microseconds for one sample, or None where it was not measured; `layout` is how sparse weights are stored;
            `io` is what the file takes and gives, "float32" or "int8", and `quantization` how its whole numbers stand
            for real ones (a `scale` and `zero_point` by the name of each input and output), else None; `arena_bytes`
            is an estimate of the tensor arena on a microcontroller, None for other targets; `free_dimensions` has the
            places of the dimensions of a TFLite file's inputs that take any size, by name (the batch is 0), else None.
        refused: one dict per candidate that was not written, with the keys `REFUSED_FIELDS`.
        best: the path of the file to ship, see `publish.best_file.choose_best`.
        samples: "given", or "random" if random samples were compared.
        sample_count: how many samples were compared.
        notes: sentences on anything that the export changed, e.g. a mixed-precision model that now computes in float32.
        candidates: every verified candidate, those not written too (their `path` is None), with the keys `FILE_FIELDS`.
        keras: the Keras model's own `accuracy` and `validation_accuracy`, `parameters`, and its kernels' `density`.
        slimmed: what slimming removed, see `tf_lottery.exporting.slim`; None if no slim encoding was wanted.
        findings: sentences on what the best file gains, and on what is smaller or faster than it.
        goal: the goal for the best file: "size", "latency", "balanced" or "download".
        max_drop: what the best file may lose of the validation accuracy, a fraction.
        inputs: one dict per input of the model: its name, shape without the batch (None where it is dynamic), dtype,
            and shape and range of the samples; the range is None of random ones.
        outputs: one dict per output of the model: its name, what it holds (`output_kinds.KINDS`), how that is known,
            by what files are judged, its shape for one sample, and its dtype.
    """

    files: tuple[dict[str, Any], ...]
    refused: tuple[dict[str, Any], ...] = ()
    best: str | None = None
    samples: str = "given"
    sample_count: int = 0
    notes: tuple[str, ...] = ()
    candidates: tuple[dict[str, Any], ...] = ()
    keras: dict[str, Any] = field(default_factory=dict)
    slimmed: dict[str, Any] | None = None
    findings: tuple[str, ...] = ()
    goal: str = "balanced"
    max_drop: float = DEFAULT_MAX_DROP
    inputs: tuple[dict[str, Any], ...] = ()
    outputs: tuple[dict[str, Any], ...] = ()

    def __repr__(self) -> str:
        """Return one line: how many files, which is the best, and how many candidates were refused."""
        files = plural(len(self.files), "file")
        best = "" if self.best is None else f", best {self.best!r}"
        return f"<ExportReport: {files}{best}, {len(self.refused)} refused>"

    def _repr_html_(self) -> str:
        """Return a table of the files and a list of the reasons for which others were refused."""
        rows = [_html_row(record, best=record.get("path") == self.best) for record in self.files]
        refusals = "".join(f"<li>{escape(line)}</li>" for line in self.refusals())
        return table(_HTML_COLUMNS, rows, caption=f"Export of {plural(len(self.files), 'file')}") + (
            f"<p>Refused:</p><ul>{refusals}</ul>" if refusals else ""
        )

    def to_json(self) -> dict[str, Any]:
        """Return the document `tf-lottery.export/1`, in which NaN and infinities are None.

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
            "outputs": [dict(entry) for entry in self.outputs],
        }
        return cast(dict[str, Any], strict(document))

    def refusals(self) -> list[str]:
        """Return one line per reason of a refusal, with all that was refused for it.

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
        """Return `to_json` as indented text."""
        return f"{json_text(self.to_json(), indent=2)}\n"


def is_report(content: bytes) -> bool:
    """Return whether a file's content is a document of this schema."""
    try:
        return bool(parse_json(content).get("schema") == SCHEMA)
    except (ValueError, AttributeError):
        return False


_HTML_COLUMNS = ("", "File", "Format", "Precision", "Encoding", "Bytes", "Gzipped", "Latency (us)", "SNR", "Accuracy")


def _html_row(record: FileRecord, *, best: bool) -> list[str]:
    latency, sizes = record.get("latency_us_median"), [record.get("bytes"), record.get("gzip_bytes")]
    return [
        "best" if best else "",
        *(str(record.get(key, "")) for key in ("path", "format", "precision", "encoding")),
        *("" if size is None else f"{size:,}" for size in sizes),
        "" if latency is None else f"{latency:.1f}",
        decibels_text(record["snr_db"]) if "snr_db" in record else "",
        "" if record.get("accuracy") is None else percent(record["accuracy"], digits=2),
    ]
