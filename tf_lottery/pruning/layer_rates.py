"""Rates and densities as numbers: a rate for each weight array by its role, the rate that reaches a density.

How many weights an experiment's rounds keep is decided from these in `experiment/weights_per_round`.
"""

import itertools
from collections.abc import Mapping, Sequence

from tf_lottery.errors import UsageError
from tf_lottery.pruning.path_patterns import matching_values


def rate_to_reach(density: float, rounds: int) -> float:
    """Returns the rate per round that reaches a density: 1 - density ** (1 / rounds).

    Args:
        density: The fraction of the weights that is left after the last round, in (0, 1].
        rounds: The number of rounds; 1 is one-shot pruning.

    Raises:
        UsageError: If `density` is not in (0, 1], or `rounds` is less than 1.

    Example:
        >>> round(rate_to_reach(0.25, 2), 6)
        0.5
    """
    if not 0 < density <= 1:
        raise UsageError(f"The density to reach must be in (0, 1]. Received: {density}.", "Pass e.g. 0.05.")
    if rounds < 1:
        raise UsageError(f"`rounds` must be at least 1. Received: {rounds}.", "Use rounds=1 for one-shot pruning.")
    return float(1 - density ** (1 / rounds))


def ladder(densities: Sequence[float]) -> tuple[float, ...]:
    """Checks a list of densities, one per round, and adds the density 1 of round 0 if it is missing.

    Args:
        densities: Falling fractions of the maskable weights, in (0, 1].

    Returns:
        The densities of rounds 0, 1, 2, ...

    Raises:
        UsageError: If a density is not in (0, 1], or the densities do not fall.

    Example:
        >>> ladder([0.5, 0.2])
        (1.0, 0.5, 0.2)
    """
    rungs = tuple(float(density) for density in densities)
    if not rungs or not all(0 < rung <= 1 for rung in rungs):
        raise UsageError(f"Densities must be in (0, 1]. Received: {list(densities)}.", "Pass e.g. 1,0.5,0.2,0.05.")
    if rungs[0] != 1:
        rungs = (1.0, *rungs)
    if any(after >= before for before, after in itertools.pairwise(rungs)):
        raise UsageError(f"Densities must fall from round to round. Received: {list(densities)}.", "Sort them.")
    return rungs


def rates_by_path(
    roles: Mapping[str, str],
    *,
    rate: float,
    output_rate: float | None = None,
    conv_rate: float | None = None,
    layer_rates: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """Returns a pruning rate for every weight array, by role (Frankle & Carbin 2018, arXiv 1803.03635, figure 2).

    A rate is the fraction of the surviving weights that is pruned per round, in [0, 1).

    Args:
        roles: The role of every weight array by path: "output", "conv" or another.
        rate: The rate of other roles.
        output_rate: The rate of the output layer; half of `rate` by default.
        conv_rate: The rate of convolutions; `rate` by default.
        layer_rates: Rates by weight path or glob pattern, as for `prune`, which override those of roles.

    Returns:
        A rate for every key of `roles`.

    Raises:
        UsageError: If a rate is out of range, a pattern of `layer_rates` matches nothing, or two of them give one
            weight different rates.
        UnfitError: If `layer_rates` names an unknown weight.

    Example:
        >>> rates_by_path({"hidden/kernel": "dense", "output/kernel": "output"}, rate=0.2)
        {'hidden/kernel': 0.2, 'output/kernel': 0.1}
    """
    by_role = {
        "output": rate / 2 if output_rate is None else output_rate,
        "conv": rate if conv_rate is None else conv_rate,
    }
    own_rates = matching_values(layer_rates or {}, roles, what="layer_rates")
    result = {key: float(own_rates.get(key, by_role.get(role, rate))) for key, role in roles.items()}
    for key, value in result.items():
        if not 0 <= value < 1:
            raise UsageError(f"The rate of {key!r} must be in [0, 1). Received: {value}.", "Pass e.g. 0.2.")
    return result
