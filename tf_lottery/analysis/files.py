"""Files that appear whole or not at all."""

import contextlib
import os
import tempfile
from pathlib import Path

from tf_lottery.errors import ResourceError


def write_atomically(path: Path, content: bytes) -> Path:
    """Write `content` to a temporary name in the same folder, flush it to disk, then rename it to `path`.

    Args:
        path: the file; its folder is made if need be. A file of that name is replaced in one step.
        content: all of it.

    Returns:
        `path`.

    Raises:
        ResourceError: the folder cannot be made or written, or the disk is full. Nothing of the new file is left then,
            and an old one is as it was.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            # mkstemp makes private files; a report is for others to read, as the user's umask allows.
            os.fchmod(file.fileno(), 0o666 & ~current_umask())
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        raise ResourceError(
            f"Cannot write {path}: {error.strerror or error}.",
            "Free space there, or give a folder that you may write to.",
        ) from error
    return path


def current_umask() -> int:
    """The process's umask; the only portable way to read it is to set it for a moment."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
