"""Sentences on what the best file of an export gains, and on what is smaller or faster than it. No TensorFlow."""

from collections.abc import Sequence

from tf_lottery.exporting.export_report import FileRecord
from tf_lottery.exporting.precision_names import BY_QUANTIZER
from tf_lottery.exporting.publish.best_file import better_than
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP


def describe_gains(
    records: Sequence[FileRecord],
    best: FileRecord,
    *,
    goal: str = "balanced",
    max_drop: float = DEFAULT_MAX_DROP,
) -> list[str]:
    """Return sentences that compare a file with the dense float32 and int8 files of its model, and all when gzipped.

    Args:
        records: verified candidates, the dense ones among them.
        best: the file that is compared.
        goal: what it was chosen for.
        max_drop: the accuracy budget, a fraction; only files within it are recommended.
    """
    if best["format"] != "tflite":
        dense = _dense(records, best["format"], "float32")
        gains = [] if dense is None or dense is best else [_against(best, dense, f"the dense {best['format']}")]
        return [*gains, *_smallest_download(records, best, max_drop)]
    sentences = []
    dense, int8 = _dense(records, "tflite", "float32"), _dense(records, "tflite", "int8")
    if dense is not None and not _same(best, dense):
        sentences.append(_against(best, dense, "the dense float32 file"))
        if dense["gzip_bytes"] <= best["gzip_bytes"]:
            sentences.append(
                f"Plain gzip makes the dense float32 file {dense['gzip_bytes']:,} bytes, no more than this one "
                f"compressed ({best['gzip_bytes']:,}): as a download, this file gains nothing."
            )
        elif dense["gzip_bytes"] <= best["bytes"]:
            sentences.append(
                f"Plain gzip makes the dense float32 file {dense['gzip_bytes']:,} bytes, less than this one "
                f"uncompressed; compressed, this one is {best['gzip_bytes']:,}."
            )
    if int8 is not None and not _same(best, int8):
        sentences.append(_against(best, int8, "the dense int8 file"))
        wins = [word for word, key in (("smaller", "bytes"), ("faster", "latency_us_median")) if _less(int8, best, key)]
        if wins:
            outside = ", but outside the accuracy budget" if int8["validation_loss"] > _allowed(best, max_drop) else ""
            sentences.append(f"The dense int8 file is {' and '.join(wins)} than this one{outside}.")
    return [
        *sentences,
        *_smallest_download(records, best, max_drop),
        *_left_out_of_the_choice(records, best, goal, max_drop),
    ]


def _left_out_of_the_choice(records: Sequence[FileRecord], best: FileRecord, goal: str, max_drop: float) -> list[str]:
    """A sentence on each file of LiteRT's quantizer that could not be chosen: which, and why."""
    sentences = []
    for record in records:
        if record["precision"] not in BY_QUANTIZER or record is best:
            continue
        rival = better_than(record, records, goal=goal, max_drop=max_drop)
        if rival is not None:
            sentences.append(
                f"The {_described(record)} was no choice: the {_described(rival)} is no larger and no less exact."
            )
        elif record["validation_loss"] > _allowed(best, max_drop):
            sentences.append(f"The {_described(record)} is outside the accuracy budget.")
    return sentences


def _described(record: FileRecord) -> str:
    name = " ".join((record["precision"], record["encoding"]))
    return f"{name} file ({record['bytes']:,} bytes, error {record['rms_rel_error']:.1e} of the spread)"


def _smallest_download(records: Sequence[FileRecord], best: FileRecord, max_drop: float) -> list[str]:
    """A sentence on the file of the same format that is the smallest when gzipped, where that is another one."""
    allowed = _allowed(best, max_drop)
    rivals = [
        record for record in records if record["format"] == best["format"] and record["validation_loss"] <= allowed
    ]
    smallest = min(rivals, key=lambda record: record["gzip_bytes"], default=best)
    if smallest["gzip_bytes"] >= best["gzip_bytes"]:
        return []
    name = " ".join((smallest["precision"], smallest["encoding"]))
    return [
        f"As a download the {name} file is the smallest within the accuracy budget: {smallest['gzip_bytes']:,} bytes "
        f"gzipped, this one {best['gzip_bytes']:,}."
    ]


def _allowed(best: FileRecord, max_drop: float) -> float:
    """The loss within the budget; where the best file itself is outside, no more than its own."""
    return float(max(max_drop, best["validation_loss"]))


def _against(record: FileRecord, baseline: FileRecord, name: str) -> str:
    text = f"{ratio(record['bytes'], baseline['bytes'])} of the bytes of {name}"
    if record["latency_us_median"] and baseline["latency_us_median"]:
        text += f" and {ratio(record['latency_us_median'], baseline['latency_us_median'])} of its latency"
    return f"{text}."


def ratio(part: float, whole: float) -> str:
    """Return a ratio as text, with three digits after the point below 0.1 and two above.

    Args:
        part: the numerator.
        whole: the denominator.
    """
    value = part / whole
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _dense(records: Sequence[FileRecord], format: str, precision: str) -> FileRecord | None:
    return next(
        (
            record
            for record in records
            if (record["format"], record["precision"], record["encoding"]) == (format, precision, "dense")
        ),
        None,
    )


def _same(one: FileRecord, other: FileRecord) -> bool:
    return bool(one["sha256"] == other["sha256"])


def _less(one: FileRecord, other: FileRecord, key: str) -> bool:
    return bool(one[key] and other[key] and one[key] < other[key])
