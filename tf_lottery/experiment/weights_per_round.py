"""How many weights each round keeps: the rates, densities and counts of an experiment. No TensorFlow."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.layer_values import by_pattern
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import layer_rates
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.distributions import LAMP, UNIFORM
from tf_lottery.pruning.keeping import Rule, prune_by_rate, prune_to_density
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.unit_arrays import collapse_masks, expand
from tf_lottery.pruning.units import Units, single_weights


def rates_of_config(config: Config, roles: Mapping[str, str]) -> dict[str, float]:
    """Return the fraction that a round prunes of each maskable array.

    To reach a final density, all arrays have one rate unless a role's is set. They have one too where a distribution
    divides among them what a round keeps.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
    """
    if config.final_density is None:
        rate, output_rate = config.rate, config.output_rate
    else:
        rate = layer_rates.rate_to_reach(config.final_density, config.rounds)
        output_rate = rate if config.output_rate is None else config.output_rate
    if config.criterion in scoring.GLOBAL or config.distribution != UNIFORM:
        return dict.fromkeys(roles, rate)
    return layer_rates.rates_by_path(
        roles,
        rate=rate,
        output_rate=output_rate,
        conv_rate=config.conv_rate,
        layer_rates=by_pattern(config.layer_rates),
    )


def rule_of_config(config: Config, units: Units, shapes: Mapping[str, Sequence[int]]) -> Rule:
    """Return what decides how many units each array keeps, beside the rates.

    Args:
        config: the experiment.
        units: the units of the arrays.
        shapes: shape of each maskable weight, by path.
    """
    return Rule(
        units,
        shapes,
        scope=config.scope,
        distribution=config.distribution,
        min_density=by_pattern(config.min_density),
        max_density=by_pattern(config.max_density),
    )


def kept_per_round(
    config: Config, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int]], units: Units | None = None
) -> list[int]:
    """Return the number of weights kept in each round, from counts alone.

    Where units of several sizes are ranked together, the scores decide which of them are pruned: then this is an
    estimate, for which each array loses an equal part of its units.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
        shapes: shape of each maskable weight, by path.
        units: the units of the arrays that are pruned; None means single weights.
    """
    dense = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    units = single_weights(shapes) if units is None else units
    masks = collapse_masks(dense, units)
    rule = rule_of_config(config, units, shapes)
    larger = max(units.sizes.values(), default=1) > 1
    scores = {
        key: (np.arange(mask.size) / mask.size).reshape(mask.shape) if larger else np.zeros(mask.shape, np.float32)
        for key, mask in masks.items()
    }
    kept = [mask_tools.kept(dense)]
    for round_number in range(1, config.rounds + 1):
        masks = _prune_one_round(config, round_number, roles, scores, masks, rule)
        kept.append(mask_tools.kept(expand(masks, dense, units)))
    return kept


def check_rounds(config: Config, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int]], units: Units) -> None:
    """Check from counts alone, before anything is trained, that every round can keep what the configuration states.

    Args:
        config: the experiment.
        roles: as for `check_patterns`.
        shapes: as for `check_patterns`.
        units: as for `check_patterns`.

    Raises:
        UsageError: an array would lose all units or more than a pattern N:M allows, least and greatest densities
            exclude what a round keeps, or a weight path or pattern of the configuration fits no array.
        UnfitError: a path that is no pattern fits no array.
    """
    check_reachable(config, units, shapes)
    check_patterns(config, roles, shapes, units)
    if config.min_density or config.max_density:
        kept_per_round(config, roles, shapes, units)


def check_reachable(config: Config, units: Units, shapes: Mapping[str, Sequence[int]]) -> None:
    """Check that the last density keeps at least one unit of every array, where no least density does.

    Args:
        config: the experiment.
        units: the units of the arrays that are pruned.
        shapes: shape of each maskable weight, by path.

    Raises:
        UsageError: an array would lose all units, so the density could not be reached; or a weight path or pattern of
            the configuration fits no array.
        UnfitError: likewise.
    """
    rule, sizes = rule_of_config(config, units, shapes), units.counts(shapes)
    rule.of_units("layer_rates", by_pattern(config.layer_rates), 0.0)
    last = config.final_density or min(config.densities, default=None)
    if last is None or config.output_rate is not None or config.conv_rate is not None or config.layer_rates:
        return
    what = "weights" if config.prunes_single_weights else "units"
    alone = config.scope == "layerwise" and config.distribution == UNIFORM
    groups = [[key] for key in sizes if not rule.densities[key][0]] if alone else [list(sizes)]
    for keys in groups:
        kept = round(last * sum(sizes[key] for key in keys))
        if kept < len(keys):
            raise UsageError(
                f"A density of {last} would keep {kept} {what} of {', '.join(keys)}; each array keeps at least one.",
                "Choose a higher density.",
            )


def check_patterns(config: Config, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int]], units: Units) -> None:
    """Check that no round prunes below a pattern N:M, from counts alone.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
        shapes: shape of each maskable weight, by path.
        units: the units of the arrays that are pruned.

    Raises:
        UsageError: a round would keep fewer weights than the pattern does.
    """
    if not units.floors:
        return
    rates = _rates(config, roles, units.members)
    sizes = units.counts(shapes)
    for keys in rule_of_config(config, units, shapes).groups(rates):
        total = alive = sum(sizes[key] for key in keys)
        least = sum(units.floors[key].total(shapes[key]) if key in units.floors else 1 for key in keys)
        for number in range(1, config.rounds + 1):
            density = _stated_density(config, number, rates[keys[0]], units)
            exact = (1 - rates[keys[0]]) * alive if density is None else round(density * total)
            alive = alive - round(rates[keys[0]] * alive) if density is None else round(density * total)
            if alive < least and exact <= least - 1:
                raise UsageError(
                    f"Round {number} would keep {alive} of the {total} weights of {', '.join(keys)}, and the pattern "
                    f"{config.granularity} keeps at least {least}.",
                    "Prune in fewer rounds or at a lower rate; the pattern's own density is reached by "
                    "`final_density=`.",
                )
            alive = max(alive, least)


def units_to_keep(
    config: Config, round_number: int, roles: Mapping[str, str], masks: Mapping[str, np.ndarray], rule: Rule
) -> list[tuple[list[str], int]]:
    """Return the arrays of each group that is ranked together, and how many of its units the round keeps.

    Args:
        config: the experiment.
        round_number: the round, at least 1.
        roles: role of each maskable weight, by path.
        masks: present masks of units, boolean, by path: those of the round before, or dense ones, from which as many
            rounds are pruned at once.
        rule: what decides how many units each array keeps, beside the rates.
    """
    steps = 1 if config.pruning == "iterative" else round_number
    equal_scores = {key: np.zeros(mask.shape, np.float32) for key, mask in masks.items()}
    for number in range(round_number - steps + 1, round_number + 1):
        masks = _prune_one_round(config, number, roles, equal_scores, masks, rule)
    if config.distribution in (UNIFORM, LAMP):
        groups = rule.groups(_rates(config, roles, masks))
    else:
        groups = [[key] for key in sorted(masks)]  # whose counts no score decides
    return [(keys, mask_tools.kept({key: masks[key] for key in keys})) for keys in groups]


def ranked_together(config: Config, roles: Mapping[str, str], keys: Iterable[str], rule: Rule) -> list[list[str]]:
    """Return arrays of units in groups: those whose units are ranked together, or each alone.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
        keys: the paths of the arrays of units.
        rule: what decides how many units each array keeps, beside the rates.
    """
    keys = sorted(keys)
    return rule.groups(_rates(config, roles, keys)) if config.scope == "global" else [[key] for key in keys]


def _rates(config: Config, roles: Mapping[str, str], keys: Iterable[str]) -> dict[str, float]:
    """Return the rate of each array of units; 0 where densities are given instead."""
    by_path = dict.fromkeys(roles, 0.0) if config.densities else rates_of_config(config, roles)
    return {key: by_path[key] for key in keys}


def _stated_density(config: Config, round_number: int, rate: float, units: Units) -> float | None:
    """Return the density that arrays of a rate reach in a round; None where the rate alone decides."""
    if config.densities:
        return config.densities[round_number]
    if not units.floors or config.final_density is None or round_number < config.rounds:
        return None
    # Rounds of a rate come near to it; a pattern N:M is exact.
    return config.final_density if rate == layer_rates.rate_to_reach(config.final_density, config.rounds) else None


def _prune_one_round(
    config: Config,
    round_number: int,
    roles: Mapping[str, str],
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    rule: Rule,
) -> Masks:
    """Return masks, of weights or of larger units, after one round of pruning."""
    rates = _rates(config, roles, masks)
    densities = {key: _stated_density(config, round_number, rate, rule.units) for key, rate in rates.items()}
    by_rate = {key: rate for key, rate in rates.items() if densities[key] is None}
    pruned = prune_by_rate(scores, masks, rates=by_rate, rule=rule)
    for density in {density for density in densities.values() if density is not None}:  # one at most
        keys = [key for key in rates if key not in by_rate]
        pruned |= prune_to_density(scores, masks, density=density, keys=keys, rule=rule)
    return pruned
