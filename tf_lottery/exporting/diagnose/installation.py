"""Does this installation work on this machine? Packages, XLA, LiteRT, devices, memory, data, disk and rights.

Importing this loads nothing of what it checks: a broken package is a line of the result.
"""

import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tf_lottery.errors import CheckFailed, LotteryError
from tf_lottery.utils.machine import available_memory
from tf_lottery.utils.text import one_line

PACKAGES = ("tf-lottery", "tensorflow", "keras", "numpy", "tensorflow-datasets", "ai-edge-litert")
# Bytes below which a warning is given.
DISK_NEEDED = 1e9
MEMORY_NEEDED = 2e9
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS")


@dataclass(frozen=True)
class InstallationCheck:
    """The outcome of one check.

    Attributes:
        name: what was checked.
        status: "ok", "warn" or "fail".
        detail: a version, a figure, or the reason of a failure, in one line.
    """

    name: str
    status: str
    detail: str


def check_installation(out: str | Path = "runs", data_dir: str | None = None) -> list[InstallationCheck]:
    """Check all that a run and an export need; it takes some seconds, in which TensorFlow is loaded.

    Args:
        out: the folder of the runs.
        data_dir: where data sets are.

    Example:
        `[check for check in check_installation() if check.status == "fail"]`
    """
    return [*_software(), *_machine(), *_storage(Path(out), data_dir)]


def _software() -> Iterator[InstallationCheck]:
    from importlib import metadata

    yield InstallationCheck("Python", "ok", platform.python_version())
    for package in PACKAGES:
        yield _attempt(package, lambda package=package: metadata.version(package))  # type: ignore[misc]
    yield _attempt("Keras backend", _keras_backend)
    yield _attempt("XLA", _compile_with_xla)
    yield _sparse_kernels()
    yield _attempt("LiteRT", _run_in_litert)


def _machine() -> Iterator[InstallationCheck]:
    from tf_lottery.experiment.workers.executor import available_cores

    yield InstallationCheck("Cores", "ok", f"{available_cores()} of {os.cpu_count()} may be used")
    memory = available_memory()
    if memory is None:
        yield InstallationCheck("Memory", "warn", "not known on this system")
    else:
        yield InstallationCheck("Memory", _status(memory >= MEMORY_NEEDED), f"{memory / 1e9:.1f} GB available")
    yield _attempt("Devices", _devices)
    threads = ", ".join(f"{name}={os.environ[name]}" for name in _THREADS if name in os.environ)
    yield InstallationCheck("Threads", "ok", threads or "not limited by the environment")


def _storage(out: Path, data_dir: str | None) -> Iterator[InstallationCheck]:
    from tf_lottery.data import locations

    folder = locations.base(data_dir) or locations.tfds_default()
    if folder.is_dir():
        names = ", ".join(locations.list_prepared(data_dir)) or "no prepared data set; digits needs none"
        yield InstallationCheck("Data folder", "ok", f"{folder}: {names}")
    else:
        yield InstallationCheck("Data folder", "warn", f"{folder} does not exist; digits needs none")
    existing = next(path for path in (out.absolute(), *out.absolute().parents) if path.exists())
    yield _attempt("Runs folder", lambda: _write_below(existing, out))
    free = shutil.disk_usage(existing).free
    yield InstallationCheck("Disk", _status(free >= DISK_NEEDED), f"{free / 1e9:.1f} GB free")


def _status(enough: bool) -> str:
    return "ok" if enough else "warn"


def _attempt(name: str, check: Callable[[], str]) -> InstallationCheck:
    try:
        return InstallationCheck(name, "ok", check())
    except Exception as error:  # A broken installation may raise anything; the result says what.
        return InstallationCheck(name, "fail", f"{type(error).__name__}: {one_line(error)}")


def _sparse_kernels() -> InstallationCheck:
    from tf_lottery.layers.sparse import kernels

    try:
        found = kernels()
    except LotteryError as error:
        return InstallationCheck("Sparse kernels", "fail", error.cause)
    if found:
        return InstallationCheck("Sparse kernels", "ok", f"{found.instruction_set}; the self-test computes right")
    return InstallationCheck("Sparse kernels", "warn", f"none, sparse layers train densely: {found.reason}")


def _keras_backend() -> str:
    import keras

    if keras.backend.backend() != "tensorflow":
        raise CheckFailed(f"Keras uses {keras.backend.backend()}: set KERAS_BACKEND=tensorflow.")
    return "tensorflow"


def _compile_with_xla() -> str:
    import tensorflow as tf

    compiled = tf.function(lambda x: x * 2 + 1, jit_compile=True, autograph=False)(tf.constant([1.0, 2.0]))
    if compiled.numpy().tolist() != [3.0, 5.0]:
        raise CheckFailed(f"XLA computes {compiled.numpy().tolist()} instead of [3.0, 5.0].")
    return "compiles and computes right"


def _run_in_litert() -> str:
    """Convert the smallest model and run it as an export does: in a process of its own."""
    import numpy as np
    import tensorflow as tf

    from tf_lottery.exporting.tflite.litert import run_file
    from tf_lottery.utils.silence import quiet

    double = tf.function(
        lambda x: {"y": x * 2.0}, autograph=False, input_signature=[tf.TensorSpec((1, 2), tf.float32, name="x")]
    )
    with tempfile.TemporaryDirectory() as folder, quiet():
        module = tf.Module()
        module.double = double
        tf.saved_model.save(module, f"{folder}/model", signatures=double)
        content = tf.lite.TFLiteConverter.from_saved_model(f"{folder}/model").convert()
        file = Path(folder) / "double.tflite"
        file.write_bytes(content)
        outputs = run_file(file, {"x": np.array([[1.0, 2.0]], np.float32)}, scratch=Path(folder), timeout=60).outputs
    if outputs["y"].ravel().tolist() != [2.0, 4.0]:
        raise CheckFailed(f"LiteRT computes {outputs['y'].tolist()} instead of [[2.0, 4.0]].")
    return "converts, loads and computes right"


def _devices() -> str:
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    return ", ".join(["CPU", *(gpu.name.rsplit(":", 2)[-2] + gpu.name.rsplit(":", 1)[-1] for gpu in gpus)])


def _write_below(existing: Path, out: Path) -> str:
    with tempfile.NamedTemporaryFile(dir=existing, prefix=".tf-lottery-doctor-"):
        return f"{out} can be written"
