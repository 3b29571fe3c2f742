"""The study `overlap`: overlap of masks between replicates, rounds and runs, against that of random masks."""

from collections.abc import Iterable, Mapping
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.pruning.masks import Masks, validate
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies.study_figures import plot_by_density, plot_panels, values_by_x
from tf_lottery.studies.study_outcome import Rows, StudyOutcome, average_replicates, mean_of_column
from tf_lottery.studies.study_run import StudyRun

# The `layer` of rows over all arrays of a model.
WHOLE = "(all)"
DEVIATIONS = 12


def expected_overlap(total: int, first: int, second: int) -> float:
    """Return the expected Jaccard overlap of two independent random masks of one array.

    Both masks keep exactly `first` and `second` of `total` weights, each choice equally likely. Then the number I that
    both keep is hypergeometric, and the overlap is I / (first + second - I); its mean is the sum over I.

    Args:
        total: the number of weights of the array.
        first: the number that the first mask keeps.
        second: the number that the second mask keeps.

    Returns:
        The mean overlap; 1.0 where neither keeps any weight.

    Example:
        >>> expected_overlap(2, 1, 1)  # the masks keep the same weight, or not
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


def compare_masks(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """Return the Jaccard overlap of two masks, |kept by both| / |kept by either|, and the one expected by chance.

    Over all arrays, chance is that of masks drawn independently in each array with its counts: the expected number that
    both keep over the expected number that either keeps, whose error is of the order of one over the number of weights.

    Args:
        first: boolean masks by weight path.
        second: boolean masks of the same paths and shapes.

    Returns:
        By path, and as "(all)" over all arrays: `overlap`, `chance`, and the counts `kept_first` and `kept_second`.

    Raises:
        UnfitError: the masks are of different models.

    Example:
        >>> a, b = {"w": np.array([True, True, False])}, {"w": np.array([True, False, True])}
        >>> round(compare_masks(a, b)["w"]["overlap"], 3), round(compare_masks(a, b)["w"]["chance"], 3)
        (0.333, 0.556)
    """
    second = validate(second, {key: mask.shape for key, mask in first.items()}, what="masks to compare with")
    overlaps: dict[str, dict[str, float]] = {}
    sums = np.zeros(3)
    for key, mask in first.items():
        a, b = int(np.count_nonzero(mask)), int(np.count_nonzero(second[key]))
        both = int(np.count_nonzero(mask & second[key]))
        expected = a * b / mask.size if mask.size else 0.0
        sums += both, a + b, expected
        overlap = both / (a + b - both) if a + b else 1.0
        expected_one = expected_overlap(mask.size, a, b)
        overlaps[key] = {"overlap": overlap, "chance": expected_one, "kept_first": a, "kept_second": b}
    both_all, kept, expected_all = sums
    overlaps[WHOLE] = {
        "overlap": both_all / (kept - both_all) if kept else 1.0,
        "chance": expected_all / (kept - expected_all) if kept else 1.0,
        "kept_first": sum(row["kept_first"] for row in overlaps.values()),
        "kept_second": sum(row["kept_second"] for row in overlaps.values()),
    }
    return overlaps


def study(run: StudyRun, *, other: StudyRun | None = None) -> StudyOutcome:
    """Return the overlap of ticket masks: between replicates of a round, between rounds, and with another run.

    With another run (another data set, criterion or seed, of the same model), replicates of equal number and rounds of
    equal number are compared.

    Args:
        run: the run to study.
        other: a second run to compare with.

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
    return StudyOutcome(
        tables={
            "overlap": average_replicates([row for row in rows if row["layer"] == WHOLE], by=by, of=of, unit="pair"),
            "overlap_by_layer": average_replicates(rows, by=(*by, "layer"), of=of, unit="pair"),
            "overlap_by_pair": rows,
        },
        figures={"overlap": _plot_overlap(whole), "overlap_by_layer": _plot_layers(rows)},
        sentences=list(_sentences(whole)),
    )


def _rows(between: str, run: StudyRun, number: int, pair: tuple[int, int], first: Masks, second: Masks) -> Rows:
    about: dict[str, Any] = {"between": between, "round": number, "density": run.density(number)}
    about |= {"pair": f"{pair[0]}-{pair[1]}", "replicate": pair[0], "other_replicate": pair[1]}
    return [{**about, "layer": layer, **overlaps} for layer, overlaps in compare_masks(first, second).items()]


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


def _plot_overlap(whole: Rows) -> Figure:
    lines = {}
    for kind in dict.fromkeys(row["between"] for row in whole):
        lines[f"between {kind}"] = values_by_x(whole, x="density", y="overlap", between=kind)
        lines[f"between {kind}: chance"] = values_by_x(whole, x="density", y="chance", between=kind)
    return plot_by_density(lines, title="Overlap of masks, by density", ylabel="Jaccard overlap", percent=True)


def _plot_layers(rows: Rows) -> Figure:
    kinds = list(dict.fromkeys(row["between"] for row in rows))
    kind = "runs" if "runs" in kinds else kinds[0]
    chosen = [row for row in rows if row["between"] == kind and row["layer"] != WHOLE and row["round"] > 0]
    layers = list(dict.fromkeys(row["layer"] for row in chosen))
    return plot_panels(
        {
            f"{layer}, between {kind}": {
                name: values_by_x(chosen, x="density", y=name, layer=layer) for name in ("overlap", "chance")
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
        means = (mean_of_column(whole, column, between=kind, round=last) for column in ("overlap", "chance"))
        overlap, expected = means
        if overlap is not None and expected is not None:
            yield (
                f"Between {kind}, round {last}: the masks share {percent(overlap)} of the weights that either keeps; "
                f"independent random masks of these counts would share {percent(expected)}."
            )
    if any(row["between"] == "rounds" for row in whole):
        yield "Masks of iterative pruning are nested, so between rounds the overlap is the part that a round keeps."
