"""Regular files only: opening a pipe or a device would wait for a writer, or never end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path

MOST_TEXT = 1 << 28
"""The most bytes of a file that is read whole as text: 256 MiB."""


def open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    """Open a regular file for reading, without waiting; the caller closes it.

    Raises:
        OSError: it can't be read, or it is a folder, a pipe, a socket or a device.
    """
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


def read_regular(path: str | os.PathLike[str], *, most: int = MOST_TEXT) -> bytes:
    """Return the content of a regular file.

    Args:
        path: the file.
        most: the most bytes that it may have.

    Raises:
        OSError: it can't be read, is no regular file, or is larger.
    """
    with open_regular(path) as file:
        if os.fstat(file.fileno()).st_size > most:
            raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
        content = file.read(most + 1)  # a file of /proc states no size
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} bytes", os.fspath(path))
    return content


def is_inside(path: Path, folder: Path) -> bool:
    """Return whether a path, with its links followed, lies in a folder.

    Args:
        path: the path.
        folder: the folder.
    """
    return path.resolve().is_relative_to(folder.resolve())
