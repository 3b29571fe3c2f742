"""How much goes per round: iterative rates, a target density in n rounds, one shot, or an explicit ladder."""

from collections.abc import Mapping, Sequence

from tf_lottery.errors import UsageError


def rate_to_reach(density: float, rounds: int) -> float:
    """The rate per round that reaches `density` in `rounds` rounds: 1 - density ** (1 / rounds). One round is one-shot.

    Raises:
        UsageError: density is not in (0, 1], or rounds is less than 1.

    Example:
        >>> round(rate_to_reach(0.25, 2), 6)
        0.5
    """
    if not 0 < density <= 1:
        raise UsageError(f"The density to reach must be in (0, 1]. Received: {density}.", "Pass e.g. 0.05.")
    if rounds < 1:
        raise UsageError(f"`rounds` must be at least 1. Received: {rounds}.", "Use rounds=1 for one-shot pruning.")
    return 1 - density ** (1 / rounds)


def ladder(densities: Sequence[float]) -> tuple[float, ...]:
    """Check an explicit ladder of densities, one per round; a leading 1 (the dense round 0) is added where missing.

    Returns:
        The densities of rounds 0, 1, 2, ...

    Raises:
        UsageError: a density is not in (0, 1], or they do not fall.

    Example:
        >>> ladder([0.5, 0.2])
        (1.0, 0.5, 0.2)
    """
    rungs = tuple(float(density) for density in densities)
    if not rungs or not all(0 < rung <= 1 for rung in rungs):
        raise UsageError(f"Densities must be in (0, 1]. Received: {list(densities)}.", "Pass e.g. 1,0.5,0.2,0.05.")
    if rungs[0] != 1:
        rungs = (1.0, *rungs)
    if any(after >= before for before, after in zip(rungs, rungs[1:], strict=False)):
        raise UsageError(f"Densities must fall from round to round. Received: {list(densities)}.", "Sort them.")
    return rungs


def rates(
    roles: Mapping[str, str],
    *,
    rate: float,
    output_rate: float | None = None,
    conv_rate: float | None = None,
    layer_rates: Mapping[str, float] | None = None,
) -> dict[str, float]:
    """The rate of each weight array from its role, as in Frankle & Carbin (2018, arXiv 1803.03635, figure 2).

    Args:
        roles: "output", "conv" or another role for each weight path.
        rate: the rate of all others.
        output_rate: the rate of the output layer; half of `rate` by default.
        conv_rate: the rate of convolutions; `rate` by default.
        layer_rates: rates for single weight paths, which win over roles.

    Returns:
        A rate in [0, 1) for each key of `roles`.

    Raises:
        UsageError: a rate is out of range, or `layer_rates` names a weight that is not there.

    Example:
        >>> rates({"hidden/kernel": "dense", "output/kernel": "output"}, rate=0.2)
        {'hidden/kernel': 0.2, 'output/kernel': 0.1}
    """
    by_role = {
        "output": rate / 2 if output_rate is None else output_rate,
        "conv": rate if conv_rate is None else conv_rate,
    }
    layer_rates = dict(layer_rates or {})
    unknown = sorted(set(layer_rates) - set(roles))
    if unknown:
        raise UsageError(f"No maskable weight is named {', '.join(unknown)}.", f"Valid: {', '.join(roles)}.")
    result = {key: float(layer_rates.get(key, by_role.get(role, rate))) for key, role in roles.items()}
    for key, value in result.items():
        if not 0 <= value < 1:
            raise UsageError(f"The rate of {key!r} must be in [0, 1). Received: {value}.", "Pass e.g. 0.2.")
    return result
