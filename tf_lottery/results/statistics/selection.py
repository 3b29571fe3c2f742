"""Which round and replicate is the ticket: the sparsest round as good as the dense network, by validation data alone.

Test data are never read here: choosing by test accuracy and then reporting it would overstate the ticket.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.results.statistics.values import Row, number, select

# How much validation accuracy a ticket may lose, a fraction: half a point.
DEFAULT_MAX_DROP = 0.005
# Means of equal accuracies differ in the last bits, and 0.98 - 0.005 is not 0.975: less than one example in a billion.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class RoundCandidate:
    """One round of the ticket, against the dense network.

    Attributes:
        round: the round.
        kept: mean number of weights kept (the mean density where rows have no counts).
        value: mean of the validation column over the round's replicates.
        dense: mean of the validation column of round 0 over the same replicates.
        drop: how much worse than dense: accuracy lost, or the loss's relative increase. Negative is better.
        replicates: how many.
    """

    round: int
    kept: float
    value: float
    dense: float
    drop: float
    replicates: int


def validation_column(rows: Sequence[Row]) -> str:
    """The column that judges rounds: `val_accuracy`, or `val_loss` where the dense rounds have no accuracy.

    Raises:
        UnfitError: there is no round 0 of the ticket, or it has neither.
    """
    dense = select(rows, TICKET, 0)
    if not dense:
        raise UnfitError(
            f"Selecting a round needs the dense round 0 of variant `ticket`. Received {len(rows)} rows without it.",
            "Finish round 0 first: start the same run again, it resumes.",
        )
    for column in ("val_accuracy", "val_loss"):
        if all(number(row.get(column)) is not None for row in dense):
            return column
    raise UnfitError(
        "Selecting a round needs validation accuracy or validation loss. Round 0 has neither.",
        "Give the run validation data: the test set must not choose.",
    )


def judge_rounds(rows: Sequence[Row]) -> list[RoundCandidate]:
    """Every round of the ticket that can be compared with the dense network, by round.

    Each replicate is compared with its own dense network, so a replicate that is still running does not shift the
    comparison. A round with a replicate that lacks the value is left out: a missing value must not help a round.

    Raises:
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    column = validation_column(rows)
    rounds: dict[int, list[Row]] = defaultdict(list)
    for row in select(rows, TICKET):
        rounds[int(row["round"])].append(row)
    dense = {str(row.get("replicate")): number(row.get(column)) for row in rounds[0]}
    candidates = []
    for index, group in sorted(rounds.items()):
        values = [number(row.get(column)) for row in group]
        references = [dense.get(str(row.get("replicate"))) for row in group]
        if any(value is None for value in (*values, *references)):
            continue
        value, reference = _mean(values), _mean(references)
        drop = reference - value if column == "val_accuracy" else _relative_increase(value, reference)
        sizes = [number(row.get("weights_kept")) for row in group]
        if any(size is None for size in sizes):
            sizes = [number(row.get("density")) for row in group]
        candidates.append(RoundCandidate(index, _mean(sizes), value, reference, drop, len(group)))
    return candidates


def select_round(rows: Sequence[Row], *, max_drop: float = DEFAULT_MAX_DROP) -> int:
    """The sparsest round of the ticket that is within `max_drop` of the dense network.

    Args:
        rows: result rows with the columns of `results.csv`.
        max_drop: how much mean validation accuracy may be lost, a fraction (0.005 is half a point). Without accuracies
            it bounds the relative increase of the mean validation loss.

    Returns:
        The round; 0 if no pruned round qualifies.

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.

    Example:
        >>> rows = [{"replicate": 0, "round": r, "variant": "ticket", "density": d, "val_accuracy": a}
        ...         for r, d, a in [(0, 1.0, 0.90), (1, 0.8, 0.92), (2, 0.64, 0.88)]]
        >>> select_round(rows), select_round(rows, max_drop=0.02)
        (1, 2)
    """
    if not (math.isfinite(max_drop) and max_drop >= 0):
        raise UsageError(
            f"`max_drop` must be a finite fraction of at least 0. Received: max_drop={max_drop}",
            "Give the accuracy that may be lost as a fraction: 0.005 is half a percentage point.",
        )
    candidates = [candidate for candidate in judge_rounds(rows) if candidate.drop <= max_drop + TOLERANCE]
    return min(candidates, key=lambda candidate: (candidate.kept, candidate.round)).round if candidates else 0


def select_replicate(rows: Sequence[Row], round: int) -> int:
    """The replicate of the best validation accuracy in a round; of the least validation loss without accuracies.

    Args:
        rows: result rows with the columns of `results.csv`.
        round: the round of the ticket.

    Returns:
        The replicate; of equals the first one, and 0 where the round has neither accuracies nor losses.
    """
    group = select(rows, TICKET, round)
    for column, sign in (("val_accuracy", -1), ("val_loss", 1)):
        values = [(sign * value, row) for row in group if (value := number(row.get(column))) is not None]
        if values:
            return int(min(values, key=lambda pair: pair[0])[1]["replicate"])
    return 0


def select_ticket(
    rows: Sequence[Row],
    *,
    round: int | None = None,
    replicate: int | None = None,
    max_drop: float = DEFAULT_MAX_DROP,
) -> Job:
    """The ticket of a run: its sparsest good round, and the best replicate of that.

    Args:
        rows: result rows with the columns of `results.csv`.
        round: the round, where it is chosen already; by default `select_round` chooses it.
        replicate: the replicate, where it is chosen already; by default `select_replicate` chooses it.
        max_drop: as for `select_round`.

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    chosen = select_round(rows, max_drop=max_drop) if round is None else round
    return Job(select_replicate(rows, chosen) if replicate is None else replicate, chosen)


def _mean(values: Sequence[float | None]) -> float:
    """Mean of values that are known to be there."""
    return math.fsum(value for value in values if value is not None) / len(values)


def _relative_increase(value: float, reference: float) -> float:
    """Increase over the size of `reference`: some losses are negative, and the sign must not turn worse into better."""
    difference = value - reference
    if difference == 0.0 or reference != 0.0:
        return difference / abs(reference) if reference else 0.0
    return math.copysign(math.inf, difference)
