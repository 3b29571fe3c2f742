"""The model card: what the best file of an export is, where it is from, what was measured, what was gained."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt

from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.export_report import ExportReport, FileRecord
from tf_lottery.exporting.output_kinds import BY_ERROR, BY_PREDICTIONS, KINDS
from tf_lottery.exporting.publish.usage_snippets import usage_snippets
from tf_lottery.layers import discover
from tf_lottery.results.tables.formats import decibels_text, percent
from tf_lottery.utils import machine
from tf_lottery.utils.files import json_text
from tf_lottery.utils.text import printable

SCHEMA = "tf-lottery.card/1"
_PACKAGES = ("tf-lottery", "tensorflow", "keras", "ai-edge-litert", "numpy")


def describe_model(model: keras.Model, reference: KerasReference) -> dict[str, Any]:
    """Return the Keras model's accuracies on the samples, its parameters, and the density of each kernel and of all.

    The density of a kernel is the fraction of its values that are not zero, so this also serves models without masks.

    Args:
        model: a plain model.
        reference: the samples and labels of the export.
    """
    own, validation = reference.accuracies()
    kernels = {path: (np.shape(value), np.count_nonzero(value), np.size(value)) for path, value in _kernels(model)}
    total = sum(size for _, _, size in kernels.values())
    return {
        "accuracy": own,
        "validation_accuracy": validation,
        "parameters": int(model.count_params()),
        "density": sum(kept for _, kept, _ in kernels.values()) / total if total else None,
        "weights": [
            {"weight": path, "shape": list(shape), "kept": int(kept), "total": size, "density": kept / size}
            for path, (shape, kept, size) in kernels.items()
        ],
    }


def _kernels(model: keras.Model) -> list[tuple[str, npt.NDArray[Any]]]:
    return [(path, weight.variable.numpy()) for path, weight in discover(model).found.items()]


def make_card(report: ExportReport, best: FileRecord, *, origin: Mapping[str, Any], batch: int = 1) -> dict[str, Any]:
    """Return the card as a document of the schema `tf-lottery.card/1`.

    Args:
        report: the report with its candidates.
        best: the record of the best file.
        origin: entries on where the model is from.
        batch: how many samples the file takes at a time.
    """
    return {
        "schema": SCHEMA,
        "file": dict(best),
        "goal": report.goal,
        "max_drop": report.max_drop,
        "loss": best["validation_loss"],
        "source": dict(origin),
        "keras": report.keras,
        "slimmed": report.slimmed if str(best["encoding"]).startswith("slim") else None,
        "inputs": [dict(entry) for entry in report.inputs],
        "outputs": [dict(entry) for entry in report.outputs],
        "compared_on": {"samples": report.samples, "count": report.sample_count},
        "candidates": [dict(record) for record in report.candidates],
        "refused": report.refusals(),
        "findings": list(report.findings),
        "notes": list(report.notes),
        "use": usage_snippets(
            best["format"],
            Path(str(best["path"])).name,
            [
                {
                    **entry,
                    "shape": entry["sample_shape"],
                    **_stored(best, entry["input"]),
                    "free": entry["input"] in (best["free_dimensions"] or {}),
                }
                for entry in report.inputs
            ],
            [{**entry, **_stored(best, entry["output"])} for entry in report.outputs],
            batch=batch,
        ),
        "environment": machine.describe(_PACKAGES),
    }


def _stored(best: FileRecord, name: str) -> dict[str, Any]:
    """The dtype of an input or output that the file holds as whole numbers."""
    tensors = {key: held for edge in (best["quantization"] or {}).values() for key, held in edge.items()}
    return {"dtype": tensors[name]["dtype"]} if name in tensors else {}


def card_json(card: Mapping[str, Any]) -> str:
    """Return the card as JSON text."""
    return f"{json_text(card, indent=2)}\n"


def card_markdown(card: Mapping[str, Any]) -> str:
    """Return the card as Markdown, for people."""
    file, own = card["file"], card["keras"]
    title = str(file["path"]).rsplit("/", 1)[-1]
    facts = {
        "Format": f"{file['format']}, {file['precision']}, {file['encoding']}",
        "Bytes": f"{file['bytes']:,} ({file['gzip_bytes']:,} gzipped)",
        "SHA-256": f"`{file['sha256']}`",
        "Latency": _microseconds(file["latency_us_median"]) + " for one sample (median)",
        "Accuracy": f"{_percent(file['accuracy'])} (the Keras model: {_percent(own['accuracy'])})",
        "Validation accuracy": f"{_percent(file['validation_accuracy'])} (the Keras model: "
        f"{_percent(own['validation_accuracy'])})",
        "Predicted classes equal to Keras": _percent(file["agreement"]),
        "Error of the outputs": f"{percent(file['rms_rel_error'], digits=2)} of their spread (root mean square)"
        f", SNR {decibels_text(file['snr_db'])}",
        "Largest difference": f"{file['max_abs_error']:.2g}, {file['max_rel_error']:.1e} of the largest output",
        "Compared on": f"{card['compared_on']['count']:,} {_KIND[card['compared_on']['samples']]} samples",
        "Chosen for": f"{card['goal']}, within a loss of {_budget(card)}",
        "Weights kept": f"{_percent(own['density'])} of the kernels' values",
        "Tensor arena": _UNKNOWN
        if file["arena_bytes"] is None
        else f"about {file['arena_bytes']:,} bytes (an estimate)",
        "Free dimensions": _free(card),
    }
    parts = [f"# {title}", table(("", ""), [(key, value) for key, value in facts.items() if _UNKNOWN not in value])]
    inputs = [(one["input"], _shape(one), one["dtype"], _range(one["range"])) for one in card["inputs"]]
    parts += ["## Inputs", table(("Input", "Shape", "Dtype", "Range of the samples"), inputs)]
    scaling = (card["source"].get("data") or {}).get("scaling")
    if scaling:
        parts.append(f"Raw values `x` are scaled by `{scaling}`; an app must do the same.")
    outputs = [
        (
            *(one["output"], _shape(one), one["dtype"], f"{one['kind']}: {KINDS[one['kind']]}"),
            *(one["known_by"], one["measure"]),
        )
        for one in card["outputs"]
    ]
    parts += [
        "## Outputs",
        table(("Output", "Shape", "Dtype", "Holds", "Known by", "Files are judged by"), outputs),
    ]
    if file["quantization"] is not None:
        rows = [
            (f"{edge[:-1]} {name}", held["dtype"], repr(held["scale"]), str(held["zero_point"]))
            for edge, tensors in file["quantization"].items()
            for name, held in tensors.items()
        ]
        parts += ["## Whole numbers", table(("Tensor", "Type", "Scale", "Zero point"), rows), _MEANING]
    parts.append("## Use")
    parts += [f"```{language}\n{code}```" for language, code in card["use"].items()]
    if card["source"]:
        parts += ["## Source", table(("", ""), list(_flat(card["source"])))]
    parts += ["## What was gained", *(f"- {finding}" for finding in card["findings"])]
    parts += ["## All verified files", table(_COLUMNS, [_row(record) for record in card["candidates"]])]
    kernels = [
        (kernel["weight"], f"{kernel['kept']:,} of {kernel['total']:,}", _percent(kernel["density"]))
        for kernel in own["weights"]
    ]
    parts += ["## Density per layer", table(("Weight", "Kept", "Density"), kernels)]
    if card["refused"]:
        parts += ["## Not offered", *(f"- {line}" for line in card["refused"])]
    parts += [f"- {note}" for note in card["notes"]]
    parts += ["## Made with", table(("", ""), [(key, str(value)) for key, value in card["environment"].items()])]
    return _joined(parts)


_UNKNOWN = "not known"
_MEANING = (
    "A whole number stands for `scale * (whole number - zero point)`; an input is `round(real / scale) + zero point`."
)
_KIND = {"given": "real", "random": "random"}
_COLUMNS = ("Format", "Precision", "Encoding", "Bytes", "Gzipped", "Latency", "Accuracy", "Agreement", "SNR")


def _row(record: FileRecord) -> tuple[str, ...]:
    layout = f" ({record['layout']})" if record["layout"] not in ("", "rows") else ""
    return (
        record["format"],
        record["precision"],
        record["encoding"] + layout,
        f"{record['bytes']:,}",
        f"{record['gzip_bytes']:,}",
        _microseconds(record["latency_us_median"]),
        _percent(record["accuracy"]),
        _percent(record["agreement"]),
        decibels_text(record["snr_db"]),
    )


def table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table.

    Args:
        headers: one heading per column.
        rows: cells as text.
    """
    lines = [headers, ["---"] * len(headers), *rows]
    cells = [[printable(str(cell)).replace("|", "\\|") for cell in line] for line in lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _budget(card: Mapping[str, Any]) -> str:
    units = {BY_PREDICTIONS: "points", BY_ERROR: "% of the outputs' spread"}
    named = dict.fromkeys(units[entry["measure"]] for entry in card["outputs"])
    return f"{100 * card['max_drop']:g} {' or '.join(named)}"


def _free(card: Mapping[str, Any]) -> str:
    """The dimensions of inputs that take any size, by their names or places."""
    ranks = {entry["input"]: len(entry["shape"]) + 1 for entry in card["inputs"]}
    texts = []
    for name, places in (card["file"]["free_dimensions"] or {}).items():
        names = ("batch", "height", "width", "channel") if ranks[name] == 4 else ("batch", *map(str, range(1, 9)))
        texts.append(f"{name}: {', '.join(names[place] for place in places)}")
    return "; ".join(texts) or _UNKNOWN


def _shape(entry: Mapping[str, Any]) -> str:
    return " x ".join("any" if size is None else str(size) for size in (1, *entry["shape"]))


def _range(values: Sequence[float] | None) -> str:
    return _UNKNOWN if values is None else f"{values[0]:.4g} to {values[1]:.4g}"


def _percent(value: float | None) -> str:
    return _UNKNOWN if value is None else percent(value, digits=2)


def _microseconds(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:,.1f} us"


def _flat(source: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for key, value in source.items():
        inner = value.items() if isinstance(value, Mapping) else [(None, value)]
        rows += [(key if name is None else str(name), str(item)) for name, item in inner]
    return rows


def _joined(parts: Sequence[str]) -> str:
    """Paragraphs, with the points of a list on adjacent lines."""
    text = parts[0]
    for before, part in itertools.pairwise(parts):
        text += ("\n" if before.startswith("- ") and part.startswith("- ") else "\n\n") + part
    return text + "\n"
