"""Several runs side by side: their tickets at equal density, how sparse they are, and what they cost."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tf_lottery.errors import UnfitError
from tf_lottery.results.compare.compared_runs import Run, unpairable
from tf_lottery.results.report.answers import SPARSE, Comparison, judge, kind, words
from tf_lottery.results.statistics.cost import cost
from tf_lottery.results.statistics.intervals import band
from tf_lottery.results.statistics.matching import MatchingDensity, matching_density
from tf_lottery.results.statistics.selection import MAX_DROP, select_round
from tf_lottery.results.statistics.values import SCORES, has_values, select, spread, ticket_densities
from tf_lottery.results.tables import formats

# Relative difference of densities that count as equal.
EQUAL = 0.01


def score(runs: Sequence[Run]) -> str:
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


def equal_rounds(first: Run, other: Run) -> list[tuple[int, int, float]]:
    """(round of the first, round of the other, density of the other) where the densities of their tickets are equal.

    Densities within 1 % of each other are equal. Round 0 is left out, and each round is taken once, with the nearest.
    """
    ours = {index: density for index, density in ticket_densities(first.rows).items() if index and density}
    found = []
    for index, density in ticket_densities(other.rows).items():
        if index == 0 or not ours:
            continue
        nearest = min(ours, key=lambda mine: abs(ours[mine] - density))
        if abs(ours[nearest] - density) <= EQUAL * density:
            found.append((nearest, index, density))
            del ours[nearest]
    return found


def differences(first: Run, other: Run, column: str, *, against: str) -> list[Comparison]:
    """The other run's ticket against the first's, at each density that both have, and over those below 50 %.

    Args:
        first, other: the runs; `check` them before.
        column: what is compared.
        against: what the first run is called.
    """
    places = [(formats.density_percent(density) + " %", [(a, b)]) for a, b, density in equal_rounds(first, other)]
    sparse = [(a, b) for a, b, density in equal_rounds(first, other) if density < SPARSE]
    if sparse:
        places.append(("below 50 %", sparse))
    reason = unpairable(first, other)
    found = []
    for where, rounds in places:
        ours = [row for _, index in rounds for row in select(other.rows, "ticket", index)]
        # The rounds of the two runs may have other numbers: those of equal density are pairs.
        theirs = [{**row, "round": b} for a, b in rounds for row in select(first.rows, "ticket", a)]
        if reason:
            found.append(Comparison(against, where, column, None, "not judged", 0, 0, reason))
        else:
            found.append(judge(ours, theirs, column, against=against, where=where))
    return found


@dataclass(frozen=True)
class Found:
    """What one run of a comparison came to.

    Args:
        label: its short name.
        matching: its matching density.
        round: its ticket, selected by validation data; 0 if there is none.
        density: of that ticket.
        score: its mean score.
        steps: mean training steps to get it.
        dense_steps: mean training steps of the dense network.
    """

    label: str
    matching: MatchingDensity
    round: int
    density: float
    score: float | None
    steps: float
    dense_steps: float

    def matching_text(self, around: str = "") -> str:
        """`5.6 %`, or `at most 5.6 %` where the last round still matches; and where not all replicates have a match."""
        bound = "at most " if self.matching.last else ""
        text = f"{bound}{formats.density_percent(self.matching.density.mean)} %{around}"
        count = self.matching.density.count
        if self.matching.matched == count:
            return text
        return f"{text}, with a pruned round in {self.matching.matched} of {formats.plural(count, 'replicate')}"


def found_in(run: Run, label: str, column: str, *, max_drop: float = MAX_DROP) -> Found:
    """The ticket of a run, and what it cost."""
    index = select_round(run.rows, max_drop=max_drop)
    steps: dict[int, list[int]] = defaultdict(list)
    for entry in cost(run.config, run.rows):
        steps[entry.round].append(entry.steps)
    value = band(row.get(column) for row in select(run.rows, "ticket", index))
    return Found(
        label=label,
        matching=matching_density(run.rows, tolerance=max_drop),
        round=index,
        density=ticket_densities(run.rows)[index],
        score=value.mean if value else None,
        steps=sum(steps[index]) / len(steps[index]),
        dense_steps=sum(steps[0]) / len(steps[0]),
    )


def verdict(
    found: Sequence[Found], compared: Sequence[Sequence[Comparison]], column: str, *, max_drop: float
) -> list[str]:
    """The outcome in plain sentences: each run against the first, then how sparse and how cheap their tickets are.

    Args:
        found: one per run.
        compared: for each run but the first, its differences to the first.
        column: what was compared.
        max_drop: the tolerance of the tickets.
    """
    parts = [
        against_first(each.label, found[0].label, group, column)
        for each, group in zip(found[1:], compared, strict=True)
    ]
    points = formats.points(max_drop) if column.endswith("accuracy") else formats.percent(max_drop)
    sparsest = sorted(found, key=lambda each: each.matching.density.mean)
    sizes = [f"{each.label}: {each.matching_text()}" for each in sparsest]
    parts.append(f"Matching densities (within {points} of dense by validation): {'; '.join(sizes)}.")
    tickets = [each for each in found if each.round]
    if tickets:
        prices = [
            f"{each.label}: {formats.count(each.steps)} ({each.steps / each.dense_steps:.1f} times the dense network's)"
            for each in sorted(tickets, key=lambda each: each.steps)
        ]
        parts.append(f"Training steps to get the selected ticket: {'; '.join(prices)}.")
    none = [each.label for each in found if not each.round]
    if none:
        parts.append(f"No round is within the tolerance by its mean over replicates: {'; '.join(none)}.")
    return parts


def against_first(label: str, first: str, group: Sequence[Comparison], column: str) -> str:
    """One run against the first, in a sentence."""
    single = [each for each in group if each.where != "below 50 %"]
    start = f"{label} against {first}, {words(column)}"
    if not single:
        return f"{start}: no densities are equal, so only the curves can be compared."
    judged = [each for each in single if each.difference is not None]
    if not judged:
        return f"{start}: not judged at {equal_densities(len(single))}, {single[0].why()}."
    counts = [f"{name} {sum(each.outcome == name for each in judged)}" for name in ("beats", "ties", "loses")]
    text = f"{start}, at {equal_densities(len(judged))}: {', '.join(counts)}"
    overall = next((each for each in group if each.where == "below 50 %" and each.difference is not None), None)
    if overall is not None and overall.difference is not None:
        gap = formats.difference_text(overall.difference, kind=kind(column))
        text += f"; on average below 50 % of the weights it {overall.outcome}, {gap}"
    return f"{text}."


def equal_densities(count: int) -> str:
    """`1 equal density`, `2 equal densities`."""
    return f"{count} equal {'density' if count == 1 else 'densities'}"


def rounds_table(runs: Sequence[Run], names: Sequence[str], column: str) -> list[dict[str, Any]]:
    """One line per run and round of the ticket: densities, the score and the early-stop step with their bands."""
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
