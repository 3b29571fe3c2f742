"""The study `stability`: distance and angle of the trained ticket from the full network, over surviving weights."""

from collections.abc import Mapping

import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.studies.study_figures import plot_by_density, values_by_x
from tf_lottery.studies.study_outcome import Rows, StudyOutcome, average_replicates, mean_of_column
from tf_lottery.studies.study_run import StudyRun

# The `layer` of rows over all arrays of a model.
WHOLE = "(all)"
# The controls that are compared with the ticket, where they are trained.
COMPARED = ("random_reinit", "random_masks", "shuffled_masks")


def distance_and_angle(
    full: Mapping[str, np.ndarray], pruned: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray]
) -> dict[str, dict[str, float | None]]:
    """Return distance and angle between two networks over the weights that survive in one of them.

    With m the masks: ||m*full - m*pruned||_2 and arccos of the cosine between m*full and m*pruned (Frankle et al. 2019,
    arXiv 1903.01611, "stability to pruning").

    Args:
        full: arrays of the full network by variable path, those of `masks` at least.
        pruned: arrays of the pruned network, of the same paths and shapes.
        masks: boolean masks of the pruned network by weight path.

    Returns:
        By path, and as "(all)" over all of them: `distance`; `relative_distance` (over the norm of m*full); `angle` in
        degrees. Angle and relative distance are None where a norm is 0.

    Example:
        >>> weights = {"w": np.array([3.0, 4.0])}, {"w": np.array([4.0, 9.0])}
        >>> distance_and_angle(*weights, {"w": np.array([True, False])})["(all)"]
        {'distance': 1.0, 'relative_distance': 0.3333333333333333, 'angle': 0.0}
    """
    sums: dict[str, np.ndarray] = {}
    for key, mask in masks.items():
        a, b = (np.asarray(weights[key][mask], np.float64) for weights in (full, pruned))
        sums[key] = np.array([(a - b) @ (a - b), a @ a, b @ b, a @ b])
    whole = np.sum(list(sums.values()), axis=0)
    return {name: _distance_and_angle(*products) for name, products in (sums | {WHOLE: whole}).items()}


def _distance_and_angle(squared_distance: float, first: float, second: float, dot: float) -> dict[str, float | None]:
    """The measures from ||a - b||^2, ||a||^2, ||b||^2 and the inner product of a and b."""
    distance = float(np.sqrt(squared_distance))
    size = np.sqrt(first) * np.sqrt(second)
    return {
        "distance": distance,
        "relative_distance": float(distance / np.sqrt(first)) if first else None,
        "angle": float(np.degrees(np.arccos(np.clip(dot / size, -1.0, 1.0)))) if size else None,
    }


def study(run: StudyRun) -> StudyOutcome:
    """Return distance and angle of each round's ticket, and of the controls that are trained, from the full network.

    The full network is the trained one of round 0 of the same replicate. A ticket that stays near it is stable to
    pruning; Frankle et al. (2019, arXiv 1903.01611) find that such tickets are those that match its accuracy.
    """
    if 0 not in run.rounds or len(run.rounds) < 2:
        raise UnfitError(
            f"Stability compares pruned rounds with round 0. Received rounds {', '.join(map(str, run.rounds))}.",
            "Let `rounds` hold 0 and at least one more.",
        )
    controls = run.controls(among=COMPARED)
    rows: Rows = []
    densities = run.densities()
    for index in run.replicates:
        full = run.weights(Job(index, 0))
        for number in run.rounds[1:]:
            for variant in (TICKET, *controls):
                job = Job(index, number, variant)
                masks = run.masks(job)
                about = {"replicate": index, "round": number, "variant": variant, "density": densities[number]}
                for layer, measures in distance_and_angle(full, run.weights(job), masks).items():
                    kept = mask_tools.kept(masks) if layer == WHOLE else int(np.count_nonzero(masks[layer]))
                    rows.append({**about, "layer": layer, "weights_kept": kept, **measures})
    whole = [row for row in rows if row["layer"] == WHOLE]
    by = ("round", "variant", "density")
    summary = average_replicates(whole, by=by, of=("distance", "relative_distance", "angle"))
    return StudyOutcome(
        tables={
            "stability": summary,
            "stability_by_layer": average_replicates(
                rows, by=(*by, "layer"), of=("distance", "relative_distance", "angle", "weights_kept")
            ),
            "stability_by_replicate": rows,
        },
        figures={
            name: plot_by_density(
                {
                    variant.replace("_", " "): values_by_x(whole, x="density", y=name, variant=variant)
                    for variant in (TICKET, *controls)
                },
                title=title,
                ylabel=label,
                from_zero=True,
            )
            for name, title, label in (
                ("angle", "Angle between full network and ticket, by density", "Angle (degrees)"),
                ("distance", "Distance between full network and ticket, by density", "L2 distance"),
            )
        },
        sentences=_sentences(whole, controls),
    )


def _sentences(whole: Rows, controls: list[str]) -> list[str]:
    last = max(row["round"] for row in whole)
    angles = {name: mean_of_column(whole, "angle", round=last, variant=name) for name in (TICKET, *controls)}
    in_degrees = [f"{name.replace('_', ' ')} {angle:.1f}" for name, angle in angles.items() if angle is not None]
    sentences = [
        f"Angle to the full network over surviving weights in round {last}, in degrees: {', '.join(in_degrees)}."
    ]
    ticket = angles[TICKET]
    for name in controls:
        control = angles[name]
        if ticket is not None and control is not None:
            nearer = "nearer to" if ticket < control else "farther from"
            sentences.append(f"The ticket ends {nearer} the full network than {name.replace('_', ' ')} does.")
    if not controls:
        sentences.append(f"No control is trained to compare with; {', '.join(COMPARED)} would serve.")
    return sentences
