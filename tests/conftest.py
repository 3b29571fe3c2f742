"""What every test shares: a quiet TensorFlow on the CPU, and the folder of the test data."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Before TensorFlow loads, also in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the test data: `$TF_LOTTERY_DATA`, by default `../shared/data` beside the repository."""
    folder = Path(os.environ.get("TF_LOTTERY_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.fail(f"The test data is not at {folder}: set TF_LOTTERY_DATA to the folder that holds it.")
    return folder


@pytest.fixture
def answers_ctrl_c() -> Iterator[None]:
    """Processes that the test starts answer Ctrl-C: tests that run in the background ignore it, and hand that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
