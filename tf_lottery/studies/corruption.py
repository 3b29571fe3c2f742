"""The study `corruption`: accuracy of the ticket and of the dense network on corrupted inputs."""

import numpy as np

from tf_lottery.experiment.directory import Job
from tf_lottery.studies.calculations.evaluator import replace_inputs
from tf_lottery.studies.calculations.input_corruptions import CORRUPTIONS, corruptions_for_shape
from tf_lottery.studies.disturbance_report import TEST_EXAMPLES, describe_accuracy, plot_accuracy, tabulate_accuracy
from tf_lottery.studies.study_figures import round_labels
from tf_lottery.studies.study_outcome import Rows, StudyOutcome
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils import seeds


def study(run: StudyRun, *, test_examples: int = TEST_EXAMPLES) -> StudyOutcome:
    """Return the test accuracy of each round's network on inputs with noise, blur, less contrast or a hidden square.

    Inputs are scaled by the range of the training data, corrupted, and scaled back, so that a level means the same for
    any normalization. Every network sees the same corrupted inputs.

    Args:
        run: the run to study.
        test_examples: the most test examples to corrupt, the first ones.

    Raises:
        UnfitError: the run has no test data, or its inputs are not one array of real numbers.
    """
    clean = run.evaluator.test_examples(most=test_examples)
    low, high = run.evaluator.input_range()
    size = np.where(high > low, high - low, 1.0)
    x = (clean.x - low) / size
    corruptions = corruptions_for_shape(clean.x.shape[1:])
    networks = {(i, n): run.weights(Job(i, n)) for n in run.rounds for i in run.replicates}
    densities = run.densities()
    rows: Rows = []
    for name, corruption in corruptions.items():
        for level in (0.0, *corruption.levels):
            seed = seeds.derive(run.config.seed, "corruption", name)
            corrupted = corruption.function(x, level, seed) if level else x
            inputs = replace_inputs(clean, corrupted * size + low if level else clean.x)
            for (index, number), weights in networks.items():
                results = run.evaluator.evaluate_on(weights, inputs, part="test")
                about = {"replicate": index, "round": number, "density": densities[number]}
                rows.append({**about, "corruption": name, "level": level, "unit": corruption.unit, **results})
    labels = round_labels(densities)
    figure = plot_accuracy(
        rows,
        panels={f"{name.capitalize()} ({kind.unit})": {"corruption": name} for name, kind in corruptions.items()},
        x="level",
        xlabel="Level",
        labels=labels,
        one_scale=False,
    )
    sentences = []
    for name, corruption in corruptions.items():
        level = corruption.levels[1]
        accuracies = describe_accuracy(rows, run.rounds, corruption=name, level=level)
        sentences.append(f"{name.capitalize()} of level {level:g}: {accuracies}.")
    sentences.append(f"Measured on {clean.size:,} test examples, the same corrupted ones for every network.")
    if skipped := [name for name in CORRUPTIONS if name not in corruptions]:
        sentences.append(f"The inputs are no images, so there is no {' and no '.join(skipped)}.")
    return StudyOutcome(
        tables=tabulate_accuracy(rows, name="corruption", by=("corruption", "level"), labels=labels),
        figures={"corruption": figure},
        sentences=sentences,
    )
