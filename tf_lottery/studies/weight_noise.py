"""The study `weight-noise`: accuracy under Gaussian noise on trained weights, and on start weights (`noise_*`)."""

from collections.abc import Mapping

import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.results.tables.formats import percent
from tf_lottery.studies.calculations.evaluator import TEST
from tf_lottery.studies.disturbance_report import plot_accuracy
from tf_lottery.studies.study_figures import plot_by_density, round_labels, values_by_x
from tf_lottery.studies.study_outcome import (
    Rows,
    StudyOutcome,
    average_replicates,
    mean_of_column,
    rounds_side_by_side,
)
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils import seeds

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
DRAWS = 5
# Variants with noise on the weights that the ticket's training starts from: "noise_" and the standard deviations.
NOISE_VARIANT = "noise_"


def add_weight_noise(
    weights: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], *, deviations: float, seed: int
) -> dict[str, np.ndarray]:
    """Return weights with Gaussian noise on the surviving ones.

    Pruned weights stay exactly 0.0, and arrays without a mask (biases, statistics) stay as they are. The draws of one
    seed are the same at every level, scaled.

    Args:
        weights: arrays by variable path.
        masks: boolean masks by weight path, of the shapes of the weights.
        deviations: the standard deviation of the noise, in standard deviations of the surviving weights of each array.
        seed: the seed of the noise.

    Example:
        >>> weights = {"w": np.array([1.0, 0.0, 3.0])}
        >>> add_weight_noise(weights, {"w": np.array([True, False, True])}, deviations=0.0, seed=0)["w"].tolist()
        [1.0, 0.0, 3.0]
    """
    noisy = dict(weights)
    for key, mask in masks.items():
        values = weights[key][mask]
        draw = seeds.generator(seed, "noise on trained weights", key).standard_normal(values.shape)
        noisy[key] = weights[key].copy()
        if values.size:
            noisy[key][mask] = values + (deviations * values.std() * draw).astype(values.dtype)
    return noisy


def study(run: StudyRun, *, draws: int = DRAWS) -> StudyOutcome:
    """Return the test accuracy of the trained dense network and of trained tickets under noise on their weights.

    Noise is of 0.1 to 3 standard deviations of each array's surviving weights, in several draws; batch-norm statistics
    are estimated from training data. Where variants `noise_*` are trained (noise on the weights that the ticket's
    training starts from), their accuracies are a second table: the appendix of Frankle & Carbin (2018,
    arXiv 1803.03635) asks in this way how exact the initial weights must be.

    Args:
        run: the run to study.
        draws: the draws of noise per network and level, at least 1.

    Raises:
        UsageError: `draws` is below 1.
        UnfitError: the run has no test accuracy.
    """
    if draws < 1:
        raise UsageError(f"`draws` must be at least 1. Received: {draws}.", "Take 5.")
    densities = run.densities()
    rows: Rows = []
    for index in run.replicates:
        for number in run.rounds:
            job = Job(index, number)
            weights, masks = run.weights(job), run.masks(job)
            about = {"replicate": index, "round": number, "density": densities[number]}
            for level in LEVELS:
                for draw in range(draws if level else 1):
                    seed = seeds.derive(run.config.seed, "weight noise", index, draw)
                    noisy = add_weight_noise(weights, masks, deviations=level, seed=seed)
                    results = run.evaluator.evaluate(noisy, parts=(TEST,), reestimate=True)
                    if results.get("test_accuracy") is None:
                        raise UnfitError("This study reports test accuracy: the run has none.", "Give it test data.")
                    rows.append({**about, "noise": level, "draw": draw, **results})
    summary = average_replicates(rows, by=("round", "density", "noise"), of=("test_accuracy", "test_loss"))
    labels = round_labels(densities)
    tables = {
        "test_accuracy": rounds_side_by_side(rows, by=("noise",), names=labels, of="test_accuracy"),
        "trained_weights": summary,
        "trained_weights_by_draw": rows,
    }
    figures = {
        "trained_weights": plot_accuracy(
            rows,
            panels={"Noise on trained weights": {}},
            x="noise",
            xlabel="Noise (standard deviations of the layer's survivors)",
            labels=labels,
        )
    }
    initial = initial_noise_rows(run)
    if initial:
        tables["initial_weights"] = average_replicates(
            initial, by=("round", "density", "noise"), of=("test_accuracy", "val_accuracy", "early_stop_step")
        )
        figures["initial_weights"] = plot_by_density(
            {
                f"{level:g} deviations" if level else "ticket": values_by_x(
                    initial, x="density", y="test_accuracy", noise=level
                )
                for level in sorted({row["noise"] for row in initial})
            },
            title="Noise on start weights, by density",
            ylabel="Test accuracy",
            percent=True,
        )
    return StudyOutcome(tables=tables, figures=figures, sentences=_sentences(run, rows, initial))


def initial_noise_rows(run: StudyRun) -> Rows:
    """Return the rows of the ticket (noise 0) and of the trained variants with noise on its start weights."""
    levels = {
        name: float(name.removeprefix(NOISE_VARIANT)) for name in run.controls() if name.startswith(NOISE_VARIANT)
    }
    if not levels:
        return []
    densities = run.densities()
    columns = ("replicate", "round", "test_accuracy", "val_accuracy", "early_stop_step")
    return [
        {**{name: row[name] for name in columns}, "density": densities[row["round"]], "noise": noise}
        for row in run.rows()
        if row["round"] > 0 and (noise := 0.0 if row["variant"] == TICKET else levels.get(row["variant"])) is not None
    ]


def _sentences(run: StudyRun, rows: Rows, initial: Rows) -> list[str]:
    sentences = []
    for level in (0.5, 1.0):
        changes = []
        for number in dict.fromkeys((run.rounds[0], run.rounds[-1])):
            before, after = (mean_of_column(rows, "test_accuracy", round=number, noise=noise) for noise in (0.0, level))
            if before is not None and after is not None:
                changes.append(f"{percent(before)} to {percent(after)} in round {number}")
        sentences.append(
            f"Noise of {level:g} standard deviations on trained weights takes test accuracy from {', '.join(changes)}."
        )
    if initial:
        last = max(row["round"] for row in initial)
        accuracies = [
            f"{noise:g}: {percent(mean_of_column(initial, 'test_accuracy', round=last, noise=noise))}"
            for noise in sorted({row["noise"] for row in initial})
        ]
        sentences.append(f"Test accuracy in round {last} by noise on the start weights: {', '.join(accuracies)}.")
    else:
        sentences.append("No variant noise_* is trained, so there is no table for noise on start weights.")
    return sentences
