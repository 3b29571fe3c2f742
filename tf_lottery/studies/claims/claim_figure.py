"""The figure of a claim: results against density, and beside them each measure with its interval and bound."""

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tf_lottery.results.figures.bands import Line, add_legend, draw_lines
from tf_lottery.results.figures.density_lines import finish_axes
from tf_lottery.results.figures.style import (
    GREY,
    look,
    say_nothing_recorded,
    set_density_axis,
    styled,
)
from tf_lottery.results.statistics.intervals import band
from tf_lottery.results.statistics.values import number, ticket_densities
from tf_lottery.results.tables.formats import Kind
from tf_lottery.studies.claims.evidence import column_label
from tf_lottery.studies.claims.measures import Measure

COLORS = {True: "#009E73", False: "#D55E00", None: "#7a6000"}
MARKS = {True: "o", False: "X", None: "D"}
UNITS = {"points": "percentage points", "percent": "%", "steps": "steps"}


def plot_claim(
    rows: Sequence[dict[str, Any]], columns: Sequence[str], measures: Sequence[Measure], *, title: str, verdict: str
) -> Figure:
    """Plot results against density, and the measures of a claim.

    Args:
        rows: result rows with the key of their run as `run`.
        columns: the columns to plot against density, a panel each.
        measures: the measures of the claim.
        title: the name of the claim.
        verdict: its verdict, in words.
    """
    units = list(dict.fromkeys(measure.unit for measure in measures))
    with styled():
        height = max(4.2, 0.9 + 0.42 * len(measures) + 0.55 * len(units))
        drawn = Figure(figsize=(4.6 * len(columns) + (6.4 if measures else 0.0), height))
        drawn.suptitle(f"{title}: {verdict}", x=0.01, ha="left", fontsize=12)
        parts: Any = drawn.subfigures(1, 2, width_ratios=(4.6 * len(columns), 6.4)) if measures else [drawn]
        panels = parts[0].subplots(1, len(columns), squeeze=False)[0]
        for axes, column in zip(panels, columns, strict=True):
            _against_density(axes, rows, column)
        if measures:
            ratios = [sum(measure.unit == unit for measure in measures) + 1.2 for unit in units]
            grid = parts[1].subplots(len(units), 1, squeeze=False, height_ratios=ratios)
            for axes, unit in zip(grid[:, 0], units, strict=True):
                _draw_measures(axes, [measure for measure in measures if measure.unit == unit])
        return drawn


def lines_by_variant(rows: Sequence[dict[str, Any]], column: str) -> list[Line]:
    """Return a line per run and variant: mean and interval over replicates at the density of each round's ticket.

    Controls stand at that density too, even those without masks.

    Args:
        rows: result rows with the key of their run as `run`.
        column: the column to plot.
    """
    lines: list[Line] = []
    keys = list(dict.fromkeys(row["run"] for row in rows))
    densities = {key: ticket_densities(row for row in rows if row["run"] == key) for key in keys}
    for name in dict.fromkeys((row["run"], row["variant"]) for row in rows):
        here = [row for row in rows if (row["run"], row["variant"]) == name and number(row.get(column)) is not None]
        points = []
        for index in sorted({int(row["round"]) for row in here}):
            group = [row for row in here if int(row["round"]) == index]
            density, value = densities[name[0]].get(index), band(row[column] for row in group)
            if density is not None and value is not None:
                points.append((density, value))
        if points:
            variant = str(name[1]).replace("_", " ")
            text = (name[0] if variant == "ticket" else f"{name[0]}, {variant}") if len(keys) > 1 else variant
            lines.append(Line(text, look(len(lines)), points))
    return lines


def _against_density(axes: Axes, rows: Sequence[dict[str, Any]], column: str) -> None:
    lines = lines_by_variant(rows, column)
    axes.set_title(column_label(column).capitalize(), loc="left")
    if not lines:
        say_nothing_recorded(axes, column_label(column))
        return
    draw_lines(axes, lines)
    set_density_axis(axes, [x for line in lines for x, _ in line.points])
    kind: Kind = "count" if column.endswith("_step") else "percent"
    finish_axes(axes, lines, label=column_label(column).capitalize(), kind=kind, legend=False)
    add_legend(axes, lines, inside=True, fontsize=8.5)


def _draw_measures(axes: Axes, measures: Sequence[Measure]) -> None:
    """Draw a row per measure: its mean and interval, its bounds, and by color and mark its verdict."""
    scale = 1.0 if measures[0].unit == "steps" else 100.0
    for place, measure in enumerate(measures):
        color, mark = (COLORS[measure.passed], MARKS[measure.passed]) if measure.judged else (GREY, "|")
        axes.hlines(place, scale * measure.low, scale * measure.high, color=color, linewidth=2.2)
        axes.plot([scale * measure.value], [place], marker=mark, color=color, markersize=7, linestyle="none")
        for bound in measure.bounds:
            axes.vlines(
                scale * bound, place - 0.38, place + 0.38, color="#000000", linewidth=1.2, linestyle=(0, (2, 1))
            )
    if measures[0].unit != "percent":
        axes.axvline(0.0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(measures)), [_wrap(measure.text) for measure in measures], fontsize=8.5)
    axes.set_ylim(len(measures) - 0.45, -0.55)
    axes.margins(x=0.08)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(f"{UNITS[measures[0].unit]}; dashes: the bound", fontsize=9)
    axes.tick_params(axis="x", labelsize=9)


def _wrap(text: str) -> str:
    """The text of a measure with its column on one line, and its networks on the next."""
    return text.replace(", ", "\n", 1)
