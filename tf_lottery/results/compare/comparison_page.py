"""The page of a comparison, with its figures and tables as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.compare import comparison_figures as comparison_plots
from tf_lottery.results.compare.compared_runs import Run, check, differing, labels, setting
from tf_lottery.results.compare.comparison import Found, differences, found_in, rounds_table, score, verdict
from tf_lottery.results.report.answers import CAUTION, Comparison, kind, words
from tf_lottery.results.report.run_report import figure_files, fill, settings, shown, table_files, write_files
from tf_lottery.results.statistics.cost import cost_table
from tf_lottery.results.statistics.selection import MAX_DROP
from tf_lottery.results.tables import formats
from tf_lottery.results.tables.summary import Table

CAPTIONS = {
    "accuracy": "How good each run's tickets are: dense on the left, sparse on the right. The dotted line is the dense "
    "network of the first run.",
    "early_stop": "How fast each run's tickets learn: the first evaluated step of least validation loss. Lower is "
    "faster.",
    "cost": "What each ticket cost: the training steps of its own training and of all that its masks came from. Of two "
    "runs, the one further to the left is cheaper at the same score. What another run found (tickets_from) is not "
    "counted.",
}


@dataclass(frozen=True)
class Compared:
    """A comparison of runs.

    Args:
        column: the score that was compared.
        found: what each run came to.
        differences: for each run but the first, its ticket against the first's.
        sentences: the verdict in words.
        files: name to path of what was written.
    """

    column: str
    found: tuple[Found, ...]
    differences: tuple[tuple[Comparison, ...], ...]
    sentences: tuple[str, ...]
    files: dict[str, Path]


def write_comparison(
    runs: Sequence[Run], folder: str | Path, *, max_drop: float = MAX_DROP, allow_data: bool = False
) -> Compared:
    """Compare runs, the first with each other one, and write `comparison.html` with its figures and tables.

    Args:
        runs: two or more.
        folder: where to write; it is made if need be.
        max_drop: validation accuracy that a ticket may lose, a fraction.
        allow_data: let the data differ.

    Returns:
        What was found, and the files: `comparison.html`, each figure as PNG and SVG, and, as CSV and Parquet, `rounds`
        (per run and round), `costs`, `differences`, `runs` and `jobs` (per training).

    Raises:
        UsageError: fewer than two runs, one given twice, or `max_drop` out of range.
        UnfitError: the runs can't be compared.
        ResourceError: the folder can't be written, or the disk is full.
    """
    check(runs, allow_data=allow_data)
    names, column = labels(runs), score(runs)
    found = [found_in(run, name, column, max_drop=max_drop) for run, name in zip(runs, names, strict=True)]
    compared = [differences(runs[0], run, column, against=names[0]) for run in runs[1:]]
    sentences = verdict(found, compared, column, max_drop=max_drop)
    costs = cost_table({name: (run.config, run.rows) for name, run in zip(names, runs, strict=True)})
    rows = dict(zip(names, (run.rows for run in runs), strict=True))
    trained = [name for name, run in zip(names, runs, strict=True) if starts_trained(run.config.rewind)]
    left_out = f" Left out, as they start from trained weights: the tickets of {'; '.join(trained)}." if trained else ""
    contents: dict[str, bytes] = {}
    pictures = []
    for name, figure in (
        ("accuracy", comparison_plots.score_by_density(rows, column)),
        ("early_stop", comparison_plots.early_stop_by_density(rows, without=trained)),
        ("cost", comparison_plots.cost(costs, column)),
    ):
        images = figure_files(name, figure)
        contents |= images
        caption = CAPTIONS[name] + (left_out if name == "early_stop" else "")
        pictures.append(shown(name, caption, figure, images))
    contents |= table_files(
        {
            "rounds": rounds_table(runs, names, column),
            "costs": costs,
            "differences": difference_rows(names, compared),
            "runs": [run_row(run, each) for run, each in zip(runs, found, strict=True)],
            "jobs": [{"run": name, **row} for run, name in zip(runs, names, strict=True) for row in run.rows],
        }
    )
    contents["comparison.html"] = page(
        runs, names, column, found, compared, sentences, pictures, list(contents), max_drop=max_drop
    ).encode("utf-8")
    files = write_files(contents, folder)
    return Compared(column, tuple(found), tuple(map(tuple, compared)), tuple(sentences), files)


def page(
    runs: Sequence[Run],
    names: Sequence[str],
    column: str,
    found: Sequence[Found],
    compared: Sequence[Sequence[Comparison]],
    sentences: Sequence[str],
    pictures: Sequence[dict[str, Any]],
    files: Sequence[str],
    *,
    max_drop: float,
) -> str:
    """The HTML page."""
    different = differing(runs)
    return fill(
        "comparison.html",
        what="comparison of lottery-ticket runs",
        title="Comparison of " + formats.plural(len(runs), "run"),
        subtitle=" · ".join(run.name for run in runs),
        verdict=sentences,
        how_selected=(
            "Scores are of the selected ticket: the sparsest round whose mean validation score is within "
            f"{formats.points(max_drop) if column.endswith('accuracy') else formats.percent(max_drop)} of dense. "
            "Matching densities are geometric means over replicates, each against its own dense network, with their "
            "95 % interval (below 3 replicates the range) in brackets; at most, where the last round still matches."
        ),
        runs=runs_table(runs, found, column),
        how_compared=f"{words(column).capitalize()} of a run's ticket less that of the first run's, paired by "
        "replicate. Densities within 1 % of each other count as equal.",
        groups=[
            {"title": f"{name} against {names[0]}", "table": differences_table(group, column)}
            for name, group in zip(names[1:], compared, strict=True)
        ],
        caution=CAUTION,
        figures=pictures,
        settings=[
            {"title": name, "pairs": [(key, setting(values[place])) for key, values in different.items()]}
            for place, name in enumerate(names)
        ]
        if different
        else [{"title": "Configuration", "pairs": settings(runs[0].config.to_json())}],
        files=files,
    )


def runs_table(runs: Sequence[Run], found: Sequence[Found], column: str) -> Table:
    """One line per run: what it came to."""
    headers = ("Run", "Directory", "Replicates", "Selected round", "Weights left", words(column).capitalize())
    write = formats.percent if column.endswith("accuracy") else formats.loss
    lines = [
        (
            each.label,
            run.name,
            str(each.matching.density.count),
            str(each.round),
            f"{formats.density_percent(each.density)} %",
            write(each.score),
            matching_cell(each),
            formats.count(each.steps),
        )
        for run, each in zip(runs, found, strict=True)
    ]
    right = (False, False, True, True, True, True, True, True)
    return Table(headers=(*headers, "Matching density", "Training steps"), rows=tuple(lines), right=right)


def matching_cell(found: Found) -> str:
    """`at most 5.6 % (4.2-7.5)`."""
    over = found.matching.density
    around = f" ({formats.density_percent(over.low)}-{formats.density_percent(over.high)})" if over.count > 1 else ""
    return found.matching_text(around)


def differences_table(group: Sequence[Comparison], column: str) -> Table:
    """One line per equal density; why nothing was judged, where it was not."""
    lines = []
    for each in group:
        gap = formats.difference_text(each.difference, kind=kind(column)) if each.difference else each.why()
        lines.append((each.where, each.outcome, gap))
    if not lines:
        lines = [("none", "not judged", "no densities are equal")]
    return Table(headers=("Weights left", "Outcome", "Difference"), rows=tuple(lines), right=(True, False, False))


def difference_rows(names: Sequence[str], compared: Sequence[Sequence[Comparison]]) -> list[dict[str, Any]]:
    """The differences for tables in files."""
    return [{"run": name, **each.to_row()} for name, group in zip(names[1:], compared, strict=True) for each in group]


def run_row(run: Run, found: Found) -> dict[str, Any]:
    """What a run came to, for tables in files and for JSON."""
    density = found.matching.density
    return {
        "run": found.label,
        "run_dir": run.path,
        "round": found.round,
        "density": found.density,
        "score": found.score,
        "steps": found.steps,
        "dense_steps": found.dense_steps,
        "matching_density": density.mean,
        "matching_low": density.low,
        "matching_high": density.high,
        "matching_replicates": density.count,
        "matching_in_last_round": found.matching.last,
    }
