"""The questions that a lottery-ticket experiment asks, answered from its rows with paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.figures.learning_curves import GOING_ON
from tf_lottery.results.statistics.intervals import LEAST, Difference, interval, outcome, pair
from tf_lottery.results.statistics.matching import matching_density, peak
from tf_lottery.results.statistics.selection import MAX_DROP, criterion, select_round
from tf_lottery.results.statistics.values import (
    SCORES,
    Row,
    first_recorded,
    select,
    spread,
    ticket_densities,
    variants,
    without_searches,
)
from tf_lottery.results.tables import formats

# Differences between the masks' ways show where a network is small: the literature looks below half of the weights.
SPARSE = 0.5
STEP = "early_stop_step"
TRAINED = "Not asked: it starts from trained weights, so its steps do not tell how fast it learns."
SPEED = {"beats": "faster", "loses": "slower", "ties": "ties", "not judged": "not judged"}
CAUTION = (
    "A tie is a difference that these replicates do not show, not one that is shown to be absent. Of twenty "
    "comparisons without any difference one is expected to show one."
)


@dataclass(frozen=True)
class Comparison:
    """The ticket against another network.

    Args:
        against: `dense` or a control.
        where: `round 7`, or `below 50 %`: the mean over all rounds of less than half of the weights.
        column: what is compared.
        difference: of ticket - other, paired by replicate; None with fewer than 3 pairs.
        outcome: `beats`, `ties`, `loses`, or `not judged`.
        pairs: how many replicates have both.
        unpaired: how many have one only, or lack a round.
        reason: why it was not judged, where that is not for lack of replicates.
    """

    against: str
    where: str
    column: str
    difference: Difference | None
    outcome: str
    pairs: int
    unpaired: int
    reason: str = ""

    def to_row(self) -> dict[str, Any]:
        """For tables in files."""
        ends = {name: getattr(self.difference, name, None) for name in ("mean", "low", "high")}
        named = {"against": self.against, "where": self.where, "column": self.column, "outcome": self.outcome}
        return {**named, **ends, "pairs": self.pairs, "unpaired": self.unpaired}

    def why(self) -> str:
        """Why it was not judged."""
        return self.reason or f"an interval needs {LEAST} replicates and {self.pairs} came"

    def text(self) -> str:
        """One clause: where, by how much, and what follows."""
        if self.difference is None:
            return f"{self.where}: not judged, {self.why()}"
        gap = formats.difference_text(self.difference, kind=kind(self.column))
        unpaired = f"; {self.unpaired} without a pair" if self.unpaired else ""
        return f"{self.where}: {self.outcome}, {gap}{unpaired}"


@dataclass(frozen=True)
class Answer:
    """A question in words, a short answer, and what it rests on."""

    question: str
    answer: str
    evidence: str


def compare(rows: Sequence[Row], against: str, column: str, *, index: int | None) -> Comparison:
    """The ticket against the dense network or a control, in one round, or in all rounds below half of the weights.

    Args:
        rows: result rows.
        against: `dense` or a variant.
        column: what is compared; losses and steps are better where they are lower.
        index: the round; None for the mean over all rounds below 50 % of the weights.
    """
    sparse = [number for number, density in ticket_densities(rows).items() if density < SPARSE]
    rounds = sparse if index is None else [index]
    ours: list[Row] = [row for number in rounds for row in select(rows, "ticket", number)]
    theirs: list[Row]
    if against == "dense":
        # The dense network stands beside each round of its replicate.
        theirs = [{**row, "round": number} for row in select(rows, "ticket", 0) for number in rounds]
    else:
        theirs = [row for number in rounds for row in select(rows, against, number)]
    return judge(ours, theirs, column, against=against, where="below 50 %" if index is None else f"round {index}")


def judge(ours: Sequence[Row], theirs: Sequence[Row], column: str, *, against: str, where: str) -> Comparison:
    """The comparison of two sets of rows, paired by replicate and round, averaged over the rounds of a replicate."""
    values, unpaired = pair(ours, theirs, column, by=("replicate", "round"))
    if len(values) < LEAST:
        return Comparison(against, where, column, None, "not judged", len(values), unpaired)
    over = interval(values.values())
    paired = Difference(**vars(over), values=tuple(values.items()), unpaired=unpaired)
    result = outcome(paired, higher=column.endswith("accuracy"))
    return Comparison(against, where, column, paired, result, over.count, unpaired)


def comparisons(rows: Sequence[Row], *, max_drop: float = MAX_DROP, rewind: str = "init") -> list[Comparison]:
    """The ticket against dense and against each control, by its score and by its early-stop step.

    Each at the round that validation data selects, if there is a pruned one, and over all rounds below 50 %. Tickets
    that start from trained weights are not compared by their steps.

    Args:
        rows: result rows with the columns of `results.csv`.
        max_drop: validation accuracy that the selected ticket may lose, a fraction.
        rewind: the rewind point of the run.
    """
    rows = without_searches(rows)
    chosen = select_round(rows, max_drop=max_drop)
    places: list[int | None] = [chosen] if chosen else []
    if any(density < SPARSE for density in ticket_densities(rows).values()):
        places.append(None)
    found = []
    timed = None if starts_trained(rewind) else first_recorded(rows, [STEP])
    for column in (first_recorded(rows, SCORES), timed):
        for against in ("dense", *variants(rows)[1:]):
            if column is not None and not (column == STEP and against in GOING_ON):
                found += [compare(rows, against, column, index=place) for place in places]
    return found


def answers(rows: Sequence[Row], *, max_drop: float = MAX_DROP, rewind: str = "init") -> list[Answer]:
    """The verdict, question by question.

    Args:
        rows, max_drop, rewind: as for `comparisons`.

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    rows = without_searches(rows)
    if not any(index > 0 for index in ticket_densities(rows)):
        return []
    compared = comparisons(rows, max_drop=max_drop, rewind=rewind)
    scores = [each for each in compared if each.column != STEP]
    steps = [each for each in compared if each.column == STEP]
    result = [matches_dense(rows, scores, max_drop), sparsest(rows, max_drop), hill(rows)]
    for name in dict.fromkeys(each.against for each in scores if each.against != "dense"):
        result.append(
            asked(f"Does the ticket beat {name.replace('_', ' ')}?", [e for e in scores if e.against == name])
        )
    for name in dict.fromkeys(each.against for each in steps if each.against in ("dense", "random_reinit")):
        words = "the dense network" if name == "dense" else "its random reinitialisation"
        found = asked(f"Does it learn faster than {words}?", [e for e in steps if e.against == name])
        result.append(replace(found, answer=SPEED[found.answer]))
    if starts_trained(rewind):
        result.append(Answer("Does it learn faster than the dense network?", "not asked", TRAINED))
    return result


