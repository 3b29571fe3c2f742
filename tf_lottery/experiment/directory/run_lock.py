"""The lock of a run directory: one process at a time writes."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import filelock

from tf_lottery.errors import ResourceError, RunInUseError
from tf_lottery.utils.files import make_directory, resources

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
        make_directory(path)
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
    """Whether a process holds a run directory now, or may hold it: another user's lock that can't be read."""
    if not (path / NAME).exists():
        return False
    try:
        with hold(path, timeout=0):
            return False
    except RunInUseError:
        return True
    except ResourceError:
        return _is_locked_by_another_user(path / NAME)


def _is_locked_by_another_user(path: Path) -> bool:
    """Whether a lock is held that may be read but not written; one that may not even be read may be held."""
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY)
    except (FileNotFoundError, ImportError):
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a folder, or a file system without locks
        return False
    finally:
        os.close(descriptor)
    return False
