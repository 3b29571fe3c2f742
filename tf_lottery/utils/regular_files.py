"""Regular files only: opening a pipe or a device would wait for a writer, or never end."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

IMPOSSIBLE_NAMES = (errno.ENAMETOOLONG, errno.ELOOP)
"""The numbers of errors of paths that no disk has a place for."""
MOST_FOLDERS = 100
"""The most levels of folders that are looked into: nothing of this library lies deeper than ten."""
MOST_HOLES = 1 << 30
"""Bytes that a file may have without data on the disk, whatever its size: 1 GiB."""
_RATIO = 256  # of the size of a larger one to its data: what is packed into a file of this library inflates no further
_MOST_PARTS = 10_000
MOST_TEXT = 1 << 28
"""The most bytes of a file that is read whole as text: 256 MiB."""


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading, without waiting; the caller closes it.

    Raises:
        OSError: it can't be read, or it is a folder, a pipe, a socket or a device, or almost all of it is holes: such a
            file takes no room on a disk or in an archive, and hours to read.
    """
    file = _open(path)
    size = os.fstat(file.fileno()).st_size
    if size > MOST_HOLES and size > _RATIO * max(_data_bytes(file.fileno(), size), 1):
        file.close()
        raise OSError(errno.EFBIG, "almost all of it is holes", os.fspath(path))
    return file


def _open(path: str | os.PathLike[str]) -> BufferedReader:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file", os.fspath(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _data_bytes(descriptor: int, size: int) -> int:
    """How many bytes of a file the disk holds; all of them where the system does not say."""
    if not hasattr(os, "SEEK_DATA"):
        return size
    place, held = 0, 0
    try:
        for _ in range(_MOST_PARTS):
            begin = os.lseek(descriptor, place, os.SEEK_DATA)
            place = os.lseek(descriptor, begin, os.SEEK_HOLE)
            held += place - begin
        return size
    except OSError as error:  # ENXIO: no data beyond this place
        return held if error.errno == errno.ENXIO else size
    finally:
        os.lseek(descriptor, 0, os.SEEK_SET)


def read_regular(path: str | os.PathLike[str], *, most: int = MOST_TEXT) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        most: the most bytes that it may have.

    Raises:
        OSError: it can't be read, is no regular file, or is larger.
    """
    with _open(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
        content = file.read(most + 1)  # a file of /proc states no size
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
    return content


def paths_below(folder: Path) -> Iterator[Path]:
    """Yield the files, links and folders below a folder, down to `MOST_FOLDERS` levels; links are not followed."""
    pending = [(folder, 1)]
    while pending:
        inner, level = pending.pop()
        # One that is not permitted, or whose path is too long, is yielded and not looked into.
        with contextlib.suppress(OSError), os.scandir(inner) as entries:
            for entry in entries:
                path = Path(entry.path)
                yield path
                if level < MOST_FOLDERS and entry.is_dir(follow_symlinks=False):
                    pending.append((path, level + 1))


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path, with its links followed, lies in a folder.

    Args:
        path: the path.
        folder: the folder.
    """
    return path.resolve().is_relative_to(folder.resolve())
