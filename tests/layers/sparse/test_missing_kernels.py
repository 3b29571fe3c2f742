"""Without kernels, or with a library that is none, training is dense, and the reason is said: in `doctor`, and once."""

import logging
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.exporting.diagnose.installation import InstallationCheck, _sparse_kernels
from tf_lottery.layers.sparse import native
from tf_lottery.training.batches import Batch
from tf_lottery.training.engine import Engine

LIBRARY = native.library_path()
needs_library = pytest.mark.skipif(LIBRARY is None, reason="there is no library: installed without a C++ compiler")


@pytest.fixture(autouse=True)
def loaded_again(monkeypatch):
    """Kernels are found as another process would find them."""
    monkeypatch.delenv(native.SETTING, raising=False)
    for cached in (native._load, native.warn_once):
        cached.cache_clear()
    yield
    for cached in (native._load, native.warn_once):
        cached.cache_clear()


@pytest.fixture
def replace_library(tmp_path, monkeypatch):
    def replace(content):
        path = tmp_path / "_kernels.so"
        if content is not None:
            path.write_bytes(content)
        monkeypatch.setattr(native, "library_path", lambda: path if content is not None else None)

    return replace


def engine(examples):
    wrapped = tfl.wrap(keras.Sequential([keras.Input((70,)), keras.layers.Dense(96), keras.layers.Dense(10)]))
    one = Engine(wrapped, optimizer=keras.optimizers.SGD(), loss="mse", sparse="auto", examples=examples)
    one.prepare(Batch(np.zeros((2, 70), np.float32), np.zeros((2, 10), np.float32)))
    return one


def doctor():
    check = _sparse_kernels()
    assert isinstance(check, InstallationCheck)
    return check.status, check.detail


def test_without_a_compiler_training_is_dense_and_says_so_once(replace_library, caplog):
    replace_library(None)
    reason = "tf_lottery was installed without them, as it is where there is no C++ compiler or it fails"
    assert doctor() == ("warn", f"none, sparse layers train densely: {reason} (`pip install -v` shows why)")
    with caplog.at_level(logging.WARNING, "tf_lottery"):
        assert engine(examples=100).instruction_set == ""
        assert caplog.messages == []  # too short a training to gain anything
        for _ in range(2):
            assert engine(examples=10**9).instruction_set == ""
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"layers with few weights train densely, without the sparse kernels: {reason}")


def test_who_turned_them_off_is_told_nothing(monkeypatch, caplog):
    monkeypatch.setenv(native.SETTING, "off")
    with caplog.at_level(logging.WARNING, "tf_lottery"):
        engine(examples=10**9)
    assert caplog.messages == []
    assert doctor() == ("warn", "none, sparse layers train densely: TF_LOTTERY_KERNELS is off")


@needs_library
@pytest.mark.parametrize("part", [0.001, 0.05, 0.5, 0.95])
def test_a_truncated_library_is_not_loaded(part, replace_library):
    """Loading one once ended the process by SIGBUS."""
    content = LIBRARY.read_bytes()
    replace_library(content[: int(part * len(content))])
    status, detail = doctor()
    assert status == "warn"
    assert detail.endswith("their library _kernels.so is truncated: install tf_lottery again")
    assert engine(examples=10**9).instruction_set == ""


def test_a_library_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "library_path", lambda: tmp_path)  # a folder: a root user may read any file
    status, detail = doctor()
    assert (status, "their library can't be loaded: " in detail, "Is a directory" in detail) == ("warn", True, True)


@needs_library
def test_the_library_is_whole():
    assert not native.is_truncated(LIBRARY)


@pytest.mark.parametrize("content", [b"", b"no library"])
def test_a_file_that_is_no_library_is_left_to_the_loader(content, replace_library):
    replace_library(content)
    status, detail = doctor()
    assert (status, "their library can't be loaded" in detail) == ("warn", True)


@needs_library
@pytest.mark.parametrize(
    ("library", "reason"),
    [
        ("libm.so.6", "this TensorFlow has no registry of custom calls"),
        ("libnothing.so", "TensorFlow's library is not loaded"),
    ],
)
def test_another_tensorflow_is_said(library, reason):
    """In a process of its own, without TensorFlow: here the kernels may be registered already."""
    code = f"""
import ctypes, math
register = ctypes.CDLL({str(LIBRARY)!r}).tf_lottery_register
register.restype, register.argtypes = ctypes.c_char_p, [ctypes.c_char_p]
print(register({library.encode()!r}).decode())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == reason
