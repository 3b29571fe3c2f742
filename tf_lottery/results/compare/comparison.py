"""Several runs side by side: their tickets at equal density, how sparse they are, and what they cost."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tf_lottery.errors import UnfitError
from tf_lottery.results.compare.compared_runs import ComparedRun, unpairable
from tf_lottery.results.report.answers import BELOW_HALF, SPARSE, Comparison, compare_rows
from tf_lottery.results.statistics.cost import mean_time, ticket_costs
from tf_lottery.results.statistics.intervals import band
from tf_lottery.results.statistics.matching import MatchingDensity, matching_density
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, select_round
from tf_lottery.results.statistics.values import SCORES, has_values, select, spread, ticket_densities
from tf_lottery.results.tables import formats
from tf_lottery.results.tables.formats import column_kind, column_words
from tf_lottery.utils.text import duration

# Relative difference of densities that count as equal.
EQUAL = 0.01


def common_score(runs: Sequence[ComparedRun]) -> str:
    """The column that compares: the first that every run recorded; test data where there are any.

    Raises:
        UnfitError: there is none.
    """
    for column in SCORES:
        if all(has_values(run.rows, column) for run in runs):
            return column
    raise UnfitError(
        f"The runs have no score in common: none of {', '.join(SCORES)} is in all of them.",
        "Compare runs with validation or test data of the same kind.",
    )


def equal_rounds(first: ComparedRun, other: ComparedRun) -> list[tuple[int, int, float]]:
    """(round of the first, round of the other, density of the other) where the densities of their tickets are equal.

    Densities within 1 % of each other are equal. Round 0 is left out, and each round is taken once, with the nearest.

    Args:
        first: a run.
        other: another run.
    """
    ours = {index: density for index, density in ticket_densities(first.rows).items() if index and density}
    pairs = []
    for index, density in ticket_densities(other.rows).items():
        if index == 0 or not ours:
            continue
        nearest = min(ours, key=lambda mine: abs(ours[mine] - density))
        if abs(ours[nearest] - density) <= EQUAL * density:
            pairs.append((nearest, index, density))
            del ours[nearest]
    return pairs


def differences(first: ComparedRun, other: ComparedRun, column: str, *, against: str) -> list[Comparison]:
    """The other run's ticket against the first's, at each density that both have, and over those below 50 %.

    Args:
        first: the run that the other is compared with; `check_comparable` both before.
        other: the other run.
        column: what is compared.
        against: the name of the first run.
    """
    places = [(formats.density_percent(density) + " %", [(a, b)]) for a, b, density in equal_rounds(first, other)]
    sparse = [(a, b) for a, b, density in equal_rounds(first, other) if density < SPARSE]
    if sparse:
        places.append((BELOW_HALF, sparse))
    reason = unpairable(first, other)
    comparisons = []
    for where, rounds in places:
        ours = [row for _, index in rounds for row in select(other.rows, "ticket", index)]
        # The rounds of the two runs may have other numbers: those of equal density are pairs.
        theirs = [{**row, "round": b} for a, b in rounds for row in select(first.rows, "ticket", a)]
        if reason:
            comparisons.append(Comparison(against, where, column, None, "not judged", 0, 0, reason))
        else:
            comparisons.append(compare_rows(ours, theirs, column, against=against, where=where))
    return comparisons


@dataclass(frozen=True)
class RunSummary:
    """What one run of a comparison reached.

    Attributes:
        label: its short name.
        matching: its matching density.
        round: its ticket, selected by validation data; 0 if there is none.
        density: of that ticket.
        score: its mean score.
        steps: mean training steps to get it.
        dense_steps: mean training steps of the dense network.
        seconds: mean training time to get it; None where the run has no times.
        dense_seconds: mean training time of the dense network; None where the run has no times.
    """

    label: str
    matching: MatchingDensity
    round: int
    density: float
    score: float | None
    steps: float
    dense_steps: float
    seconds: float | None
    dense_seconds: float | None

    def matching_text(self, around: str = "") -> str:
        """Return the matching density in words: `5.6 %`, or `at most 5.6 %` where the last round still matches.

        It says so where not all replicates have a match. `around` is put behind the density.
        """
        bound = "at most " if self.matching.last else ""
        text = f"{bound}{formats.density_percent(self.matching.density.mean)} %{around}"
        count = self.matching.density.count
        if self.matching.matched == count:
            return text
        return f"{text}, with a pruned round in {self.matching.matched} of {formats.plural(count, 'replicate')}"


def summarize_run(run: ComparedRun, label: str, column: str, *, max_drop: float = DEFAULT_MAX_DROP) -> RunSummary:
    """The ticket of a run, and what it cost.

    Args:
        run: the run.
        label: its short name.
        column: the score.
        max_drop: validation accuracy that the ticket may lose, a fraction.
    """
    index = select_round(run.rows, max_drop=max_drop)
    steps: dict[int, list[int]] = defaultdict(list)
    seconds: dict[int, list[float | None]] = defaultdict(list)
    for entry in ticket_costs(run.config, run.rows):
        steps[entry.job.round].append(entry.steps)
        seconds[entry.job.round].append(entry.seconds)
    value = band(row.get(column) for row in select(run.rows, "ticket", index))
    return RunSummary(
        label=label,
        matching=matching_density(run.rows, tolerance=max_drop),
        round=index,
        density=ticket_densities(run.rows)[index],
        score=value.mean if value else None,
        steps=sum(steps[index]) / len(steps[index]),
        dense_steps=sum(steps[0]) / len(steps[0]),
        seconds=mean_time(seconds[index]),
        dense_seconds=mean_time(seconds[0]),
    )


def comparison_sentences(
    summaries: Sequence[RunSummary],
    compared: Sequence[Sequence[Comparison]],
    column: str,
    *,
    max_drop: float,
    timed_on: Sequence[str] = (),
) -> list[str]:
    """The outcome in plain sentences: each run against the first, then how sparse and how cheap their tickets are.

    Args:
        summaries: one per run.
        compared: for each run but the first, its differences to the first.
        column: what was compared.
        max_drop: the tolerance of the tickets.
        timed_on: what the runs differ in that makes their times no comparison.
    """
    first, *others = summaries
    sentences = [
        _against_first(other.label, first.label, group, column) for other, group in zip(others, compared, strict=True)
    ]
    bound = formats.tolerance(max_drop, column)
    by_density = sorted(summaries, key=lambda run: run.matching.density.mean)
    sizes = [f"{run.label}: {run.matching_text()}" for run in by_density]
    sentences.append(f"Matching densities (within {bound} of dense by validation): {'; '.join(sizes)}.")
    with_ticket = [run for run in summaries if run.round]
    if with_ticket:
        prices = [
            f"{run.label}: {formats.count(run.steps)} ({run.steps / run.dense_steps:.1f} times the dense network's)"
            for run in sorted(with_ticket, key=lambda run: run.steps)
        ]
        sentences.append(f"Training steps to get the selected ticket: {'; '.join(prices)}.")
        times = [
            f"{run.label}: {duration(run.seconds)} ({run.seconds / run.dense_seconds:.1f} times the dense network's)"
            for run in sorted(with_ticket, key=lambda run: run.seconds or 0.0)
            if run.seconds and run.dense_seconds
        ]
        if times:
            caution = f" They are no comparison: the runs differ in {', '.join(timed_on)}." if timed_on else ""
            sentences.append(f"Training time to get the selected ticket: {'; '.join(times)}.{caution}")
    without = [run.label for run in summaries if not run.round]
    if without:
        sentences.append(f"No round is within the tolerance by its mean over replicates: {'; '.join(without)}.")
    return sentences


def _against_first(label: str, first: str, group: Sequence[Comparison], column: str) -> str:
    """One run against the first, in a sentence."""
    single = [comparison for comparison in group if comparison.where != BELOW_HALF]
    start = f"{label} against {first}, {column_words(column)}"
    if not single:
        return f"{start}: no densities are equal, so only the curves can be compared."
    judged = [comparison for comparison in single if comparison.difference is not None]
    if not judged:
        return f"{start}: not judged at {_equal_densities(len(single))}, {single[0].why()}."
    counts = [
        f"{name} {sum(comparison.outcome == name for comparison in judged)}" for name in ("beats", "ties", "loses")
    ]
    text = f"{start}, at {_equal_densities(len(judged))}: {', '.join(counts)}"
    overall = next((comparison for comparison in group if comparison.where == BELOW_HALF), None)
    if overall is not None and overall.difference is not None:
        gap = formats.difference_text(overall.difference, kind=column_kind(column))
        text += f"; on average below 50 % of the weights it {overall.outcome}, {gap}"
    return f"{text}."


def _equal_densities(count: int) -> str:
    """`1 equal density`, `2 equal densities`."""
    return f"{count} equal {'density' if count == 1 else 'densities'}"


def rounds_table(runs: Sequence[ComparedRun], names: Sequence[str], column: str) -> list[dict[str, Any]]:
    """One line per run and round of the ticket: densities, the score and the early-stop step with their bands.

    Args:
        runs: the runs.
        names: their short names.
        column: the score.
    """
    table = []
    for run, name in zip(runs, names, strict=True):
        for index, density in ticket_densities(run.rows).items():
            group = select(run.rows, "ticket", index)
            line: dict[str, Any] = {"run": name, "directory": run.name, "round": index, "density": density}
            for metric in dict.fromkeys((column, "val_accuracy", "early_stop_step")):
                over, around = spread(row.get(metric) for row in group), band(row.get(metric) for row in group)
                line[f"{metric}_replicates"] = over.count if over else 0
                for end in ("mean", "low", "high"):
                    line[f"{metric}_{end}"] = getattr(around, end) if around else None
            table.append(line)
    return table
