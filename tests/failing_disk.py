"""A disk that ends a process, or fails, at its N-th change.

A change is a file opened for writing, a sync, a rename, a removal, a new folder. Changes are seen by Python's audit
events and by `os.fsync`; what native code writes (TensorFlow's checkpoints) is seen when it is renamed or synced. After
a `KilledError` the disk takes no more changes, as if the process were gone: what an `except` or a `finally` would do to
files, it cannot.
"""

import contextlib
import os
import sys

_CHANGES = {"os.rename": 0, "os.remove": 0, "os.mkdir": 0, "os.rmdir": 0, "os.symlink": 1, "os.link": 1}
# Where the descriptor of the folder is that a path may be relative to, as `shutil.rmtree` removes.
_FOLDERS = {"os.remove": 1, "os.rmdir": 1}
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_fsync = os.fsync
_disks = []


class KilledError(BaseException):
    """Stands for the end of the process: nothing in the library catches it."""


class FailingDisk:
    """Counts the changes below a folder, and fails at one of them.

    Attributes:
        folder: the folder.
        at: the number of the change that fails, from 0; None for none.
        error: the `errno` that the change fails with; None kills.
        lasting: whether all later changes but removals fail with that error as well.
        changes: what was done, in order, e.g. "os.rename results.csv".
    """

    def __init__(self, folder, at=None, *, error=None, lasting=False):
        self.folder, self.at, self.error, self.lasting = os.fspath(folder), at, error, lasting
        self.changes = []

    def change(self, what, path):
        """Count a change, and fail if it is the one."""
        number = len(self.changes)
        self.changes.append(f"{what} {os.path.relpath(path, self.folder)}")
        if self.at is None or number < self.at:
            return
        if self.error is None:
            if number == self.at and what == "os.fsync":
                lose_unsynced(path)
            raise KilledError(self.changes[-1])
        if number == self.at or (self.lasting and what != "os.remove"):
            raise OSError(self.error, os.strerror(self.error), os.fspath(path))

    @contextlib.contextmanager
    def at_work(self):
        """Let the disk see what this process does."""
        if not _disks:
            _install()
        _disks.append(self)
        os.fsync = _sync
        try:
            yield self
        finally:
            os.fsync = _fsync
            _disks[-1] = None

    def sees(self, path):
        """Whether a path is below the folder, or the folder."""
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        path = os.path.abspath(os.fsdecode(path))
        return path == self.folder or path.startswith(self.folder + os.sep)


def lose_unsynced(path):
    """Cut a file in half, as where the rest never reached the disk."""
    if os.path.isfile(path):
        os.truncate(path, os.path.getsize(path) // 2)


def _install():
    sys.addaudithook(_hook)


def _hook(event, arguments):
    disk = _disks[-1]
    if disk is None:
        return
    if event == "open" and arguments[2] & _WRITES and disk.sees(arguments[0]):
        disk.change(event, os.fsdecode(arguments[0]))
    elif event in _CHANGES:
        path, folder = arguments[_CHANGES[event]], arguments[_FOLDERS[event]] if event in _FOLDERS else -1
        if folder != -1:
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), os.fsdecode(path))
        if disk.sees(path):
            disk.change(event, os.fsdecode(path))


def _sync(descriptor):
    path = os.readlink(f"/proc/self/fd/{descriptor}")
    if _disks[-1].sees(path):
        _disks[-1].change("os.fsync", path)
    _fsync(descriptor)
