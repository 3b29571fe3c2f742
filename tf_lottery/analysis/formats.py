"""Text for numbers: one way to write a density, an accuracy, a loss and a range, for terminal, plots and HTML."""

from tf_lottery.analysis.values import Spread

MISSING = "-"


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
    """A fraction as percent: `0.981` is `98.1 %`."""
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
    """`1 replicate`, `2 replicates`."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def spread_text(value: Spread | None, *, kind: str) -> str:
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
