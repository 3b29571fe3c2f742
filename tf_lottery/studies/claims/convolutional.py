"""Functions that judge claims about convolutional networks.

Where the dense network is not as good as the published ones, these claims are inconclusive.
"""

from tf_lottery.studies.claims.evidence import Evidence
from tf_lottery.studies.claims.measures import ClaimFinding, Measure, at_least, at_most, conclude, more_than, reported

# The least dense accuracy of a network that is as good as the published ones.
LENET5_MNIST, RESIDUAL_CIFAR = 0.98, 0.85
# A ticket matches the dense network if it is at most half a point of accuracy below it.
MATCH = -0.005
# Densities of the ladder of `recipes.resnet`, and near those of the full size.
SPARSE = 0.16
# Frankle et al. (2019, arXiv 1912.05671) call networks stable whose barrier is below 2 %.
STABLE = 0.02
# A ticket rewound to the start is no better than with new initial weights if it gains at most a point.
NO_GAIN = 0.01


def regime(evidence: Evidence, key: str, bound: float) -> Measure:
    """Measure whether the dense network is as good as the published ones, by validation data: test data decide nothing.

    Args:
        evidence: the evidence of the runs.
        key: the key of the run.
        bound: the least validation accuracy, a fraction.
    """
    return at_least(evidence.mean((key, "ticket", 0), "val_accuracy"), bound)


def lenet5_35_rounds(evidence: Evidence) -> ClaimFinding:
    """LeNet5 keeps its accuracy to 10 to 15 % of the weights."""
    dense = ("lenet5", "ticket", 0)
    densities = (0.13,) if evidence.quick else (0.15, 0.098)
    measures = [at_least(evidence.difference(("lenet5", "ticket", at), dense), MATCH) for at in densities]
    dense_level = reported(evidence.mean(dense))
    return conclude([dense_level, *measures], regime=regime(evidence, "lenet5", LENET5_MNIST))


def late_rewinding(evidence: Evidence) -> ClaimFinding:
    """Rewound late, a residual net's ticket matches dense, is stable, and beats the one rewound to the start."""
    early, late = (("init", "ticket", SPARSE), ("late", "ticket", SPARSE))
    gain = evidence.difference(late, early)
    over_chance = evidence.difference(early, ("init", "random_reinit", SPARSE))
    matches = evidence.difference(late, ("late", "ticket", 0))
    heights = {key: evidence.error_barriers(key, SPARSE) for key in ("init", "late")}
    lower = {replicate: heights["init"][replicate] - value for replicate, value in heights["late"].items()}
    stable = evidence.estimate("error barrier, late", heights["late"], "percent")
    shown = [reported(evidence.mean(("init", "ticket", 0)))]
    shown.append(reported(evidence.estimate("error barrier, init", heights["init"], "percent")))
    measures = [
        at_most(over_chance, NO_GAIN),
        more_than(evidence.estimate("error barrier, init - late", lower, "points")),
        at_least(matches, MATCH),
        at_most(stable, STABLE),
        more_than(gain),
    ]
    return conclude([*shown, *measures], regime=regime(evidence, "init", RESIDUAL_CIFAR), rows=evidence.rows)


def warm_up(evidence: Evidence) -> ClaimFinding:
    """With a learning rate that warms up, rewinding to the start finds better tickets."""
    dense_level = reported(evidence.mean(("warm-up", "ticket", 0)))
    gain = evidence.difference(("warm-up", "ticket", SPARSE), ("init", "ticket", SPARSE))
    return conclude([dense_level, more_than(gain)], regime=regime(evidence, "init", RESIDUAL_CIFAR))
