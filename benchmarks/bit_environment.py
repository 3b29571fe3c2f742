"""What decides bits beside the code: held fixed in the runs of `bit_equality.py`, or written beside their digests."""

import os
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

LIBRARIES = ("keras", "ml_dtypes", "numpy", "scikit-learn", "scipy", "tensorflow")
# What would make the bits depend on more of the machine than on AVX2 and FMA: wider kernels, threads, a GPU.
HELD = {
    "CUDA_VISIBLE_DEVICES": "",
    "KERAS_BACKEND": "tensorflow",
    "MKL_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "TF_ENABLE_ONEDNN_OPTS": "0",  # by default it depends on the processor
    "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
}


def held_environment(links: Path, folder: Path) -> dict[str, str]:
    """Returns the environment variables of a run: nothing of the caller's that decides bits, and what is in `HELD`.

    Args:
        links: folder from which the package is imported.
        folder: where Keras looks for settings, and finds none.
    """
    ours = ("KERAS_", "MKL_", "NPY_", "OMP_", "ONEDNN_", "OPENBLAS_", "PYTHON", "TF_", "XLA_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | HELD | {**numpy_features(), "KERAS_HOME": str(folder), "PYTHONPATH": str(links)}


def numpy_features() -> dict[str, str]:
    """Returns the environment variable that keeps NumPy from kernels beyond AVX2, where the processor has more."""
    features: Any = np.show_config(mode="dicts")["SIMD Extensions"]
    wide = [name for name in features.get("found", ()) if name.startswith(("AVX512", "X86_V4"))]
    return {"NPY_DISABLE_CPU_FEATURES": " ".join(wide)} if wide else {}


def describe_environment() -> dict[str, str]:
    """Returns what decides bits beside the code: versions, system and instruction set, as far as they are not held."""
    return {
        "machine": platform.machine(),
        "instruction_set": "AVX2, FMA" if {"avx2", "fma"} <= set(cpuinfo("flags").split()) else "less than AVX2, FMA",
        "libc": " ".join(platform.libc_ver()),
        "python": ".".join(platform.python_version_tuple()[:2]),
        **{library: metadata.version(library) for library in LIBRARIES},
    }


def processor() -> str:
    """Returns the model of this machine's processor."""
    return " ".join(
        (cpuinfo("model name") or platform.processor() or "unknown", "model", cpuinfo("model") or "unknown")
    )


def cpuinfo(key: str) -> str:
    """Returns a value of the first processor that Linux lists; an empty text where there is none.

    Args:
        key: e.g. "flags".
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == key), "")


def obstacles(stored: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """Returns why stored digests can't be compared with those of this machine; an empty list where they can.

    Args:
        stored: the environment that the digests come from.
        here: the environment of this machine.
    """
    return [
        f"{key} {stored.get(key)}, and this is {here.get(key)}"
        for key in sorted(stored.keys() | here.keys())
        if stored.get(key) != here.get(key)
    ]
