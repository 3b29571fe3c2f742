"""The page of a comparison, with its figures and tables as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.compare import comparison_figures
from tf_lottery.results.compare.compared_runs import (
    ComparedRun,
    check_comparable,
    differing,
    labels,
    setting_text,
    timing_differences,
)
from tf_lottery.results.compare.comparison import (
    RunSummary,
    common_score,
    comparison_sentences,
    differences,
    rounds_table,
    summarize_run,
)
from tf_lottery.results.outcome_files import outcome_files, write_files
from tf_lottery.results.report.answers import CAUTION, Comparison
from tf_lottery.results.report.conclusions import conclusions
from tf_lottery.results.report.page import fill_page, page_figure, settings
from tf_lottery.results.statistics.cost import cost_table
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP
from tf_lottery.results.tables import formats
from tf_lottery.results.tables.formats import column_kind, column_words
from tf_lottery.results.tables.summary import Table
from tf_lottery.utils.text import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAPTIONS = {
    "accuracy": "How good each run's tickets are: dense on the left, sparse on the right. The dotted line is the dense "
    "network of the first run.",
    "early_stop": "How fast each run's tickets learn: the first evaluated step of least validation loss. Lower is "
    "faster.",
    "cost": "What each ticket cost: the training steps of its own training and of all that its masks came from. Of two "
    "runs, the one further to the left is cheaper at the same score. What another run paid for (tickets_from) is not "
    "counted.",
    "cost_seconds": "The same in seconds: the time of all those trainings, compilation and evaluations included. "
    "Compare runs on one idle machine, with one number of jobs.",
}


@dataclass(frozen=True)
class ComparisonReport:
    """A comparison of runs.

    Attributes:
        column: the score that was compared.
        runs: the runs.
        summaries: what each run reached.
        differences: for each run but the first, its ticket against the first's.
        sentences: the verdict in words.
        files: the paths of the written files, by name.
        max_drop: validation accuracy that a ticket may lose, a fraction.
    """

    column: str
    runs: tuple[ComparedRun, ...]
    summaries: tuple[RunSummary, ...]
    differences: tuple[tuple[Comparison, ...], ...]
    sentences: tuple[str, ...]
    files: dict[str, Path]
    max_drop: float = DEFAULT_MAX_DROP

    def table(self) -> Table:
        """Return what each run reached, one line per run."""
        return runs_table(self.runs, self.summaries, self.column)

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON values; each run has the fields of `conclusions` too."""
        return {
            "column": self.column,
            "verdict": " ".join(self.sentences),
            "runs": [
                _run_row(run, summary) | conclusions(run.rows, max_drop=self.max_drop, rewind=run.config.rewind)
                for run, summary in zip(self.runs, self.summaries, strict=True)
            ],
            "differences": _difference_rows([run.label for run in self.summaries], self.differences),
            "files": {name: str(path) for name, path in self.files.items()},
        }


def write_comparison(
    runs: Sequence[ComparedRun],
    folder: str | Path,
    *,
    max_drop: float = DEFAULT_MAX_DROP,
    allow_data: bool = False,
) -> ComparisonReport:
    """Compare runs, the first with each other one, and write `comparison.html` with its figures and tables.

    Args:
        runs: two or more.
        folder: where to write; it is made if need be.
        max_drop: validation accuracy that a ticket may lose, a fraction.
        allow_data: let the data differ.

    Returns:
        The comparison, and its files: `comparison.html`, each figure as PNG and SVG, and, as CSV and Parquet, `rounds`
        (per run and round), `costs`, `differences`, `runs` and `jobs` (per training).

    Raises:
        UsageError: fewer than two runs, one passed twice, `max_drop` out of range, or a package that pages need is not
            installed.
        UnfitError: the runs can't be compared.
        ResourceError: the folder can't be written, or the disk is full.
    """
    check_comparable(runs, allow_data=allow_data)
    names, column = labels(runs), common_score(runs)
    summaries = [summarize_run(run, name, column, max_drop=max_drop) for run, name in zip(runs, names, strict=True)]
    compared = [differences(runs[0], run, column, against=names[0]) for run in runs[1:]]
    sentences = comparison_sentences(summaries, compared, column, max_drop=max_drop, timed_on=timing_differences(runs))
    costs = cost_table({name: (run.config, run.rows) for name, run in zip(names, runs, strict=True)})
    trained = [name for name, run in zip(names, runs, strict=True) if starts_trained(run.config.rewind)]
    rows = dict(zip(names, (run.rows for run in runs), strict=True))
    figures = {
        "accuracy": comparison_figures.score_by_density(rows, column),
        "early_stop": comparison_figures.early_stop_by_density(rows, without=trained),
        "cost": comparison_figures.score_by_cost(costs, column),
        "cost_seconds": comparison_figures.score_by_cost(costs, column, cost="seconds"),
    }
    tables = {
        "rounds": rounds_table(runs, names, column),
        "costs": costs,
        "differences": _difference_rows(names, compared),
        "runs": [_run_row(run, summary) for run, summary in zip(runs, summaries, strict=True)],
        "jobs": [{"run": name, **row} for run, name in zip(runs, names, strict=True) for row in run.rows],
    }
    contents = outcome_files(figures=figures, tables=tables)
    pictures = _pictures(figures, contents, trained)
    text = _page(runs, summaries, column, compared, sentences, pictures, list(contents), max_drop=max_drop)
    contents["comparison.html"] = text.encode("utf-8", "xmlcharrefreplace")
    files = write_files(contents, folder)
    return ComparisonReport(
        *(column, tuple(runs), tuple(summaries), tuple(map(tuple, compared)), tuple(sentences), files, max_drop)
    )


