"""Choose the best of the verified files: the one to ship."""

from collections.abc import Sequence
from numbers import Real

from tf_lottery.errors import UsageError
from tf_lottery.exporting.export_report import FileRecord
from tf_lottery.exporting.precision_names import BY_QUANTIZER
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.utils.text import suggestion

GOALS = ("balanced", "size", "latency", "download")
# A phone runs TFLite; without such a file, the next in this order is offered.
PREFERRED_FORMATS = ("tflite", "saved_model", "onnx", "keras")


def check_goal(goal: str, max_drop: float) -> None:
    """Check the goal and the accuracy budget of a choice.

    Args:
        goal: one of `GOALS`.
        max_drop: a fraction.

    Raises:
        UsageError: the goal is unknown, or the accuracy budget is no fraction.
    """
    if goal not in GOALS:
        raise UsageError(f"Unknown goal {goal!r} for the best file.", suggestion(str(goal), GOALS))
    if isinstance(max_drop, bool) or not isinstance(max_drop, Real) or not 0 <= max_drop <= 1:
        raise UsageError(f"`max_drop` must be a fraction in [0, 1]. Received: {max_drop!r}.", "Pass e.g. 0.005.")


def choose_best(
    records: Sequence[FileRecord],
    *,
    goal: str = "balanced",
    max_drop: float = DEFAULT_MAX_DROP,
) -> int:
    """Return the index of the best record within the accuracy budget.

    The budget, of every output: a file may lose at most `max_drop` of the Keras model's accuracy on the validation
    samples; without validation labels, may predict other classes than Keras for at most that fraction of them; without
    classes, may have an error of at most that fraction of the outputs' spread. Test accuracies are never looked at.
    Among those within it, "size" takes the fewest bytes, "latency" the least median time, "download" the fewest bytes
    after gzip, "balanced" the least product of bytes and time: a file of half the size may take twice the time. Only
    TFLite files are candidates as long as there is one; then SavedModels, ONNX, `.keras` files. A file of LiteRT's
    quantizer is none where `better_than` finds one without it. If none is within the budget, the most accurate one is
    taken.

    Args:
        records: entries of a report's `files`, at least one.
        goal: one of `GOALS`.
        max_drop: a fraction.

    Example:
        >>> small = {"format": "tflite", "bytes": 10, "latency_us_median": 9.0, "validation_loss": 0.01}
        >>> exact = {"format": "tflite", "bytes": 90, "latency_us_median": 9.0, "validation_loss": 0.0}
        >>> choose_best([exact, small], max_drop=0.02), choose_best([exact, small], max_drop=0.005)
        (1, 0)
    """
    wanted = next(kind for kind in PREFERRED_FORMATS if any(record["format"] == kind for record in records))
    places = [place for place, record in enumerate(records) if record["format"] == wanted]
    losses = {place: float(records[place]["validation_loss"]) for place in places}
    # Not quite the fraction itself: 0.98 - 0.975 is a little more than 0.005.
    places = [place for place in places if better_than(records[place], records, goal=goal, max_drop=max_drop) is None]
    within = [place for place in places if losses[place] <= max_drop + 1e-9]
    if not within:
        return min(places, key=lambda place: (losses[place], records[place]["bytes"]))
    return min(within, key=lambda place: _cost(records[place], goal))


def better_than(
    record: FileRecord,
    records: Sequence[FileRecord],
    *,
    goal: str = "balanced",
    max_drop: float = DEFAULT_MAX_DROP,
) -> FileRecord | None:
    """Return a file that makes one of LiteRT's quantizer pointless; None if there is none, or it is not of those.

    It is made without the quantizer, has no more bytes (for "download" after gzip) and no larger error, and is within
    the accuracy budget, or loses no more.

    Args:
        record: an entry of a report's `files`.
        records: all of them.
        goal: one of `GOALS`.
        max_drop: a fraction.

    Example:
        >>> small = {"format": "tflite", "bytes": 9, "rms_rel_error": 0.01, "validation_loss": 0.0}
        >>> own, four = {**small, "precision": "dynamic"}, {**small, "precision": "int4"}
        >>> better_than(four, [own, four]) is own, better_than(own, [own, four])
        (True, None)
    """
    if record.get("precision") not in BY_QUANTIZER:
        return None
    allowed, size = max(max_drop, float(record["validation_loss"])), "gzip_bytes" if goal == "download" else "bytes"
    rivals = [
        other
        for other in records
        if other["format"] == record["format"]
        and other["precision"] not in BY_QUANTIZER
        and other[size] <= record[size]
        and other["rms_rel_error"] <= record["rms_rel_error"]
        and other["validation_loss"] <= allowed
    ]
    return min(rivals, key=lambda other: (other[size], other["rms_rel_error"]), default=None)


def _cost(record: FileRecord, goal: str) -> tuple[float, ...]:
    size, latency = float(record["bytes"]), float(record.get("latency_us_median") or 1.0)
    if goal == "download":
        return (float(record["gzip_bytes"]), size, latency)
    return {"size": (size, latency), "latency": (latency, size), "balanced": (size * latency, size)}[goal]
