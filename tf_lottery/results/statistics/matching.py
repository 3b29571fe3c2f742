"""How sparse a ticket may be: matching densities, the peak of Occam's hill, and how fast sparse networks learn.

Validation data alone judge; test data are never read here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import TICKET
from tf_lottery.results.statistics.intervals import Interval, band
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, RoundCandidate, judge_rounds, select_round
from tf_lottery.results.statistics.values import Row, Spread, select, ticket_densities


@dataclass(frozen=True)
class Match:
    """The sparsest round of one replicate that is as good as its own dense network.

    Attributes:
        replicate: the replicate.
        round: the round of the ticket.
        density: of the ticket, a fraction of the maskable weights.
        last: whether it is the last round: sparser ones may match too.
    """

    replicate: int
    round: int
    density: float
    last: bool


@dataclass(frozen=True)
class MatchingDensity:
    """Matching densities over replicates.

    Attributes:
        matches: one per replicate.
        density: their geometric mean, with its interval; the range where the replicates are fewer than 3.
        tolerance: validation accuracy that may be lost, a fraction (of a loss the relative increase).
        last: of how many replicates the last round still matches. Then `density` is an upper bound.
        unfinished: replicates that lack a round, and took no part.
    """

    matches: tuple[Match, ...]
    density: Interval | Spread
    tolerance: float
    last: int
    unfinished: int

    @property
    def matched(self) -> int:
        """In how many replicates a pruned round matches; the others count with their dense network, 100 %."""
        return sum(match.round > 0 for match in self.matches)


def matches(rows: Sequence[Row], *, tolerance: float = DEFAULT_MAX_DROP) -> list[Match]:
    """For each replicate with all rounds, the sparsest one within `tolerance` of its own dense network.

    Args:
        rows: result rows with the columns of `results.csv`.
        tolerance: validation accuracy that may be lost, a fraction; without accuracies the relative increase of the
            validation loss.

    Raises:
        UsageError: `tolerance` is negative or not finite.
        UnfitError: no replicate has all rounds, or there is neither validation accuracy nor validation loss.
    """
    tickets = select(rows, TICKET)
    densities = ticket_densities(tickets)
    result = []
    for replicate in sorted({int(row["replicate"]) for row in tickets}):
        own = [row for row in tickets if int(row["replicate"]) == replicate]
        if {int(row["round"]) for row in own} != set(densities):
            continue
        index = select_round(own, max_drop=tolerance)
        density = ticket_densities(own)[index]
        result.append(Match(replicate, index, density, index == max(densities) and index > 0))
    if not result:
        raise UnfitError(
            f"A matching density needs a replicate with all its rounds. None of the {len(tickets)} tickets is of one.",
            "Finish the run: the same call resumes it.",
        )
    return result


def matching_density(rows: Sequence[Row], *, tolerance: float = DEFAULT_MAX_DROP) -> MatchingDensity:
    """The matching density over replicates: the geometric mean of `matches`, with its interval.

    Each round multiplies the density, so the mean and its interval are of the logarithms; neither goes below zero.

    Args:
        rows: result rows with the columns of `results.csv`.
        tolerance: as for `matches`.

    Raises:
        UsageError: as for `matches`.
        UnfitError: as for `matches`.
    """
    matched = matches(rows, tolerance=tolerance)
    # There is one match at least, so there is a mean.
    over = cast(Interval | Spread, band(math.log(match.density) for match in matched))
    there = {int(row["replicate"]) for row in select(rows, TICKET)}
    return MatchingDensity(
        matches=tuple(matched),
        density=_exponential(over),
        tolerance=tolerance,
        last=sum(match.last for match in matched),
        unfinished=len(there) - len(matched),
    )


def _exponential(over: Interval | Spread) -> Interval | Spread:
    """The interval or range of densities, from that of their logarithms; no density is above 1."""
    mean, low, high = (min(math.exp(part), 1.0) for part in (over.mean, over.low, over.high))
    if isinstance(over, Interval):
        return Interval(mean, low, high, over.count, over.confidence)
    return Spread(mean, low, high, over.count)


def peak(rows: Sequence[Row]) -> RoundCandidate:
    """The top of Occam's hill: the round of best mean validation accuracy (or least loss), of equals the sparsest.

    Sparse networks often generalize better than dense ones, until they are too small (Frankle & Carbin 2018, arXiv
    1803.03635, figure 1 of its appendix). The best of several noisy means flatters itself: report its test data.

    Raises:
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    return min(judge_rounds(rows), key=lambda candidate: (candidate.drop, candidate.kept))
