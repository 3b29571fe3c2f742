"""Which weights each round keeps: its masks from scores, and its numbers of weights from rates. No TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning import rates as schedule
from tf_lottery.pruning import select as pruning
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.units import UNSTRUCTURED, Axes, Blocks, Units, collapse_masks, divide, expand, one_by_one
from tf_lottery.utils import seeds


def next_masks(
    config: Config,
    *,
    round_number: int,
    replicate: int,
    roles: Mapping[str, str],
    weights: Mapping[str, np.ndarray],
    masks: Mapping[str, np.ndarray],
    material: Mapping[str, Callable[[Masks], Any]] | None = None,
    blocks: Blocks | None = None,
) -> Masks:
    """Return the masks of a round, from weights to score and the masks that they were trained with.

    A criterion that scores again while it prunes (SynFlow) comes down to the count in exponential steps.

    Args:
        config: the experiment.
        round_number: the round that the masks are for, at least 1.
        replicate: the replicate, for criteria that draw at random.
        roles: role of each maskable weight, by path.
        weights: arrays to score, by path; at least the maskable ones.
        masks: present masks, boolean, by path: those of the round before, or dense ones, from which as many rounds are
            pruned at once.
        material: what the criterion needs beside weights (gradients, ...), by name, as functions of masks.
        blocks: the shape of a pruning unit in each array that is pruned, as from `units`; None means single weights.
    """
    blocks = one_by_one({key: mask.shape for key, mask in masks.items()}) if blocks is None else blocks
    seed = seeds.derive(config.seed, "score", replicate, round_number)
    material = {"seed": lambda masks: seed, **(material or {})}
    present = dict(masks)
    iterations = scoring.iterations(config.criterion)
    first_units = collapse_masks(present, blocks)
    targets = _units_to_keep(config, round_number, roles, first_units)
    maskable = {key: weights[key] for key in masks}
    for iteration in range(1, iterations + 1):
        arguments = {name: material[name](present) for name in scoring.needs(config.criterion)}
        scores = scoring.scores(mask_tools.apply(maskable, present), config.criterion, **arguments)
        unit_scores, unit_masks = pruning.unit_arrays(scores, present, blocks)
        pruned: Masks = {}
        for keys, kept in targets:
            before = _count(first_units, keys)
            stage = kept if iteration == iterations else round(before * (kept / before) ** (iteration / iterations))
            count = _count(unit_masks, keys) - stage
            pruned |= pruning.remove_lowest(unit_scores, unit_masks, keys=keys, count=count)
        present = expand(pruned, present, blocks)
    return present


def units(config: Config, axes: Mapping[str, Axes], shapes: Mapping[str, Sequence[int]]) -> Units:
    """Return the units in which the weights of a model are pruned.

    Args:
        config: the experiment.
        axes: the meaning of the axes of each kernel, by weight path.
        shapes: the shape of each maskable array, by weight path.

    Raises:
        UnfitError: the weights do not divide into such units, and the configuration takes that for an error.
    """
    return divide(shapes, granularity=config.granularity, indivisible=config.indivisible, axes=axes)


def mask_distance(first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]) -> float:
    """Return the fraction of kept weights by which two masks of equal counts differ: 0 if equal, 1 if disjoint.

    You et al. (2020, arXiv 1909.11957) take the Hamming distance of channel masks; of sparse masks, even of disjoint
    ones, that is always small.

    Args:
        first: boolean arrays by weight path.
        second: boolean arrays of the same paths, shapes and number of kept weights.

    Example:
        >>> mask_distance({"a": np.array([True, True, False])}, {"a": np.array([True, False, True])})
        0.5
    """
    both = sum(int(np.count_nonzero(first[key] & second[key])) for key in first)
    return 1 - both / mask_tools.kept(first)


def rates(config: Config, roles: Mapping[str, str]) -> dict[str, float]:
    """Return the fraction that a round prunes of each maskable array.

    To reach a final density, all arrays have one rate unless a role's is set.

    Args:
        config: the experiment.
        roles: role of each maskable weight, by path.
    """
    if config.final_density is None:
        rate, output_rate = config.rate, config.output_rate
    else:
        rate = schedule.rate_to_reach(config.final_density, config.rounds)
        output_rate = rate if config.output_rate is None else config.output_rate
    if config.criterion in scoring.GLOBAL:
        return dict.fromkeys(roles, rate)
    return schedule.rates(roles, rate=rate, output_rate=output_rate, conv_rate=config.conv_rate)


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


def _units_to_keep(
    config: Config, round_number: int, roles: Mapping[str, str], masks: Mapping[str, np.ndarray]
) -> list[tuple[list[str], int]]:
    """Return the arrays of each group that is ranked together, and how many of its units the round keeps."""
    steps = 1 if config.pruning == "iterative" else round_number
    equal_scores = {key: np.zeros(mask.shape, np.float32) for key, mask in masks.items()}
    for number in range(round_number - steps + 1, round_number + 1):
        masks = _prune_one_round(config, number, roles, equal_scores, masks)
    by_key = dict.fromkeys(masks, 0.0) if config.densities else rates(config, roles)
    groups = pruning.groups({key: by_key[key] for key in masks}, scope=config.scope)
    return [(keys, _count(masks, keys)) for keys in groups]


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
    by_key = rates(config, roles)
    return pruning.prune(scores, masks, rate={key: by_key[key] for key in masks}, scope=config.scope)


def _count(masks: Mapping[str, np.ndarray], keys: Sequence[str]) -> int:
    return sum(int(np.count_nonzero(masks[key])) for key in keys)
