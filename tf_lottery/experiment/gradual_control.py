"""Gradual magnitude pruning as a control: when it prunes, and to which masks. No TensorFlow.

Zhu & Gupta 2017, arXiv 1710.01878: one training from the initial weights, in which the sparsity rises by a cubic
polynomial. It ends with as many weights as the ticket keeps, after as many steps as a full training has.
"""

from collections.abc import Mapping

import numpy as np

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.weights_per_round import ranked_together, rule_of_config
from tf_lottery.pruning import criteria
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.keeping import keep_highest
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.select import unit_arrays
from tf_lottery.pruning.unit_arrays import collapse_masks, expand
from tf_lottery.pruning.units import Units

END = 0.75
"""The part of the training after which nothing is pruned any more, so that the last masks are trained too."""
TIMES = 50
"""How often it prunes, at most."""
POWER = 3


def pruning_steps(training: int) -> tuple[int, ...]:
    """Return the steps after which a training prunes.

    Args:
        training: the steps of the training.

    Example:
        >>> pruning_steps(4), len(pruning_steps(1000)), pruning_steps(1000)[:2], pruning_steps(1000)[-1]
        ((1, 2, 3), 50, (15, 30), 750)
    """
    end = max(1, round(END * training))
    return tuple(dict.fromkeys(max(1, round(number * end / TIMES)) for number in range(1, TIMES + 1)))


def gradual_masks(
    config: Config,
    step: int,
    *,
    training: int,
    roles: Mapping[str, str],
    ticket: Masks,
    weights: Mapping[str, np.ndarray],
    masks: Masks,
    units: Units,
) -> Masks:
    """Return the masks after a step: the weights of least magnitude go, until as many are left as the schedule says.

    Of n units in all, k of which the ticket keeps, k + round((n - k) (1 - p)^3) are kept, where p is the part of the
    pruning that is done: per array, or per group in the global scope.

    Args:
        config: the experiment.
        step: one of `pruning_steps`.
        training: the steps of the training.
        roles: role of each maskable weight, by path.
        ticket: the masks of the ticket, by path.
        weights: the present weights, by path; at least the maskable ones.
        masks: the present masks, by path.
        units: the units of the arrays that are pruned.
    """
    remaining = (1 - min(1.0, step / pruning_steps(training)[-1])) ** POWER
    rule = rule_of_config(config, units, {key: mask.shape for key, mask in masks.items()})
    final = collapse_masks(ticket, units)
    scores = criteria.magnitude({key: weights[key] for key in masks})
    unit_scores, unit_masks = unit_arrays(scores, masks, units)
    pruned: Masks = {}
    for keys in ranked_together(config, roles, unit_masks, rule):
        total, kept = (sum(unit_masks[key].size for key in keys), mask_tools.kept({key: final[key] for key in keys}))
        count = kept + round((total - kept) * remaining)
        pruned |= keep_highest(unit_scores, unit_masks, keys=keys, count=count, rule=rule)
    return expand(pruned, masks, units)
