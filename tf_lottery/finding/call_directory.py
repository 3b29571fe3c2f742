"""The run directory of a call of `find_ticket`."""

import contextlib
import shutil
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from tf_lottery.errors import UsageError
from tf_lottery.experiment.run import fresh_directory
from tf_lottery.training.replicas import Replicas
from tf_lottery.utils.files import temporary_directory


@contextlib.contextmanager
def call_directory(
    run_dir: str | PathLike[str] | None, *, fresh: bool, replicas: Replicas | None = None
) -> Iterator[Path]:
    """Yield the run directory of a call; a temporary one is removed where the call fails.

    Args:
        run_dir: the directory that the caller named, or None for a temporary one.
        fresh: whether to start over beside what it holds.
        replicas: the replicas of a strategy, or None.

    Raises:
        UsageError: several processes train, and the directory that they share is not named.
    """
    if run_dir is None and replicas and replicas.processes > 1:
        raise UsageError(
            "All processes of a strategy share the run directory. Received: `run_dir=None`, a temporary one.",
            "Name one that all of them see, by `run_dir`.",
        )
    if run_dir is not None:
        yield fresh_directory(Path(run_dir)) if fresh else Path(run_dir)
        return
    directory = temporary_directory()
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
