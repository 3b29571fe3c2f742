"""Text for numbers: one way to write a density, an accuracy, a loss and a range, for terminal, plots and HTML."""

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from tf_lottery.results.statistics.intervals import Interval
from tf_lottery.results.statistics.values import Spread
from tf_lottery.utils.text import duration

MISSING = "-"
Kind: TypeAlias = Literal["percent", "count", "loss"]


def column_kind(column: str) -> Kind:
    """How the values of a column are written: `percent` (fractions), `count` (steps) or `loss`."""
    return "percent" if column.endswith("accuracy") else "count" if column.endswith("_step") else "loss"


def column_words(column: str, *, capital: bool = False) -> str:
    """The name of a column in words.

    Args:
        column: e.g. "val_accuracy".
        capital: whether to begin with a capital.

    Example:
        >>> column_words("val_accuracy"), column_words("early_stop_step", capital=True)
        ('validation accuracy', 'Early-stop step')
    """
    text = column.replace("_", " ")
    for short, word in (("val ", "validation "), ("early stop ", "early-stop ")):
        text = word + text.removeprefix(short) if text.startswith(short) else text
    return text[:1].upper() + text[1:] if capital else text


def tolerance(max_drop: float, column: str) -> str:
    """A tolerance in words.

    Args:
        max_drop: a fraction: of accuracy that may be lost, or by which a loss may be higher.
        column: what it is a tolerance of.

    Example:
        >>> tolerance(0.005, "val_accuracy"), tolerance(0.05, "val_loss")
        ('0.5 points', '5.0 %')
    """
    return points(max_drop) if column.endswith("accuracy") else percent(max_drop)


def density_percent(density: float) -> str:
    """A density as percent of weights left, with the digits that the literature uses.

    Example:
        >>> [density_percent(d) for d in (1.0, 0.4105, 0.07, 0.0123, 0.0034)]
        ['100', '41.0', '7.0', '1.2', '0.34']
    """
    percent = 100.0 * density
    if percent >= 99.95:
        return "100"
    if percent >= 1.0:
        return f"{percent:.1f}"
    return f"{percent:.2g}" if percent >= 0.001 else f"{percent:.1e}"


def percent(fraction: float | None, *, digits: int = 1) -> str:
    """A fraction as percent: `0.981` is `98.1 %`.

    Args:
        fraction: None is written as missing.
        digits: after the decimal point.
    """
    return MISSING if fraction is None else f"{100.0 * fraction:.{digits}f} %"


def points(difference: float) -> str:
    """A difference of two fractions in percentage points: `0.005` is `0.5 points`.

    Example:
        >>> points(0.005), points(0.01), points(0.0004)
        ('0.5 points', '1 point', '0.04 points')
    """
    size = round(abs(100.0 * difference), 6)
    text = f"{size:.2g}" if size < 10 else f"{size:.1f}"
    return f"{text} point" if text == "1" else f"{text} points"


def loss(value: float | None) -> str:
    """A loss or another plain metric, with four significant digits."""
    return MISSING if value is None else f"{value:.4g}"


def count(value: float | None) -> str:
    """A number of weights or steps, with thin grouping: `266200` is `266,200`."""
    return MISSING if value is None else f"{value:,.0f}"


def plural(amount: int, noun: str) -> str:
    """A number of things: `1 replicate`, `2 replicates`.

    Args:
        amount: how many.
        noun: the singular, whose plural takes an s.
    """
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def spread_text(value: Spread | None, *, kind: Kind) -> str:
    """A mean, followed by its range where there are several replicates.

    Args:
        value: the mean and range; None is written as missing.
        kind: `percent` (fractions), `count` (steps, weights) or `loss`.

    Example:
        >>> spread_text(Spread(0.981, 0.98, 0.982, 2), kind="percent")
        '98.10 % (98.00-98.20)'
    """
    if value is None:
        return MISSING
    if kind == "percent":
        mean, low, high = (f"{100.0 * part:.2f}" for part in (value.mean, value.low, value.high))
        unit = " %"
    else:
        write = count if kind == "count" else loss
        mean, low, high = write(value.mean), write(value.low), write(value.high)
        unit = ""
    return f"{mean}{unit}" if value.count == 1 else f"{mean}{unit} ({low}-{high})"


def signed(value: float, *, kind: Kind) -> str:
    """A difference with its sign: points of accuracies, steps, or of a loss.

    Args:
        value: the difference.
        kind: `percent` (fractions), `count` (steps) or `loss`.

    Example:
        >>> signed(0.0147, kind="percent"), signed(-1200, kind="count"), signed(0.01234, kind="loss")
        ('+1.47 points', '-1,200 steps', '+0.01234')
    """
    # Adding 0.0 takes the sign from a zero.
    if kind == "percent":
        return f"{round(100.0 * value, 2) + 0.0:+.2f} points"
    return f"{round(value) + 0.0:+,.0f} steps" if kind == "count" else f"{value + 0.0:+.4g}"


def difference_text(value: Interval, *, kind: Kind) -> str:
    """A mean difference with its interval and the number of pairs.

    Args:
        value: the difference.
        kind: `percent` (fractions), `count` (steps) or `loss`.

    Example:
        >>> from tf_lottery.results.statistics.intervals import Interval
        >>> difference_text(Interval(0.0147, 0.01, 0.02, 3, 0.95), kind="percent")
        '+1.47 points (95 % interval +1.00 to +2.00, 3 replicates)'
    """
    low, high = (signed(part, kind=kind).split(" ")[0] for part in (value.low, value.high))
    interval = f"{100 * value.confidence:g} % interval {low} to {high}"
    return f"{signed(value.mean, kind=kind)} ({interval}, {plural(value.count, 'replicate')})"


def density_range(value: Interval | Spread) -> str:
    """A density with its interval, or its range below 3 replicates.

    Example:
        >>> density_range(Spread(0.056, 0.05, 0.07, 2))
        '5.6 % (range 5.0 to 7.0 %)'
    """
    mean, low, high = (density_percent(part) for part in (value.mean, value.low, value.high))
    if value.count == 1:
        return f"{mean} %"
    confidence = getattr(value, "confidence", None)
    name = f"{100 * confidence:g} % interval" if confidence else "range"
    return f"{mean} % ({name} {low} to {high} %)"


def row_words(row: Mapping[str, Any]) -> str:
    """Return the result of one training in a few words: its density, its scores and its time."""
    parts = [f"{density_percent(row['density'])} % of the weights"]
    for column, noun in (("val_accuracy", "validation accuracy"), ("test_accuracy", "test accuracy")):
        if row.get(column) is not None:
            parts.append(f"{noun} {percent(row[column])}")
    if row.get("val_accuracy") is None:
        parts.append(f"validation loss {loss(row.get('val_loss'))}")
    return ", ".join([*parts, duration(row["seconds"])])


def decibels_text(ratio: float | None) -> str:
    """A ratio of signal to noise; an infinite one, None in JSON, is exact.

    Example:
        >>> decibels_text(41.26), decibels_text(float("inf"))
        ('41.3 dB', 'exact')
    """
    return "exact" if ratio is None or ratio == float("inf") else f"{ratio:.1f} dB"