def asked(question: str, found: Sequence[Comparison]) -> Answer:
    """The answer that comparisons give: what the selected round says, or else the rounds below 50 %."""
    return Answer(question, found[0].outcome, sentence("; ".join(each.text() for each in found)))


def matches_dense(rows: Sequence[Row], scores: Sequence[Comparison], max_drop: float) -> Answer:
    """Whether the selected ticket is as good as dense, within the tolerance, by test data where there are any.

    Without them the answer rests on the data that selected it, and says so.
    """
    question = "Does a ticket match the dense network?"
    chosen = select_round(rows, max_drop=max_drop)
    if chosen == 0:
        return Answer(question, "no", "No pruned round is within the tolerance by validation data.")
    found = next(each for each in scores if each.against == "dense")
    density = formats.density_percent(ticket_densities(rows)[chosen])
    flattered = " (which selected it; no test data)" if found.column.startswith("val_") else ""
    start = (
        f"Round {chosen}, {density} % of the weights, chosen by validation data; {words(found.column)}{flattered} "
        "against dense"
    )
    difference = found.difference
    if difference is None:
        values, _ = pair(select(rows, "ticket", chosen), select(rows, "ticket", 0), found.column)
        over = spread(values.values())
        gap = f" {formats.signed(over.mean, kind=kind(found.column))}" if over else ""
        return Answer(question, "not judged", f"{start}:{gap}, {formats.plural(found.pairs, 'replicate')} of {LEAST}.")
    accuracy = found.column.endswith("accuracy")
    dense = spread(row.get(found.column) for row in select(rows, "ticket", 0))
    tolerated = max_drop if accuracy or dense is None else max_drop * abs(dense.mean)
    worst, best = (-difference.low, -difference.high) if accuracy else (difference.high, difference.low)
    answer = "yes" if worst <= tolerated else "no" if best > tolerated else "not shown"
    bound = formats.points(max_drop) if accuracy else formats.percent(max_drop)
    gap = formats.difference_text(difference, kind=kind(found.column))
    return Answer(question, answer, f"{start}: {gap}. A yes needs the whole interval to lose at most {bound}.")


def sparsest(rows: Sequence[Row], max_drop: float) -> Answer:
    """The matching density."""
    found = matching_density(rows, tolerance=max_drop)
    bound = "at most " if found.last else ""
    density = found.density
    points = formats.points(max_drop) if criterion(rows) == "val_accuracy" else formats.percent(max_drop)
    text = (
        f"The sparsest round within {points} of each replicate's own dense network, by validation data: "
        f"{formats.density_range(density)}, {formats.plural(density.count, 'replicate')}"
    )
    if found.last:
        text += f"; in {found.last} of them the last round still matches"
    if found.matched < density.count:
        text += f"; a pruned round matches in {found.matched} of {formats.plural(density.count, 'replicate')}"
    if found.unfinished:
        text += f"; {formats.plural(found.unfinished, 'unfinished replicate')} left out"
    return Answer("How sparse may it be?", f"{bound}{formats.density_percent(density.mean)} %", f"{text}.")


def hill(rows: Sequence[Row]) -> Answer:
    """Where the validation score is best."""
    best = peak(rows)
    density = ticket_densities(rows)[best.round]
    accuracy = criterion(rows) == "val_accuracy"
    write = formats.percent if accuracy else formats.loss
    noun = "accuracy" if accuracy else "loss"
    return Answer(
        "Where is the top of Occam's hill?",
        f"{formats.density_percent(density)} %",
        f"Round {best.round}: validation {noun} {write(best.value)} against {write(best.dense)} dense. The best of "
        "several means flatters itself a little.",
    )


def kind(column: str) -> str:
    """How a column is written: `percent`, `count` or `loss`."""
    return "percent" if column.endswith("accuracy") else "count" if column.endswith("_step") else "loss"


def words(column: str) -> str:
    """`val_accuracy` as `validation accuracy`."""
    return column.replace("val_", "validation_").replace("_", " ")


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    return f"{text[:1].upper()}{text[1:]}."
