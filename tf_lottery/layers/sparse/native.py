"""The library of compiled kernels: found, loaded, registered with XLA and tested, once in a process.

The kernels are called by XLA as custom calls, so they run inside the compiled loop. TensorFlow promises no interface
for that: the registry is looked up by its name, and where anything is missing, or the self-test fails, there are no
kernels, and the reason is kept.
"""

import concurrent.futures
import ctypes
import functools
import logging
import os
import struct
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.utils.text import one_line

log = logging.getLogger(__name__)
SETTING = "TF_LOTTERY_KERNELS"
INSTRUCTION_SETS = ("baseline", "avx2", "avx512")
"""What the library is compiled for, slowest first; "baseline" is what every processor of its kind has."""
FUNCTIONS = ("tf_lottery_register", "tf_lottery_best_level", "tf_lottery_use_level", "tf_lottery_use_threads")
ELF_SECTIONS = (("Q", 40), ("H", 58), ("H", 60))
"""Where a 64-bit ELF file says at which byte its section headers are, how long one is, and how many there are."""
TENSORFLOW_LIBRARY = "libtensorflow_cc.so.2"


@dataclass(frozen=True)
class Kernels:
    """Whether this process has compiled kernels.

    Attributes:
        instruction_set: Which instructions they use: one of `INSTRUCTION_SETS`, or "" if there are none.
        reason: Why there are none; "" if there are.
    """

    instruction_set: str = ""
    reason: str = ""

    def __bool__(self) -> bool:
        """Returns whether there are kernels."""
        return bool(self.instruction_set)


def kernels() -> Kernels:
    """Returns the kernels of this process; the first call loads and tests them.

    Raises:
        UsageError: If `TF_LOTTERY_KERNELS` is not "off", "auto" or one of `INSTRUCTION_SETS`.
    """
    setting = os.environ.get(SETTING) or "auto"
    if setting not in ("auto", "off", *INSTRUCTION_SETS):
        raise UsageError(
            f"{SETTING} must be auto, off, {', '.join(INSTRUCTION_SETS[:-1])} or {INSTRUCTION_SETS[-1]}. "
            f"Received: {setting!r}."
        )
    return _load(setting)


def use_threads(count: int) -> None:
    """Sets how many threads a kernel may use in this process; results don't depend on it.

    Args:
        count: At least 1.
    """
    if kernels() and (path := library_path()):
        _open(path).tf_lottery_use_threads(count)


def use_threads_of_tensorflow() -> None:
    """Lets kernels use as many threads as an operation of TensorFlow; by default all processors of the process."""
    import tensorflow as tf

    use_threads(tf.config.threading.get_intra_op_parallelism_threads() or len(os.sched_getaffinity(0)))


@functools.cache
def _load(setting: str) -> Kernels:
    if setting == "off":
        return Kernels(reason=f"{SETTING} is off")
    path = library_path()
    if path is None:
        return Kernels(
            reason="tf_lottery was installed without them, as it is where there is no C++ compiler or it fails "
            "(`pip install -v` shows why)"
        )
    try:
        if is_truncated(path):
            return Kernels(reason=f"their library {path.name} is truncated: install tf_lottery again")
        library = _open(path)
    except (OSError, AttributeError) as error:  # it can't be read, is no library, or one of another version
        return Kernels(reason=f"their library can't be loaded: {one_line(error)}")
    if missing := library.tf_lottery_register(TENSORFLOW_LIBRARY.encode()):
        return Kernels(reason=missing.decode())
    best = library.tf_lottery_best_level()
    wanted = best if setting == "auto" else INSTRUCTION_SETS.index(setting)
    if wanted > best:
        return Kernels(reason=f"{SETTING} is {setting}, which this processor does not have")
    library.tf_lottery_use_level(wanted)
    if wrong := _self_test():
        return Kernels(reason=f"their self-test failed: {wrong}")
    return Kernels(INSTRUCTION_SETS[wanted])


def library_path() -> Path | None:
    """Returns the path of the compiled library, or None if it was not compiled."""
    path = Path(__file__).with_name(f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}")
    return path if path.exists() else None


def is_truncated(path: Path) -> bool:
    """Returns whether a 64-bit ELF library ends before its section headers, as a file that was not written to its end.

    Loading one may end the process by a signal. Other files are judged by the loader of the system.

    Args:
        path: Of the library.
    """
    with path.open("rb") as file:
        header = file.read(64)
    if not header.startswith(b"\x7fELF\x02"):
        return False
    if len(header) < 64:
        return True
    order = "<" if header[5] == 1 else ">"
    sections, size, count = (int(struct.unpack_from(order + kind, header, at)[0]) for kind, at in ELF_SECTIONS)
    return path.stat().st_size < sections + size * count


@functools.cache
def warn_once(reason: str) -> None:
    """Logs that training is dense, once in a process.

    Args:
        reason: Why there are no kernels.
    """
    log.warning("layers with few weights train densely, without the sparse kernels: %s", reason)


def _open(path: Path) -> Any:
    import tensorflow  # noqa: F401  # its library holds the registry

    library = ctypes.CDLL(str(path))
    for name in FUNCTIONS:
        getattr(library, name)
    library.tf_lottery_register.restype = ctypes.c_char_p
    library.tf_lottery_register.argtypes = [ctypes.c_char_p]
    return library


def _self_test() -> str:
    """Returns what is wrong with the kernels, compared with NumPy; "" if nothing is."""
    from tf_lottery.layers.sparse.self_test import differences  # needs TensorFlow

    try:
        # A function may be being traced here: a thread of its own computes at once.
        with concurrent.futures.ThreadPoolExecutor(1) as thread:
            worst = max(thread.submit(differences).result().values())
    except Exception as error:  # whatever fails, there are no kernels
        return one_line(error)
    return "" if worst < 1e-5 else f"results differ by {worst:.1e}"
