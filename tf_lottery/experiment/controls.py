"""Controls: networks that are trained beside a ticket, to see which part of it matters. No TensorFlow.

A control is one pure function from a ticket to the masks and weights that the control's training starts with, and one
line in `CONTROLS`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from tf_lottery.errors import UnfitError
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.group_floors import GroupFloor, grouped, ungrouped
from tf_lottery.pruning.masks import Masks
from tf_lottery.pruning.ranking import remove_lowest
from tf_lottery.pruning.unit_arrays import collapse_masks, expand
from tf_lottery.pruning.units import Units, single_weights
from tf_lottery.utils import references, seeds

Weights = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class TicketStart:
    """The ticket that a control is made from, as its training starts.

    Attributes:
        masks: the ticket's masks, by weight path.
        start: every variable of the model where the ticket's training starts, by path; not masked.
        initial: every variable of the model at step 0, by path; not masked.
        draw: returns a new value for every variable of the model, drawn from the variable's own initializer.
        narrow: takes a number of weights and returns masks (a corner of each array) and variables of a dense network
            of about that many weights.
        seed: the control's own seed, in this replicate and round.
        units: the units of the arrays that are pruned; None means single weights.
    """

    masks: Masks
    start: Weights
    initial: Weights
    draw: Callable[[], Weights]
    narrow: Callable[[int], tuple[Masks, Weights]]
    seed: int
    units: Units | None = None

    def pruning_units(self) -> Units:
        """Return the units in which the ticket was pruned."""
        if self.units is not None:
            return self.units
        return single_weights({key: mask.shape for key, mask in self.masks.items()})


@dataclass(frozen=True)
class ControlStart:
    """The masks and weights that a control's training starts with.

    Attributes:
        masks: the control's masks, by weight path.
        weights: the control's variables by path; None takes those that the ticket starts with.
        from_step_zero: whether training starts at step 0 with a new optimizer; otherwise at the ticket's step and with
            the ticket's optimizer state.
    """

    masks: Masks
    weights: Weights | None = None
    from_step_zero: bool = True


@dataclass(frozen=True)
class Control:
    """A control: its function, and how its training differs from the ticket's.

    Attributes:
        start: returns the control's masks and start weights.
        summary: one line for listings.
        round_0: whether the control is trained beside the dense round 0 too.
        own_data_order: whether its training batches come in another order than the ticket's.
        own_masks: whether its masks differ from the ticket's.
        continues_previous_round: whether it continues the control's training of the round before, for as many steps as
            finding one more ticket takes.
        prunes_gradually: whether its masks lose weights while it is trained, until as many are left as in the ticket.
    """

    start: Callable[[TicketStart], ControlStart]
    summary: str
    round_0: bool = False
    own_data_order: bool = False
    own_masks: bool = False
    continues_previous_round: bool = False
    prunes_gradually: bool = False


ControlLike: TypeAlias = str | Control | Callable[[TicketStart], ControlStart]
"""What stands for a variant: "ticket", a name in `CONTROLS`, a `Control`, a function as a control's `start`, or the
import path `package.module:name` of either."""


def random_reinit(ticket: TicketStart) -> ControlStart:
    """Keep the ticket's masks; draw new weights from the initializers (Frankle & Carbin 2018, arXiv 1803.03635)."""
    return ControlStart(ticket.masks, ticket.draw())


def same_sign_reinit(ticket: TicketStart) -> ControlStart:
    """Keep the ticket's masks and the initial signs; draw new magnitudes (Zhou et al. 2019, arXiv 1905.01067)."""
    drawn = ticket.draw()
    signed = {key: np.copysign(drawn[key], ticket.initial[key]) for key in ticket.masks}
    return ControlStart(ticket.masks, {**drawn, **signed})


