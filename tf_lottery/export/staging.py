"""All or nothing on disk: files are written and verified under a hidden name, then renamed into place.

The hidden folder lies in the destination itself, so that the rename stays on one file system and is atomic.
"""

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tf_lottery.errors import ResourceError

_PREFIX = ".tf_lottery_export-"


@contextlib.contextmanager
def staging_folder(destination: Path) -> Iterator[Path]:
    """A temporary folder in `destination`, which is made if need be; gone afterwards, whatever happens.

    Folders that a killed process left behind are removed. If the export fails, so is a destination made for it.

    Raises:
        ResourceError: if the destination cannot be written to.
    """
    made: list[Path] = []
    try:
        missing = [folder for folder in (destination, *destination.parents) if not folder.exists()]
        destination.mkdir(parents=True, exist_ok=True)
        made = missing
        _sweep(destination)
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=destination))
    except OSError as error:
        raise disk_trouble(destination, error) from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def publish(moves: Mapping[Path, Path], *, aside: Path) -> None:
    """Rename staged files and folders to their final names: all of them, or, if one rename fails, none.

    What lies at a final name is moved `aside` first (a folder in the staging folder), and back again on failure.

    Args:
        moves: staged path to final path, all on one file system.
        aside: an existing folder on the same file system.

    Raises:
        ResourceError: if syncing or renaming fails.
    """
    done: list[tuple[Path, Path | None]] = []
    try:
        for source in moves:
            _sync_tree(source)
        for number, (source, target) in enumerate(moves.items()):
            old = aside / f"old-{number}" if os.path.lexists(target) else None
            if old is not None:
                _set_aside(source, target, old)
            done.append((target, old))
            os.replace(source, target)
        for folder in {target.parent for target in moves.values()}:
            _sync(folder)
    except OSError as error:
        _roll_back(done)
        raise disk_trouble(next(iter(moves.values())).parent, error) from error


def disk_trouble(where: Path, error: Exception) -> ResourceError:
    """A `ResourceError` for a failed write below `where`."""
    detail = getattr(error, "strerror", None) or str(error).splitlines()[0]
    return ResourceError(
        f"Could not write the export to {where}: {detail}.",
        "Free some space or choose a folder that you may write to; nothing was left behind.",
    )


def _set_aside(source: Path, target: Path, old: Path) -> None:
    if source.is_dir() or target.is_dir():
        os.rename(target, old)  # `os.replace` neither replaces a folder that has files, nor a file by a folder
        return
    try:
        os.link(target, old)  # the target stays in place until it is replaced atomically
    except OSError:
        shutil.copy2(target, old)


def _roll_back(done: list[tuple[Path, Path | None]]) -> None:
    for target, old in reversed(done):
        with contextlib.suppress(OSError):
            if target.is_dir():
                shutil.rmtree(target)
            elif old is None:
                target.unlink(missing_ok=True)
            if old is not None:
                os.replace(old, target)


def _sweep(destination: Path) -> None:
    # Only of this machine: on a shared disk, a process of another one may be at work.
    for folder in destination.glob(f"{_PREFIX}{socket.gethostname()}-*"):
        process = folder.name.rsplit("-", 2)[1]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for item in path.iterdir():
            _sync_tree(item)
    _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
