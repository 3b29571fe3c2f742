"""Schedules of gradual pruning: how sparse a model is to be at a step of its training, and at which steps it is pruned.

A schedule is anything that answers `schedule(step) -> (should_prune, sparsity)`. The classes here have the arguments
and the formulas of those of the TensorFlow Model Optimization Toolkit (tfmot), and need neither it nor TensorFlow.
"""

import copy
import math
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any, Self, TypeAlias

from tf_lottery.errors import UsageError

ScheduleLike: TypeAlias = Callable[[int], tuple[Any, Any]]
"""What answers `schedule(step) -> (should_prune, sparsity)`: a schedule of this module or of tfmot, or a function."""


class PolynomialDecay:
    """A sparsity that rises along a polynomial, fast at first (Zhu & Gupta 2017, arXiv 1710.01878, equation 1).

    The sparsity at a step is

        final_sparsity + (initial_sparsity - final_sparsity) * (1 - p) ** power

    where p = (step - begin_step) / (end_step - begin_step), held within [0, 1]. A model is pruned at begin_step and
    every `frequency` steps after it, until end_step.

    Args:
        initial_sparsity: The sparsity at begin_step, in [0, 1).
        final_sparsity: The sparsity at end_step, in [0, 1).
        begin_step: The first step at which the model is pruned, from 0.
        end_step: The last step at which it may be pruned, at least begin_step.
        power: The exponent.
        frequency: The number of steps from one pruning to the next, at least 1.

    Raises:
        UsageError: If an argument is out of range.

    Example:
        >>> schedule = PolynomialDecay(0.0, 0.8, begin_step=0, end_step=200)
        >>> [(step, should_prune) for step in (0, 50, 100, 200) for should_prune, _ in [schedule(step)]]
        [(0, True), (50, False), (100, True), (200, True)]
        >>> [round(schedule(step)[1], 4) for step in (0, 50, 100, 200)]
        [0.0, 0.4625, 0.7, 0.8]
    """

    def __init__(
        self,
        initial_sparsity: float,
        final_sparsity: float,
        begin_step: int,
        end_step: int,
        power: float = 3,
        frequency: int = 100,
    ) -> None:
        check_sparsity(initial_sparsity, "initial_sparsity")
        check_sparsity(final_sparsity, "final_sparsity")
        _check_steps(begin_step, end_step, frequency)
        if end_step < 0:
            raise UsageError(
                f"`end_step` of a sparsity that rises must be 0 or more. Received: {end_step!r}.",
                "Pass the step at which the final sparsity is reached.",
            )
        self.initial_sparsity = initial_sparsity
        self.final_sparsity = final_sparsity
        self.begin_step = int(begin_step)
        self.end_step = int(end_step)
        self.power = power
        self.frequency = int(frequency)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Returns whether to prune at a step, and the sparsity at it.

        Args:
            step: The number of the training step, from 0.
        """
        step, span = int(step), self.end_step - self.begin_step
        # Where both steps are one, the final sparsity is reached at it.
        progress = min(1.0, max(0.0, (step - self.begin_step) / span)) if span else float(step >= self.begin_step)
        difference = self.initial_sparsity - self.final_sparsity
        sparsity = self.final_sparsity + difference * (1 - progress) ** self.power
        return _is_turn(step, self.begin_step, self.end_step, self.frequency), sparsity

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        names = ("initial_sparsity", "final_sparsity", "begin_step", "end_step", "power", "frequency")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Makes a schedule from its configuration, or from that of tfmot's schedule of this name."""
        return cls(**_arguments(config))

    def __repr__(self) -> str:
        return _call_text(self)


class ConstantSparsity:
    """One sparsity from a step on.

    A model is pruned at begin_step and every `frequency` steps after it, until end_step. Since masks only ever lose
    weights, only the first time changes anything.

    Args:
        target_sparsity: The sparsity, in [0, 1).
        begin_step: The first step at which the model is pruned, from 0.
        end_step: The last step at which it may be pruned; -1 for no end.
        frequency: The number of steps from one pruning to the next, at least 1.

    Raises:
        UsageError: If an argument is out of range.

    Example:
        >>> schedule = ConstantSparsity(0.5, begin_step=100)
        >>> [schedule(step) for step in (0, 100, 150, 200)]
        [(False, 0.5), (True, 0.5), (False, 0.5), (True, 0.5)]
    """

    def __init__(self, target_sparsity: float, begin_step: int, end_step: int = -1, frequency: int = 100) -> None:
        check_sparsity(target_sparsity, "target_sparsity")
        _check_steps(begin_step, end_step, frequency)
        self.target_sparsity = target_sparsity
        self.begin_step = int(begin_step)
        self.end_step = int(end_step)
        self.frequency = int(frequency)

    def __call__(self, step: int) -> tuple[bool, float]:
        """Returns whether to prune at a step, and the sparsity.

        Args:
            step: The number of the training step, from 0.
        """
        return _is_turn(int(step), self.begin_step, self.end_step, self.frequency), self.target_sparsity

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {name: getattr(self, name) for name in ("target_sparsity", "begin_step", "end_step", "frequency")}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """Makes a schedule from its configuration, or from that of tfmot's schedule of this name."""
        return cls(**_arguments(config))

    def __repr__(self) -> str:
        return _call_text(self)