def constant_sign_reinit(ticket: TicketStart) -> ControlStart:
    """Keep the ticket's masks and the initial signs; set all magnitudes to the array's initial standard deviation.

    Zhou et al. 2019, arXiv 1905.01067, section 4.
    """
    constant = {
        key: np.copysign(np.full_like(ticket.initial[key], ticket.initial[key].std()), ticket.initial[key])
        for key in ticket.masks
    }
    return ControlStart(ticket.masks, {**ticket.initial, **constant})


def reshuffled_weights(ticket: TicketStart) -> ControlStart:
    """Keep the ticket's masks; permute its surviving initial weights within each array."""
    shuffled = {}
    for key, mask in ticket.masks.items():
        values = ticket.initial[key].copy()
        values[mask] = seeds.generator(ticket.seed, "weights", key).permutation(values[mask])
        shuffled[key] = values
    return ControlStart(ticket.masks, {**ticket.initial, **shuffled})


def shuffled_masks(ticket: TicketStart) -> ControlStart:
    """Keep the ticket's start weights; permute its masks within each array, with the same counts.

    The units in which the ticket was pruned are permuted; under a pattern N:M the groups, and the weights in each.
    """
    units = ticket.pruning_units()
    shuffled = {
        key: _permuted(mask, seeds.generator(ticket.seed, "masks", key), units.floors.get(key))
        for key, mask in collapse_masks(ticket.masks, units).items()
    }
    return ControlStart(expand(shuffled, ticket.masks, units), from_step_zero=False)


def _permuted(mask: np.ndarray, generator: np.random.Generator, floor: GroupFloor | None) -> np.ndarray:
    if floor is None:
        return generator.permutation(mask.ravel()).reshape(mask.shape)
    rows = generator.permuted(generator.permutation(grouped(mask, floor)), axis=1)
    return ungrouped(rows, mask.shape, floor)


def random_masks(ticket: TicketStart) -> ControlStart:
    """Keep the ticket's start weights; choose as many of them at random over the whole network.

    Units of the size in which the ticket was pruned are chosen, among those of equal size, so the numbers of units and
    of weights stay the ticket's.
    """
    units = ticket.pruning_units()
    masks = collapse_masks(ticket.masks, units)
    dense = mask_tools.ones(masks)
    scores = scoring.random(dense, seed=ticket.seed)
    chosen: Masks = {}
    for size in dict.fromkeys(units.sizes.values()):
        keys = [key for key in masks if units.sizes[key] == size]
        pruned_units = sum(int(np.count_nonzero(~masks[key])) for key in keys)
        chosen |= remove_lowest(scores, dense, keys=keys, count=pruned_units, floors=units.floors)
    return ControlStart(expand(chosen, ticket.masks, units), from_step_zero=False)


def small_dense(ticket: TicketStart) -> ControlStart:
    """Train a dense network with fewer units per layer, of about as many weights as the ticket."""
    return ControlStart(*ticket.narrow(mask_tools.kept(ticket.masks)))


def dense_longer(ticket: TicketStart) -> ControlStart:
    """Continue the dense network's training, for as many steps in all as finding the ticket took.

    Its learning rate stays at the last value of the schedule.
    """
    return ControlStart(mask_tools.ones(ticket.masks), from_step_zero=False)


def gradual(ticket: TicketStart) -> ControlStart:
    """Train the dense network once, and prune it by magnitude meanwhile (Zhu & Gupta 2017, arXiv 1710.01878).

    It ends with as many weights as the ticket, after the steps of one full training; see `gradual_control`.
    """
    return ControlStart(mask_tools.ones(ticket.masks), ticket.initial)


def other_order(ticket: TicketStart) -> ControlStart:
    """Train the ticket itself with a second order of the data (Frankle et al. 2019, arXiv 1912.05671)."""
    return ControlStart(ticket.masks, from_step_zero=False)


