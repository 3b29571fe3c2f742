"""Robustness to Gaussian noise on the weights: on trained ones here, on start weights by the variants `noise_*`."""

from collections.abc import Mapping

import numpy as np

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.directory import TICKET, Job
from tf_lottery.results.tables.formats import density_percent, percent
from tf_lottery.studies import study_figures as figures
from tf_lottery.studies.evaluation import TEST
from tf_lottery.studies.study_outcome import Outcome, Rows, mean, over_replicates, side_by_side
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils import seeds

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
DRAWS = 5
INITIAL = "noise_"


def disturbed(
    weights: Mapping[str, np.ndarray], masks: Mapping[str, np.ndarray], *, deviations: float, seed: int
) -> dict[str, np.ndarray]:
    """Weights with Gaussian noise on the surviving ones: so many standard deviations of the survivors of their array.

    Pruned weights stay exactly 0.0, and arrays without a mask (biases, statistics) stay as they are. The draws of one
    seed are the same at every level, scaled.

    Args:
        weights: variables by path.
        masks: masks of the maskable ones.
        deviations: standard deviations of noise, in units of the array's own.
        seed: of the draws.

    Example:
        >>> weights = {"w": np.array([1.0, 0.0, 3.0])}
        >>> disturbed(weights, {"w": np.array([True, False, True])}, deviations=0.0, seed=0)["w"].tolist()
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


def study(run: StudyRun, *, draws: int = DRAWS) -> Outcome:
    """Test accuracy of the trained dense network and of trained tickets under noise on their weights.

    Noise is of 0.1 to 3 standard deviations of each layer's surviving weights, in several draws; batch-norm statistics
    are taken anew. Where variants `noise_*` are trained (noise on the weights that the ticket's training starts from),
    their accuracies are a second table: the appendix of Frankle & Carbin (2018, arXiv 1803.03635) asks in this way how
    exact the initial weights must be.

    Args:
        run: the run.
        draws: draws of noise per network and level.

    Raises:
        UsageError: no draws.
        UnfitError: the run has no test accuracy.
    """
    if draws < 1:
        raise UsageError(f"`draws` must be at least 1. Received: {draws}.", "Take 5.")
    densities = {number: run.density(number) for number in run.rounds}
    rows: Rows = []
    for index in run.replicates:
        for number in run.rounds:
            job = Job(index, number)
            weights, masks = run.weights(job), run.masks(job)
            about = {"replicate": index, "round": number, "density": densities[number]}
            for level in LEVELS:
                for draw in range(draws if level else 1):
                    seed = seeds.derive(run.config.seed, "weight noise", index, draw)
                    noisy = disturbed(weights, masks, deviations=level, seed=seed)
                    found = run.evaluator.evaluate(noisy, parts=(TEST,), reestimate=True)
                    if found.get("test_accuracy") is None:
                        raise UnfitError("This study reports test accuracy: the run has none.", "Give it test data.")
                    rows.append({**about, "noise": level, "draw": draw, **found})
    summary = over_replicates(rows, by=("round", "density", "noise"), of=("test_accuracy", "test_loss"))
    names = {number: f"round {number} ({density_percent(densities[number])} %)" for number in figures.few(run.rounds)}
    tables = {
        "test_accuracy": side_by_side(rows, by=("noise",), names=names, of="test_accuracy"),
        "trained_weights": summary,
        "trained_weights_by_draw": rows,
    }
    drawn = {
        "trained_weights": figures.panels(
            {
                "Noise on trained weights": {
                    name: figures.gather([row for row in rows if row["round"] == number], x="noise", y="test_accuracy")
                    for number, name in names.items()
                }
            },
            xlabel="Noise (standard deviations of the layer's survivors)",
            ylabel="Test accuracy",
            percent=True,
        )
    }
    initial = initial_noise(run)
    if initial:
        tables["initial_weights"] = over_replicates(
            initial, by=("round", "density", "noise"), of=("test_accuracy", "val_accuracy", "early_stop_step")
        )
        drawn["initial_weights"] = figures.by_density(
            {
                f"{level:g} deviations" if level else "ticket": figures.gather(
                    [row for row in initial if row["noise"] == level], x="density", y="test_accuracy"
                )
                for level in sorted({row["noise"] for row in initial})
            },
            title="Noise on start weights, by density",
            ylabel="Test accuracy",
            percent=True,
        )
    return Outcome(tables=tables, figures=drawn, sentences=_sentences(run, rows, initial))


def initial_noise(run: StudyRun) -> Rows:
    """The rows of the ticket (noise 0) and of the variants with noise on its start weights, if any are trained."""
    levels = {name: float(name.removeprefix(INITIAL)) for name in run.controls() if name.startswith(INITIAL)}
    if not levels:
        return []
    densities = {number: run.density(number) for number in run.rounds}
    columns = ("replicate", "round", "test_accuracy", "val_accuracy", "early_stop_step")
    return [
        {**{name: row[name] for name in columns}, "density": densities[row["round"]], "noise": noise}
        for row in run.rows()
        if row["round"] > 0 and (noise := 0.0 if row["variant"] == TICKET else levels.get(row["variant"])) is not None
    ]


def _sentences(run: StudyRun, rows: Rows, initial: Rows) -> list[str]:
    sentences = []
    for level in (0.5, 1.0):
        told = []
        for number in dict.fromkeys((run.rounds[0], run.rounds[-1])):
            before, after = (mean(rows, "test_accuracy", round=number, noise=noise) for noise in (0.0, level))
            if before is not None and after is not None:
                told.append(f"{percent(before)} to {percent(after)} in round {number}")
        sentences.append(
            f"Noise of {level:g} standard deviations on trained weights takes test accuracy from {', '.join(told)}."
        )
    if initial:
        last = max(row["round"] for row in initial)
        told = [
            f"{noise:g}: {percent(mean(initial, 'test_accuracy', round=last, noise=noise))}"
            for noise in sorted({row["noise"] for row in initial})
        ]
        sentences.append(f"Test accuracy in round {last} by noise on the start weights: {', '.join(told)}.")
    else:
        sentences.append("No variant noise_* is trained, so there is no table for noise on start weights.")
    return sentences
