"""The questions that a lottery-ticket experiment asks, answered from its rows with paired differences."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tf_lottery.experiment.directory import TICKET
from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.statistics.intervals import LEAST, Difference, Interval, interval, outcome, pair_by_replicate
from tf_lottery.results.statistics.learning_speed import EARLY_STOP, NO_MEASURE
from tf_lottery.results.statistics.matching import matching_density, peak
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, select_round, validation_column
from tf_lottery.results.statistics.values import (
    SCORES,
    Row,
    Spread,
    first_recorded,
    select,
    spread,
    ticket_densities,
    variants,
    without_searches,
)
from tf_lottery.results.tables import formats
from tf_lottery.results.tables.formats import column_kind, column_words

# Differences between the masks of several methods show where a network is small: the literature looks below half.
SPARSE = 0.5
BELOW_HALF = "below 50 %"
START_TRAINED = "Not asked: it starts from trained weights, so its steps do not show how fast it learns."
SPEED = {"beats": "faster", "loses": "slower", "ties": "ties", "not judged": "not judged"}
CAUTION = (
    "A tie is a difference that these replicates do not show, not one that is shown to be absent. Of twenty "
    "comparisons without any difference one is expected to show one."
)


@dataclass(frozen=True)
class Comparison:
    """The ticket against another network.

    Attributes:
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
        """Return the comparison for tables in files."""
        ends = {name: getattr(self.difference, name, None) for name in ("mean", "low", "high")}
        named = {"against": self.against, "where": self.where, "column": self.column, "outcome": self.outcome}
        return {**named, **ends, "pairs": self.pairs, "unpaired": self.unpaired}

    def why(self) -> str:
        """Return why it was not judged."""
        return self.reason or f"an interval needs {LEAST} replicates and {self.pairs} came"

    def text(self) -> str:
        """Return one clause: where, by how much, and what follows."""
        if self.difference is None:
            return f"{self.where}: not judged, {self.why()}"
        gap = formats.difference_text(self.difference, kind=column_kind(self.column))
        unpaired = f"; {self.unpaired} without a pair" if self.unpaired else ""
        return f"{self.where}: {self.outcome}, {gap}{unpaired}"


@dataclass(frozen=True)
class Answer:
    """A question in words with its answer.

    Attributes:
        question: the question.
        answer: a short answer.
        evidence: what it rests on.
        difference: of ticket - other, where the answer rests on one.
        density: with its interval or range, where the answer is one.
    """

    question: str
    answer: str
    evidence: str
    difference: Difference | None = None
    density: Interval | Spread | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the answer for JSON: numbers are fractions, and None where there is none.

        `interval` is that of the difference, or of the density; a range of fewer than 3 replicates is no interval.
        """
        over = self.difference or (self.density if isinstance(self.density, Interval) else None)
        return {
            "question": self.question,
            "answer": self.answer,
            "difference": self.difference.mean if self.difference else None,
            "density": self.density.mean if self.density else None,
            "interval": [over.low, over.high] if over else None,
            "evidence": self.evidence,
        }


def compare(rows: Sequence[Row], against: str, column: str, *, index: int | None) -> Comparison:
    """Compare the ticket with the dense network or a control, in one round or in all rounds below half of the weights.

    Args:
        rows: result rows.
        against: `dense` or a variant.
        column: what is compared; losses and steps are better where they are lower.
        index: the round; None for the mean over all rounds below 50 % of the weights.
    """
    sparse = [number for number, density in ticket_densities(rows).items() if density < SPARSE]
    rounds = sparse if index is None else [index]
    ours: list[Row] = [row for number in rounds for row in select(rows, TICKET, number)]
    theirs: list[Row]
    if against == "dense":
        # The dense network stands beside each round of its replicate.
        theirs = [{**row, "round": number} for row in select(rows, TICKET, 0) for number in rounds]
    else:
        theirs = [row for number in rounds for row in select(rows, against, number)]
    return compare_rows(ours, theirs, column, against=against, where=BELOW_HALF if index is None else f"round {index}")


def compare_rows(ours: Sequence[Row], theirs: Sequence[Row], column: str, *, against: str, where: str) -> Comparison:
    """Compare two sets of rows, paired by replicate and round, averaged over the rounds of a replicate.

    Args:
        ours: result rows of tickets.
        theirs: result rows of the other network.
        column: what is compared; losses and steps are better where they are lower.
        against: the name of the other network.
        where: the place of the comparison in words.
    """
    values, unpaired = pair_by_replicate(ours, theirs, column, by=("replicate", "round"))
    if len(values) < LEAST:
        return Comparison(against, where, column, None, "not judged", len(values), unpaired)
    over = interval(values.values())
    paired = Difference(**vars(over), values=tuple(values.items()), unpaired=unpaired)
    result = outcome(paired, higher=column.endswith("accuracy"))
    return Comparison(against, where, column, paired, result, over.count, unpaired)


def comparisons(rows: Sequence[Row], *, max_drop: float = DEFAULT_MAX_DROP, rewind: str = "init") -> list[Comparison]:
    """Compare the ticket with dense and with each control, by its score and by its early-stop step.

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
    steps = None if starts_trained(rewind) else first_recorded(rows, [EARLY_STOP])
    return [
        compare(rows, against, column, index=place)
        for column in (first_recorded(rows, SCORES), steps)
        if column is not None
        for against in ("dense", *variants(rows)[1:])
        if not (column == EARLY_STOP and against in NO_MEASURE)
        for place in places
    ]


