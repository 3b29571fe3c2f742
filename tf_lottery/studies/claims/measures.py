"""Measures of a claim and its verdict: passed, failed or inconclusive, by an interval and a fixed bound."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from tf_lottery.errors import UsageError
from tf_lottery.results.tables import formats

if TYPE_CHECKING:  # intervals load scipy, and the list of claims is shown without it
    from tf_lottery.results.statistics.intervals import Interval

# "points" (a difference of fractions), "percent" (a fraction) or "steps" (a difference of steps).
Unit: TypeAlias = Literal["points", "percent", "steps"]
# Whether a claim or a measure passed; None is inconclusive.
ClaimVerdict: TypeAlias = bool | None


@dataclass(frozen=True)
class IntervalEstimate:
    """A mean over replicates with its interval, not yet judged.

    Attributes:
        text: what was measured, e.g. "test accuracy, ticket of 21.1 % - dense".
        interval: the mean, its confidence interval and the number of replicates.
        unit: the unit of the mean.
    """

    text: str
    interval: "Interval"
    unit: Unit


@dataclass(frozen=True)
class Measure:
    """A mean with its interval, and the bound that it must reach.

    Attributes:
        text: what was measured, in words.
        unit: the unit of the mean.
        value: the mean over replicates: a fraction, or a number of steps.
        low: the lower end of its interval.
        high: the upper end of its interval.
        count: the number of replicates.
        wanted: the bound in words; "" where there is none.
        bounds: the bounds in the scale of `value`, for plots.
        passed: True, False, or None where the interval holds the bound.
        judged: whether the claim depends on this measure; otherwise it is only reported.
    """

    text: str
    unit: Unit
    value: float
    low: float
    high: float
    count: int
    wanted: str = ""
    bounds: tuple[float, ...] = ()
    passed: ClaimVerdict = None
    judged: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON values."""
        return asdict(self) | {"bounds": list(self.bounds)}

    def value_in_words(self) -> str:
        """Return the value and its interval in words, e.g. `+0.21 points (+0.05 to +0.40)`."""
        low, high = (format_value(part, self.unit).split(" ")[0] for part in (self.low, self.high))
        return f"{format_value(self.value, self.unit)} ({low} to {high})"


@dataclass(frozen=True)
class ClaimFinding:
    """The measures and the verdict of a claim.

    Attributes:
        measures: the measures, from the mildest to the most demanding.
        passed: whether the claim holds; None where these data leave it open.
        reason: the reason why it did not pass, in words; "" where it did.
        rows: derived rows, for the tables and the plot.
    """

    measures: tuple[Measure, ...] = ()
    passed: ClaimVerdict = None
    reason: str = ""
    rows: tuple[dict[str, Any], ...] = field(default=(), repr=False)

    def deciding_measure(self) -> Measure | None:
        """Return the last of the measures with the worst verdict; None where no measure was judged."""
        judged = [measure for measure in self.measures if measure.judged]
        for verdict in (False, None, True):
            if measures := [measure for measure in judged if measure.passed is verdict]:
                return measures[-1]
        return None


def format_value(value: float, unit: Unit) -> str:
    """Return a value in its unit, in words.

    Args:
        value: a fraction, or a number of steps.
        unit: its unit.

    Example:
        >>> format_value(-0.005, "points"), format_value(0.9812, "percent"), format_value(1250.0, "steps")
        ('-0.50 points', '98.12 %', '+1,250 steps')
    """
    if unit == "percent":
        return formats.percent(value, digits=2)
    return formats.signed(value, kind="percent" if unit == "points" else "count")


def at_least(estimate: IntervalEstimate, bound: float) -> Measure:
    """Judge an estimate: passed if its whole interval is at or above the bound, failed if all of it is below.

    Args:
        estimate: the mean with its interval.
        bound: the bound, a fraction or a number of steps.

    Example:
        >>> from tf_lottery.results.statistics.intervals import Interval
        >>> at_least(IntervalEstimate("gain", Interval(0.01, 0.0, 0.02, 5, 0.95), "points"), 0.0).passed
        True
    """
    over = estimate.interval
    passed = True if over.low >= bound else False if over.high < bound else None
    return _judged(estimate, f"at least {format_value(bound, estimate.unit)}", (bound,), passed)


