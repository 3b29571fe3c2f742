"""A lock that needs nothing but files: who creates the next one holds it, and shows by a heartbeat that it is alive.

The files of a lock are numbered, and the one of the highest number counts. Each is created exclusively, so that of
several processes one gets the next number. It names its owner and is written again every few seconds. It is released by
a word in it, and never removed while it counts. An owner is dead if its process is gone from this very machine, or if
its file did not change for `STALE` seconds while this process looked: the clocks of two machines are never compared.
"""

import contextlib
import functools
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tf_lottery.utils.regular_files import read_regular

BEAT = 2.0
"""Seconds between the heartbeats of an owner."""
STALE = 60.0
"""Seconds without a change of the file after which its owner is dead."""
_POLL = 0.2
_MOST_BYTES = 4096
_RELEASED = b"released\n"


@dataclass(frozen=True)
class Owner:
    """Who holds a lock, as its file says.

    Attributes:
        machine: the name of the machine, its boot and its space of process ids: where `pid` means something.
        pid: the process.
        start: when the process started, in ticks since the boot; "" where that is not known.
        token: random text of this one acquisition.
    """

    machine: str
    pid: int
    start: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.machine.split('/')[0]}"


class HeldError(Exception):
    """Another process holds the lock; `owner` is None where its file does not say who."""

    def __init__(self, owner: Owner | None) -> None:
        super().__init__(str(owner or "another process"))
        self.owner = owner


class HeartbeatLock:
    """A lock of numbered files `<name>.<number>`.

    Args:
        path: the folder and the first part of the names of its files.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._owner = Owner("", 0, "", "")
        self._descriptor = -1
        self._stop = threading.Event()
        # Who writes holds it: a heartbeat must not be written to a file that has the descriptor next.
        self._writing = threading.Lock()
        self._beaten = 0.0

    def acquire(self, *, timeout: float, on_wait: Callable[[Owner | None], None] = lambda owner: None) -> None:
        """Take the lock.

        An owner that is seen to live is waited for until the timeout; one that may be dead until that is known.

        Args:
            timeout: seconds to wait for an owner that lives.
            on_wait: called once where no heartbeat is seen in time.

        Raises:
            HeldError: another process holds it.
            OSError: the folder can't be written.
        """
        start = time.monotonic()
        deadline = start + timeout
        watched = Watch(self._path)
        while True:
            state = watched.look()
            if state == "free":
                if self._create(watched.number + 1):
                    return
                continue
            if state == "alive" and time.monotonic() >= deadline:
                raise HeldError(watched.owner)
            if state == "unknown" and time.monotonic() >= max(deadline, start + 2 * BEAT):
                on_wait(watched.owner)
                on_wait = _nothing
            time.sleep(_POLL)

    def _create(self, number: int) -> bool:
        """Create the file of a number; whether this process now holds the lock."""
        self._owner = Owner(machine_identity(), os.getpid(), _start_of(os.getpid()), secrets.token_hex(16))
        path = _numbered(self._path, number)
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            self._descriptor = os.open(path, flags, 0o644)
        except FileExistsError:
            return False
        self._number = number
        try:
            self._write(f"{json.dumps(vars(self._owner))}\n{0:020d}\n".encode(), 0)
            if _highest(self._path) != number:  # this number was looked up long ago, and later ones came and went
                self._leave(path)
                return False
            for older in _numbers(self._path):
                # The last two stay, so that who looked a moment ago finds the number that it would create.
                if older < number - 1:
                    _numbered(self._path, older).unlink(missing_ok=True)
        except BaseException:
            self._leave(path)
            raise
        self._beaten = time.monotonic()
        self._stop = threading.Event()
        threading.Thread(target=self._beat, args=(self._stop,), name="heartbeat", daemon=True).start()
        return True

    def _leave(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(self._descriptor)
        self._descriptor = -1

    def _beat(self, stop: threading.Event) -> None:
        offset = len(json.dumps(vars(self._owner))) + 1
        count = 0
        while not stop.wait(BEAT):
            count += 1
            with contextlib.suppress(OSError), self._writing:  # a server that does not answer now may do so next time
                if stop.is_set() or _highest(self._path) != self._number:
                    return
                self._write(f"{count:020d}\n".encode(), offset)
                self._beaten = time.monotonic()

    def _write(self, content: bytes, offset: int) -> None:
        os.pwrite(self._descriptor, content, offset)
        os.fsync(self._descriptor)

    def is_lost(self) -> bool:
        """Return whether another process took the lock, or could have: no heartbeat was written for long.

        Raises:
            OSError: the folder can't be read.
        """
        return _highest(self._path) != self._number or time.monotonic() - self._beaten > STALE - 2 * BEAT

    def release(self) -> None:
        """Give the lock back; a lock that was lost stays with who took it."""
        self._stop.set()
        if not self._writing.acquire(timeout=2 * BEAT):  # a heartbeat that hangs has the descriptor
            return
        try:
            if self._descriptor >= 0:
                with contextlib.suppress(OSError):  # then it is seen not to change, or its process to be gone
                    os.ftruncate(self._descriptor, 0)
                    self._write(_RELEASED, 0)
                os.close(self._descriptor)
                self._descriptor = -1
        finally:
            self._writing.release()


class Watch:
    """Looks at a lock again and again, to see whether its owner lives.

    Args:
        path: as of the lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._content: tuple[int, bytes] | None = None
        self._changed = False
        self._unchanged = 0.0
        self._looked = time.monotonic()
        self.number = 0
        self.owner: Owner | None = None

    def look(self) -> str:
        """Return "free", "alive", or "unknown" where that is not seen yet.

        Raises:
            OSError: the folder can't be read.
        """
        self.number = _highest(self._path)
        if self.number == 0:
            return "free"
        try:
            content = read_regular(_numbered(self._path, self.number), most=_MOST_BYTES)
        except FileNotFoundError:  # a later one has come
            return "unknown"
        if content == _RELEASED:
            return "free"
        self.owner = _parse_owner(content)
        if self.owner is not None and self.owner.machine == machine_identity():
            return "alive" if _is_running(self.owner) else "free"
        return self._judge_by_change((self.number, content))

    def _judge_by_change(self, content: tuple[int, bytes]) -> str:
        now = time.monotonic()
        # A pause of this process, or of the server, is no time in which a heartbeat could have been seen.
        self._unchanged += min(now - self._looked, 2 * _POLL)
        self._looked = now
        if content != self._content:
            self._changed = self._content is not None and content[0] == self._content[0]
            self._content, self._unchanged = content, 0.0
        if self._unchanged >= STALE:
            return "free"
        return "alive" if self._changed else "unknown"


