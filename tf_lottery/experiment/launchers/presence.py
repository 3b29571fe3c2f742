"""A sign of life in the run directory, by which workers elsewhere see that they share it and that it is alive.

The process that holds the run writes a number into a file every few seconds. A worker that does not find the file does
not share the folder; one whose file is gone, or does not change any more, ends itself: nothing may write to a run
directory that no process holds. The clocks of two machines are never compared.
"""

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tf_lottery.errors import ResourceError
from tf_lottery.utils.files import write_bytes
from tf_lottery.utils.regular_files import read_regular

BEAT = 2.0
"""Seconds between two signs of life."""
STALE = 60.0
"""Seconds without a change after which the run is taken for dead."""
APPEAR = 30.0
"""Seconds that a network file system may take to show a new file."""


@contextlib.contextmanager
def presence(run_dir: Path) -> Iterator[Path]:
    """Give signs of life in a run directory, and yield the file that holds them.

    Args:
        run_dir: the run directory, whose lock this process holds.

    Raises:
        ResourceError: the file can't be written.
    """
    path = run_dir / f".head-{secrets.token_hex(8)}.tmp"  # what a killed process leaves is swept by its name
    ended = threading.Event()

    def beat() -> None:
        count = 1
        while not ended.wait(BEAT):
            with contextlib.suppress(OSError, ResourceError):  # the next one may succeed
                write_bytes(path, _sign(count))
            count += 1

    write_bytes(path, _sign(0))
    thread = threading.Thread(target=beat, name="signs of life", daemon=True)
    thread.start()
    try:
        yield path
    finally:
        ended.set()
        thread.join(STALE)
        for file in (path, path.with_suffix(".kind.tmp")):
            with contextlib.suppress(OSError):
                file.unlink()


def join(path: Path, *, timeout: float = APPEAR, on_end: Callable[[], None] = lambda: os._exit(1)) -> None:
    """Take part in a run from another process: check that its folder is shared, and end when the run does.

    Args:
        path: from `presence`.
        timeout: seconds to wait for the file.
        on_end: called when the run has ended or its process is gone; by default, ends this process.

    Raises:
        ResourceError: the file is not there.
    """
    end = time.monotonic() + timeout
    while not path.exists():
        if time.monotonic() > end:
            raise ResourceError(
                f"{os.uname().nodename} does not see the run directory {path.parent}.",
                "Put runs where all machines see them under the same path (`out`), e.g. on a network file system.",
            )
        time.sleep(0.2)
    if read_regular(path).startswith(_self() + b" "):  # a worker in the process of the run itself
        return
    threading.Thread(target=_watch, args=(path, on_end), name="is the run alive", daemon=True).start()


def _sign(count: int) -> bytes:
    return b"%s %d\n" % (_self(), count)


def _self() -> bytes:
    """Return what names this process among those of all machines."""
    return f"{os.uname().nodename} {os.getpid()}".encode()


def _watch(path: Path, on_end: Callable[[], None]) -> None:
    seen, since = b"", time.monotonic()
    while True:
        try:
            content = read_regular(path)
        except FileNotFoundError:
            break
        except OSError:  # a server that does not answer; the run may be alive
            content = seen
        if content != seen:
            seen, since = content, time.monotonic()
        elif time.monotonic() - since > STALE:
            break
        time.sleep(BEAT)
    on_end()