def more_than(estimate: IntervalEstimate, bound: float = 0.0) -> Measure:
    """Judge an estimate: passed if its whole interval is above the bound, failed if none of it is.

    Args:
        estimate: the mean with its interval.
        bound: the bound, a fraction or a number of steps.
    """
    over = estimate.interval
    passed = True if over.low > bound else False if over.high <= bound else None
    wanted = "above zero" if bound == 0 else f"above {format_value(bound, estimate.unit)}"
    return _judged(estimate, wanted, (bound,), passed)


def at_most(estimate: IntervalEstimate, bound: float) -> Measure:
    """Judge an estimate: passed if its whole interval is at or below the bound, failed if all of it is above.

    Args:
        estimate: the mean with its interval.
        bound: the bound, a fraction or a number of steps.
    """
    over = estimate.interval
    passed = True if over.high <= bound else False if over.low > bound else None
    return _judged(estimate, f"at most {format_value(bound, estimate.unit)}", (bound,), passed)


def reported(estimate: IntervalEstimate) -> Measure:
    """Return an estimate as a measure that is shown and decides nothing."""
    return Measure(estimate.text, estimate.unit, *_numbers(estimate), judged=False)


def combine_verdicts(verdicts: Iterable[ClaimVerdict]) -> ClaimVerdict:
    """Return False if any verdict is False, else None if any is None, else True.

    Example:
        >>> combine_verdicts([True, None]), combine_verdicts([None, False]), combine_verdicts([True, True])
        (None, False, True)
    """
    every = list(verdicts)
    return False if False in every else None if None in every else True


def conclude(
    measures: Sequence[Measure], *, regime: Measure | None = None, rows: Sequence[dict[str, Any]] = ()
) -> ClaimFinding:
    """Return the finding of measures: passed if all of them are, failed if one is, otherwise inconclusive.

    Args:
        measures: the measures; at least one of them is judged.
        regime: a measure of whether the networks are of the kind that the claim is about. If it does not pass, the
            claim is inconclusive, whatever the other measures are.
        rows: derived rows, for the tables and the plot.

    Raises:
        UsageError: no measure is judged: such a claim could not fail.
    """
    judged = [measure for measure in measures if measure.judged]
    if not judged:
        raise UsageError("A claim needs a measure that is judged.", "Use at_least, at_most or more_than.")
    shown = tuple(measures) if regime is None else (regime, *measures)
    if regime is not None and regime.passed is not True:
        reason = (
            f"Outside of the regime of the published claim: {regime.text} is {regime.value_in_words()}, wanted "
            f"{regime.wanted}. The figures are reported, but not judged."
        )
        return ClaimFinding(shown, None, reason, tuple(rows))
    short = [measure for measure in judged if measure.passed is not True]
    parts = [
        f"{measure.text} is {measure.value_in_words()}, wanted {measure.wanted}"
        f"{'' if measure.passed is False else ', which the interval leaves open'}"
        for measure in sorted(short, key=lambda measure: measure.passed is None)
    ]
    reason = "; ".join(parts)
    reason = f"{reason[:1].upper()}{reason[1:]}." if reason else ""
    return ClaimFinding(shown, combine_verdicts(measure.passed for measure in judged), reason, tuple(rows))


def _judged(estimate: IntervalEstimate, wanted: str, bounds: tuple[float, ...], passed: ClaimVerdict) -> Measure:
    return Measure(estimate.text, estimate.unit, *_numbers(estimate), wanted=wanted, bounds=bounds, passed=passed)


def _numbers(estimate: IntervalEstimate) -> tuple[float, float, float, int]:
    over = estimate.interval
    return over.mean, over.low, over.high, over.count
