"""Controls: what is trained beside a ticket to see which part of it matters. No TensorFlow.

A control is one pure function from what a ticket is to where the control's training begins, and one line in `CONTROLS`.
"""

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning import select as pruning
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.units import Blocks, collapse_masks, expand, one_by_one
from tf_lottery.utils import seeds

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Given:
    """What a control is made from: the ticket of its replicate and round.

    Attributes:
        masks: the ticket's masks, by weight path.
        start: every variable of the model where the ticket's training starts, by path; not masked.
        initial: every variable of the model at step 0.
        draw: draws every variable anew, from the distribution of its own initializer.
        narrow: makes a dense network of about so many weights: its masks (a corner of each array) and variables.
        seed: of the control, in this replicate and round.
        blocks: the shape of a unit of each array that is pruned; by default each weight is one.
    """

    masks: Masks
    start: Weights
    initial: Weights
    draw: Callable[[], Weights]
    narrow: Callable[[int], tuple[Masks, Weights]]
    seed: int
    blocks: Blocks | None = None

    def units(self) -> Blocks:
        """The shape of a unit of each array that is pruned; an array without one is kept whole."""
        return one_by_one({key: mask.shape for key, mask in self.masks.items()}) if self.blocks is None else self.blocks


@dataclass(frozen=True)
class Beginning:
    """Where the training of a control begins.

    Attributes:
        masks: its masks.
        weights: its variables by path; None takes those that the ticket starts from.
        anew: whether it starts at step 0 with a fresh optimizer; otherwise at the ticket's step and optimizer state.
    """

    masks: Masks
    weights: Weights | None = None
    anew: bool = True


@dataclass(frozen=True)
class Control:
    """A control: how it begins, and what else tells its training from the ticket's.

    Attributes:
        begin: the function.
        summary: one line for listings.
        round_0: whether the dense round 0 has one, too.
        order: whether it sees the data in another order.
        own_masks: whether its masks are not the ticket's.
        goes_on: whether it goes on where the control of the round before ended, for another full training.
    """

    begin: Callable[[Given], Beginning]
    summary: str
    round_0: bool = False
    order: bool = False
    own_masks: bool = False
    goes_on: bool = False


def random_reinit(given: Given) -> Beginning:
    """The ticket's masks, weights drawn anew from their own distribution (Frankle & Carbin 2018, arXiv 1803.03635)."""
    return Beginning(given.masks, given.draw())


def same_sign_reinit(given: Given) -> Beginning:
    """The ticket's masks, weights drawn anew, with the initial signs (Zhou et al. 2019, arXiv 1905.01067)."""
    drawn = given.draw()
    signed = {key: np.copysign(drawn[key], given.initial[key]) for key in given.masks}
    return Beginning(given.masks, {**drawn, **signed})


def constant_sign_reinit(given: Given) -> Beginning:
    """The ticket's masks, weights all of one size: the layer's initial standard deviation, with the initial signs.

    Zhou et al. 2019, arXiv 1905.01067, section 4.
    """
    constant = {
        key: np.copysign(np.full_like(given.initial[key], given.initial[key].std()), given.initial[key])
        for key in given.masks
    }
    return Beginning(given.masks, {**given.initial, **constant})


def reshuffled_weights(given: Given) -> Beginning:
    """The ticket's masks, and its own surviving initial weights in another order within each array."""
    shuffled = {}
    for key, mask in given.masks.items():
        values = given.initial[key].copy()
        values[mask] = seeds.generator(given.seed, "weights", key).permutation(values[mask])
        shuffled[key] = values
    return Beginning(given.masks, {**given.initial, **shuffled})


def shuffled_masks(given: Given) -> Beginning:
    """The ticket's start weights, its masks in another order within each array: the counts are exactly kept.

    What moves are the units in which the ticket was pruned.
    """
    blocks = given.units()
    shuffled = {
        key: seeds.generator(given.seed, "masks", key).permutation(units.ravel()).reshape(units.shape)
        for key, units in collapse_masks(given.masks, blocks).items()
    }
    return Beginning(expand(shuffled, given.masks, blocks), anew=False)


def random_masks(given: Given) -> Beginning:
    """The ticket's start weights, as many of them as it has, drawn at random over the whole network.

    What is drawn are the units in which the ticket was pruned, among those of equal size: so its counts of units and of
    weights are kept.
    """
    blocks = given.units()
    units = collapse_masks(given.masks, blocks)
    dense = mask_tools.ones(units)
    scores = scoring.random(dense, seed=given.seed)
    sizes = {key: math.prod(blocks[key]) for key in units}
    drawn: Masks = {}
    for size in dict.fromkeys(sizes.values()):
        keys = [key for key in units if sizes[key] == size]
        gone = sum(int(np.count_nonzero(~units[key])) for key in keys)
        drawn |= pruning.remove_lowest(scores, dense, keys=keys, count=gone)
    return Beginning(expand(drawn, given.masks, blocks), anew=False)


def small_dense(given: Given) -> Beginning:
    """A dense network with fewer units per layer, and about as many weights as the ticket."""
    return Beginning(*given.narrow(mask_tools.kept(given.masks)))


def dense_longer(given: Given) -> Beginning:
    """The dense network trained on, for as many steps in all as finding the ticket took.

    Its learning rate stays the last one of the schedule.
    """
    return Beginning(mask_tools.ones(given.masks), anew=False)


def other_order(given: Given) -> Beginning:
    """The ticket itself, under a second order of the data (Frankle et al. 2019, arXiv 1912.05671)."""
    return Beginning(given.masks, anew=False)


def noise(given: Given, *, deviations: float) -> Beginning:
    """The ticket, its start weights disturbed by Gaussian noise of so many standard deviations of their array."""
    noisy = {}
    for key in given.masks:
        weight = given.start[key]
        draw = seeds.generator(given.seed, "noise", key).standard_normal(weight.shape, dtype=np.float32)
        noisy[key] = (weight + deviations * weight.std() * draw).astype(weight.dtype)
    return Beginning(given.masks, {**given.start, **noisy}, anew=False)


CONTROLS = {
    "random_reinit": Control(random_reinit, "the ticket's masks, weights drawn anew"),
    "same_sign_reinit": Control(same_sign_reinit, "the ticket's masks, weights drawn anew with the initial signs"),
    "constant_sign_reinit": Control(constant_sign_reinit, "the ticket's masks, one weight size, the initial signs"),
    "reshuffled_weights": Control(reshuffled_weights, "the ticket's masks, its weights reordered within layers"),
    "shuffled_masks": Control(
        shuffled_masks, "the ticket's weights, its masks reordered within layers", own_masks=True
    ),
    "random_masks": Control(random_masks, "the ticket's weights, as many at random over the network", own_masks=True),
    "small_dense": Control(small_dense, "a dense network of as many weights", own_masks=True),
    "dense_longer": Control(dense_longer, "the dense network, trained as long in all", own_masks=True, goes_on=True),
    "other_order": Control(other_order, "the ticket, under a second order of the data", round_0=True, order=True),
    **{
        f"noise_{deviations:g}": Control(
            functools.partial(noise, deviations=deviations),
            f"the ticket, with noise of {deviations:g} standard deviations on its start weights",
        )
        for deviations in (0.5, 1.0, 2.0, 3.0)
    },
}
