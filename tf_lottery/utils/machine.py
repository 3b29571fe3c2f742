"""What this process runs on: versions and processor. No TensorFlow."""

import os
import platform
from collections.abc import Iterable
from importlib import metadata
from typing import Any


def describe(packages: Iterable[str]) -> dict[str, Any]:
    """Versions of Python and of packages, system, processor and cores.

    Example:
        >>> sorted(describe(["numpy"]))
        ['cores', 'numpy', 'processor', 'python', 'system']
    """
    return {
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in packages},
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }


def processor() -> str:
    """The name of the processor, as far as the system names it."""
    try:
        with open("/proc/cpuinfo") as file:
            return next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), "unknown")
    except OSError:
        return platform.processor() or "unknown"


def available_memory() -> float | None:
    """Bytes of memory that are free to use; None where the system does not say."""
    try:
        with open("/proc/meminfo") as lines:
            line = next(line for line in lines if line.startswith("MemAvailable"))
        return int(line.split()[1]) * 1024.0
    except (OSError, StopIteration, ValueError):
        return None