def lives(path: Path, *, seconds: float = 1.5 * BEAT) -> bool:
    """Return whether a lock is held by a process that lives; takes the seconds where another machine holds it.

    Args:
        path: as of the lock.
        seconds: how long to wait for its heartbeat.

    Raises:
        OSError: the folder can't be read.
    """
    watched = Watch(path)
    deadline = time.monotonic() + seconds
    while (state := watched.look()) == "unknown" and time.monotonic() < deadline:
        time.sleep(_POLL)
    return state == "alive"


@functools.cache
def machine_identity() -> str:
    """Return a text of this machine, this boot and this space of process ids; of this process if they are not known."""
    try:
        boot, space = Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.readlink("/proc/self/ns/pid")
    except OSError:
        boot, space = secrets.token_hex(16), ""
    return f"{socket.gethostname()}/{boot}/{space}"


def _parse_owner(content: bytes) -> Owner | None:
    try:
        document = json.loads(content.split(b"\n")[0])
        owner = Owner(**document)
    except (ValueError, TypeError, RecursionError):
        return None
    texts = (owner.machine, owner.start, owner.token)
    return owner if all(isinstance(text, str) for text in texts) and type(owner.pid) is int and owner.pid > 0 else None


def _is_running(owner: Owner) -> bool:
    try:
        os.kill(owner.pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):
        pass
    return not owner.start or _start_of(owner.pid) in ("", owner.start)


def _start_of(pid: int) -> str:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return fields[19] if len(fields) > 19 and fields[0] != "Z" else "gone"


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number:08d}")


def _numbers(path: Path) -> list[int]:
    prefix = f"{path.name}."
    names = [name.removeprefix(prefix) for name in os.listdir(path.parent) if name.startswith(prefix)]
    return sorted(int(name) for name in names if len(name) >= 8 and name.isascii() and name.isdecimal())


def _highest(path: Path) -> int:
    return max(_numbers(path), default=0)


def _nothing(owner: Owner | None) -> None:
    pass
