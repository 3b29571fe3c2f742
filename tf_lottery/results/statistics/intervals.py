"""Confidence intervals over replicates, and differences paired by replicate."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.results.statistics.values import Row, Spread, number, select, spread, variants
from tf_lottery.utils.text import suggestion

# Two values have one difference: their spread says next to nothing about that of the replicates not run.
LEAST = 3
CONFIDENCE = 0.95
RESAMPLES = 9999

VariantAndRound = tuple[str, int]


@dataclass(frozen=True)
class Interval:
    """A mean over replicates with its confidence interval.

    Attributes:
        mean: arithmetic mean.
        low: the lower end of the interval.
        high: the upper end of the interval.
        count: how many replicates.
        confidence: share of such intervals that hold the true mean, e.g. 0.95.
    """

    mean: float
    low: float
    high: float
    count: int
    confidence: float


@dataclass(frozen=True)
class Difference(Interval):
    """A mean difference over pairs of replicates, with its confidence interval.

    Attributes:
        values: the difference of each pair, by replicate.
        unpaired: how many replicates had a value on one side only, or lacked a round, and so took no part.
    """

    values: tuple[tuple[int, float], ...]
    unpaired: int


def interval(values: Iterable[object], confidence: float = CONFIDENCE, seed: int = 0) -> Interval:
    """The mean with a bootstrap confidence interval made for few replicates.

    The percentile bootstrap of n values never leaves their range, and its spread is that of the population formula: of
    the intervals called 95 %, 75 % hold the true mean at n = 3 and 84 % at n = 5 (normal values). So the distances of
    its ends from the mean are widened by sqrt(n / (n - 1)) * t / z, with the quantiles of Student's t (n - 1 degrees of
    freedom) and of the normal distribution, after the expanded percentile interval of Hesterberg (2015, arXiv
    1411.5279), whose changed percentiles still can't leave the range. In simulation that holds 94-95 % for normal
    values at n = 3 to 10, 92-95 % for uniform and 88-91 % for exponential ones (Student's interval: the same or up to
    a point less). The bootstrap-t is no choice: a ninth of the resamples of three values have no spread to divide by.

    Args:
        values: one per replicate; None and NaN are values that were not measured.
        confidence: in (0, 1).
        seed: of the resamples. The order of the values does not matter.

    Raises:
        UsageError: fewer than 3 values, or `confidence` is not in (0, 1).

    Example:
        >>> result = interval([0.97, 0.98, 0.99])
        >>> round(result.mean, 3), round(result.low, 3), round(result.high, 3), result.count
        (0.98, 0.953, 1.007, 3)
    """
    if not 0 < confidence < 1:
        raise UsageError(f"`confidence` must be in (0, 1). Received: {confidence}.", "Pass e.g. 0.95.")
    numbers = sorted(value for value in map(number, values) if value is not None)
    count = len(numbers)
    if count < LEAST:
        raise UsageError(
            f"A confidence interval needs at least {LEAST} replicates. Received: {count}.",
            f"Train more of them: the same run with `replicates={LEAST}` or more is extended.",
        )
    if numbers[0] == numbers[-1]:
        return Interval(numbers[0], numbers[0], numbers[0], count, confidence)
    from scipy import stats  # takes a moment, and listings that need no interval use this module

    mean = math.fsum(numbers) / count
    ends = stats.bootstrap(
        (np.array(numbers),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=confidence,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    tail = (1 + confidence) / 2
    wider = math.sqrt(count / (count - 1)) * stats.t.ppf(tail, count - 1) / stats.norm.ppf(tail)
    return Interval(
        mean, float(mean - wider * (mean - ends.low)), float(mean + wider * (ends.high - mean)), count, confidence
    )


def band(values: Iterable[object]) -> Interval | Spread | None:
    """What is drawn around a mean: its confidence interval, or the range where the replicates are too few for one.

    Example:
        >>> type(band([0.1, 0.2])).__name__, type(band([0.1, 0.2, 0.3])).__name__, band([None])
        ('Spread', 'Interval', None)
    """
    over = spread(numbers := list(values))
    return interval(numbers) if over is not None and over.count >= LEAST else over


def outcome(difference: Interval, *, higher: bool = True) -> str:
    """Which side of zero the interval of a - b lies on: `beats`, `loses`, or `ties` where zero is inside.

    A tie is a difference that these replicates do not show, not one that is shown to be absent.

    Args:
        difference: of a - b.
        higher: whether higher values are better.
    """
    if difference.low > 0:
        return "beats" if higher else "loses"
    if difference.high < 0:
        return "loses" if higher else "beats"
    return "ties"


def paired_difference(
    rows: Sequence[Row],
    a: VariantAndRound | Sequence[Row],
    b: VariantAndRound | Sequence[Row],
    column: str,
    *,
    by: Sequence[str] = ("replicate",),
    confidence: float = CONFIDENCE,
    seed: int = 0,
) -> Difference:
    """Mean of a - b over replicates, with its interval.

    Replicates share the initial weights and the data order of their dense network, so the difference within a replicate
    is known better than the difference of two means.

    Args:
        rows: the rows that a variant and a round select from.
        a: the first side: (variant, round), or the rows themselves.
        b: the second side, likewise.
        column: what is compared.
        by: what must be equal in a pair. With "round" beside "replicate", the differences of a replicate's rounds are
            averaged first: rounds of a replicate are no independent observations.
        confidence: in (0, 1).
        seed: of the resamples.

    Raises:
        UsageError: fewer than 3 replicates have the value on both sides, or no row has the variant.
        UnfitError: a side has two rows for one pair.

    Example:
        >>> rows = [{"replicate": r, "round": k, "variant": "ticket", "test_accuracy": 0.9 + r / 100 - k / 50}
        ...         for r in range(3) for k in range(2)]
        >>> result = paired_difference(rows, ("ticket", 1), ("ticket", 0), "test_accuracy")
        >>> round(result.mean, 3), result.count, result.unpaired
        (-0.02, 3, 0)
    """
    values, unpaired = pair_by_replicate(_rows_of(rows, a), _rows_of(rows, b), column, by=by)
    over = interval(values.values(), confidence, seed)
    return Difference(
        over.mean, over.low, over.high, over.count, over.confidence, values=tuple(values.items()), unpaired=unpaired
    )


def pair_by_replicate(
    a: Sequence[Row], b: Sequence[Row], column: str, *, by: Sequence[str] = ("replicate",)
) -> tuple[dict[int, float], int]:
    """The difference a - b of each replicate that has both sides, and the number of replicates that lack something.

    Where pairs are made by round too, a replicate's difference is the mean over its rounds. One that lacks a round
    which another replicate has on both sides has no such mean, and takes no part: it would be of other rounds.

    Args:
        a: the rows of the first side.
        b: the rows of the second side.
        column: what is compared.
        by: what must be equal in a pair.

    Raises:
        UnfitError: a side has two rows for one pair.
    """
    ours, theirs = _values_by_pair(a, column, by), _values_by_pair(b, column, by)
    groups: dict[int, list[float]] = defaultdict(list)
    both = sorted(ours.keys() & theirs.keys())
    for key in both:
        groups[key[0]].append(ours[key] - theirs[key])
    whole = len({key[1:] for key in both})
    values = {replicate: math.fsum(group) / whole for replicate, group in groups.items() if len(group) == whole}
    either = {key[0] for key in ours.keys() | theirs.keys()}
    return values, len(either - values.keys())


def _values_by_pair(rows: Sequence[Row], column: str, by: Sequence[str]) -> dict[tuple[int, ...], float]:
    """The values of a column by what pairs are made of, the replicate first."""
    keys = ("replicate", *(name for name in by if name != "replicate"))
    values: dict[tuple[int, ...], float] = {}
    for row in rows:
        value = number(row.get(column))
        if value is None:
            continue
        key = tuple(int(row[name]) for name in keys)
        if key in values:
            pairs = ", ".join(f"{name} {part}" for name, part in zip(keys, key, strict=True))
            raise UnfitError(
                f"A pair needs one row on each side. Two rows have {pairs}.",
                "Select one variant and one round, or pair by round too: by=('replicate', 'round').",
            )
        values[key] = value
    return values


def _rows_of(rows: Sequence[Row], side: VariantAndRound | Sequence[Row]) -> list[Row]:
    """The rows of a variant and a round; rows as they are."""
    if not (isinstance(side, tuple) and side and isinstance(side[0], str)):
        return list(side)  # type: ignore[arg-type]  # a tuple of rows is a sequence of rows
    variant, index = side
    names = variants(rows)
    if variant not in names:
        raise UsageError(f"No row is of variant {variant!r}.", suggestion(variant, names))
    return select(rows, variant, index)
