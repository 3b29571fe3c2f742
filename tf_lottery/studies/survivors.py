"""What a ticket keeps: sizes and signs of its weights, densities and live units, by layer and round."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tf_lottery.experiment import plan
from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies import study_figures as figures
from tf_lottery.studies.live_units import ends, is_chain, live_units, live_weights
from tf_lottery.studies.study_outcome import Outcome, Rows, mean, over_replicates
from tf_lottery.studies.study_run import StudyRun

MEASURED = ("layer_density", "mean_size", "deviation", "positive", "signs_kept", "rewind_mean_size", "rewind_deviation")
ENDS = ("inputs_read", "inputs", "outputs_fed", "outputs")


def statistics(trained: np.ndarray, rewound: np.ndarray, mask: np.ndarray) -> dict[str, float | int | None]:
    """Statistics of the surviving weights of one array.

    Args:
        trained, rewound: trained weights, and the weights they started from.
        mask: which survive.

    Returns:
        `kept`, `total`, `layer_density`; mean of |w| (`mean_size`), standard deviation (`deviation`) and fraction above
        zero (`positive`) of the trained survivors; the fraction of them that have the sign they started with
        (`signs_kept`); `rewind_mean_size` and `rewind_deviation` of the same weights where their training started: at
        the rewind point, or, with learning-rate rewinding and fine-tuning, trained. None without any.

    Example:
        >>> found = statistics(np.array([1.0, -3.0, 9.0]), np.array([0.5, 0.5, 0.5]), np.array([True, True, False]))
        >>> found["mean_size"], found["positive"], found["signs_kept"]
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


def study(run: StudyRun) -> Outcome:
    """Statistics of the surviving weights, and the units that they leave alive, for each layer and round of the ticket.

    In a model that is one chain of dense layers and convolutions, a unit is live where it lies on a path of surviving
    weights from input to output; of any other model each kernel tells which inputs it reads and which outputs it feeds.
    """
    chain = is_chain(run.store.architecture())
    layers: Rows = []
    units: Rows = []
    densities = {number: run.density(number) for number in run.rounds}
    for index in run.replicates:
        rewound = run.rewind_weights(index)
        for number in run.rounds:
            job = Job(index, number)
            masks, trained = run.masks(job), run.weights(job)
            source = plan.weights_source(run.config, job)
            start = rewound if source is None else run.weights(source)
            about = {"replicate": index, "round": number, "density": densities[number]}
            for layer, mask in masks.items():
                found = statistics(trained[layer], start[layer], mask)
                layers.append({**about, "layer": layer, **found, **ends(mask)})
            if chain:
                units += [{**about, **found} for found in _levels(masks)]
    by = ("round", "density", "layer")
    tables = {
        "survivors": over_replicates(layers, by=by, of=(*MEASURED, *ENDS)),
        "survivors_by_replicate": layers,
    }
    drawn = {"sizes": _sizes(layers), "signs": _signs(layers)}
    if units:
        tables |= {
            "live_units": over_replicates(units, by=("round", "density", "level"), of=("live", "units")),
            "live_units_by_replicate": units,
        }
        drawn["live_units"] = _live(units)
    return Outcome(tables=tables, figures=drawn, sentences=list(_sentences(layers, units)))


def _levels(masks: Mapping[str, np.ndarray]) -> Iterable[dict[str, Any]]:
    """The live units of each level of a chain, and the surviving weights that lead to it from live ones.

    Nothing where kernels do not follow on each other, since not all of them are masked.
    """
    kernels = [mask for key, mask in masks.items() if key.endswith("kernel") and mask.ndim > 1]
    try:
        live = live_units(kernels)
    except (ValueError, IndexError):
        return
    names = ["inputs", *(key.rsplit("/", 1)[0] for key in masks if key.endswith("kernel"))]
    weights = [None, *live_weights(kernels, live)]
    for name, level, count in zip(names, live, weights, strict=True):
        yield {"level": name, "live": int(level.sum()), "units": level.size, "live_weights_before": count}


def _names(rows: Rows, column: str) -> list[str]:
    return list(dict.fromkeys(row[column] for row in rows))


def _sizes(layers: Rows) -> Figure:
    names = _names(layers, "layer")[:12]
    chosen = {
        title: {
            name: figures.gather([r for r in layers if r["layer"] == name], x="density", y=column) for name in names
        }
        for title, column in (
            ("Survivors where training starts", "rewind_mean_size"),
            ("Survivors after training", "mean_size"),
        )
    }
    return figures.panels(chosen, xlabel="", ylabel="Mean |weight|", density=True)


def _signs(layers: Rows) -> Figure:
    names = _names(layers, "layer")[:12]
    chosen = {
        title: {
            name: figures.gather([r for r in layers if r["layer"] == name], x="density", y=column) for name in names
        }
        for title, column in (("Positive survivors", "positive"), ("Survivors with the sign they had", "signs_kept"))
    }
    return figures.panels(chosen, xlabel="", ylabel="Of the survivors", percent=True, density=True)


def _by_layer(layers: Rows, names: list[str], column: str) -> dict[str, Any]:
    return {name: figures.gather([r for r in layers if r["layer"] == name], x="density", y=column) for name in names}


def _live(units: Rows) -> Figure:
    rows = [{**row, "fraction": row["live"] / row["units"]} for row in units]
    lines = {
        level: figures.gather([row for row in rows if row["level"] == level], x="density", y="fraction")
        for level in _names(units, "level")
    }
    return figures.by_density(lines, title="Live units, by density", ylabel="Live units", percent=True)


def _sentences(layers: Rows, units: Rows) -> Iterable[str]:
    last = max(row["round"] for row in layers)
    final = [row for row in layers if row["round"] == last and row["kept"]]
    if final:
        kept = sum(row["kept"] for row in final)
        signs = sum(row["kept"] * row["signs_kept"] for row in final) / kept
        yield f"In round {last}, {percent(signs)} of the surviving weights end with the sign that they started with."
    if units:
        live = [f"{mean(units, 'live', round=last, level=level):.0f} of {mean(units, 'units', level=level):.0f} {level}"
                for level in _names(units, "level")]  # fmt: skip
        yield f"Live in round {last}: {', '.join(live)}."
    else:
        yield "The model is no plain chain of layers: for each kernel, the table tells inputs read and outputs fed."
