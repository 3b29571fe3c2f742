"""Learning rates over the steps of a training: constant, in drops, or along a cosine, after a linear warm-up.

A schedule is a function of the absolute step, which is the optimizer's `iterations`. So a training that is rewound to
step K, iterations included, continues with the learning rate of step K, and one that is lengthened keeps the last one.
"""

import math
import operator
from collections.abc import Iterable
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.utils.text import suggestion

KINDS = ("constant", "step", "cosine")


@keras.saving.register_keras_serializable(package="tf_lottery")
class Schedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate at step t, counted from 0, of a training of `steps` steps.

    With `position = min(t, steps - 1)`, so that the last learning rate is kept (to fine-tune with):

        position < warmup   base * (position + 1) / warmup
        "constant"          base
        "step"              base * drop ** (number of milestones <= position)
        "cosine"            base * (1 + cos(pi * (position - warmup) / (steps - warmup))) / 2      (arXiv 1608.03983)

    Steps are compared and subtracted as int64, so they stay exact beyond 2**24, where float32 rounds neighbors to
    one number; the value is float32. Everything is a graph operation that XLA compiles.

    Args:
        kind: "constant", "step" or "cosine".
        base: the learning rate after the warm-up, before any drop.
        steps: the length of a full training.
        milestones: the first steps of each lower learning rate; for "step" only.
        drop: what each milestone multiplies the learning rate by.
        warmup: the number of steps that lead up to `base`.

    Raises:
        UsageError: an argument is out of range, or would be ignored.
    """

    def __init__(
        self,
        kind: str,
        *,
        base: float,
        steps: int,
        milestones: Iterable[int] = (),
        drop: float = 0.1,
        warmup: int = 0,
    ) -> None:
        super().__init__()
        if kind not in KINDS:
            raise UsageError(f"Unknown learning-rate schedule {kind!r}.", suggestion(str(kind), KINDS))
        self.kind = kind
        self.base = _number("base", base)
        self.steps = _integer("steps", steps, least=1)
        self.warmup = _integer("warmup", warmup, least=0)
        self.drop = _number("drop", drop)
        self.milestones = tuple(_integer("milestones", step, least=1) for step in _several(milestones))
        self._check()

    def _check(self) -> None:
        if self.warmup >= self.steps:
            raise UsageError(
                f"`warmup` must be shorter than the training of {self.steps} steps. Received: {self.warmup}.",
                "Shorten the warm-up, or train longer.",
            )
        if not 0 < self.drop < 1:
            raise UsageError(
                f"`drop` must be in (0, 1): what a milestone multiplies the learning rate by. Received: {self.drop}.",
                "Pass e.g. 0.1.",
            )
        if bool(self.milestones) != (self.kind == "step"):
            raise UsageError(
                f"`milestones` belong to the schedule 'step', which needs one at least. Received: {self.milestones} "
                f"for {self.kind!r}.",
                "Choose 'step', and give the steps at which the learning rate drops, e.g. (32000, 48000).",
            )
        if any(step >= after for step, after in zip(self.milestones, self.milestones[1:], strict=False)):
            raise UsageError(
                f"`milestones` must rise. Received: {self.milestones}.", "Sort them, and give each of them once."
            )
        if self.milestones and self.milestones[-1] >= self.steps:
            raise UsageError(
                f"`milestones` must come before the end of the training at step {self.steps}. Received: "
                f"{self.milestones}.",
                "Leave out those beyond it, or train longer.",
            )

    def __call__(self, step: Any) -> Any:
        """The learning rate, a float32 scalar, at an integer step (a number, tensor or variable)."""
        position = keras.ops.minimum(keras.ops.convert_to_tensor(step, dtype="int64"), self.steps - 1)
        value = getattr(self, f"_{self.kind}")(position)
        if not self.warmup:
            return value
        rising = self.base * (_float(position + 1) / self.warmup)
        return keras.ops.where(position < self.warmup, rising, value)

    def _constant(self, position: Any) -> Any:
        return keras.ops.convert_to_tensor(self.base, dtype="float32")

    def _step(self, position: Any) -> Any:
        # A table made in double precision: powers of a float32 drop would drift from one machine to another.
        rates = [self.base * self.drop**count for count in range(len(self.milestones) + 1)]
        milestones = keras.ops.convert_to_tensor(self.milestones, dtype="int64")
        passed = keras.ops.sum(keras.ops.cast(milestones <= position, "int32"))
        return keras.ops.take(keras.ops.convert_to_tensor(rates, dtype="float32"), passed)

    def _cosine(self, position: Any) -> Any:
        # (1 + cos(pi * (1 - f))) / 2 = sin(pi * f / 2)**2, which does not lose its last digits near the end, where f,
        # the fraction left, goes to 0.
        left = _float(self.steps - position) / (self.steps - self.warmup)
        return self.base * keras.ops.square(keras.ops.sin(math.pi / 2 * left))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values."""
        return {
            "kind": self.kind,
            "base": self.base,
            "steps": self.steps,
            "milestones": list(self.milestones),
            "drop": self.drop,
            "warmup": self.warmup,
        }


