"""Strategies by which several devices train one model, and the processes that `TF_CONFIG` names. No TensorFlow."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from tf_lottery.errors import UsageError

NONE, MIRRORED, MULTI_WORKER = STRATEGIES = ("none", "mirrored", "multi-worker")
NAME = "TF_CONFIG"
JOBS = ("chief", "worker")
"""The jobs of processes that train, in the order of their numbers."""


@dataclass(frozen=True)
class Cluster:
    """Processes that train together.

    Attributes:
        addresses: `host:port` of each process that trains, the chief's first.
        process: the number of this process among them.
    """

    addresses: tuple[str, ...]
    process: int

    @property
    def is_chief(self) -> bool:
        """Whether this process writes what they train."""
        return self.process == 0


def read_cluster(environ: Mapping[str, str] | None = None) -> Cluster:
    """Return the cluster that `TF_CONFIG` describes.

    Args:
        environ: the environment; by default that of this process.

    Raises:
        UsageError: the variable is not set, or describes no cluster with this process.

    Example:
        >>> task = '{"cluster": {"worker": ["a:1234", "b:1234"]}, "task": {"type": "worker", "index": 1}}'
        >>> read_cluster({"TF_CONFIG": task})
        Cluster(addresses=('a:1234', 'b:1234'), process=1)
    """
    text = (os.environ if environ is None else environ).get(NAME, "")
    if not text:
        raise _unusable("it is not set")
    try:
        document = json.loads(text)
        jobs, task = document["cluster"], document["task"]
        kind, index = task["type"], int(task["index"])
        addresses = {job: [str(address) for address in jobs.get(job, [])] for job in JOBS}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _unusable(f"{type(error).__name__}: {error}") from error
    if kind not in JOBS or not 0 <= index < len(addresses[kind]):
        raise _unusable(f"the task {kind} {index} is not one of the cluster's chief and workers")
    return Cluster(
        tuple(address for job in JOBS for address in addresses[job]),
        index + (len(addresses["chief"]) if kind == "worker" else 0),
    )


def _unusable(reason: str) -> UsageError:
    return UsageError(
        f"The strategy multi-worker needs the environment variable {NAME} in each process: {reason}.",
        'Set it to {"cluster": {"worker": ["HOST:PORT", ...]}, "task": {"type": "worker", "index": N}}.',
    )
