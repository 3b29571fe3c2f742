"""The report of a run: figures as PNG and SVG, tables as CSV and Parquet, and a page that needs nothing but itself."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.experiment.directory import RunReader
from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.figures import run_figures
from tf_lottery.results.outcome_files import outcome_files, write_files
from tf_lottery.results.report.answers import CAUTION, answers, comparisons
from tf_lottery.results.report.page import fill_page, page_figure, settings
from tf_lottery.results.report.verdict import verdict
from tf_lottery.results.statistics.selection import DEFAULT_MAX_DROP, select_round
from tf_lottery.results.statistics.values import Row, number
from tf_lottery.results.tables.formats import plural
from tf_lottery.results.tables.summary import render_rows, summary_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = "report.html"


@dataclass(frozen=True)
class RunRecords:
    """What the figures of a report are drawn from.

    Attributes:
        rows: result rows.
        curves: learning curves, one record per evaluation.
        layers: weights kept and total, per weight array.
        rewind: the rewind point of the run.
    """

    rows: Sequence[Row]
    curves: Sequence[Row]
    layers: Sequence[Row]
    rewind: str


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes:
        name: file name without its ending.
        caption: what it shows, and how to read it.
        draw: makes it from the records of a run.
        trained: more of the caption, where tickets start from trained weights.
    """

    name: str
    caption: str
    draw: "Callable[[RunRecords], Figure]"
    trained: str = ""


PICTURES = (
    Picture(
        "accuracy",
        "How good each sparse network is at the end of its training: dense on the left, sparse on the right. The "
        "dotted line is the dense network. A winning ticket stays near it where the reinitialized control falls away. "
        "A control stands at the density of the ticket that it is there for.",
        lambda run: run_figures.final_score(run.rows),
    ),
    Picture(
        "early_stop",
        "How fast each sparse network learns: the first evaluated step of least validation loss. Lower is faster. "
        "A network that trains on after another training is left out.",
        lambda run: run_figures.early_stop(run.rows, rewind=run.rewind),
        " The ticket, and what starts where it does, are left out: they start from trained weights.",
    ),
    Picture(
        "learning_curves",
        "Validation during training, for at most seven of the rounds. The axis leaves out the steep first steps.",
        lambda run: run_figures.learning_curves(run.curves, run.rows),
    ),
    Picture(
        "layer_density",
        "Where the weights stay: the part of each layer's maskable weights that the ticket keeps, round by round.",
        lambda run: run_figures.layer_density(run.layers),
    ),
)


def write_run_report(run: RunReader, folder: str | Path, *, max_drop: float = DEFAULT_MAX_DROP) -> dict[str, Path]:
    """Write the report of a run directory.

    Args:
        run: the run, finished or not.
        folder: where to write; it is made if need be.
        max_drop: validation accuracy that the ticket of the verdict may lose, a fraction.

    Returns:
        As of `write_report`.

    Raises:
        DamagedError: a file of the run is damaged.
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
        UsageError: `max_drop` is negative or not finite, or a package that reports need is not installed.
        ResourceError: the folder can't be written, or the disk is full.
    """
    run.config()  # damage is reported before anything is drawn
    return write_report(
        rows=run.rows(),
        curves=run.curves(),
        layers=run.layers(),
        config=run.document(),
        environment=run.environment(),
        folder=folder,
        max_drop=max_drop,
        owner=run.run_owner(),
        made_from=run.made_from(run.complete_jobs()) if run.run_owner() else {},
    )


def write_report(
    *,
    rows: Sequence[Row],
    curves: Sequence[Row],
    layers: Sequence[Row],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    folder: str | Path,
    max_drop: float = DEFAULT_MAX_DROP,
    owner: Mapping[str, str] | None = None,
    made_from: Mapping[str, str] | None = None,
) -> dict[str, Path]:
    """Write the figures, the tables and the page into `folder`; equal input gives equal bytes.

    All files are put in place together, with `manifest.json`, which holds their SHA-256; or none is.

    Args:
        rows: result rows with the columns of `results.csv`; values that were not measured are None or NaN.
        curves: replicate, round, variant, step and the metrics at that step.
        layers: replicate, round, variant, layer, kept, total.
        config: the effective configuration.
        environment: versions and machine.
        folder: where to write; it is made if need be.
        max_drop: validation accuracy that the ticket of the verdict may lose, a fraction.
        owner: the run, for the manifest, as its `run_owner` gives it.
        made_from: the trainings, for the manifest, as `made_from` of the run gives them.

    Returns:
        File name to path: `report.html`; for each figure `<name>.png` and `<name>.svg`; and, as `.csv` and `.parquet`,
        `summary` (per round and variant), `jobs` (per training) and `comparisons` (the ticket against the others).

    Raises:
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
        UsageError: `max_drop` is negative or not finite, or a package that reports need is not installed.
        ResourceError: the folder can't be written, or the disk is full.
    """
    # Everything is made before the first byte is written: bad input leaves an older report alone.
    records = RunRecords(rows, curves, layers, _rewind(config))
    figures = {picture.name: picture.draw(records) for picture in PICTURES}
    tables = {
        "summary": summary_table(rows),
        "jobs": rows,
        "comparisons": [
            comparison.to_row() for comparison in comparisons(rows, max_drop=max_drop, rewind=records.rewind)
        ],
    }
    contents = outcome_files(figures=figures, tables=tables)
    page = _page(
        rows=rows,
        figures=[
            page_figure(
                picture.name,
                picture.caption + (picture.trained if starts_trained(records.rewind) else ""),
                figures[picture.name],
                contents,
            )
            for picture in PICTURES
        ],
        config=config,
        environment=environment,
        max_drop=max_drop,
        files=list(contents),
    )
    contents["report.html"] = page.encode("utf-8", "xmlcharrefreplace")
    return write_files(contents, folder, owner=owner, made_from=made_from)


def _page(
    *,
    rows: Sequence[Row],
    figures: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    max_drop: float,
    files: Sequence[str],
) -> str:
    """The HTML page as text."""
    chosen, rewind = select_round(rows, max_drop=max_drop), _rewind(config)
    return fill_page(
        TEMPLATE,
        what="lottery-ticket report",
        title=_heading(config),
        subtitle=" · ".join(_facts(rows, config)),
        verdict=[verdict(rows, max_drop=max_drop, rewind=rewind)],
        answers=answers(rows, max_drop=max_drop, rewind=rewind),
        caution=CAUTION,
        figures=figures,
        table=render_rows(rows),
        several=_replicates(rows) > 1,
        chosen=str(chosen) if chosen else None,
        config=settings(config),
        environment=settings(environment),
        files=files,
    )


def _rewind(config: Mapping[str, Any]) -> str:
    """The rewind point of a configuration; the start where it names none."""
    return str(config.get("rewind") or "init")


def _heading(config: Mapping[str, Any]) -> str:
    """What was run: the preset, or the model and the data set."""
    if config.get("preset"):
        return str(config["preset"])
    return " on ".join(str(config[key]) for key in ("model", "dataset") if config.get(key)) or "Lottery tickets"


def _facts(rows: Sequence[Row], config: Mapping[str, Any]) -> list[str]:
    """One line about the run: model, data, rounds, replicates."""
    line = [f"{key} {config[key]}" for key in ("model", "dataset", "seed") if config.get(key) is not None]
    last = max((int(row["round"]) for row in rows), default=0)
    return [*line, plural(last, "round") + " of pruning", plural(_replicates(rows), "replicate")]


def _replicates(rows: Sequence[Row]) -> int:
    """How many replicates the rows come from."""
    return len({number(row.get("replicate")) for row in rows})
