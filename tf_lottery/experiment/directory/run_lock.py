"""The lock of a run directory: one process at a time writes.

It is a lock of the system's on the file `.lock`. Where the system has none to give, or does not answer, and on network
file systems, where it may hold for one machine alone, it is a lock of files with a heartbeat.
"""

import contextlib
import errno
import logging
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock

from tf_lottery.errors import RunInUseError
from tf_lottery.utils import network_files
from tf_lottery.utils.files import make_directory, resources
from tf_lottery.utils.heartbeat_lock import STALE, HeartbeatLock, HeldError, Owner, lives

log = logging.getLogger(__name__)

NAME = ".lock"
# `is_held` holds the lock for an instant; a run that starts at that instant waits for it.
SECONDS = 1.0
ANSWER_SECONDS = 10.0
"""How much longer than the timeout the system may take to say whether it gives a lock."""
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_WAIT = "Wait for it to end, or start another run with `fresh=True` or another `run_dir`."


class RunLock:
    """What holds a run directory for writing.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._release: list[Callable[[], None]] = []
        self._heartbeat: HeartbeatLock | None = None

    def acquire(self, timeout: float) -> None:
        """Take the lock.

        Raises:
            RunInUseError: another process holds it.
            ResourceError: it can't be written.
        """
        with resources(self.path):
            make_directory(self.path)
            granted = _acquire_of_system(self.path, timeout)
            if granted is not None:
                self._release.append(granted)
            if granted is None or network_files.is_on_network(self.path):
                self._acquire_by_files(timeout)

    def _acquire_by_files(self, timeout: float) -> None:
        lock = HeartbeatLock(self.path / NAME)
        try:
            lock.acquire(timeout=timeout, on_wait=self._log_wait)
        except BaseException as error:
            self.release()
            if isinstance(error, HeldError):
                raise _in_use(self.path, error.owner) from None
            raise
        self._release.append(lock.release)
        self._heartbeat = lock

    def _log_wait(self, owner: Owner | None) -> None:
        log.warning("Waiting for up to %.0f s to see whether %s still writes %s.", STALE, owner or "another", self.path)

    def check(self) -> None:
        """Check that no other process took the lock, as from one that gave no sign of life.

        Raises:
            RunInUseError: one did, or may have.
            ResourceError: the file system does not answer.
        """
        with resources(self.path):
            if self._heartbeat is not None and self._heartbeat.is_lost():
                raise RunInUseError(
                    f"The run {self.path} was taken over by another process, or may be: this one could not write its "
                    f"heartbeat for {STALE:.0f} s.",
                    "All that is committed stays. Look whether the file system answers, then start the run again.",
                )

    def release(self) -> None:
        """Give the lock back."""
        self._heartbeat = None
        while self._release:
            self._release.pop()()


@contextlib.contextmanager
def hold(path: Path, *, timeout: float = SECONDS) -> Iterator[RunLock]:
    """Hold a run directory for writing; it is made if need be.

    Args:
        path: the run directory.
        timeout: seconds to wait for another process that holds it.

    Raises:
        RunInUseError: another process holds it.
        ResourceError: it can't be written.
    """
    lock = RunLock(path)
    lock.acquire(timeout)
    try:
        yield lock
    finally:
        lock.release()


def is_held(path: Path) -> bool:
    """Whether a process holds a run directory now, or may hold it: another user's lock that can't be read."""
    if not (path / NAME).exists():
        return False
    try:
        released = _acquire_of_system(path, 0)
        if released is not None:
            released()
        return lives(path / NAME)
    except RunInUseError:
        return True
    except OSError:
        return _is_locked_by_another_user(path / NAME)


def _acquire_of_system(path: Path, timeout: float) -> Callable[[], None] | None:
    """Take the system's lock; return what gives it back, or None where there are no such locks or no answer comes.

    Raises:
        RunInUseError: another process holds it.
        OSError: the file can't be written.
    """
    attempt = _Attempt(path / NAME, timeout)
    attempt.thread.start()
    attempt.thread.join(timeout + ANSWER_SECONDS)
    if attempt.abandon():
        log.warning("The system does not say whether %s is locked; a lock of files is taken.", path)
        return None
    match attempt.error:
        case None:
            return attempt.lock.release
        case filelock.Timeout():
            raise _in_use(path, None) from None
        case PermissionError() if _is_locked_by_another_user(path / NAME):
            raise _in_use_by_another_user(path) from attempt.error
        case OSError() as error if error.errno in _NO_LOCKS:
            return None
    raise attempt.error


class _Attempt:
    """A try at the system's lock in a thread of its own, which a server that is down may hold for ever."""

    def __init__(self, path: Path, timeout: float) -> None:
        self.lock = filelock.FileLock(path, timeout=timeout, thread_local=False, fallback_to_soft=False)
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="run lock", daemon=True)
        self._decision = threading.Lock()
        self._done = self._abandoned = False

    def _run(self) -> None:
        try:
            self.lock.acquire()
        except BaseException as error:
            self.error = error
        with self._decision:
            self._done = True
            late = self._abandoned
        if late and self.error is None:
            with contextlib.suppress(OSError):  # the end of the process gives it back
                self.lock.release()

    def abandon(self) -> bool:
        """Give up an attempt that is not done, whose lock is given back whenever it comes; whether it was not done."""
        with self._decision:
            self._abandoned = not self._done
            return self._abandoned


def _in_use(path: Path, owner: Owner | None) -> RunInUseError:
    return RunInUseError(f"The run {path} is in use by {owner or 'another process'}.", _WAIT)


def _in_use_by_another_user(path: Path) -> RunInUseError:
    return RunInUseError(
        f"The run {path} of the user {_user_of(path)} is in use, and may not be written by you.",
        "Read it with `tf_lottery.open_run(...)`, or start a run of your own in another `run_dir`.",
    )


def _user_of(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError, NotImplementedError):
        return "who owns it"


def _is_locked_by_another_user(path: Path) -> bool:
    """Whether a lock is held that may be read but not written; one that may not even be read may be held."""
    try:
        import fcntl

        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
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
