"""What a claim measures, and its verdict: passed, failed or inconclusive, by an interval and a fixed bound."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from tf_lottery.errors import UsageError
from tf_lottery.results.tables import formats

if TYPE_CHECKING:  # intervals load scipy, and the list of claims is shown without it
    from tf_lottery.results.statistics.intervals import Interval

Unit = Literal["points", "percent", "steps"]
Verdict = bool | None


@dataclass(frozen=True)
class Contrast:
    """A value with its interval, not yet judged.

    Attributes:
        text: what it is, e.g. "test accuracy, ticket of 21.1 % - dense".
        interval: mean over replicates, and its confidence interval.
        unit: "points" (a difference of fractions), "percent" (a fraction) or "steps" (a difference of steps).
    """

    text: str
    interval: "Interval"
    unit: Unit


@dataclass(frozen=True)
class Measure:
    """A value with its interval, and what was wanted of it.

    Attributes:
        text, unit: as of `Contrast`.
        value, low, high, count: mean, interval, and the number of replicates.
        wanted: the bound in words; "" where nothing was.
        bounds: the bounds, in the unit's own scale (fractions, steps), for plots.
        passed: True, False, or None where the interval holds the bound.
        judged: whether the claim depends on it; otherwise it is reported only.
    """

    text: str
    unit: Unit
    value: float
    low: float
    high: float
    count: int
    wanted: str = ""
    bounds: tuple[float, ...] = ()
    passed: Verdict = None
    judged: bool = True

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self) | {"bounds": list(self.bounds)}

    def figures(self) -> str:
        """The value and its interval in words, e.g. `+0.21 points (+0.05 to +0.40)`."""
        low, high = (written(part, self.unit).split(" ")[0] for part in (self.low, self.high))
        return f"{written(self.value, self.unit)} ({low} to {high})"


@dataclass(frozen=True)
class Finding:
    """What came out of a claim.

    Attributes:
        measures: what was measured, from the mildest to the most demanding.
        passed: whether the claim holds; None where these data do not tell.
        reason: why it did not pass, in words; "" where it did.
    """

    measures: tuple[Measure, ...] = ()
    passed: Verdict = None
    reason: str = ""
    rows: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def headline(self) -> Measure | None:
        """The measure that decides: the last of those with the worst verdict; None where nothing was judged."""
        judged = [measure for measure in self.measures if measure.judged]
        for verdict in (False, None, True):
            if found := [measure for measure in judged if measure.passed is verdict]:
                return found[-1]
        return None


def written(value: float, unit: Unit) -> str:
    """A value in its unit.

    Example:
        >>> written(-0.005, "points"), written(0.9812, "percent"), written(1250.0, "steps")
        ('-0.50 points', '98.12 %', '+1,250 steps')
    """
    if unit == "percent":
        return formats.percent(value, digits=2)
    return formats.signed(value, kind="percent" if unit == "points" else "count")


def at_least(contrast: Contrast, bound: float) -> Measure:
    """Passed where the whole interval is at or above the bound, failed where all of it is below.

    Example:
        >>> from tf_lottery.results.statistics.intervals import Interval
        >>> at_least(Contrast("gain", Interval(0.01, 0.0, 0.02, 5, 0.95), "points"), 0.0).passed
        True
    """
    over = contrast.interval
    passed = True if over.low >= bound else False if over.high < bound else None
    return _judged(contrast, f"at least {written(bound, contrast.unit)}", (bound,), passed)


def more_than(contrast: Contrast, bound: float = 0.0) -> Measure:
    """Passed where the whole interval is above the bound, failed where none of it is."""
    over = contrast.interval
    passed = True if over.low > bound else False if over.high <= bound else None
    wanted = "above zero" if bound == 0 else f"above {written(bound, contrast.unit)}"
    return _judged(contrast, wanted, (bound,), passed)


def at_most(contrast: Contrast, bound: float) -> Measure:
    """Passed where the whole interval is at or below the bound, failed where all of it is above."""
    over = contrast.interval
    passed = True if over.high <= bound else False if over.low > bound else None
    return _judged(contrast, f"at most {written(bound, contrast.unit)}", (bound,), passed)


def reported(contrast: Contrast) -> Measure:
    """A value that is told and decides nothing."""
    return Measure(contrast.text, contrast.unit, *_numbers(contrast), judged=False)


def together(verdicts: Iterable[Verdict]) -> Verdict:
    """False if any is, else None if any is, else True.

    Example:
        >>> together([True, None]), together([None, False]), together([True, True])
        (None, False, True)
    """
    found = list(verdicts)
    return False if False in found else None if None in found else True


def conclude(
    measures: Sequence[Measure], *, regime: Measure | None = None, rows: Sequence[dict[str, Any]] = ()
) -> Finding:
    """The finding of measures: passed if all of them are, failed if one is, otherwise inconclusive.

    Args:
        measures: what was measured; at least one of them judged.
        regime: what must hold for these data to be of the kind that the claim is about. Where it does not pass, the
            claim is inconclusive, whatever the measures say, and the reason tells why.
        rows: more rows of what is compared, for the tables and the plot.

    Raises:
        UsageError: no measure is judged: such a claim could not fail.
    """
    judged = [measure for measure in measures if measure.judged]
    if not judged:
        raise UsageError("A claim needs a measure that is judged.", "Use at_least, at_most or more_than.")
    shown = tuple(measures) if regime is None else (regime, *measures)
    if regime is not None and regime.passed is not True:
        reason = (
            f"Outside of the regime of the published claim: {regime.text} is {regime.figures()}, wanted "
            f"{regime.wanted}. The figures are told for what they are."
        )
        return Finding(shown, None, reason, tuple(rows))
    short = [measure for measure in judged if measure.passed is not True]
    parts = [
        f"{measure.text} is {measure.figures()}, wanted {measure.wanted}"
        f"{'' if measure.passed is False else ', which the interval leaves open'}"
        for measure in sorted(short, key=lambda measure: measure.passed is None)
    ]
    reason = "; ".join(parts)
    reason = f"{reason[:1].upper()}{reason[1:]}." if reason else ""
    return Finding(shown, together(measure.passed for measure in judged), reason, tuple(rows))


def _judged(contrast: Contrast, wanted: str, bounds: tuple[float, ...], passed: Verdict) -> Measure:
    return Measure(contrast.text, contrast.unit, *_numbers(contrast), wanted=wanted, bounds=bounds, passed=passed)


def _numbers(contrast: Contrast) -> tuple[float, float, float, int]:
    over = contrast.interval
    return over.mean, over.low, over.high, over.count
