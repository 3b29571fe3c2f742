"""Why a process died, as far as its exit code and the system's count of processes ended for memory say."""

import re
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MEMORY_ERRORS = ("MemoryError", "ResourceExhaustedError")
"""The classes of Python's and of TensorFlow's error for memory that is not to be had."""


@dataclass(frozen=True)
class Death:
    """Why a process died.

    Attributes:
        reason: in words, e.g. "killed by SIGKILL, probably out of memory".
        out_of_memory: whether it was memory, certainly or probably.
    """

    reason: str
    out_of_memory: bool = False


OUT_OF_MEMORY = Death("ran out of memory", out_of_memory=True)


def death_by_exit_code(code: int | None, *, ended_for_memory: bool | None = None) -> Death:
    """Return why a process died.

    Args:
        code: its exit code, minus the number of a signal; None where it hangs, and no longer answers.
        ended_for_memory: whether the system has ended a process for memory; None where the system does not say, and
            SIGKILL is taken for that.

    Example:
        >>> death_by_exit_code(-11).reason
        'ended by SIGSEGV'
        >>> death_by_exit_code(-9, ended_for_memory=True)
        Death(reason='killed by SIGKILL, probably out of memory', out_of_memory=True)
    """
    if code is None:
        return Death("it closed its connection")
    if code >= 0:
        return Death(f"ended with exit code {code}")
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if name != "SIGKILL":
        return Death(f"ended by {name}")
    if ended_for_memory is False:
        return Death("killed by SIGKILL")
    return Death("killed by SIGKILL, probably out of memory", out_of_memory=True)


def count_ended_for_memory(
    membership: Path = Path("/proc/self/cgroup"), cgroups: Path = CGROUPS, statistics: Path = Path("/proc/vmstat")
) -> int | None:
    """Return how many processes the system has ended for memory: of this process's control group, or else of all.

    Args:
        membership: the file that names the control groups of this process.
        cgroups: where they are mounted.
        statistics: the file with the count of the whole system.

    Returns:
        The count since the group, or the system, began; None where the system has no such count.
    """
    for path in [*_counting_files(membership, cgroups), statistics]:
        try:
            match = re.search(r"^oom_kill (\d+)$", path.read_text(), re.MULTILINE)
        except (OSError, ValueError):
            continue
        if match:
            return int(match[1])
    return None


def _counting_files(membership: Path, cgroups: Path) -> Iterable[Path]:
    """Yield the files that may count for the control group of this process: of version 2, then of version 1."""
    try:
        lines = membership.read_text().splitlines()
    except (OSError, ValueError):
        return
    matches = [re.fullmatch(r"\d+:([^:]*):/?(.*)", line) for line in lines]
    paths = {match[1]: match[2] for match in matches if match}
    if "" in paths:
        yield cgroups / paths[""] / "memory.events"
    if "memory" in paths:
        yield cgroups / "memory" / paths["memory"] / "memory.oom_control"
        yield cgroups / "memory" / "memory.oom_control"  # a container sees its own group here


class MemoryKills:
    """Whether the system has ended a process for memory that no death has been put down to yet.

    Args:
        count: returns how many processes the system has ended for memory so far, or None.
    """

    def __init__(self, count: Callable[[], int | None] = count_ended_for_memory) -> None:
        self._count = count
        self._explained = count() or 0

    def explain_one(self) -> bool | None:
        """Put a death down to one of them; False where there is none left, None where the system does not say."""
        number = self._count()
        if number is None:
            return None
        if number <= self._explained:
            return False
        self._explained += 1
        return True
