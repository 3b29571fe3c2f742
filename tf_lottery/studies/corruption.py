"""Accuracy on corrupted inputs: the ticket beside the dense network."""

import numpy as np

from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import density_percent, percent
from tf_lottery.studies import corruptions
from tf_lottery.studies import study_figures as figures
from tf_lottery.studies.evaluation import with_inputs
from tf_lottery.studies.study_outcome import Outcome, Rows, mean, over_replicates, side_by_side
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils import seeds

TEST_EXAMPLES = 2000


def study(run: StudyRun, *, test_examples: int = TEST_EXAMPLES) -> Outcome:
    """Test accuracy of each round's network on inputs with noise, blur, less contrast, or a hidden square.

    Inputs are scaled by the range of the training data, corrupted, and scaled back, so that a level means the same for
    any normalisation. Every network sees the same corrupted inputs.

    Args:
        run: the run.
        test_examples: the most test examples to look at, the first ones.

    Raises:
        UnfitError: the run has no test data, or its inputs are not one array of real numbers.
    """
    clean = run.evaluator.test(most=test_examples)
    low, high = run.evaluator.input_range()
    size = np.where(high > low, high - low, 1.0)
    x = (clean.x - low) / size
    kinds = corruptions.fitting(clean.x.shape[1:])
    networks = {(i, n): run.weights(Job(i, n)) for n in run.rounds for i in run.replicates}
    densities = {number: run.density(number) for number in run.rounds}
    rows: Rows = []
    for kind, each in kinds.items():
        for level in (0.0, *each.levels):
            seed = seeds.derive(run.config.seed, "corruption", kind)
            changed = each.function(x, level, seed) if level else x
            inputs = with_inputs(clean, changed * size + low if level else clean.x)
            for (index, number), weights in networks.items():
                found = run.evaluator.evaluate_on(weights, inputs, part="test")
                about = {"replicate": index, "round": number, "density": densities[number]}
                rows.append({**about, "corruption": kind, "level": level, "unit": each.unit, **found})
    by = ("corruption", "level", "round", "density")
    names = {number: f"round {number} ({density_percent(densities[number])} %)" for number in figures.few(run.rounds)}
    skipped = [name for name in corruptions.CORRUPTIONS if name not in kinds]
    return Outcome(
        tables={
            "test_accuracy": side_by_side(rows, by=("corruption", "level"), names=names, of="test_accuracy"),
            "corruption": over_replicates(rows, by=by, of=("test_accuracy", "test_loss")),
            "corruption_by_replicate": rows,
        },
        figures={
            "corruption": figures.panels(
                {
                    f"{kind.capitalize()} ({each.unit})": {
                        label: figures.gather(
                            [row for row in rows if row["round"] == number and row["corruption"] == kind],
                            x="level",
                            y="test_accuracy",
                        )
                        for number, label in names.items()
                    }
                    for kind, each in kinds.items()
                },
                xlabel="Level",
                ylabel="Test accuracy",
                percent=True,
                one_scale=False,
            )
        },
        sentences=[
            *(_sentence(run, rows, kind, each.levels[1]) for kind, each in kinds.items()),
            f"Measured on {clean.size:,} test examples, the same corrupted ones for every network.",
            *([f"The inputs are no images, so there is no {' and no '.join(skipped)}."] if skipped else []),
        ],
    )


def _sentence(run: StudyRun, rows: Rows, kind: str, level: float) -> str:
    told = [
        f"{percent(mean(rows, 'test_accuracy', corruption=kind, level=level, round=number))} in round {number}"
        for number in dict.fromkeys((run.rounds[0], run.rounds[-1]))
    ]
    return f"{kind.capitalize()} of level {level:g}: test accuracy {', '.join(told)}."
