"""What a run showed, in one to three plain sentences that claim no more than the rows do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.statistics.selection import Candidate, candidates, criterion, select_round
from tf_lottery.results.statistics.values import Row, Spread, select, spread
from tf_lottery.results.tables import formats

CONTROL = "random_reinit"


@dataclass(frozen=True)
class Measure:
    """How results are worded: an accuracy, or a loss where there are no accuracies.

    Args:
        validation: column that selects.
        test: column that is reported.
        noun: `accuracy` or `loss`.
        higher: whether higher is better.
        text: writes a value.
    """

    validation: str
    test: str
    noun: str
    higher: bool
    text: Callable[[float | None], str]

    def tolerated(self, max_drop: float) -> str:
        """`0.5 points` of accuracy, `5.0 %` of a loss."""
        return formats.points(max_drop) if self.higher else formats.percent(max_drop)


def verdict(rows: Sequence[Row], *, max_drop: float = 0.0, rewind: str = "init") -> str:
    """The outcome in words: the sparsest ticket, its test result, the control beside it, and the number of replicates.

    Validation data choose the round, test data are only reported. If no pruned round qualifies, it says that and which
    round came closest. A control that does as well as the ticket, and a control that is missing, are said too: without
    them a sparse accurate network is no evidence for its initial weights (Frankle & Carbin 2018, arXiv 1803.03635).

    Args:
        rows: result rows with the columns of `results.csv`.
        max_drop: accuracy that may be lost, a fraction; for a run without accuracies the relative increase of the loss.
        rewind: the rewind point of the run: of tickets that start from trained weights, no early-stop step is told.

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    if criterion(rows) == "val_accuracy":
        measure = Measure("val_accuracy", "test_accuracy", "accuracy", True, formats.percent)
    else:
        measure = Measure("val_loss", "test_loss", "loss", False, formats.loss)
    judged = candidates(rows)
    pruned = [candidate for candidate in judged if candidate.round > 0]
    if not pruned:
        return only_dense(rows, measure)
    chosen = select_round(rows, max_drop=max_drop)
    if chosen == 0:
        return no_ticket(rows, pruned, measure, max_drop)
    replicates = next(candidate.replicates for candidate in pruned if candidate.round == chosen)
    timed = not starts_trained(rewind)
    return " ".join((ticket(rows, chosen, measure, max_drop, timed=timed), trust(replicates)))


def only_dense(rows: Sequence[Row], measure: Measure) -> str:
    """Words for a run that has not pruned yet."""
    dense = select(rows, "ticket", 0)
    parts = [f"validation {measure.noun} {measure.text(mean(dense, measure.validation))}"]
    if mean(dense, measure.test) is not None:
        parts.append(f"test {measure.noun} {measure.text(mean(dense, measure.test))}")
    return f"Only the dense network has been judged so far ({', '.join(parts)}): there is no ticket yet."


def no_ticket(rows: Sequence[Row], pruned: Sequence[Candidate], measure: Measure, max_drop: float) -> str:
    """Words for a run in which no pruned round is good enough, with the one that came closest."""
    closest = min(pruned, key=lambda candidate: (candidate.drop, candidate.kept))
    density = formats.density_percent(density_of(rows, closest.round))
    if measure.higher:
        gap = f"{formats.points(closest.drop)} below"
    else:
        gap = f"{formats.percent(closest.drop)} above"
    reach = "is as good as" if max_drop == 0 else f"comes within {measure.tolerated(max_drop)} of"
    return (
        f"No winning ticket: no pruned round {reach} the dense network by validation {measure.noun} "
        f"({measure.text(closest.dense)}). The closest is round {closest.round}, with {density} % of the weights: "
        f"{measure.text(closest.value)}, {gap}. {trust(closest.replicates)}"
    )


def ticket(rows: Sequence[Row], chosen: int, measure: Measure, max_drop: float, *, timed: bool) -> str:
    """Words for the chosen ticket: its size, its result against dense, and the control's."""
    here, control = select(rows, "ticket", chosen), select(rows, CONTROL, chosen)
    present = {str(row.get("replicate")) for row in here}
    dense = [row for row in select(rows, "ticket", 0) if str(row.get("replicate")) in present]
    bound = (
        f"at least as good as the dense network by validation {measure.noun}"
        if max_drop == 0
        else f"within {measure.tolerated(max_drop)} of the dense network's validation {measure.noun}"
    )
    # Without test data the numbers are those that selected the round: that is said, as they flatter it.
    tested = spread_of(here, measure.test) is not None and spread_of(dense, measure.test) is not None
    column = measure.test if tested else measure.validation
    name = f"test {measure.noun}" if tested else f"validation {measure.noun} (which selected it; no test data)"
    text = (
        f"The sparsest ticket {bound} keeps {formats.density_percent(density_of(rows, chosen))} % of the weights "
        f"(round {chosen}): {name} {measure.text(mean(here, column))} against {measure.text(mean(dense, column))} dense"
    )
    return text + compared(here, control, measure, column, timed=timed)


def compared(here: Sequence[Row], control: Sequence[Row], measure: Measure, column: str, *, timed: bool) -> str:
    """The end of the sentence: what the random reinitialisation of the same masks reaches, and what follows from it."""
    ours, theirs = spread_of(here, column), spread_of(control, column)
    if ours is None or theirs is None:
        return (
            ". No random reinitialisation was trained for this round, so nothing shows that its initial weights matter."
        )
    text = f"; a random reinitialisation of it reaches {measure.text(theirs.mean)}"
    if theirs.count != ours.count:
        text += f" ({theirs.count} of {formats.plural(ours.count, 'replicate')})"
    stops = mean(control, "early_stop_step"), mean(here, "early_stop_step")
    if timed and None not in stops:
        text += f", its early-stop step {stops[0]:.0f} against {stops[1]:.0f}"
    text += "."
    gain = (ours.mean - theirs.mean) if measure.higher else (theirs.mean - ours.mean)
    if gain <= 0:
        return text + " The control does as well, so the initial weights are not what makes this subnetwork good."
    if ours.count > 1 and ours.low <= theirs.high and theirs.low <= ours.high:
        return text + f" The {measure.noun} ranges of the two overlap."
    return text


def trust(replicates: int) -> str:
    """How many replicates the numbers rest on."""
    if replicates == 1:
        return "This is one replicate: small differences may be chance."
    return f"Means over {replicates} replicates."


def spread_of(rows: Sequence[Row], column: str) -> Spread | None:
    """Mean and range of a column."""
    return spread(row.get(column) for row in rows)


def mean(rows: Sequence[Row], column: str) -> float | None:
    """Mean of a column; None if no row has it."""
    value = spread_of(rows, column)
    return value.mean if value else None


def density_of(rows: Sequence[Row], index: int) -> float:
    """Mean density of a round of the ticket."""
    return mean(select(rows, "ticket", index), "density") or 0.0