@keras.saving.register_keras_serializable(package="tf_lottery")
class Held(keras.optimizers.schedules.LearningRateSchedule):
    """Another schedule, which keeps its value from step `last` on. See `hold`.

    Args:
        schedule: any Keras schedule.
        last: the last step of a full training, counted from 0.
    """

    def __init__(self, schedule: keras.optimizers.schedules.LearningRateSchedule, last: int) -> None:
        super().__init__()
        if not isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
            raise UsageError(
                f"`schedule` must be a keras.optimizers.schedules.LearningRateSchedule. Received: {schedule!r}.",
                "A number is a constant learning rate, and needs no holding.",
            )
        self.schedule = schedule
        self.last = _integer("last", last, least=0)

    def __call__(self, step: Any) -> Any:
        """The learning rate at a step (a number, tensor or variable)."""
        step = keras.ops.convert_to_tensor(step)
        return self.schedule(keras.ops.minimum(step, keras.ops.cast(self.last, step.dtype)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments, as JSON values."""
        return {"schedule": keras.optimizers.schedules.serialize(self.schedule), "last": self.last}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> "Held":
        """Make the schedule again.

        Args:
            config: as from `get_config`.
            custom_objects: classes of the caller's own by name, as in Keras.
        """
        return cls(keras.optimizers.schedules.deserialize(config["schedule"], custom_objects), config["last"])


def constant_or_schedule(schedule: Schedule) -> float | Schedule:
    """The learning rate for a Keras optimizer: a number where the schedule never changes, else the schedule.

    Example:
        >>> constant_or_schedule(Schedule("constant", base=0.5, steps=10))
        0.5
        >>> rate = constant_or_schedule(Schedule("step", base=0.5, steps=10, milestones=(4, 8), warmup=2))
        >>> [round(float(rate(step)), 4) for step in (0, 1, 3, 4, 8, 9, 99)]
        [0.25, 0.5, 0.5, 0.05, 0.005, 0.005, 0.005]
    """
    return schedule.base if schedule.kind == "constant" and not schedule.warmup else schedule


def hold(schedule: keras.optimizers.schedules.LearningRateSchedule, last: int) -> Held:
    """A schedule of the caller's, with the value of step `last` from there on: what fine-tuning trains with.

    Args:
        schedule: any Keras schedule. It is shared, not copied: schedules have no state.
        last: the last step of a full training, counted from 0.

    Returns:
        A new schedule.

    Raises:
        UsageError: `schedule` is none, or `last` is not a step.

    Example:
        >>> rate = hold(keras.optimizers.schedules.PiecewiseConstantDecay([2], [0.5, 0.25]), 2)
        >>> [float(rate(step)) for step in (1, 2, 99)]
        [0.5, 0.5, 0.5]
    """
    return Held(schedule, last)


def _float(value: Any) -> Any:
    return keras.ops.cast(value, "float32")


def _several(milestones: Any) -> tuple[Any, ...]:
    try:
        return tuple(milestones)
    except TypeError:
        raise UsageError(
            f"`milestones` must be a sequence of steps. Received: {milestones!r}.", "Pass e.g. (32000, 48000)."
        ) from None


def _integer(name: str, value: Any, *, least: int) -> int:
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if number < least:
        raise UsageError(
            f"`{name}` must count steps: whole numbers of at least {least}. Received: {value!r}.", "Correct it."
        )
    return number


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise UsageError(
            f"`{name}` must be a finite number that is not negative. Received: {value!r}.", "Pass e.g. 0.1."
        )
    return number
