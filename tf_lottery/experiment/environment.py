"""What a run was made with, and whether it is still the same."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.layers.sparse import kernels
from tf_lottery.layers.sparse.native import SETTING
from tf_lottery.utils import machine
from tf_lottery.utils.files import dump_json

log = logging.getLogger(__name__)
# A change of one of these changes the bits of a training.
DECISIVE = (*machine.DECISIVE, "threads", "xla", "kernels", "devices", "tf32")

# Keys that runs of earlier versions do not have.
ADDED = ("instructions",)


def describe(
    config: Config,
    *,
    xla: bool,
    fingerprint: str,
    instruction_set: str = "",
    indivisible: Mapping[str, str] | None = None,
    own_code: str = "",
    replicas: int = 1,
) -> dict[str, Any]:
    """Return versions, processor, devices and settings of this process, as JSON values.

    Args:
        config: the experiment.
        xla: whether the steps are compiled by XLA.
        fingerprint: SHA-256 of the data's content, or "" for a stream.
        instruction_set: the instruction set of the sparse kernels that layers may compute by, or "" for none.
        indivisible: why a weight is not pruned in the units that were asked for, by weight path.
        own_code: a digest of the caller's own classes and functions, or "" where there are none.
        replicas: how many devices train each model together.
    """
    set_only: dict[str, Any] = {
        "indivisible": dict(indivisible or {}),
        "kernels": instruction_set,
        "own_code": own_code,
    }
    set_only["replicas"] = replicas if replicas > 1 else None
    return {key: value for key, value in set_only.items() if value} | {
        **machine.describe(machine.PACKAGES),
        "threads": config.threads,
        "devices": [device.device_type for device in tf.config.list_logical_devices()],
        "xla": xla,
        "precision": config.precision,
        "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        "data_fingerprint": fingerprint,
    }


def record(store: RunDirectory, now: Mapping[str, Any]) -> str:
    """Write down what a run is made with; where that is done, check that it has not changed.

    Args:
        store: the run directory.
        now: what this process makes it with, from `describe`.

    Returns:
        The SHA-256 of `environment.json`.

    Raises:
        UnfitError: the data is not the data that the run began with.
        UsageError: a class or function of the caller's has changed since.
        DamagedError: the file was altered.
    """
    before = store.environment()
    if before and before.get("data_fingerprint") != now["data_fingerprint"]:
        raise UnfitError(
            f"The data of {store.path} has changed since the run began.",
            "Restore the data, or start over with `fresh=True`.",
        )
    began, train = before.get("replicas", 1), now.get("replicas", 1)
    if before and began != train:
        raise UnfitError(
            f"{store.path} was begun with {began} replicas, and {train} train now: each has random numbers and running "
            "metrics of its own.",
            "Train it on as many devices (`strategy_devices`), or start over with `fresh=True`.",
            argument="strategy_devices",
        )
    check_own_code(store, now.get("own_code", ""))
    comparable = [key for key in DECISIVE if key in before or key not in ADDED] if before else []
    changed = [key for key in comparable if before.get(key) != now.get(key)]
    if changed:
        log.warning(
            "the run continues with another %s: results are no longer bit for bit those of one run",
            ", ".join(f"{key} ({now.get(key)} instead of {before.get(key)})" for key in changed),
        )
    return store.write_pinned("environment.json", dump_json(now))


def check_own_code(store: RunDirectory, own_code: str) -> None:
    """Check that the caller's own classes and functions are those that a run began with.

    Args:
        store: the run directory; one that an earlier version began does not say with which.
        own_code: their digest now, or "" where there are none.

    Raises:
        UsageError: one of them has changed.
        DamagedError: `environment.json` was altered.
    """
    before = store.environment()
    if before and (began_with := before.get("own_code", own_code)) != own_code:
        raise UsageError(
            f"The code of a model, loss, metric or optimizer of {store.path} has changed since the run began: its "
            f"digest is {own_code[:12] or 'none'} instead of {began_with[:12]}.",
            "Restore the functions and classes as they were, or start over with `fresh=True`.",
        )


def sparse_setting(config: Config, before: Mapping[str, Any]) -> str:
    """Return whether a run's layers compute by the sparse kernels: as it began, where it has begun.

    Args:
        config: the experiment.
        before: what the run was begun with, or nothing.

    Raises:
        UnfitError: it was begun with kernels, and there are none.
    """
    if config.sparse == "off" or not before:
        return config.sparse
    if not before.get("kernels"):
        return "off"
    if kernels():
        return config.sparse
    if os.environ.get(SETTING) == "off":
        return "off"
    raise UnfitError(
        f"The run was begun with the sparse kernels ({before['kernels']}), and there are none here: "
        f"{kernels().reason}.",
        f"Continue it where there are, or set {SETTING}=off to continue without: results are then no longer bit for "
        "bit those of one run.",
    )
