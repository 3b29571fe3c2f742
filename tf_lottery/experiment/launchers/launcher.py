"""From the launcher's name to a pool that runs the trainings of a run."""

import contextlib
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.launchers.presence import presence
from tf_lottery.experiment.launchers.ray_pool import RayPool, ray_cluster
from tf_lottery.experiment.launchers.remote_job import joined
from tf_lottery.experiment.launchers.slurm_pool import SlurmPool, executor_of
from tf_lottery.experiment.workers import executor
from tf_lottery.experiment.workers.job_events import JobFunction, Pool

OF_RAY = ("num_gpus",)


@contextlib.contextmanager
def cluster_pool(
    config: Config, run_dir: Path, waiting: list[Job], make_job_function: Callable[[], JobFunction]
) -> Iterator[Pool]:
    """Yield a pool that runs the trainings of a run on a cluster.

    Args:
        config: the experiment; its launcher is not "local".
        run_dir: its run directory, whose lock this process holds; all machines see it under this path.
        waiting: the jobs to run.
        make_job_function: makes the function that trains jobs, in a worker.

    Raises:
        UsageError: functions of the user's own that no other process can import, an unknown option of the launcher, or
            the launcher's package is not installed.
        ResourceError: there is no such cluster, or it has less than a training takes.
    """
    if config.needs_this_process:
        raise UsageError(
            f"The launcher {config.launcher} trains in other processes, which can't import "
            f"{', '.join(config.needs_this_process)}.",
            "Put them into a module, and name them as package.module:function.",
        )
    with presence(run_dir) as signs:
        make = joined(make_job_function, signs, mixed=config.mixed_machines)
        open_pool = _ray if config.launcher == "ray" else _slurm
        with open_pool(config, run_dir, waiting, make) as pool:
            yield pool


@contextlib.contextmanager
def _ray(config: Config, run_dir: Path, waiting: list[Job], make: Callable[[], JobFunction]) -> Iterator[Pool]:
    options = launcher_options(config)
    if unknown := sorted(set(options) - set(OF_RAY)):
        raise UsageError(f"The launcher ray has no option {unknown[0]!r}.", f"It has: {', '.join(OF_RAY)}.")
    gpus = _number(options, "num_gpus")
    with ray_cluster(config.address) as resources:
        fitting = math.floor(resources.get("CPU", 0) / config.threads)
        if gpus:
            fitting = min(fitting, math.floor(resources.get("GPU", 0) / gpus + 1e-9))
        if fitting < 1:
            raise ResourceError(
                f"A training takes {config.threads} CPUs and {gpus:g} GPUs. The Ray cluster has "
                f"{resources.get('CPU', 0):g} CPUs and {resources.get('GPU', 0):g} GPUs.",
                "Take fewer `threads` or GPUs, or join a larger cluster by `address`.",
            )
        size = executor.workers(config, len(waiting), cores=fitting * config.threads)
        with RayPool(make, min(size, fitting), {"num_cpus": config.threads, "num_gpus": gpus}) as pool:
            yield pool


@contextlib.contextmanager
def _slurm(config: Config, run_dir: Path, waiting: list[Job], make: Callable[[], JobFunction]) -> Iterator[Pool]:
    folder = run_dir.parent / ".slurm" / run_dir.name
    parameters = {"cpus_per_task": config.threads, "name": run_dir.name, **launcher_options(config)}
    queue = executor_of(folder.resolve(), parameters)
    size = executor.workers(config, len(waiting), cores=len(waiting) * config.threads)
    with SlurmPool(make, size, queue, folder.resolve()) as pool:
        yield pool


def launcher_options(config: Config) -> dict[str, Any]:
    """Return the options of the launcher by name; texts that are whole numbers as such.

    Raises:
        UsageError: one is not NAME=VALUE.

    Example:
        >>> launcher_options(Config(launcher="slurm", launcher_options=("timeout_min=60", "slurm_partition=gpu")))
        {'timeout_min': 60, 'slurm_partition': 'gpu'}
    """
    options: dict[str, Any] = {}
    for text in config.launcher_options:
        name, equals, value = text.partition("=")
        if not (name and equals and value):
            raise UsageError(f"`launcher_options` must be NAME=VALUE. Received: {text!r}.", "Pass e.g. timeout_min=60.")
        options[name] = int(value) if value.isdecimal() else value
    return options


def _number(options: dict[str, Any], name: str) -> float:
    try:
        number = float(options.get(name, 0))
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise UsageError(f"`{name}` must be a number that is not negative. Received: {options[name]!r}.")
    return number
