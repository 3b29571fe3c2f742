"""Adversarial attacks on the ticket and on the dense network, side by side."""

from tf_lottery.experiment.directory import Job
from tf_lottery.results.tables.formats import density_percent, percent
from tf_lottery.studies import study_figures as figures
from tf_lottery.studies.adversary import STEPS, Adversary
from tf_lottery.studies.corruption import TEST_EXAMPLES
from tf_lottery.studies.evaluation import with_inputs
from tf_lottery.studies.study_outcome import Outcome, Rows, mean, over_replicates, side_by_side
from tf_lottery.studies.study_run import StudyRun
from tf_lottery.utils import seeds

EPSILONS = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


def study(run: StudyRun, *, test_examples: int = TEST_EXAMPLES) -> Outcome:
    """Test accuracy of each round's network on inputs that attack that very network.

    FGSM (Goodfellow et al. 2014, arXiv 1412.6572) and PGD with a random start and 10 steps (Madry et al. 2017,
    arXiv 1706.06083), with full knowledge of the weights. A value changes by at most epsilon times the range of its
    channel in the training data, and stays in that range.

    Args:
        run: the run.
        test_examples: the most test examples to attack, the first ones.

    Raises:
        UnfitError: the run has no test data, or its inputs are not one array of real numbers.
    """
    clean = run.evaluator.test(most=test_examples)
    low, high = run.evaluator.input_range()
    adversary = Adversary(run.evaluator.model, low, high)
    densities = {number: run.density(number) for number in run.rounds}
    rows: Rows = []
    for number in run.rounds:
        for index in run.replicates:
            weights = run.weights(Job(index, number))
            about = {"replicate": index, "round": number, "density": densities[number]}
            seed = seeds.derive(run.config.seed, "attack", index)
            for epsilon in EPSILONS:
                adversary.load(weights)
                attacked = {
                    "FGSM": adversary.fgsm(clean, epsilon) if epsilon else clean.x,
                    "PGD": adversary.pgd(clean, epsilon, seed=seed) if epsilon else clean.x,
                }
                for name, x in attacked.items():
                    found = run.evaluator.evaluate_on(weights, with_inputs(clean, x), part="test")
                    rows.append({**about, "attack": name, "epsilon": epsilon, **found})
    labels = {number: f"round {number} ({density_percent(densities[number])} %)" for number in figures.few(run.rounds)}
    return Outcome(
        tables={
            "test_accuracy": side_by_side(rows, by=("attack", "epsilon"), names=labels, of="test_accuracy"),
            "attacks": over_replicates(
                rows, by=("attack", "epsilon", "round", "density"), of=("test_accuracy", "test_loss")
            ),
            "attacks_by_replicate": rows,
        },
        figures={
            "attacks": figures.panels(
                {
                    name: {
                        label: figures.gather(
                            [row for row in rows if row["round"] == number and row["attack"] == name],
                            x="epsilon",
                            y="test_accuracy",
                        )
                        for number, label in labels.items()
                    }
                    for name in ("FGSM", "PGD")
                },
                xlabel="Epsilon (fraction of the range of inputs)",
                ylabel="Test accuracy",
                percent=True,
            )
        },
        sentences=[
            *(_sentence(run, rows, name, epsilon) for name in ("FGSM", "PGD") for epsilon in (0.05, 0.1)),
            f"Each network is attacked by its own gradients on {clean.size:,} test examples; PGD takes {STEPS} steps.",
        ],
    )


def _sentence(run: StudyRun, rows: Rows, name: str, epsilon: float) -> str:
    told = [
        f"{percent(mean(rows, 'test_accuracy', attack=name, epsilon=epsilon, round=number))} in round {number}"
        for number in dict.fromkeys((run.rounds[0], run.rounds[-1]))
    ]
    return f"{name} with epsilon {epsilon:g}: test accuracy {', '.join(told)}."
