"""The lock of a run directory: one process at a time writes."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import filelock

from tf_lottery.errors import ResourceError, RunInUseError
from tf_lottery.utils.files import resources

NAME = ".lock"
# `is_held` holds the lock for an instant; a run that starts at that instant waits for it.
SECONDS = 1.0


@contextlib.contextmanager
def hold(path: Path, *, timeout: float = SECONDS) -> Iterator[None]:
    """Hold a run directory for writing; it is made if need be.

    Args:
        path: the run directory.
        timeout: seconds to wait for another process that holds it.

    Raises:
        RunInUseError: another process holds it.
        ResourceError: it can't be written.
    """
    with resources(path):
        path.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path / NAME, timeout=timeout)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise RunInUseError(
                f"The run {path} is in use by another process.",
                "Wait for it to end, or start another run with `fresh=True` or another `run_dir`.",
            ) from None
    try:
        yield
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds a run directory now."""
    if not (path / NAME).exists():
        return False
    try:
        with hold(path, timeout=0):
            return False
    except RunInUseError:
        return True
    except ResourceError:
        return False
