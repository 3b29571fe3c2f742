"""Runs of the command line: in this process for parsing and reading, in real processes for everything that trains."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

QUICK = ["--rounds", "2", "--steps", "100", "--replicates", "1"]


@pytest.fixture(scope="session")
def environment(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of started processes: a data folder that may be written to, one thread, no colors."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mnist").symlink_to(data_dir / "mnist")
    variables = {key: value for key, value in os.environ.items() if key not in ("TF_CPP_MIN_LOG_LEVEL", "FORCE_COLOR")}
    return variables | {"TF_LOTTERY_DATA": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="session")
def shell(environment: dict[str, str], patience: float) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `tf-lottery` in a new process, with more variables of its environment by keyword."""

    def run(*arguments: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tf_lottery_cli", *arguments]
        return subprocess.run(
            command, cwd=cwd, env=environment | variables, capture_output=True, text=True, timeout=patience
        )

    return run


@pytest.fixture(scope="session")
def workplace(shell: Callable[..., subprocess.CompletedProcess[str]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run in runs/; nobody changes that run."""
    folder = tmp_path_factory.mktemp("workplace")
    done = shell("run", *QUICK, "--jobs", "1", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "run.json").write_text(done.stdout)
    (folder / "run.stderr").write_text(done.stderr)
    return folder


@pytest.fixture
def copied(workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the finished run, which a test may damage; its folder's parent is the current directory."""
    (source,) = (workplace / "runs").iterdir()
    target = tmp_path / "runs" / source.name
    shutil.copytree(source, target)
    monkeypatch.chdir(tmp_path)
    return target


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the current directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def invoke() -> Callable[..., Result]:
    """Runs `tf-lottery` in this process."""
    from tf_lottery_cli.app import app

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="tf-lottery")

    return run