def check_schedule(schedule: Any) -> ScheduleLike:
    """Returns what was given as a schedule, if it can be one.

    Raises:
        UsageError: If it can't be called.
    """
    if not callable(schedule) or isinstance(schedule, type):
        raise UsageError(
            f"`schedule` must answer schedule(step) -> (should_prune, sparsity). Received: {schedule!r}.",
            "Pass e.g. tf_lottery.schedules.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=1000).",
        )
    checked: ScheduleLike = schedule
    return checked


def with_frequency(schedule: ScheduleLike, frequency: int) -> ScheduleLike:
    """Returns a schedule that prunes every so many steps.

    Args:
        schedule: A schedule. One that has a `frequency` of its own gets another; of any other the answers at multiples
            of `frequency` count.
        frequency: The number of steps from one pruning to the next, at least 1.

    Raises:
        UsageError: If the frequency is no positive integer.

    Example:
        >>> schedule = with_frequency(ConstantSparsity(0.5, begin_step=1), 2)
        >>> [schedule(step)[0] for step in (0, 1, 2, 3)]
        [False, True, False, True]
    """
    _check_steps(0, -1, frequency)
    if hasattr(schedule, "frequency"):
        changed = copy.copy(schedule)
        changed.frequency = frequency
        return changed

    def sparse_schedule(step: int) -> tuple[Any, Any]:
        return schedule(step) if step % frequency == 0 else (False, 0.0)

    return sparse_schedule


def ask(schedule: ScheduleLike, step: int) -> tuple[bool, float]:
    """Returns whether a schedule prunes at a step, and the sparsity then, as Python's own values.

    Args:
        schedule: A schedule; it may answer in tensors, as tfmot's do.
        step: The number of the training step, from 0.

    Raises:
        UsageError: If its answer is no such pair, or it prunes and its sparsity is not in [0, 1).

    Example:
        >>> ask(lambda step: (step > 3, np.float32(0.5)), 4)
        (True, 0.5)
    """
    answer = schedule(step)
    try:
        should_prune, sparsity = answer
        should_prune, sparsity = bool(should_prune), float(sparsity)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"`schedule` must answer (should_prune, sparsity): a truth value and a number. At step {step} it "
            f"answered: {answer!r}.",
            "Return e.g. (step % 100 == 0, 0.5).",
        ) from error
    if should_prune:
        check_sparsity(sparsity, f"sparsity of the schedule at step {step}", argument="schedule")
    return should_prune, sparsity


def check_sparsity(value: Any, what: str, *, argument: str | None = None) -> None:
    """Raises unless a value is a sparsity: a number in [0, 1).

    Args:
        value: The value.
        what: What it is called in the message.
        argument: The argument at fault; by default `what`.

    Raises:
        UsageError: If it is not.
    """
    number = isinstance(value, Real) and not isinstance(value, bool)
    if not number or not math.isfinite(value) or not 0 <= value < 1:
        raise UsageError(
            f"The {what} must be in [0, 1): pruned / total weights. Received: {value!r}.",
            "Pass e.g. 0.8 to prune 80 % of the weights.",
            argument=argument or what,
        )


def _check_steps(begin_step: Any, end_step: Any, frequency: Any) -> None:
    for name, value, least in (("begin_step", begin_step, 0), ("end_step", end_step, -1), ("frequency", frequency, 1)):
        if not _is_whole(value) or value < least:
            raise UsageError(
                f"`{name}` must be an integer of at least {least}. Received: {value!r}.", "Count in training steps."
            )
    if end_step != -1 and end_step < begin_step:
        raise UsageError(
            f"`end_step` must not be before begin_step. Received: {end_step}, before {begin_step}.",
            "Pass a later step.",
        )


def _is_whole(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and float(value).is_integer()


def _is_turn(step: int, begin_step: int, end_step: int, frequency: int) -> bool:
    inside = step >= begin_step and (step <= end_step or end_step < 0)
    return bool(inside and (step - begin_step) % frequency == 0)


def _arguments(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments in a configuration; tfmot's holds them beside the name of the class."""
    inner = config.get("config") if "class_name" in config else config
    return dict(inner or {})


def _call_text(schedule: PolynomialDecay | ConstantSparsity) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in schedule.get_config().items())
    return f"{type(schedule).__name__}({arguments})"
