"""The study `survivors`: sizes and signs of surviving weights, and live units, by layer and round of a ticket."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_lottery.experiment import plan
from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies.calculations.live_units import (
    count_connected_units,
    count_live_weights,
    find_live_units,
    is_chain,
)
from tf_lottery.studies.study_figures import plot_by_density, plot_panels, values_by_x
from tf_lottery.studies.study_outcome import Rows, StudyOutcome, average_replicates, mean_of_column
from tf_lottery.studies.study_run import StudyRun

MEASURED = ("layer_density", "mean_size", "deviation", "positive", "signs_kept", "rewind_mean_size", "rewind_deviation")
CONNECTED = ("inputs_read", "inputs", "outputs_fed", "outputs")
# More lines than that would hide each other.
MOST_LAYERS = 12


def survivor_statistics(trained: np.ndarray, rewound: np.ndarray, mask: np.ndarray) -> dict[str, float | int | None]:
    """Return statistics of the surviving weights of one array.

    Args:
        trained: the trained weights.
        rewound: the weights that their training started from, of the same shape.
        mask: the boolean mask of the surviving weights, of the same shape.

    Returns:
        `kept`, `total`, `layer_density`; mean of |w| (`mean_size`), standard deviation (`deviation`) and fraction above
        zero (`positive`) of the trained survivors; the fraction of them that have the sign they started with
        (`signs_kept`); `rewind_mean_size` and `rewind_deviation` of the same weights where their training started: at
        the rewind point, or, with learning-rate rewinding and fine-tuning, trained. None without any.

    Example:
        >>> trained, rewound = np.array([1.0, -3.0, 9.0]), np.array([0.5, 0.5, 0.5])
        >>> measured = survivor_statistics(trained, rewound, np.array([True, True, False]))
        >>> measured["mean_size"], measured["positive"], measured["signs_kept"]
        (2.0, 0.5, 0.5)
    """
    weights, start = (np.asarray(array[mask], np.float64) for array in (trained, rewound))
    counts: dict[str, float | int | None] = {"kept": weights.size, "total": mask.size}
    counts["layer_density"] = weights.size / mask.size if mask.size else None
    if not weights.size:
        return counts | dict.fromkeys(MEASURED[1:])
    return counts | {
        "mean_size": float(np.abs(weights).mean()),
        "deviation": float(weights.std()),
        "positive": float((weights > 0).mean()),
        "signs_kept": float((np.sign(weights) == np.sign(start)).mean()),
        "rewind_mean_size": float(np.abs(start).mean()),
        "rewind_deviation": float(start.std()),
    }


def study(run: StudyRun) -> StudyOutcome:
    """Return statistics of the surviving weights and the live units, for each layer and round of the ticket.

    In a model that is one chain of dense layers and convolutions, a unit is live where it lies on a path of surviving
    weights from input to output; for any other model the inputs that each kernel reads and the outputs that it feeds
    are counted.
    """
    chain = is_chain(run.store.architecture())
    layers: Rows = []
    units: Rows = []
    densities = run.densities()
    for index in run.replicates:
        rewound = run.rewind_weights(index)
        for number in run.rounds:
            job = Job(index, number)
            masks, trained = run.masks(job), run.weights(job)
            source = plan.weights_source(run.config, job)
            start = rewound if source is None else run.weights(source)
            about = {"replicate": index, "round": number, "density": densities[number]}
            for layer, mask in masks.items():
                measured = survivor_statistics(trained[layer], start[layer], mask)
                layers.append({**about, "layer": layer, **measured, **count_connected_units(mask)})
            if chain:
                units += [{**about, **level} for level in _live_levels(masks)]
    by = ("round", "density", "layer")
    tables = {
        "survivors": average_replicates(layers, by=by, of=(*MEASURED, *CONNECTED)),
        "survivors_by_replicate": layers,
    }
    sizes = {"Survivors where training starts": "rewind_mean_size", "Survivors after training": "mean_size"}
    signs = {"Positive survivors": "positive", "Survivors with the sign they had": "signs_kept"}
    figures = {
        "sizes": _plot_layers(layers, sizes, ylabel="Mean |weight|"),
        "signs": _plot_layers(layers, signs, ylabel="Of the survivors", percent=True),
    }
    if units:
        tables |= {
            "live_units": average_replicates(units, by=("round", "density", "level"), of=("live", "units")),
            "live_units_by_replicate": units,
        }
        figures["live_units"] = _plot_live_units(units)
    return StudyOutcome(tables=tables, figures=figures, sentences=list(_sentences(layers, units)))


def _live_levels(masks: Mapping[str, np.ndarray]) -> Iterable[dict[str, Any]]:
    """The live units of each level of a chain, and the surviving weights that lead to it from live units.

    Nothing where kernels do not fit each other, since not all of them are masked.
    """
    kernels = [mask for key, mask in masks.items() if key.endswith("kernel") and mask.ndim > 1]
    try:
        live = find_live_units(kernels)
    except (ValueError, IndexError):
        return
    names = ["inputs", *(key.rsplit("/", 1)[0] for key in masks if key.endswith("kernel"))]
    weights = [None, *count_live_weights(kernels, live)]
    for name, level, count in zip(names, live, weights, strict=True):
        yield {"level": name, "live": int(level.sum()), "units": level.size, "live_weights_before": count}


def _names(rows: Rows, column: str) -> list[str]:
    """The values of a column, in order of appearance."""
    return list(dict.fromkeys(row[column] for row in rows))


def _plot_layers(layers: Rows, columns: Mapping[str, str], *, ylabel: str, percent: bool = False) -> Figure:
    """A panel for each title of `columns`, with a line for each layer."""
    names = _names(layers, "layer")[:MOST_LAYERS]
    panels = {
        title: {name: values_by_x(layers, x="density", y=column, layer=name) for name in names}
        for title, column in columns.items()
    }
    return plot_panels(panels, xlabel="", ylabel=ylabel, percent=percent, density=True)


def _plot_live_units(units: Rows) -> Figure:
    rows = [{**row, "fraction": row["live"] / row["units"]} for row in units]
    lines = {level: values_by_x(rows, x="density", y="fraction", level=level) for level in _names(units, "level")}
    return plot_by_density(lines, title="Live units, by density", ylabel="Live units", percent=True)


def _sentences(layers: Rows, units: Rows) -> Iterable[str]:
    last = max(row["round"] for row in layers)
    final = [row for row in layers if row["round"] == last and row["kept"]]
    if final:
        kept = sum(row["kept"] for row in final)
        signs = sum(row["kept"] * row["signs_kept"] for row in final) / kept
        yield f"In round {last}, {percent(signs)} of the surviving weights end with the sign that they started with."
    if units:
        live = [
            f"{mean_of_column(units, 'live', round=last, level=level):.0f} of "
            f"{mean_of_column(units, 'units', level=level):.0f} {level}"
            for level in _names(units, "level")
        ]
        yield f"Live in round {last}: {', '.join(live)}."
    else:
        yield (
            "The model is no plain chain of layers: the table has the inputs that each kernel reads and the outputs "
            "that it feeds."
        )
