"""The report of a run: figures as PNG and SVG, tables as CSV and Parquet, and a page that needs nothing but itself."""

import base64
import importlib.resources
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from matplotlib.figure import Figure

from tf_lottery.experiment.rewind_point import starts_trained
from tf_lottery.results.figures import run_figures as plots
from tf_lottery.results.figures.style import styled
from tf_lottery.results.report.answers import CAUTION, answers, comparisons
from tf_lottery.results.report.verdict import verdict
from tf_lottery.results.statistics.selection import MAX_DROP, select_round
from tf_lottery.results.statistics.values import Row, number
from tf_lottery.results.tables import formats
from tf_lottery.results.tables.data_files import csv_bytes, parquet_bytes
from tf_lottery.results.tables.summary import render_rows, summary_table
from tf_lottery.utils.files import write_bytes

TEMPLATE = "report.html"
# Inches above which a figure takes the whole width of the page.
WIDE = 12.0


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Args:
        name: file name without its ending.
        caption: what it shows, and how to read it.
        draw: makes it from (rows, curves, layers, rewind point).
        trained: more of the caption, where tickets start from trained weights.
    """

    name: str
    caption: str
    draw: Callable[[Sequence[Row], Sequence[Row], Sequence[Row], str], Figure]
    trained: str = ""


PICTURES = (
    Picture(
        "accuracy",
        "How good each sparse network is at the end of its training: dense on the left, sparse on the right. The "
        "dotted line is the dense network. A winning ticket stays near it where the reinitialised control falls away. "
        "A control stands at the density of the ticket that it is there for.",
        lambda rows, curves, layers, rewind: plots.final_score(rows),
    ),
    Picture(
        "early_stop",
        "How fast each sparse network learns: the first evaluated step of least validation loss. Lower is faster. "
        "A network that trains on after another training is left out.",
        lambda rows, curves, layers, rewind: plots.early_stop(rows, rewind=rewind),
        " The ticket, and what starts where it does, are left out: they start from trained weights.",
    ),
    Picture(
        "learning_curves",
        "Validation during training, for at most seven of the rounds. The axis leaves out the steep first steps.",
        lambda rows, curves, layers, rewind: plots.learning_curves(curves, rows),
    ),
    Picture(
        "layer_density",
        "Where the weights stay: the part of each layer's maskable weights that the ticket keeps, round by round.",
        lambda rows, curves, layers, rewind: plots.layer_density(layers),
    ),
)


def write_report(
    *,
    rows: Sequence[Row],
    curves: Sequence[Row],
    layers: Sequence[Row],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    folder: str | Path,
    max_drop: float = MAX_DROP,
) -> dict[str, Path]:
    """Write the figures, the tables and the page into `folder`; equal input gives equal bytes.

    Each file is written under a temporary name and renamed; the page comes last, so it never describes figures that are
    not there.

    Args:
        rows: result rows with the columns of `results.csv`; values that were not measured are None or NaN.
        curves: replicate, round, variant, step and the metrics at that step.
        layers: replicate, round, variant, layer, kept, total.
        config: the effective configuration.
        environment: versions and machine.
        folder: where to write; it is made if need be.
        max_drop: validation accuracy that the ticket of the verdict may lose, a fraction.

    Returns:
        File name to path: `report.html`; for each figure `<name>.png` and `<name>.svg`; and, as `.csv` and `.parquet`,
        `summary` (per round and variant), `jobs` (per training) and `comparisons` (the ticket against the others).

    Raises:
        UnfitError: there is no dense round, or it has neither validation accuracy nor validation loss.
        UsageError: `max_drop` is negative or not finite.
        ResourceError: the folder cannot be written, or the disk is full.
    """
    # Everything is made before the first byte is written: bad input leaves an older report alone.
    contents: dict[str, bytes] = {}
    figures = []
    rewind = rewind_of(config)
    for picture in PICTURES:
        figure = picture.draw(rows, curves, layers, rewind)
        images = figure_files(picture.name, figure)
        contents |= images
        caption = picture.caption + (picture.trained if starts_trained(rewind) else "")
        figures.append(shown(picture.name, caption, figure, images))
    tables = {
        "summary": summary_table(rows),
        "jobs": rows,
        "comparisons": [each.to_row() for each in comparisons(rows, max_drop=max_drop, rewind=rewind)],
    }
    contents |= table_files(tables)
    page = render_page(
        rows=rows, figures=figures, config=config, environment=environment, max_drop=max_drop, files=list(contents)
    )
    contents["report.html"] = page.encode("utf-8")
    return write_files(contents, folder)


def write_files(contents: Mapping[str, bytes], folder: str | Path) -> dict[str, Path]:
    """Write each file under a temporary name and rename it, in this order; name to path."""
    paths = {name: Path(folder) / name for name in contents}
    for name, path in paths.items():
        write_bytes(path, contents[name])
    return paths


def figure_files(name: str, figure: Figure) -> dict[str, bytes]:
    """A figure as `<name>.png` and `<name>.svg`."""
    return {f"{name}.{kind}": image_bytes(figure, kind) for kind in ("png", "svg")}


def table_files(tables: Mapping[str, Sequence[Row]]) -> dict[str, bytes]:
    """Tables as `<name>.csv` and `<name>.parquet`."""
    files = {}
    for name, rows in tables.items():
        files[f"{name}.csv"], files[f"{name}.parquet"] = csv_bytes(rows), parquet_bytes(rows)
    return files


def shown(name: str, caption: str, figure: Figure, images: Mapping[str, bytes]) -> dict[str, Any]:
    """A figure for the page: its SVG inside of it."""
    return {
        "title": name.replace("_", " "),
        "caption": caption,
        "wide": figure.get_figwidth() > min(2 * figure.get_figheight(), WIDE),
        "source": "data:image/svg+xml;base64," + base64.b64encode(images[f"{name}.svg"]).decode("ascii"),
    }


def render_page(
    *,
    rows: Sequence[Row],
    figures: Sequence[Mapping[str, Any]],
    config: Mapping[str, Any],
    environment: Mapping[str, Any],
    max_drop: float,
    files: Sequence[str] = (),
) -> str:
    """The HTML page as text. Every value that comes from outside is escaped."""
    table = render_rows(rows)
    chosen, rewind = select_round(rows, max_drop=max_drop), rewind_of(config)
    return fill(
        TEMPLATE,
        what="lottery-ticket report",
        title=heading(config),
        subtitle=" · ".join(facts(rows, config)),
        verdict=[verdict(rows, max_drop=max_drop, rewind=rewind)],
        answers=answers(rows, max_drop=max_drop, rewind=rewind),
        caution=CAUTION,
        figures=figures,
        table=table,
        several=replicates(rows) > 1,
        chosen=str(chosen) if chosen else None,
        config=settings(config),
        environment=settings(environment),
        files=files,
    )


def fill(template: str, **values: Any) -> str:
    """A page of this package as text; what is not given is an error, and text from outside is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(source),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def source(name: str) -> str:
    """The text of a template."""
    return importlib.resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def image_bytes(figure: Figure, kind: str) -> bytes:
    """The figure as `png` or `svg`, without a date, a program version or a random id in it."""
    buffer = io.BytesIO()
    metadata = {"Software": None} if kind == "png" else {"Date": None, "Creator": None}
    with styled():
        figure.savefig(buffer, format=kind, metadata=metadata)
    return buffer.getvalue()


def rewind_of(config: Mapping[str, Any]) -> str:
    """The rewind point of a configuration; the start where it names none."""
    return str(config.get("rewind") or "init")


def heading(config: Mapping[str, Any]) -> str:
    """What was run: the preset, or the model and the data set."""
    if config.get("preset"):
        return str(config["preset"])
    return " on ".join(str(config[key]) for key in ("model", "dataset") if config.get(key)) or "Lottery tickets"


def facts(rows: Sequence[Row], config: Mapping[str, Any]) -> list[str]:
    """One line about the run: model, data, rounds, replicates."""
    line = [f"{key} {config[key]}" for key in ("model", "dataset", "seed") if config.get(key) is not None]
    last = max((int(row["round"]) for row in rows), default=0)
    return [*line, formats.plural(last, "round") + " of pruning", formats.plural(replicates(rows), "replicate")]


def replicates(rows: Sequence[Row]) -> int:
    """How many replicates the rows come from."""
    return len({number(row.get("replicate")) for row in rows})


def settings(mapping: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Key and value as text, by key; nested values and numbers as JSON, so that they can be copied back."""
    return [
        (str(key), value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str))
        for key, value in sorted(mapping.items(), key=lambda item: str(item[0]))
    ]
