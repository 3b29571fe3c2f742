"""Which weights each round keeps: its masks from scores and from the counts of `weights_per_round`. No TensorFlow."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.weights_per_round import rule_of_config, units_to_keep
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.granularities import Axes
from tf_lottery.pruning.keeping import keep_highest
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.select import unit_arrays
from tf_lottery.pruning.unit_arrays import collapse_masks, expand
from tf_lottery.pruning.units import Units, divide, single_weights
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
    units: Units | None = None,
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
        units: the units of the arrays that are pruned, as from `units_of_config`; None means single weights.
    """
    shapes = {key: mask.shape for key, mask in masks.items()}
    units = single_weights(shapes) if units is None else units
    rule = rule_of_config(config, units, shapes)
    seed = seeds.derive(config.seed, "score", replicate, round_number)
    material = {"seed": lambda masks: seed, **(material or {})}
    present = dict(masks)
    iterations = scoring.iterations(config.criterion)
    first_units = collapse_masks(present, units)
    targets = units_to_keep(config, round_number, roles, first_units, rule)
    maskable = {key: weights[key] for key in masks}
    for iteration in range(1, iterations + 1):
        arguments = {name: material[name](present) for name in scoring.needs(config.criterion)}
        scores = scoring.scores(mask_tools.apply(maskable, present), config.criterion, **arguments)
        unit_scores, unit_masks = unit_arrays(scores, present, units)
        pruned: Masks = {}
        for keys, kept in targets:
            before = mask_tools.kept({key: first_units[key] for key in keys})
            stage = kept if iteration == iterations else round(before * (kept / before) ** (iteration / iterations))
            pruned |= keep_highest(unit_scores, unit_masks, keys=keys, count=stage, rule=rule)
        present = expand(pruned, present, units)
    return present


def units_of_config(config: Config, axes: Mapping[str, Axes], shapes: Mapping[str, Sequence[int]]) -> Units:
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