def noise(ticket: TicketStart, *, deviations: float) -> ControlStart:
    """Keep the ticket's masks; add Gaussian noise to its start weights.

    Args:
        ticket: the ticket.
        deviations: the noise's standard deviation, as a multiple of the standard deviation of the array's weights.
    """
    noisy = {}
    for key in ticket.masks:
        weight = ticket.start[key]
        draw = seeds.generator(ticket.seed, "noise", key).standard_normal(weight.shape, dtype=np.float32)
        noisy[key] = (weight + deviations * weight.std() * draw).astype(weight.dtype)
    return ControlStart(ticket.masks, {**ticket.start, **noisy}, from_step_zero=False)


CONTROLS = {
    "random_reinit": Control(random_reinit, "the ticket's masks, new weights from the initializers"),
    "same_sign_reinit": Control(same_sign_reinit, "the ticket's masks, new weights with the initial signs"),
    "constant_sign_reinit": Control(constant_sign_reinit, "the ticket's masks, one weight size, the initial signs"),
    "reshuffled_weights": Control(reshuffled_weights, "the ticket's masks, its weights permuted within layers"),
    "shuffled_masks": Control(shuffled_masks, "the ticket's weights, its masks permuted within layers", own_masks=True),
    "random_masks": Control(random_masks, "the ticket's weights, as many at random over the network", own_masks=True),
    "small_dense": Control(small_dense, "a dense network of as many weights", own_masks=True),
    "dense_longer": Control(
        dense_longer, "the dense network, trained as long in all", own_masks=True, continues_previous_round=True
    ),
    "other_order": Control(
        other_order, "the ticket, with a second order of the data", round_0=True, own_data_order=True
    ),
    **{
        f"noise_{deviations:g}": Control(
            functools.partial(noise, deviations=deviations),
            f"the ticket, with noise of {deviations:g} standard deviations on its start weights",
        )
        for deviations in (0.5, 1.0, 2.0, 3.0)
    },
    "gradual": Control(
        gradual, "one training, pruned to as many weights meanwhile", own_masks=True, prunes_gradually=True
    ),
}


def find_control(variant: str) -> Control | None:
    """Return the control of a variant: a registered one, or a user's own; None for a ticket or a search.

    Raises:
        UsageError: a user's own control is not there.
        UnfitError: its module can't be imported.
    """
    if variant in CONTROLS or not references.is_reference(variant):
        return CONTROLS.get(variant)
    control = references.resolve(variant, what="control")
    if isinstance(control, Control):
        return control
    text = (getattr(control, "__doc__", None) or "").strip()
    return Control(control, text.partition("\n")[0] or "a control of the user's own")


def start_control(variant: str, control: Control, ticket: TicketStart) -> ControlStart:
    """Return the masks and weights that a control's training starts with; those of a user's own control are checked.

    Args:
        variant: the control's name.
        control: the control.
        ticket: the ticket that it is made from.

    Raises:
        UnfitError: a user's own control fails, or what it returns does not fit the model.
    """
    if variant in CONTROLS:
        return control.start(ticket)
    start = references.call_own(control.start, "control", variant, ticket)
    if not isinstance(start, ControlStart):
        raise UnfitError(
            f"The control {variant!r} must return a `ControlStart`. It returned: {type(start).__name__}.",
            "Return `ControlStart(masks, weights)`.",
        )
    shapes = {key: mask.shape for key, mask in ticket.masks.items()}
    masks = mask_tools.validate(start.masks, shapes, what=f"masks of the control {variant!r}")
    if start.weights is None:
        return replace(start, masks=masks)
    # What a control leaves out stays as in the ticket.
    weights = {**(ticket.initial if start.from_step_zero else ticket.start), **start.weights}
    mask_tools.check_keys(weights, ticket.start, what=f"weights of the control {variant!r}")
    for path, weight in weights.items():
        if np.shape(weight) != ticket.start[path].shape:
            raise UnfitError(
                f"The control {variant!r} gives {path} the shape {np.shape(weight)}. Its shape in the model: "
                f"{ticket.start[path].shape}.",
                "Return every variable in its shape.",
            )
    typed = {path: np.asarray(weight, ticket.start[path].dtype) for path, weight in weights.items()}
    return replace(start, masks=masks, weights=typed)
