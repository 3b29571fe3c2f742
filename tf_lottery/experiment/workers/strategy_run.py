"""A run under a strategy: its replicas, and what all processes must have in common before anything is trained."""

import dataclasses
from collections.abc import Iterable

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.problem import Problem
from tf_lottery.experiment.workers.shared_directory import SharedDirectory
from tf_lottery.training import device
from tf_lottery.training.process_checks import check_equal
from tf_lottery.training.replica_layers import check_replicable
from tf_lottery.training.replicas import Replicas
from tf_lottery.training.strategies import make_replicas
from tf_lottery.utils import machine


def replicas_of(config: Config) -> Replicas | None:
    """Return the replicas of a configuration; None without a strategy. Sets threads and devices of this process.

    Raises:
        ResourceError: there are not so many devices, or it is too late to choose them.
        UsageError: `TF_CONFIG` describes no cluster with this process.
    """
    device.configure(threads=config.threads, device=config.device)
    return make_replicas(config.strategy, devices=config.strategy_devices, device=config.device)


def opened(config: Config, store: RunDirectory, replicas: Replicas, *, model_hash: str) -> RunDirectory:
    """Return the run directory as the replicas write it, after it was checked that they run the same.

    Args:
        config: the experiment.
        store: its run directory.
        replicas: what trains it.
        model_hash: what a user's model adds to the hash.

    Raises:
        UsageError: the batch does not divide among the replicas, or the processes differ in what they run.
    """
    replicas.check_batch(config.batch_size)
    if replicas.processes == 1:
        return store
    versions = machine.describe(machine.PACKAGES)
    check_equal(
        replicas,
        {
            "the versions": ", ".join(f"{name} {versions[name]}" for name in ("python", *machine.PACKAGES)),
            "the configuration": config.hash(model_hash=model_hash),
            "its rounds, replicates and variants": (config.rounds, config.replicates, config.variants),
            "the run directory": store.path.name,
        },
    )
    return SharedDirectory(store.path, replicas)


def check_same_trainings(replicas: Replicas | None, done: Iterable[Job]) -> None:
    """Check that all processes see the same committed trainings.

    Args:
        replicas: what trains, or None.
        done: the trainings that this process sees.

    Raises:
        UsageError: another sees others.
    """
    if replicas and replicas.processes > 1:
        check_equal(replicas, {"the trainings that are committed": sorted(map(str, done))})


def replicated(problem: Problem, replicas: Replicas | None) -> Problem:
    """Return a problem that is trained by replicas.

    Args:
        problem: the problem.
        replicas: what trains it, or None for one.

    Raises:
        UsageError: its model keeps a state from batch to batch, or has steps of its own; or the processes differ in
            model or data.
        UnfitError: several processes are to divide a stream.
    """
    if replicas is None:
        return problem
    plain = problem.make_model(0)
    check_replicable(plain, replicas)
    if replicas.processes > 1:
        if not problem.replayable:
            raise UnfitError(
                "Several processes divide the batch of a step, which a stream need not give to all of them.",
                "Pass arrays, or the strategy 'mirrored'.",
            )
        check_equal(replicas, {"the data": problem.fingerprint, "code of models and losses": problem.own_code(plain)})
    return dataclasses.replace(problem, replicas=replicas)
