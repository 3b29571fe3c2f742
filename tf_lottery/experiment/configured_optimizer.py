"""The optimizer and the learning rate that a configuration describes."""

from typing import Any

import keras

from tf_lottery.experiment.config import Config
from tf_lottery.experiment.options import MOMENTUM
from tf_lottery.training import learning_rates


def make_learning_rate(config: Config, steps: int) -> Any:
    """Make the learning rate of a configuration: a number, or a schedule over the steps of a full training.

    Args:
        config: the experiment.
        steps: the steps of a full training.
    """
    schedule = learning_rates.Schedule(
        config.lr_schedule,
        base=config.learning_rate,
        steps=steps,
        milestones=config.lr_milestones,
        drop=config.lr_drop,
        warmup=config.warmup,
    )
    return learning_rates.constant_or_schedule(schedule)


def make_optimizer(config: Config, rate: Any) -> keras.optimizers.Optimizer:
    """Make the optimizer of a configuration; its decay is decoupled (Loshchilov & Hutter 2017, arXiv 1711.05101).

    Args:
        config: the experiment.
        rate: the learning rate, a number or a Keras schedule.
    """
    options: dict[str, Any] = {"learning_rate": rate}
    if config.weight_decay or config.optimizer == "adamw":
        options["weight_decay"] = config.weight_decay
    if config.optimizer in MOMENTUM:
        options["momentum"] = config.momentum
    optimizer = type(keras.optimizers.get(config.optimizer))(**options)
    return keras.optimizers.LossScaleOptimizer(optimizer) if config.precision == "mixed_float16" else optimizer