def _pictures(
    figures: "Mapping[str, Figure]", contents: Mapping[str, bytes], trained: Sequence[str]
) -> list[dict[str, Any]]:
    """The figures as the page shows them; `trained` names the runs whose tickets start from trained weights."""
    left_out = f" Left out, as they start from trained weights: the tickets of {'; '.join(trained)}." if trained else ""
    return [
        page_figure(name, CAPTIONS[name] + (left_out if name == "early_stop" else ""), figure, contents)
        for name, figure in figures.items()
    ]


def _page(
    runs: Sequence[ComparedRun],
    summaries: Sequence[RunSummary],
    column: str,
    compared: Sequence[Sequence[Comparison]],
    sentences: Sequence[str],
    pictures: Sequence[dict[str, Any]],
    files: Sequence[str],
    *,
    max_drop: float,
) -> str:
    """The HTML page."""
    different = differing(runs)
    names = [summary.label for summary in summaries]
    return fill_page(
        "comparison.html",
        what="comparison of lottery-ticket runs",
        title="Comparison of " + formats.plural(len(runs), "run"),
        subtitle=" · ".join(run.name for run in runs),
        verdict=sentences,
        how_selected=(
            "Scores are of the selected ticket: the sparsest round whose mean validation score is within "
            f"{formats.tolerance(max_drop, column)} of dense. "
            "Matching densities are geometric means over replicates, each against its own dense network, with their "
            "95 % interval (below 3 replicates the range) in brackets; at most, where the last round still matches."
        ),
        runs=runs_table(runs, summaries, column),
        how_compared=f"{column_words(column, capital=True)} of a run's ticket less that of the first run's, paired by "
        "replicate. Densities within 1 % of each other count as equal.",
        groups=[
            {"title": f"{name} against {names[0]}", "table": _differences_table(group, column)}
            for name, group in zip(names[1:], compared, strict=True)
        ],
        caution=CAUTION,
        figures=pictures,
        settings=[
            {"title": name, "pairs": [(key, setting_text(values[place])) for key, values in different.items()]}
            for place, name in enumerate(names)
        ]
        if different
        else [{"title": "Configuration", "pairs": settings(runs[0].config.to_json())}],
        files=files,
    )


def runs_table(runs: Sequence[ComparedRun], summaries: Sequence[RunSummary], column: str) -> Table:
    """Return what each run reached, one line per run.

    Args:
        runs: the runs.
        summaries: what each of them reached.
        column: the score that is compared.
    """
    headers = ("Run", "Directory", "Replicates", "Selected round", "Weights left", column_words(column, capital=True))
    write = formats.percent if column.endswith("accuracy") else formats.loss
    lines = [
        (
            summary.label,
            run.name,
            str(summary.matching.density.count),
            str(summary.round),
            f"{formats.density_percent(summary.density)} %",
            write(summary.score),
            _matching_cell(summary),
            formats.count(summary.steps),
            formats.MISSING if summary.seconds is None else duration(summary.seconds),
        )
        for run, summary in zip(runs, summaries, strict=True)
    ]
    right = (False, False, True, True, True, True, True, True, True)
    return Table(
        headers=(*headers, "Matching density", "Training steps", "Training time"), rows=tuple(lines), right=right
    )


def _matching_cell(summary: RunSummary) -> str:
    """`at most 5.6 % (4.2-7.5)`."""
    over = summary.matching.density
    around = f" ({formats.density_percent(over.low)}-{formats.density_percent(over.high)})" if over.count > 1 else ""
    return summary.matching_text(around)


def _differences_table(group: Sequence[Comparison], column: str) -> Table:
    """One line per equal density; why nothing was judged, where it was not."""
    lines = []
    for comparison in group:
        difference = comparison.difference
        gap = formats.difference_text(difference, kind=column_kind(column)) if difference else comparison.why()
        lines.append((comparison.where, comparison.outcome, gap))
    if not lines:
        lines = [("none", "not judged", "no densities are equal")]
    return Table(headers=("Weights left", "Outcome", "Difference"), rows=tuple(lines), right=(True, False, False))


def _difference_rows(names: Sequence[str], compared: Sequence[Sequence[Comparison]]) -> list[dict[str, Any]]:
    """The differences, for tables in files."""
    return [
        {"run": name, **comparison.to_row()}
        for name, group in zip(names[1:], compared, strict=True)
        for comparison in group
    ]


def _run_row(run: ComparedRun, summary: RunSummary) -> dict[str, Any]:
    """What a run reached, for tables in files and for JSON."""
    density = summary.matching.density
    return {
        "run": summary.label,
        "run_dir": run.path,
        "round": summary.round,
        "density": summary.density,
        "score": summary.score,
        "steps": summary.steps,
        "dense_steps": summary.dense_steps,
        "seconds": summary.seconds,
        "dense_seconds": summary.dense_seconds,
        "matching_density": density.mean,
        "matching_low": density.low,
        "matching_high": density.high,
        "matching_replicates": density.count,
        "matching_in_last_round": summary.matching.last,
    }
