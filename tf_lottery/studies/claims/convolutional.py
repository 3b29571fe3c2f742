"""What convolutional networks show. Below the accuracy of the published networks these claims are inconclusive."""

from tf_lottery.studies.claims.evidence import Evidence
from tf_lottery.studies.claims.measures import Finding, Measure, at_least, at_most, conclude, more_than, reported

# Dense accuracies from which on a network is of the published kind.
LENET5_MNIST, RESIDUAL_CIFAR = 0.98, 0.85
# Half a point of accuracy: less is called as good.
MATCH = -0.005
# Densities of the ladder of `recipes.resnet`, and near those of the full size.
SPARSE = 0.16
# Frankle et al. (2019, arXiv 1912.05671) call networks stable whose barrier is below 2 %.
STABLE = 0.02
# A ticket rewound to the start is called no better than its reinitialised self where it gains at most a point.
NO_GAIN = 0.01


def regime(evidence: Evidence, key: str, bound: float) -> Measure:
    """Whether the dense network is as good as the published ones; by validation data, as test data decide nothing."""
    return at_least(evidence.level((key, "ticket", 0), "val_accuracy"), bound)


def lenet5_35_rounds(evidence: Evidence) -> Finding:
    """LeNet5 keeps its accuracy to 10 to 15 % of the weights."""
    dense = ("lenet5", "ticket", 0)
    densities = (0.13,) if evidence.quick else (0.15, 0.098)
    measures = [at_least(evidence.difference(("lenet5", "ticket", at), dense), MATCH) for at in densities]
    told = reported(evidence.level(dense))
    return conclude([told, *measures], regime=regime(evidence, "lenet5", LENET5_MNIST))


def late_rewinding(evidence: Evidence) -> Finding:
    """Rewound late, a residual net's ticket matches dense, is stable, and beats the one rewound to the start."""
    early, late = (("init", "ticket", SPARSE), ("late", "ticket", SPARSE))
    gain = evidence.difference(late, early)
    over_chance = evidence.difference(early, ("init", "random_reinit", SPARSE))
    matches = evidence.difference(late, ("late", "ticket", 0))
    heights = {key: evidence.barriers(key, SPARSE) for key in ("init", "late")}
    lower = {replicate: heights["init"][replicate] - value for replicate, value in heights["late"].items()}
    stable = evidence.contrast("error barrier, late", heights["late"], "percent")
    told = [reported(evidence.level(("init", "ticket", 0)))]
    told.append(reported(evidence.contrast("error barrier, init", heights["init"], "percent")))
    measures = [
        at_most(over_chance, NO_GAIN),
        more_than(evidence.contrast("error barrier, init - late", lower, "points")),
        at_least(matches, MATCH),
        at_most(stable, STABLE),
        more_than(gain),
    ]
    return conclude([*told, *measures], regime=regime(evidence, "init", RESIDUAL_CIFAR), rows=evidence.rows)


def warm_up(evidence: Evidence) -> Finding:
    """With a learning rate that warms up, rewinding to the start finds better tickets."""
    told = reported(evidence.level(("warm-up", "ticket", 0)))
    gain = evidence.difference(("warm-up", "ticket", SPARSE), ("init", "ticket", SPARSE))
    return conclude([told, more_than(gain)], regime=regime(evidence, "init", RESIDUAL_CIFAR))
