"""What can be known of an experiment before anything of it is written: whether it can run, and what it will take."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.run import extended, locate
from tf_lottery.experiment.training_and_rewind_steps import rewind_step
from tf_lottery.experiment.trust import check_trust, imported_names
from tf_lottery.utils.machine import process_memory
from tf_lottery.utils.text import suggestion
from tf_lottery.utils.tf_config import MULTI_WORKER, NONE, read_cluster

if TYPE_CHECKING:
    from tf_lottery.experiment.estimate import Estimate


WITHOUT_STRATEGY = {"strategy": NONE, "strategy_devices": 0, "synchronized_batch_norm": False}
"""A dry run measures one device, and waits for no other process."""


@dataclass(frozen=True)
class DryRun:
    """An experiment that is planned and measured, but not run.

    Attributes:
        run_dir: the run directory that it would use.
        config: its configuration, extended to that of the run where there is one already.
        jobs_done: trainings that are committed already.
        estimate: what the other trainings will take.
    """

    run_dir: Path
    config: Config
    jobs_done: int
    estimate: "Estimate"

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {"run_dir": str(self.run_dir), "config": self.config.to_json(), **self.estimate.to_json()}


def check_before_run(config: Config) -> str:
    """Check what can be checked before anything is written, and return what the user's model adds to the hash.

    Named models and named data that are at hand need no TensorFlow for that; anything else is made once.

    Raises:
        LotteryError: the rewind point, the data set or the model is wrong.
    """
    from tf_lottery.data import locations
    from tf_lottery.models.catalog import CATALOG

    if config.steps is not None and config.rewind_point.unit == "step":
        rewind_step(config, None)
    locations.check_name(config.dataset)
    at_hand = config.dataset == "digits" or any(
        find(config.dataset, config.data_dir) for find in (locations.find_prepared, locations.find_raw)
    )
    if config.model in CATALOG and at_hand:
        return ""
    if config.model not in CATALOG and ":" not in config.model and not config.model.endswith(".keras"):
        raise UsageError(
            f"Unknown model {config.model!r}: no architecture, no `package.module:function`, no `.keras` file.",
            suggestion(config.model, CATALOG),
        )
    from tf_lottery.experiment import problem
    from tf_lottery.experiment.workers.strategy_run import replicas_of

    replicas_of(config)  # possible only before TensorFlow computes anything
    problem.from_config(config)
    return problem.model_hash(config)


def dry_run(config: Config, out: str | Path, *, fresh: bool = False, trust: bool = False) -> DryRun:
    """Check an experiment, and measure what it will take; nothing is written.

    Args:
        config: the experiment.
        out: the folder of the runs.
        fresh: whether it would start over in a new directory.
        trust: whether code may be imported that a run names which is extended, and the configuration does not.

    Raises:
        LotteryError: whatever would stop the experiment at its start.
    """
    model_hash = check_before_run(config.updated(**WITHOUT_STRATEGY))
    parent = process_memory()
    from tf_lottery.experiment import problem
    from tf_lottery.experiment.estimate import estimate
    from tf_lottery.training.device import configure

    configure(threads=config.threads, device=config.device)
    store = locate(config, out, fresh=fresh, model_hash=model_hash)
    if (store.path / "config.json").exists():
        known = imported_names(config)
        config = extended(config, store, model_hash=model_hash)
        check_trust(config, store.path, trust=trust, known=known)
    done = {job for job in plan.jobs(config) if store.is_complete(job)}
    planned = estimate(config, problem.from_config(config), done=done, parent=parent)
    return DryRun(store.path, config, len(done), planned)


@contextlib.contextmanager
def removing_unused_directory(store: RunDirectory, config: Config) -> Iterator[None]:
    """Remove the run directory again if a run fails before its first training is committed or saved.

    Folders that were there before stay. Of several processes that train together, the chief does it.

    Args:
        store: the run directory.
        config: the experiment.

    Raises:
        UsageError: `TF_CONFIG` describes no cluster with this process, where the strategy needs one.
    """
    if config.strategy == MULTI_WORKER and not read_cluster().is_chief:
        yield
        return
    made = [folder for folder in (store.path, *store.path.parents) if not folder.exists()]
    try:
        yield
    except Exception:
        if made and not store.complete_jobs() and not any(store.path.glob("replicate_*/round_*/**/partial.npz")):
            with contextlib.suppress(LotteryError, OSError), store.lock():
                shutil.rmtree(store.path)
            for folder in made:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
        raise
