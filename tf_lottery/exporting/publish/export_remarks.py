"""What measured files say: plain sentences about what was gained, and when something simpler wins. No TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def findings(records: Sequence[Record], best: Record) -> list[str]:
    """Compare a file with the dense float32 and the dense int8 file of the same model, and with plain gzip.

    Args:
        records: verified candidates, the dense ones among them.
        best: the record that is looked at.
    """
    if best["format"] != "tflite":
        dense = _find(records, best["format"], "float32")
        return [] if dense is None or dense is best else [_against(best, dense, f"the dense {best['format']}")]
    found = []
    dense, int8 = _find(records, "tflite", "float32"), _find(records, "tflite", "int8")
    if dense is not None and not _same(best, dense):
        found.append(_against(best, dense, "the dense float32 file"))
        if dense["gzip_bytes"] <= best["gzip_bytes"]:
            found.append(
                f"Plain gzip makes the dense float32 file {dense['gzip_bytes']:,} bytes, no more than this one "
                f"compressed ({best['gzip_bytes']:,}): as a download, this file gains nothing."
            )
        elif dense["gzip_bytes"] <= best["bytes"]:
            found.append(
                f"Plain gzip makes the dense float32 file {dense['gzip_bytes']:,} bytes, less than this one "
                f"uncompressed; compressed, this one is {best['gzip_bytes']:,}."
            )
    if int8 is not None and not _same(best, int8):
        found.append(_against(best, int8, "the dense int8 file"))
        wins = [word for word, key in (("smaller", "bytes"), ("faster", "latency_us_median")) if _less(int8, best, key)]
        if wins:
            found.append(f"The dense int8 file is {' and '.join(wins)} than this one.")
    return found


def _against(record: Record, ruler: Record, name: str) -> str:
    text = f"{ratio(record['bytes'], ruler['bytes'])} of the bytes of {name}"
    if record["latency_us_median"] and ruler["latency_us_median"]:
        text += f" and {ratio(record['latency_us_median'], ruler['latency_us_median'])} of its latency"
    return f"{text}."


def ratio(part: float, whole: float) -> str:
    """A ratio with enough digits to tell small ones apart."""
    value = part / whole
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _find(records: Sequence[Record], format: str, precision: str) -> Record | None:
    return next(
        (
            record
            for record in records
            if (record["format"], record["precision"], record["encoding"]) == (format, precision, "dense")
        ),
        None,
    )


def _same(one: Record, other: Record) -> bool:
    return one["sha256"] == other["sha256"]


def _less(one: Record, other: Record, key: str) -> bool:
    return bool(one[key] and other[key] and one[key] < other[key])
