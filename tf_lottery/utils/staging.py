"""All or nothing on disk: files are written and verified under a hidden name, then renamed into place.

The hidden folder lies in the destination itself, so that the rename stays on one file system and is atomic.
"""

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import socket
import stat
import tempfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import DamagedError, ResourceError, UsageError
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import make_directory, replace_file, sync_to_disk
from tf_lottery.utils.network_files import rename
from tf_lottery.utils.regular_files import is_inside, read_regular
from tf_lottery.utils.signals import deferred_signals
from tf_lottery.utils.text import one_line

_PREFIX = ".tf_lottery_staging-"
# With those of earlier versions.
_FORM = r"\.tf_lottery_(?:export|staging)-"
_JOURNAL = "journal.json"
# The names of the staging folders of this process.
_at_work: set[str] = set()


@contextlib.contextmanager
def staging_folder(destination: Path) -> Iterator[Path]:
    """Make a temporary folder in `destination`, which is made if need be; it is removed at the end, whatever happens.

    What a killed process left behind is undone and removed. If the work fails, so is a destination made for it.

    Raises:
        ResourceError: if the destination cannot be written to.
    """
    made = [folder for folder in (destination, *destination.parents) if not folder.exists()]
    try:
        make_directory(destination)
        recover(destination)
        process = f"{os.getpid()}-{_start_of(os.getpid())}"
        folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{socket.gethostname()}-{process}-", dir=destination))
    except OSError as error:
        _remove_empty(made)
        raise disk_trouble(destination, error) from error
    except ResourceError:
        _remove_empty(made)
        raise
    _at_work.add(folder.name)
    try:
        yield folder
    finally:
        _at_work.remove(folder.name)
        if not (folder / _JOURNAL).exists():  # else what could not be put back is still there, for the next time
            shutil.rmtree(folder, ignore_errors=True)
        _remove_empty(made)


def _remove_empty(folders: Collection[Path]) -> None:
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def publish(
    moves: Mapping[Path, Path], *, aside: Path, new: Collection[Path] = (), gone: Collection[Path] = ()
) -> None:
    """Rename staged files and folders to their final names: all of them, or none, whatever comes in between.

    What lies at a final name is moved `aside` first, and back again on failure. A journal in `aside`, written before
    the first move, lets the next one who writes to the folder do that for a process that was killed. The disk holds
    each step for good before the next one begins, which a loss of power could turn around: the journal, what was moved
    aside, what is new, the end of the journal.

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
                    if target not in new and os.path.lexists(target):
                        _set_aside(source, target, _old(aside, number))
                for number, target in enumerate(gone, len(moves)):
                    os.rename(target, _old(aside, number))
                sync_to_disk(aside)
                for source, target in moves.items():
                    (_place_new if target in new else rename)(source, target)
                for folder in {target.parent for target in moves.values()}:
                    sync_to_disk(folder)
                journal.unlink()
                sync_to_disk(aside)
            except BaseException:
                with contextlib.suppress(OSError):
                    _roll_back(aside, steps)
                    journal.unlink(missing_ok=True)
                    sync_to_disk(aside)
                raise
    except FileExistsError as error:
        raise UsageError(
            f"{error.filename2 or error.filename} appeared meanwhile.",
            "Choose another place, or replace it with `force=True`.",
        ) from error
    except OSError as error:
        raise disk_trouble(where, error) from error


def disk_trouble(where: Path, error: Exception) -> ResourceError:
    """Return a `ResourceError` for a failed write.

    Args:
        where: the folder.
        error: what the write raised.
    """
    detail = getattr(error, "strerror", None) or one_line(error)
    return ResourceError(
        f"{where} can't be written: {detail}.",
        "Free disk space, or choose a directory that you may write to; what was there before is kept.",
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
    sync_to_disk(journal.parent.parent)  # the name of the staging folder, in which all of this is


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
        sync_to_disk(old)


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
    for folder in {(aside.parent / step["target"]).parent for step in steps}:
        if folder.is_dir():
            sync_to_disk(folder)


def recover(destination: Path) -> None:
    """Put back what was moved aside in a folder by those who were killed in the middle of it, and sweep up.

    Raises:
        ResourceError: if that fails; the old files are then still in the hidden folder.
        DamagedError: a journal is not what was written.
    """
    try:
        for folder in unfinished(destination):
            journal = folder / _JOURNAL
            if journal.exists():
                _roll_back(folder, _read_journal(journal))
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise disk_trouble(destination, error) from error


def unfinished(destination: Path) -> list[Path]:
    """Return the staging folders in a folder that nobody works in any more."""
    # Only of this machine: on a shared disk, a process of another one may be at work.
    form = re.compile(rf"{_FORM}{re.escape(socket.gethostname())}-(\d+)-(?:([0-9a-f]{{8}})-)?[a-z0-9_]+")
    matches = [(folder, form.fullmatch(folder.name)) for folder in sorted(destination.glob(".tf_lottery_*"))]
    return [
        folder
        for folder, match in matches
        if match
        and folder.name not in _at_work
        and (int(match[1]) == os.getpid() or not _alive(int(match[1]), match[2]))
    ]


def _read_journal(journal: Path) -> list[dict[str, Any]]:
    """The steps of a journal; each names a place in the destination."""
    where = journal.parent.parent
    try:
        steps: list[dict[str, Any]] = parse_json(read_regular(journal))
        inside = all(is_inside((where / step["target"]).parent, where) and "identity" in step for step in steps)
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(journal) from error
    if not inside:
        raise _damaged(journal)
    return steps


def _damaged(journal: Path) -> DamagedError:
    return DamagedError(
        f"{journal} is not the journal of a write that was stopped.",
        f"Look at the files `old-*` in {journal.parent}, put back what you need, and delete the folder.",
    )


def _alive(process: int, start: str | None) -> bool:
    """Whether a process is there that has the number, and began then: after a restart, others have the numbers."""
    if start is not None and start != _start_of(process):
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _start_of(process: int) -> str:
    """When a process began, as eight digits; the same ones for all where the system does not say."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        ticks = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return "0" * 8
    return hashlib.sha256(f"{boot} {ticks[19]}".encode()).hexdigest()[:8]


def _sync_tree(path: Path) -> None:
    if path.is_dir():
        for item in path.iterdir():
            _sync_tree(item)
    sync_to_disk(path)
