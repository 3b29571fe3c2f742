"""What this process runs on: versions and processor. No TensorFlow."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

# Folder of the memory controller, file of the limit, file of what is in use: of control groups of version 2 and 1.
_LIMITS_V2 = ("", "memory.max", "memory.current")
_LIMITS_V1 = ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes")


PACKAGES = ("tf-lottery", "tensorflow", "keras", "numpy")
"""The packages that training computes with."""
_INSTRUCTIONS = ("avx512f", "avx2", "avx", "sse2", "sve", "asimd")
DECISIVE = ("tensorflow", "keras", "numpy", "processor", "instructions")
"""What changes the bits of a computation if it is another, of what `describe` says."""


def describe(packages: Iterable[str]) -> dict[str, Any]:
    """Versions of Python and of packages, system, processor, its widest vector instructions, and cores.

    Example:
        >>> sorted(describe(["numpy"]))
        ['cores', 'instructions', 'numpy', 'processor', 'python', 'system']
    """
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "system": platform.platform(),
        "processor": processor(),
        "instructions": vector_instructions(),
        "cores": os.cpu_count(),
    }


def processor() -> str:
    """The name of the processor, as far as the system names it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def processor_flags() -> frozenset[str]:
    """What the processor can do, in the words of Linux; empty where the system does not say."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return frozenset()
    listed = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(listed, "").split())


def vector_instructions() -> str:
    """The widest vector instructions, e.g. "avx512f"; "" where they are not known.

    Processors with and without AVX-512 may have the same name (a virtual machine's often have), and other bits.
    """
    flags = processor_flags()
    return next((name for name in _INSTRUCTIONS if name in flags), "")


def available_memory(*, swap: bool = False) -> float | None:
    """Bytes of memory that are free to use, within the limit of this process's control group; None where unknown.

    Args:
        swap: whether to count free swap space too.
    """
    try:
        system = _kilobytes(Path("/proc/meminfo"))
        free = system["MemAvailable"] + (system["SwapFree"] if swap else 0)
    except (OSError, KeyError):
        return None
    return min([free, *_free_in_control_groups()])


@dataclass(frozen=True)
class ProcessMemory:
    """The memory that this process has held at most, in bytes.

    Attributes:
        private: what no other process shares.
        shared: what processes of the same program share: libraries, mapped files.
    """

    private: float
    shared: float


def process_memory() -> ProcessMemory | None:
    """The peak of this process's memory so far; None where the system does not say."""
    try:
        status = _kilobytes(Path("/proc/self/status"))
        shared = status["RssFile"] + status["RssShmem"]
        return ProcessMemory(status["VmHWM"] - shared, shared)
    except (OSError, KeyError):
        return None


def _kilobytes(path: Path) -> dict[str, float]:
    """The lines `name: number kB` of a file of the kernel, in bytes."""
    words = (line.split() for line in path.read_text().splitlines() if line.endswith(" kB"))
    return {name.rstrip(":"): int(number) * 1024.0 for name, number, _ in words}


def _free_in_control_groups(
    root: Path = Path("/sys/fs/cgroup"), groups: Path = Path("/proc/self/cgroup")
) -> list[float]:
    """What each control group with a limit leaves free, from that of this process upwards."""
    try:
        places = [line.split(":", 2) for line in groups.read_text().splitlines()]
    except OSError:
        return []
    free = []
    for number, controllers, place in places:
        if number == "0" or "memory" in controllers.split(","):
            top, limit, used = _LIMITS_V2 if number == "0" else _LIMITS_V1
            folder = root / top / place.lstrip("/")
            for group in (folder, *folder.parents):
                free += _free_in_group(group, limit, used)
                if group == root / top:
                    break
    return free


def _free_in_group(group: Path, limit: str, used: str) -> list[float]:
    try:
        most, now = (group / limit).read_text().strip(), int((group / used).read_text())
        pages = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no limit there, or a container that hides the group
        return []
    # Unused pages of files are given back when memory is needed.
    return [max(0.0, float(most) - now + int(pages.get("inactive_file", 0)))] if most.isdecimal() else []
