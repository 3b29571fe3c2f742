"""Overlap of masks between replicates, rounds and runs, against what chance would give."""

from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.pruning.masks import Masks, validate
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies import study_figures as figures
from tf_lottery.studies.study_outcome import Outcome, Rows, mean, over_replicates
from tf_lottery.studies.study_run import StudyRun

WHOLE = "(all)"
DEVIATIONS = 12


def chance(total: int, first: int, second: int) -> float:
    """The expected Jaccard overlap of two independent random masks of one array, of these counts.

    Both masks keep exactly `first` and `second` of `total` weights, each choice equally likely. Then the number I that
    both keep is hypergeometric, and the overlap is I / (first + second - I); its mean is the sum over I.

    Returns:
        The mean overlap; 1.0 where neither keeps any weight.

    Example:
        >>> chance(2, 1, 1)  # the same one, or the other one
        0.5
    """
    from scipy.stats import hypergeom

    if first + second == 0:
        return 1.0
    # All but less than 1e-30 of the mass lies within so many deviations; a layer of a million weights stays cheap.
    middle = first * second / total
    deviation = (middle * (1 - first / total) * (total - second) / max(total - 1, 1)) ** 0.5
    low = max(0, first + second - total, int(middle - DEVIATIONS * deviation) - 1)
    high = min(first, second, int(middle + DEVIATIONS * deviation) + 1)
    both = np.arange(low, high + 1)
    return float(np.sum(hypergeom.pmf(both, total, first, second) * both / (first + second - both)))


def compare(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Jaccard overlap of two masks, |kept by both| / |kept by either|, by array and over all, and that of chance.

    Over all arrays, chance is that of masks drawn independently in each array with its counts: the expected number that
    both keep over the expected number that either keeps, whose error is of the order of one over the number of weights.

    Raises:
        UnfitError: the masks are of different models.

    Example:
        >>> a, b = {"w": np.array([True, True, False])}, {"w": np.array([True, False, True])}
        >>> round(compare(a, b)["w"]["overlap"], 3), round(compare(a, b)["w"]["chance"], 3)
        (0.333, 0.556)
    """
    second = validate(second, {key: mask.shape for key, mask in first.items()}, what="masks to compare with")
    found: dict[str, dict[str, float]] = {}
    sums = np.zeros(3)
    for key, mask in first.items():
        a, b = int(np.count_nonzero(mask)), int(np.count_nonzero(second[key]))
        both = int(np.count_nonzero(mask & second[key]))
        expected = a * b / mask.size if mask.size else 0.0
        sums += both, a + b, expected
        overlap = both / (a + b - both) if a + b else 1.0
        found[key] = {"overlap": overlap, "chance": chance(mask.size, a, b), "kept_first": a, "kept_second": b}
    both_all, kept, expected_all = sums
    found[WHOLE] = {
        "overlap": both_all / (kept - both_all) if kept else 1.0,
        "chance": expected_all / (kept - expected_all) if kept else 1.0,
        "kept_first": sum(row["kept_first"] for row in found.values()),
        "kept_second": sum(row["kept_second"] for row in found.values()),
    }
    return found


def study(run: StudyRun, *, other: StudyRun | None = None) -> Outcome:
    """Overlap of ticket masks: between the replicates of a round, between rounds, and with those of another run.

    With another run (another data set, criterion or seed, of the same model), replicates of equal number and rounds of
    equal number are compared.

    Raises:
        UnfitError: the other run's model has other weights, or no round or replicate in common.
    """
    masks = {(i, n): run.masks(Job(i, n)) for n in run.rounds for i in run.replicates}
    rows: Rows = []
    for number in run.rounds:
        for pair in combinations(run.replicates, 2):
            rows += _rows("replicates", run, number, pair, masks[pair[0], number], masks[pair[1], number])
    for before, number in pairwise(run.rounds):
        for index in run.replicates:
            rows += _rows("rounds", run, number, (index, index), masks[index, before], masks[index, number])
    if other is not None:
        rows += _between_runs(run, other, masks)
    if not rows:
        raise UnfitError(
            f"{run.path} has one replicate and one round here: there is nothing to compare.",
            "Name more `rounds` or `replicates`, or a second run.",
        )
    whole = [row for row in rows if row["layer"] == WHOLE and row["round"] > 0]
    by = ("between", "round", "density")
    of = ("overlap", "chance")
    return Outcome(
        tables={
            "overlap": over_replicates([row for row in rows if row["layer"] == WHOLE], by=by, of=of, unit="pair"),
            "overlap_by_layer": over_replicates(rows, by=(*by, "layer"), of=of, unit="pair"),
            "overlap_by_pair": rows,
        },
        figures={"overlap": _overall(whole), "overlap_by_layer": _by_layer(rows)},
        sentences=list(_sentences(whole)),
    )


def _rows(between: str, run: StudyRun, number: int, pair: tuple[int, int], first: Masks, second: Masks) -> Rows:
    about: dict[str, Any] = {"between": between, "round": number, "density": run.density(number)}
    about |= {"pair": f"{pair[0]}-{pair[1]}", "replicate": pair[0], "other_replicate": pair[1]}
    return [{**about, "layer": layer, **found} for layer, found in compare(first, second).items()]


def _between_runs(run: StudyRun, other: StudyRun, masks: Mapping[tuple[int, int], Masks]) -> Rows:
    shared = [key for key in masks if key[0] in other.replicates and key[1] in other.rounds]
    if not shared:
        raise UnfitError(
            f"{run.path} and {other.path} have no round of a replicate in common.",
            "Choose rounds and replicates that both have.",
        )
    rows: Rows = []
    for index, number in shared:
        rows += _rows("runs", run, number, (index, index), masks[index, number], other.masks(Job(index, number)))
    return rows


def _overall(whole: Rows) -> Figure:
    lines = {}
    for kind in dict.fromkeys(row["between"] for row in whole):
        chosen = [row for row in whole if row["between"] == kind]
        lines[f"between {kind}"] = figures.gather(chosen, x="density", y="overlap")
        lines[f"between {kind}: chance"] = figures.gather(chosen, x="density", y="chance")
    return figures.by_density(lines, title="Overlap of masks, by density", ylabel="Jaccard overlap", percent=True)


def _by_layer(rows: Rows) -> Figure:
    kinds = list(dict.fromkeys(row["between"] for row in rows))
    kind = "runs" if "runs" in kinds else kinds[0]
    chosen = [row for row in rows if row["between"] == kind and row["layer"] != WHOLE and row["round"] > 0]
    layers = list(dict.fromkeys(row["layer"] for row in chosen))
    return figures.panels(
        {
            f"{layer}, between {kind}": {
                name: figures.gather([row for row in chosen if row["layer"] == layer], x="density", y=name)
                for name in ("overlap", "chance")
            }
            for layer in layers[:12]
        },
        xlabel="",
        ylabel="Jaccard overlap",
        percent=True,
        density=True,
        columns=3,
    )


def _sentences(whole: Rows) -> Iterable[str]:
    if not whole:
        yield "Only the dense round 0 is studied, whose masks are all the same."
        return
    last = max(row["round"] for row in whole)
    for kind in dict.fromkeys(row["between"] for row in whole):
        found, expected = (mean(whole, column, between=kind, round=last) for column in ("overlap", "chance"))
        if found is not None and expected is not None:
            yield (
                f"Between {kind}, round {last}: the masks share {percent(found)} of the weights that either keeps; "
                f"independent random masks of these counts would share {percent(expected)}."
            )
    if any(row["between"] == "rounds" for row in whole):
        yield "Masks of iterative pruning are nested, so between rounds the overlap is the part that a round keeps."