def answers(rows: Sequence[Row], *, max_drop: float = DEFAULT_MAX_DROP, rewind: str = "init") -> list[Answer]:
    """The verdict, question by question.

    Args:
        rows: result rows with the columns of `results.csv`.
        max_drop: validation accuracy that the selected ticket may lose, a fraction.
        rewind: the rewind point of the run.

    Raises:
        UsageError: `max_drop` is negative or not finite.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
    """
    rows = without_searches(rows)
    if not any(index > 0 for index in ticket_densities(rows)):
        return []
    compared = comparisons(rows, max_drop=max_drop, rewind=rewind)
    scores = [comparison for comparison in compared if comparison.column != EARLY_STOP]
    steps = [comparison for comparison in compared if comparison.column == EARLY_STOP]
    result = [_matches_dense(rows, scores, max_drop), _sparsest(rows, max_drop), _best_density(rows)]
    for name in dict.fromkeys(comparison.against for comparison in scores):
        if name != "dense":
            result.append(_answer(f"Does the ticket beat {name.replace('_', ' ')}?", scores, name))
    for name in dict.fromkeys(comparison.against for comparison in steps):
        if name in ("dense", "random_reinit"):
            words = "the dense network" if name == "dense" else "its random reinitialization"
            answer = _answer(f"Does it learn faster than {words}?", steps, name)
            result.append(replace(answer, answer=SPEED[answer.answer]))
    if starts_trained(rewind):
        result.append(Answer("Does it learn faster than the dense network?", "not asked", START_TRAINED))
    return result


def _answer(question: str, compared: Sequence[Comparison], against: str) -> Answer:
    """The answer that comparisons give: what the selected round says, or else the rounds below 50 %."""
    own = [comparison for comparison in compared if comparison.against == against]
    text = "; ".join(comparison.text() for comparison in own)
    return Answer(question, own[0].outcome, f"{text[:1].upper()}{text[1:]}.", own[0].difference)


def _matches_dense(rows: Sequence[Row], scores: Sequence[Comparison], max_drop: float) -> Answer:
    """Whether the selected ticket is as good as dense, within the tolerance, by test data where there are any.

    Without them the answer rests on the data that selected it, and says so.
    """
    question = "Does a ticket match the dense network?"
    chosen = select_round(rows, max_drop=max_drop)
    if chosen == 0:
        return Answer(question, "no", "No pruned round is within the tolerance by validation data.")
    comparison = next(score for score in scores if score.against == "dense")
    column, difference = comparison.column, comparison.difference
    density = formats.density_percent(ticket_densities(rows)[chosen])
    flattered = " (which selected it; no test data)" if column.startswith("val_") else ""
    start = (
        f"Round {chosen}, {density} % of the weights, chosen by validation data; {column_words(column)}{flattered} "
        "against dense"
    )
    if difference is None:
        values, _ = pair_by_replicate(select(rows, TICKET, chosen), select(rows, TICKET, 0), column)
        over = spread(values.values())
        gap = f" {formats.signed(over.mean, kind=column_kind(column))}" if over else ""
        evidence = f"{start}:{gap}, {formats.plural(comparison.pairs, 'replicate')} of {LEAST}."
        return Answer(question, "not judged", evidence)
    accuracy = column.endswith("accuracy")
    dense = spread(row.get(column) for row in select(rows, TICKET, 0))
    tolerated = max_drop if accuracy or dense is None else max_drop * abs(dense.mean)
    worst, best = (-difference.low, -difference.high) if accuracy else (difference.high, difference.low)
    answer = "yes" if worst <= tolerated else "no" if best > tolerated else "not shown"
    gap = formats.difference_text(difference, kind=column_kind(column))
    bound = formats.tolerance(max_drop, column)
    evidence = f"{start}: {gap}. A yes needs the whole interval to lose at most {bound}."
    return Answer(question, answer, evidence, difference)


def _sparsest(rows: Sequence[Row], max_drop: float) -> Answer:
    """How sparse the ticket may be: the matching density."""
    matching = matching_density(rows, tolerance=max_drop)
    bound = "at most " if matching.last else ""
    density = matching.density
    replicates = formats.plural(density.count, "replicate")
    text = (
        f"The sparsest round within {formats.tolerance(max_drop, validation_column(rows))} of each replicate's own "
        f"dense network, by validation data: {formats.density_range(density)}, {replicates}"
    )
    if matching.last:
        text += f"; in {matching.last} of them the last round still matches"
    if matching.matched < density.count:
        text += f"; a pruned round matches in {matching.matched} of {replicates}"
    if matching.unfinished:
        text += f"; {formats.plural(matching.unfinished, 'unfinished replicate')} left out"
    return Answer(
        "How sparse may it be?", f"{bound}{formats.density_percent(density.mean)} %", f"{text}.", density=density
    )


def _best_density(rows: Sequence[Row]) -> Answer:
    """Where the validation score is best."""
    best = peak(rows)
    density = ticket_densities(rows)[best.round]
    column = validation_column(rows)
    write = formats.percent if column == "val_accuracy" else formats.loss
    return Answer(
        "Where is the top of Occam's hill?",
        f"{formats.density_percent(density)} %",
        f"Round {best.round}: {column_words(column)} {write(best.value)} against {write(best.dense)} dense. The best "
        "of several means flatters itself a little.",
    )
