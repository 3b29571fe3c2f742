"""What a run showed, in one to three plain sentences that claim no more than the rows do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tf_lottery.experiment.directory import TICKET
from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.statistics.selection import (
    DEFAULT_MAX_DROP,
    RoundCandidate,
    judge_rounds,
    select_round,
    validation_column,
)
from tf_lottery.results.statistics.values import Row, Spread, select, spread
from tf_lottery.results.tables import formats

CONTROL = "random_reinit"


@dataclass(frozen=True)
class MetricWording:
    """How results are worded: as accuracies, or as losses where there are no accuracies.

    Attributes:
        validation: the column that selects.
        test: the column that is reported.
        noun: `accuracy` or `loss`.
        higher: whether higher is better.
        text: writes a value.
    """

    validation: str
    test: str
    noun: str
    higher: bool
    text: Callable[[float | None], str]


ACCURACY = MetricWording("val_accuracy", "test_accuracy", "accuracy", True, formats.percent)
LOSS = MetricWording("val_loss", "test_loss", "loss", False, formats.loss)


def verdict(rows: Sequence[Row], *, max_drop: float = DEFAULT_MAX_DROP, rewind: str = "init") -> str:
    """The outcome in words: the sparsest ticket, its test result, the control beside it, and the number of replicates.

    Validation data choose the round, test data are only reported. If no pruned round qualifies, it says that and which
    round came closest. A control that does as well as the ticket, and a control that is missing, are said too: without
    them a sparse accurate network is no evidence for its initial weights (Frankle & Carbin 2018, arXiv 1803.03635).

    Args:
        rows: result rows with the columns of `results.csv`.
        max_drop: accuracy that may be lost, a fraction; for a run without accuracies the relative increase of the loss.
        rewind: the rewind point of the run: where tickets start from trained weights, early-stop steps are left out.

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    wording = ACCURACY if validation_column(rows) == "val_accuracy" else LOSS
    pruned = [candidate for candidate in judge_rounds(rows) if candidate.round > 0]
    if not pruned:
        return _only_dense(rows, wording)
    chosen = select_round(rows, max_drop=max_drop)
    if chosen == 0:
        return _no_ticket(rows, pruned, wording, max_drop)
    replicates = next(candidate.replicates for candidate in pruned if candidate.round == chosen)
    text = _ticket(rows, chosen, wording, max_drop, timed=not starts_trained(rewind))
    return f"{text} {_replicates(replicates)}"


def _only_dense(rows: Sequence[Row], wording: MetricWording) -> str:
    """Words for a run that has not pruned yet."""
    dense = select(rows, TICKET, 0)
    parts = [f"validation {wording.noun} {wording.text(_mean(dense, wording.validation))}"]
    if _mean(dense, wording.test) is not None:
        parts.append(f"test {wording.noun} {wording.text(_mean(dense, wording.test))}")
    return f"Only the dense network has been judged so far ({', '.join(parts)}): there is no ticket yet."


def _no_ticket(rows: Sequence[Row], pruned: Sequence[RoundCandidate], wording: MetricWording, max_drop: float) -> str:
    """Words for a run in which no pruned round is good enough, with the one that came closest."""
    closest = min(pruned, key=lambda candidate: (candidate.drop, candidate.kept))
    density = formats.density_percent(_density(rows, closest.round))
    gap = f"{formats.tolerance(closest.drop, wording.validation)} {'below' if wording.higher else 'above'}"
    reach = "is as good as" if max_drop == 0 else f"comes within {formats.tolerance(max_drop, wording.validation)} of"
    return (
        f"No winning ticket: no pruned round {reach} the dense network by validation {wording.noun} "
        f"({wording.text(closest.dense)}). The closest is round {closest.round}, with {density} % of the weights: "
        f"{wording.text(closest.value)}, {gap}. {_replicates(closest.replicates)}"
    )


def _ticket(rows: Sequence[Row], chosen: int, wording: MetricWording, max_drop: float, *, timed: bool) -> str:
    """Words for the chosen ticket: its size, its result against dense, and the control's."""
    here, control = select(rows, TICKET, chosen), select(rows, CONTROL, chosen)
    present = {str(row.get("replicate")) for row in here}
    dense = [row for row in select(rows, TICKET, 0) if str(row.get("replicate")) in present]
    tolerance = formats.tolerance(max_drop, wording.validation)
    bound = (
        f"at least as good as the dense network by validation {wording.noun}"
        if max_drop == 0
        else f"within {tolerance} of the dense network's validation {wording.noun}"
    )
    # Without test data the numbers are those that selected the round: that is said, as they flatter it.
    tested = _spread(here, wording.test) is not None and _spread(dense, wording.test) is not None
    column = wording.test if tested else wording.validation
    name = f"test {wording.noun}" if tested else f"validation {wording.noun} (which selected it; no test data)"
    text = (
        f"The sparsest ticket {bound} keeps {formats.density_percent(_density(rows, chosen))} % of the weights "
        f"(round {chosen}): {name} {wording.text(_mean(here, column))} against {wording.text(_mean(dense, column))} "
        "dense"
    )
    return text + _against_control(here, control, wording, column, timed=timed)


def _against_control(
    here: Sequence[Row], control: Sequence[Row], wording: MetricWording, column: str, *, timed: bool
) -> str:
    """The end of the sentence: what the random reinitialization of the same masks reaches, and what follows from it."""
    ours, theirs = _spread(here, column), _spread(control, column)
    if ours is None or theirs is None:
        return (
            ". No random reinitialization was trained for this round, so nothing shows that its initial weights matter."
        )
    text = f"; a random reinitialization of it reaches {wording.text(theirs.mean)}"
    if theirs.count != ours.count:
        text += f" ({theirs.count} of {formats.plural(ours.count, 'replicate')})"
    stops = _mean(control, "early_stop_step"), _mean(here, "early_stop_step")
    if timed and None not in stops:
        text += f", its early-stop step {stops[0]:.0f} against {stops[1]:.0f}"
    text += "."
    gain = (ours.mean - theirs.mean) if wording.higher else (theirs.mean - ours.mean)
    if gain <= 0:
        return text + " The control does as well, so the initial weights are not what makes this subnetwork good."
    if ours.count > 1 and ours.low <= theirs.high and theirs.low <= ours.high:
        return text + f" The {wording.noun} ranges of the two overlap."
    return text


def _replicates(count: int) -> str:
    """How many replicates the numbers rest on, in words."""
    if count == 1:
        return "This is one replicate: small differences may be chance."
    return f"Means over {count} replicates."


def _spread(rows: Sequence[Row], column: str) -> Spread | None:
    return spread(row.get(column) for row in rows)


def _mean(rows: Sequence[Row], column: str) -> float | None:
    over = _spread(rows, column)
    return over.mean if over else None


def _density(rows: Sequence[Row], index: int) -> float:
    """Mean density of a round of the ticket."""
    return _mean(select(rows, TICKET, index), "density") or 0.0
