"""The study `attacks`: adversarial attacks on the ticket and on the dense network, side by side."""

from tf_lottery.experiment.directory import Job
from tf_lottery.studies.calculations.adversary import STEPS, Adversary
from tf_lottery.studies.calculations.evaluator import replace_inputs
from tf_lottery.studies.disturbance_report import TEST_EXAMPLES, describe_accuracy, plot_accuracy, tabulate_accuracy
from tf_lottery.studies.study_figures import round_labels
from tf_lottery.studies.study_outcome import Rows, StudyOutcome
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils import seeds

ATTACKS = ("FGSM", "PGD")
EPSILONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def study(run: StudyRun, *, test_examples: int = TEST_EXAMPLES) -> StudyOutcome:
    """Return the test accuracy of each round's network on inputs that attack that very network.

    FGSM (Goodfellow et al. 2014, arXiv 1412.6572) and PGD with a random start and 10 steps (Madry et al. 2017,
    arXiv 1706.06083), with full knowledge of the weights. A value changes by at most epsilon times the range of its
    channel in the training data, and stays in that range.

    Args:
        run: the run to study.
        test_examples: the most test examples to attack, the first ones.

    Raises:
        UnfitError: the run has no test data, or its inputs are not one array of real numbers.
    """
    clean = run.evaluator.test_examples(most=test_examples)
    low, high = run.evaluator.input_range()
    adversary = Adversary(run.evaluator.model, low, high)
    densities = run.densities()
    rows: Rows = []
    for number in run.rounds:
        for index in run.replicates:
            weights = run.weights(Job(index, number))
            about = {"replicate": index, "round": number, "density": densities[number]}
            seed = seeds.derive(run.config.seed, "attack", index)
            for epsilon in EPSILONS:
                adversary.set_weights(weights)
                attacked = {
                    "FGSM": adversary.fgsm(clean, epsilon) if epsilon else clean.x,
                    "PGD": adversary.pgd(clean, epsilon, seed=seed) if epsilon else clean.x,
                }
                for name, x in attacked.items():
                    results = run.evaluator.evaluate_on(weights, replace_inputs(clean, x), part="test")
                    rows.append({**about, "attack": name, "epsilon": epsilon, **results})
    labels = round_labels(densities)
    figure = plot_accuracy(
        rows,
        panels={name: {"attack": name} for name in ATTACKS},
        x="epsilon",
        xlabel="Epsilon (fraction of the range of inputs)",
        labels=labels,
    )
    return StudyOutcome(
        tables=tabulate_accuracy(rows, name="attacks", by=("attack", "epsilon"), labels=labels),
        figures={"attacks": figure},
        sentences=[
            *(
                f"{name} with epsilon {epsilon:g}: {describe_accuracy(rows, run.rounds, attack=name, epsilon=epsilon)}."
                for name in ATTACKS
                for epsilon in (0.05, 0.1)
            ),
            f"Each network is attacked by its own gradients on {clean.size:,} test examples; PGD takes {STEPS} steps.",
        ],
    )
