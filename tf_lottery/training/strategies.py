"""From the name of a strategy to the replicas that train: one strategy of TensorFlow in a process."""

import logging
from typing import Any

import tensorflow as tf

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.training.replicas import Replicas
from tf_lottery.utils.text import one_line
from tf_lottery.utils.tf_config import MIRRORED, MULTI_WORKER, NONE, STRATEGIES, read_cluster

log = logging.getLogger(__name__)
KINDS = {MIRRORED: tf.distribute.MirroredStrategy, MULTI_WORKER: tf.distribute.MultiWorkerMirroredStrategy}
CPU_DEVICES = 2
"""Devices that a processor is divided into for a mirrored strategy, where nothing is said of their number."""
HEALTH_INTERVAL, HEALTH_TIMEOUT = 5, 5
"""Seconds between two looks at the other processes, and until one that does not answer is asked again or given up."""
_made: dict[str, Replicas] = {}


def make_replicas(name: str, *, devices: int = 0, device: str = "auto") -> Replicas | None:
    """Return the replicas of a strategy, made at the first call; None for the strategy "none".

    To be called before TensorFlow computes anything, after `device.configure`. "multi-worker" waits for all processes.

    Args:
        name: "none", "mirrored" or "multi-worker".
        devices: how many devices of this machine train, one replica each. 0: all GPUs; without a GPU two parts of the
            processor ("mirrored") or the processor as a whole ("multi-worker").
        device: "auto", "cpu" or "gpu".

    Raises:
        ResourceError: there are not so many GPUs, or this process has begun to compute already, or on another strategy.
        UsageError: `TF_CONFIG` describes no cluster with this process.
    """
    if name == NONE:
        return None
    key = f"{name} on {devices or 'all'} devices ({device})"
    if _made and key not in _made:
        raise ResourceError(
            f"A process has one strategy for all its trainings. It has {next(iter(_made))}; asked for: {key}.",
            "Train on the other one in another process.",
        )
    if key not in _made:
        cluster = read_cluster() if name == MULTI_WORKER else None
        chosen = _choose_devices(name, devices, device)
        if cluster:
            others = len(cluster.addresses) - 1
            log.info("process %d waits for %d others: %s", cluster.process, others, ", ".join(cluster.addresses))
        _made[key] = Replicas(_multi_worker() if cluster else tf.distribute.MirroredStrategy(chosen))
        log.info("%d replicas train: %s", _made[key].count, key)
    return _made[key]


def as_replicas(strategy: Any, *, device: str = "auto") -> tuple[str, Replicas | None]:
    """Return the name and the replicas of a strategy that a caller gives by name or as an object.

    Args:
        strategy: None; a name, for the strategy that the process has, or a new one; or a `MirroredStrategy` or
            `MultiWorkerMirroredStrategy` of `tf.distribute`.
        device: for a name: "auto", "cpu" or "gpu".

    Raises:
        UsageError: it is another object, or an unknown name.
        ResourceError: as `make_replicas`.
    """
    if strategy is None or (isinstance(strategy, str) and strategy in STRATEGIES):
        name = strategy or NONE
        present = [made for made in _made.values() if name != NONE and isinstance(made.strategy, KINDS[name])]
        return name, present[0] if present else make_replicas(name, device=device)
    for name, kind in KINDS.items():
        if isinstance(strategy, kind):
            key = f"the strategy {id(strategy):x}"
            if key not in _made:
                _made.clear()
                _made[key] = Replicas(strategy)
            return name, _made[key]
    raise UsageError(
        f"`strategy` must be one of {', '.join(STRATEGIES)}, or a MirroredStrategy or MultiWorkerMirroredStrategy of "
        f"tf.distribute. Received: {strategy!r}."
    )


def _choose_devices(name: str, count: int, device: str) -> list[str]:
    """Return the names of the devices that train, after those that do not were hidden.

    Raises:
        ResourceError: there are not so many, or it is too late to divide the processor.
    """
    gpus = [] if device == "cpu" else tf.config.list_physical_devices("GPU")
    if len(gpus) < count and (gpus or device == "gpu"):
        raise ResourceError(
            f"`strategy_devices` asks for {count} GPUs. TensorFlow sees {len(gpus)} on this machine.",
            "Ask for fewer, or compute on the processor by `device='cpu'`.",
            argument="strategy_devices",
        )
    try:
        if gpus:
            tf.config.set_visible_devices(gpus[: count or len(gpus)], "GPU")
            return [f"GPU:{number}" for number in range(count or len(gpus))]
        count = count or (CPU_DEVICES if name == MIRRORED else 1)
        if count > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    except RuntimeError as error:
        if gpus or len(tf.config.list_logical_devices("CPU")) < count:
            raise ResourceError(
                f"This process can't be divided into {count or 'several'} devices any more: {one_line(error)}",
                "Make the strategy before TensorFlow computes anything, and pass it as `strategy`.",
            ) from error
    return [f"CPU:{number}" for number in range(count)]


def _multi_worker() -> tf.distribute.Strategy:
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError, ValueError) as error:
        raise ResourceError(
            f"This process can't join the others: {one_line(error)}",
            "Is its address in TF_CONFIG free and its own? Start it before TensorFlow computes anything.",
        ) from error
    # As TensorFlow has it, a process that hangs would be noticed after a minute at the earliest.
    strategy.extended._check_health_interval = HEALTH_INTERVAL
    strategy.extended._check_health_timeout = HEALTH_TIMEOUT
    return strategy
