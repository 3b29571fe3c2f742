"""What every test shares: a quiet TensorFlow on the CPU, seeds, processes that end with the test, and the test data.

No test depends on the speed of the machine, on the order of the tests or on an unseeded draw. Waiting has one limit,
`PATIENCE`, which only a program that hangs reaches.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Before TensorFlow loads, also in the processes that tests start.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from kernel_settings import skip_without_kernels

ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 900.0  # seconds

# The same examples in every run, and as much time as they take on a loaded machine. Other examples:
# `pytest --hypothesis-profile=explore`.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeatable", settings.get_profile("explore"), derandomize=True)
settings.load_profile("repeatable")


def seed_global_generators(name: str) -> None:
    """Seed the generators of Python, NumPy and, where it is loaded, Keras from a name."""
    seed = zlib.crc32(name.encode())
    if "keras" in sys.modules:
        sys.modules["keras"].utils.set_random_seed(seed)
    else:
        random.seed(seed)
        np.random.seed(seed)


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> None:
    """Seed by the fixture: what a shared one draws does not depend on which test uses it first."""
    seed_global_generators(fixturedef.argname)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """Seed by the test's name: weights without a seed are the same in any order, alone, and in any folder."""
    seed_global_generators(pyfuncitem.name)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of the test data: `$TF_LOTTERY_DATA`, by default `../shared/data` beside the repository."""
    folder = Path(os.environ.get("TF_LOTTERY_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.fail(f"The test data is not at {folder}: set TF_LOTTERY_DATA to the folder that holds it.")
    return folder


@pytest.fixture(scope="module", params=["off", pytest.param("on", marks=pytest.mark.slow)])
def sparse(request: pytest.FixtureRequest) -> str:
    """`--sparse`: what holds of the dense training must hold of the sparse kernels. Those compile, so they are slow."""
    skip_without_kernels(request.param)
    return request.param


@pytest.fixture(scope="session")
def run_python() -> Callable[..., str]:
    """Runs Python with some arguments in a folder, as a process of its own that must succeed; returns its stdout."""

    def run(*arguments: str | Path, folder: Path) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    return run


@pytest.fixture
def answers_ctrl_c() -> Iterator[None]:
    """Processes that the test starts answer Ctrl-C and SIGHUP, which tests in the background ignore and hand on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler), signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, before[0])
    signal.signal(signal.SIGHUP, before[1])


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a process with pipes for its text output, in a session of its own.

    When the test ends, whether it passes or fails, the process and those that it started are killed and its pipes
    closed: a test that fails half-way leaves nothing that a later one would stumble over.
    """
    with contextlib.ExitStack() as stack:

        def start(command: list[str | Path], **options: Any) -> subprocess.Popen[str]:
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
            process = stack.enter_context(subprocess.Popen(command, **{**pipes, **options}, start_new_session=True))
            stack.callback(kill_session, process)
            return process

        yield start


def kill_session(process: subprocess.Popen[str]) -> None:
    """Kill a process that still runs, and those of its session with it."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Waits until a condition is true, and returns its value; fails as soon as the process that it waits for ends."""

    def wait(condition: Callable[[], Any], process: subprocess.Popen[str] | None = None) -> Any:
        limit = time.monotonic() + PATIENCE
        while not (value := condition()):
            ended = process is not None and process.poll() is not None
            if ended and not (value := condition()):
                pytest.fail(f"The process ended with {process.returncode} before that: {process.communicate()}")
            if ended:
                return value
            assert time.monotonic() < limit, f"nothing happened in {PATIENCE:.0f} seconds"
            time.sleep(0.02)
        return value

    return wait


@pytest.fixture(scope="session")
def patience() -> float:
    """Seconds after which a process that a test waits for counts as hanging."""
    return PATIENCE
