"""How many weights each round keeps: the rates, densities and counts of an experiment. No TensorFlow."""

from collections.abc import Mapping, Sequence

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import layer_rates
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning import select as pruning
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.units import UNSTRUCTURED, Blocks, collapse_masks, expand, one_by_one


def rates_of_config(config: Config, roles: Mapping[str, str]) -> dict[str, float]:
    """Return the fraction that a round prunes of each maskable array.

    To reach a final density, all arrays have one rate unless a role's is set.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
    """
    if config.final_density is None:
        rate, output_rate = config.rate, config.output_rate
    else:
        rate = layer_rates.rate_to_reach(config.final_density, config.rounds)
        output_rate = rate if config.output_rate is None else config.output_rate
    if config.criterion in scoring.GLOBAL:
        return dict.fromkeys(roles, rate)
    return layer_rates.rates_by_path(roles, rate=rate, output_rate=output_rate, conv_rate=config.conv_rate)


def kept_per_round(
    config: Config, roles: Mapping[str, str], shapes: Mapping[str, Sequence[int]], blocks: Blocks | None = None
) -> list[int]:
    """Return the number of weights kept in each round, from counts alone.

    Where units of several sizes are ranked together, the scores decide which of them are pruned: then this is an
    estimate, for which each array loses an equal part of its units.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
        shapes: shape of each maskable weight, by path.
        blocks: the shape of a pruning unit in each array that is pruned; None means single weights.
    """
    dense = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    blocks = one_by_one(shapes) if blocks is None else blocks
    masks = collapse_masks(dense, blocks)
    larger = any(max(block, default=1) > 1 for block in blocks.values())
    scores = {
        key: (np.arange(mask.size) / mask.size).reshape(mask.shape) if larger else np.zeros(mask.shape, np.float32)
        for key, mask in masks.items()
    }
    kept = [mask_tools.kept(dense)]
    for round_number in range(1, config.rounds + 1):
        masks = _prune_one_round(config, round_number, roles, scores, masks)
        kept.append(mask_tools.kept(expand(masks, dense, blocks)))
    return kept


def check_reachable(config: Config, sizes: Mapping[str, int]) -> None:
    """Check that the last density keeps at least one unit of every array.

    Args:
        config: the experiment.
        sizes: the number of weights, or of larger units, of each array that is pruned.

    Raises:
        UsageError: an array would lose all units, so the density could not be reached.
    """
    last = config.final_density or min(config.densities, default=None)
    if last is None or config.output_rate is not None or config.conv_rate is not None:
        return
    what = "weights" if config.granularity == UNSTRUCTURED else "units"
    groups = [[key] for key in sizes] if config.scope == "layerwise" else [list(sizes)]
    for keys in groups:
        kept = round(last * sum(sizes[key] for key in keys))
        if kept < len(keys):
            raise UsageError(
                f"A density of {last} would keep {kept} {what} of {', '.join(keys)}; each array keeps at least one.",
                "Choose a higher density.",
            )


def units_to_keep(
    config: Config, round_number: int, roles: Mapping[str, str], masks: Mapping[str, np.ndarray]
) -> list[tuple[list[str], int]]:
    """Return the arrays of each group that is ranked together, and how many of its units the round keeps.

    Args:
        config: the experiment.
        round_number: the round, at least 1.
        roles: role of each maskable weight, by path.
        masks: present masks of units, boolean, by path: those of the round before, or dense ones, from which as many
            rounds are pruned at once.
    """
    steps = 1 if config.pruning == "iterative" else round_number
    equal_scores = {key: np.zeros(mask.shape, np.float32) for key, mask in masks.items()}
    for number in range(round_number - steps + 1, round_number + 1):
        masks = _prune_one_round(config, number, roles, equal_scores, masks)
    by_key = dict.fromkeys(masks, 0.0) if config.densities else rates_of_config(config, roles)
    groups = pruning.groups({key: by_key[key] for key in masks}, scope=config.scope)
    return [(keys, mask_tools.kept({key: masks[key] for key in keys})) for keys in groups]


def _prune_one_round(
    config: Config,
    round_number: int,
    roles: Mapping[str, str],
    scores: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
) -> Masks:
    """Return masks, of weights or of larger units, after one round of pruning."""
    if config.densities:
        return pruning.prune_to(scores, masks, density=config.densities[round_number], scope=config.scope)
    by_key = rates_of_config(config, roles)
    return pruning.prune(scores, masks, rate={key: by_key[key] for key in masks}, scope=config.scope)
