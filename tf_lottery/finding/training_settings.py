"""Loss, optimizer and metrics: those of the call, or else those that a compiled model brings."""

import contextlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.experiment.options import MOMENTUM, OPTIMIZERS
from tf_lottery.layers.acceptance import own_methods
from tf_lottery.training import learning_rates
from tf_lottery.training.optimizers import get_optimizer

log = logging.getLogger(__name__)
DEFAULT_OPTIMIZER = "adam"


@dataclass(frozen=True)
class TrainingSettings:
    """What a model is compiled with.

    Attributes:
        optimizer: its configuration is used; it is never trained with.
        loss: as in `model.compile`.
        metrics: as in `model.compile`.
        weighted_metrics: as in `model.compile`.
        loss_weights: as in `model.compile`.
        jit_compile: "auto", True or False.
    """

    optimizer: keras.optimizers.Optimizer
    loss: Any
    metrics: Any
    weighted_metrics: Any
    loss_weights: Any
    jit_compile: Any


def training_settings(
    model: keras.Model,
    *,
    optimizer: Any = None,
    loss: Any = None,
    metrics: Any = None,
    weighted_metrics: Any = None,
    loss_weights: Any = None,
    jit_compile: Any = "auto",
) -> TrainingSettings:
    """Return what to train with: each argument, and where it is left out, what the model was compiled with.

    Args:
        model: a model, compiled or not.
        optimizer: a Keras optimizer or its name; without one "adam".
        loss: as in `model.compile`.
        metrics: as in `model.compile`.
        weighted_metrics: as in `model.compile`.
        loss_weights: as in `model.compile`.
        jit_compile: "auto", True or False; "auto" takes over a model's own choice.

    Raises:
        UsageError: there is no loss (which a model with its own computes), or the optimizer is not one of Keras.
    """
    compiled = compiled_settings(model)
    own = own_methods(model, ("train_step", "test_step", "compute_loss"))
    if loss is None and compiled.get("loss") is None and "compute_loss" not in own and len(own) < 2:
        raise UsageError(
            "`loss` must be given: the model is not compiled with one.",
            f"The model has its own `{own[0]}`: give it the other step as well, or a `compute_loss`."
            if own
            else "Pass `loss='sparse_categorical_crossentropy'`, say, or compile the model first.",
        )
    if compiled.get("run_eagerly"):
        log.warning("run_eagerly of the model is not used: the steps of a training are compiled")
    chosen = optimizer if optimizer is not None else compiled.get("optimizer")
    return TrainingSettings(
        optimizer=get_optimizer(DEFAULT_OPTIMIZER if chosen is None else chosen),
        loss=compiled.get("loss") if loss is None else loss,
        metrics=compiled.get("metrics") if metrics is None else metrics,
        weighted_metrics=compiled.get("weighted_metrics") if weighted_metrics is None else weighted_metrics,
        loss_weights=compiled.get("loss_weights") if loss_weights is None else loss_weights,
        jit_compile=compiled.get("jit_compile", "auto") if jit_compile == "auto" else jit_compile,
    )


def compiled_settings(model: keras.Model) -> dict[str, Any]:
    """Return what a model was compiled with, by the names of the arguments of `compile`; empty if it was not.

    `jit_compile` is in it only where it was set to something else than what Keras chooses for the model: the choice
    "auto" leaves no trace, and on a CPU Keras always chooses not to.
    """
    if not model.compiled:
        return {}
    # `get_compile_config` serializes, from which no lambda comes back; this holds the objects themselves.
    raw = getattr(getattr(model, "_compile_config", None), "config", None)
    settings = dict(raw) if isinstance(raw, Mapping) else {"loss": model.loss}
    settings["optimizer"] = model.optimizer  # its learning rate may have been set since
    if model.jit_compile == model._resolve_auto_jit_compile():
        settings.pop("jit_compile", None)
    return settings


def optimizer_options(optimizer: keras.optimizers.Optimizer) -> dict[str, Any]:
    """Return the options of a configuration that describe a caller's optimizer; a schedule by its first rate."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    name = type(inner).__name__.lower()
    numbers = {"momentum": getattr(inner, "momentum", 0.0), "weight_decay": getattr(inner, "weight_decay", 0.0) or 0.0}
    options = {key: float(value) for key, value in numbers.items() if isinstance(value, int | float)}
    if name not in MOMENTUM:
        options.pop("momentum", None)
    # Several optimizers in one have no rate of their own.
    with contextlib.suppress(AttributeError, TypeError, ValueError):
        options["learning_rate"] = float(inner.learning_rate)
    return {"optimizer": name if name in OPTIMIZERS else "user", **options}


def with_last_rate_held(optimizer: keras.optimizers.Optimizer, last: int) -> keras.optimizers.Optimizer:
    """Return the optimizer, its schedule held after a step: what trains longer keeps that learning rate.

    Args:
        optimizer: a new optimizer; it is changed.
        last: the last step of a full training, counted from 0.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    schedule = getattr(inner, "_learning_rate", None)
    if isinstance(schedule, keras.optimizers.schedules.LearningRateSchedule):
        inner._learning_rate = learning_rates.hold(schedule, last)
    return optimizer
