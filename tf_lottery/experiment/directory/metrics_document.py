"""What `metrics.json` of a training, and the progress of a saved state, must hold to be worked with. No TensorFlow."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tf_lottery.experiment.directory.result_files import COLUMNS
from tf_lottery.utils.files import damaged

_COUNTS = ("replicate", "round")
_TEXTS = ("variant",)


def check_metrics(document: Any, path: Path) -> dict[str, Any]:
    """Return the metrics of a training, if their values are of the types that they are written in.

    Args:
        document: the content of the file.
        path: the file, for messages.

    Raises:
        DamagedError: a value is of another type, or one that every training has is missing.
    """
    problem = _problem(document)
    if problem:
        raise damaged(path, problem)
    metrics: dict[str, Any] = document
    return metrics


def check_progress(document: Any) -> dict[str, Any]:
    """Return the progress of a training that was stopped in its middle, if it has a step and evaluations.

    Raises:
        ValueError: it has not.
    """
    if not isinstance(document, dict) or not _is_count(document.get("step")):
        raise ValueError("it holds no progress of a training")
    if not _all_rows(document.get("history", [])):
        raise ValueError("its evaluations are no rows")
    return document


def _problem(document: Any) -> str:
    """Return what is wrong with metrics; "" where nothing is."""
    if not isinstance(document, dict) or not isinstance(document.get("row"), dict):
        return "it has no row of results"
    row = document["row"]
    for key in COLUMNS:
        if key not in row:
            return f"its row of results has no {key!r}"
        valid = _is_count if key in _COUNTS else _is_text if key in _TEXTS else _is_number_or_none
        if not valid(row[key]):
            return f"{key!r} of its row of results is {row[key]!r}"
    if not _all_rows([row]):
        return "its row of results holds more than numbers and texts"
    if not _all_rows(document.get("history")):
        return "it has no evaluations, as rows of numbers"
    layers = document.get("layers")
    if not isinstance(layers, dict) or not all(
        isinstance(counts, dict) and all(map(_is_count, counts.values())) for counts in layers.values()
    ):
        return "it has no counts of weights by layer"
    if not _is_table_of_texts(document.get("pinned", {})):
        return "what it pins is no table of digests"
    return "" if _is_count(document.get("start_step", 0)) else "its first step is no count"


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number_or_none(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300)


def _is_table_of_texts(value: Any) -> bool:
    return isinstance(value, Mapping) and all(isinstance(text, str) for text in value.values())


def _all_rows(rows: Any) -> bool:
    """Whether this is a list of rows of numbers and texts."""
    return isinstance(rows, list) and all(
        isinstance(row, dict) and all(map(_is_number_or_text, row.values())) for row in rows
    )


def _is_number_or_text(value: Any) -> bool:
    return isinstance(value, str | bool) or _is_number_or_none(value)
