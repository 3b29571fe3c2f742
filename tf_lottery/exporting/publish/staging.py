"""All or nothing on disk: files are written and verified under a hidden name, then renamed into place.

The hidden folder lies in the destination itself, so that the rename stays on one file system and is atomic.
"""

import contextlib
import errno
import glob
import json
import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.utils.files import replace_file, sync_to_disk
from tf_lottery.utils.network_files import rename
from tf_lottery.utils.signals import deferred_signals
from tf_lottery.utils.text import one_line

_PREFIX = ".tf_lottery_export-"
_JOURNAL = "journal.json"


@contextlib.contextmanager
def staging_folder(destination: Path) -> Iterator[Path]:
    """Make a temporary folder in `destination`, which is made if need be; it is removed at the end, whatever happens.

    What a killed process left behind is undone and removed. If the export fails, so is a destination made for it.

    Raises:
        ResourceError: if the destination cannot be written to.
    """
    made: list[Path] = []
    try:
        missing = [folder for folder in (destination, *destination.parents) if not folder.exists()]
        destination.mkdir(parents=True, exist_ok=True)
        made = missing
        recover(destination)
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{socket.gethostname()}-{os.getpid()}-", dir=destination))
    except ResourceError:
        raise
    except OSError as error:
        raise disk_trouble(destination, error) from error
    try:
        yield folder
    finally:
        if not (folder / _JOURNAL).exists():  # else what could not be put back is still there, for the next export
            shutil.rmtree(folder, ignore_errors=True)
        for parent in made:
            with contextlib.suppress(OSError):
                parent.rmdir()


def publish(
    moves: Mapping[Path, Path], *, aside: Path, new: Collection[Path] = (), gone: Collection[Path] = ()
) -> None:
    """Rename staged files and folders to their final names: all of them, or none, whatever comes in between.

    What lies at a final name is moved `aside` first, and back again on failure. A journal in `aside`, written before
    the first move, lets the next export to the folder do that for a process that was killed.

    Args:
        moves: staged path to final path, all on one file system.
        aside: the staging folder, in the destination.
        new: final paths at which nothing may lie, though something may have appeared there of late.
        gone: existing paths that are to vanish together with the moves.

    Raises:
        ResourceError: if syncing or renaming fails.
        UsageError: if something lies at one of the `new` paths.
    """
    where = aside.parent
    journal = aside / _JOURNAL
    try:
        for source in moves:
            _sync_tree(source)
        steps = [_step(source, target, where) for source, target in moves.items()]
        steps += [_step(None, target, where) for target in gone]
        with deferred_signals():
            try:
                _write_journal(journal, steps)
                for number, (source, target) in enumerate(moves.items()):
                    if target in new:
                        _place_new(source, target)
                        continue
                    if os.path.lexists(target):
                        _set_aside(source, target, _old(aside, number))
                    rename(source, target)
                for number, target in enumerate(gone, len(moves)):
                    os.rename(target, _old(aside, number))
                for folder in {target.parent for target in moves.values()}:
                    sync_to_disk(folder)
                journal.unlink()
            except BaseException:
                with contextlib.suppress(OSError):
                    _roll_back(aside, steps)
                    journal.unlink(missing_ok=True)
                raise
    except FileExistsError as error:
        raise UsageError(
            f"{error.filename2 or error.filename} appeared while the export was at work.",
            "Choose another place, or replace it with `force=True`.",
        ) from error
    except OSError as error:
        raise disk_trouble(where, error) from error


def disk_trouble(where: Path, error: Exception) -> ResourceError:
    """Return a `ResourceError` for a failed write.

    Args:
        where: the folder of the export.
        error: what the write raised.
    """
    detail = getattr(error, "strerror", None) or one_line(error)
    return ResourceError(
        f"Could not write the export to {where}: {detail}.",
        "Free some space or choose a folder that you may write to; nothing was left behind.",
    )


def _step(source: Path | None, target: Path, where: Path) -> dict[str, Any]:
    """A line of the journal: a place, relative to the destination, and how what is put there is recognized."""
    return {"target": os.path.relpath(target, where), "identity": None if source is None else _identity(source)}


def _identity(path: Path) -> list[int] | None:
    """What a file or folder keeps when it is renamed; None if it does not exist."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    # Some file systems touch a folder that gets another parent.
    return [status.st_ino, 0 if stat.S_ISDIR(status.st_mode) else status.st_mtime_ns]


def _write_journal(journal: Path, steps: list[dict[str, Any]]) -> None:
    replace_file(journal, json.dumps(steps).encode())
    sync_to_disk(journal.parent)


def _old(aside: Path, number: int) -> Path:
    return aside / f"old-{number}"


def _set_aside(source: Path, target: Path, old: Path) -> None:
    if source.is_dir() or target.is_dir():
        os.rename(target, old)  # `os.replace` neither replaces a folder that has files, nor a file by a folder
        return
    try:
        os.link(target, old)  # the target stays in place until it is replaced atomically
    except OSError:
        shutil.copy2(target, old)


def _place_new(source: Path, target: Path) -> None:
    """Rename without replacing anything."""
    if not source.is_dir():
        try:
            os.link(source, target)
        except FileExistsError:
            if not os.path.samefile(source, target):  # a server that lost its answer is asked again
                raise
            source.unlink()
            return
        except OSError:  # no hard links on this file system
            pass
        else:
            source.unlink()
            return
    # A folder that has files is never replaced by a rename, nor is a file by a folder.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    os.rename(source, target)


def _roll_back(aside: Path, steps: list[dict[str, Any]]) -> None:
    """Undo what was done of the steps: what is new goes back into `aside`, and what was there before to its place.

    What another process has put there since is left alone.
    """
    for number, step in reversed(list(enumerate(steps))):
        target, old = aside.parent / step["target"], _old(aside, number)
        identity = _identity(target)
        if identity is not None and identity == step["identity"]:
            os.rename(target, aside / f"undone-{number}")
            identity = None
        if identity is None and os.path.lexists(old):
            os.rename(old, target)


def recover(destination: Path) -> None:
    """Put back what exports to the folder moved aside, if they were killed in the middle of it, and sweep up.

    Raises:
        ResourceError: if that fails; the old files are then still in the hidden folder.
    """
    # Only of this machine: on a shared disk, a process of another one may be at work.
    try:
        for folder in destination.glob(f"{_PREFIX}{glob.escape(socket.gethostname())}-*"):
            process = folder.name.rsplit("-", 2)[1]
            if not process.isdigit() or _alive(int(process)):
                continue
            journal = folder / _JOURNAL
            if journal.exists():
                _roll_back(folder, json.loads(journal.read_text(encoding="utf-8")))
                sync_to_disk(destination)
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise disk_trouble(destination, error) from error


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
    sync_to_disk(path)
