"""What users install is the wheel, not this source tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # building leaves files in the tree, which would be in the next wheel
    skip = shutil.ignore_patterns(".*", "*.so", "build", "*.egg-info", "runs", "saved_models", "tests", "__pycache__")
    shutil.copytree(ROOT, source, ignore=skip)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_every_module_and_no_top_level_cli(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tf_lottery").rglob("*.py")}
    sources |= {f"tf_lottery_cli/{path.name}" for path in (ROOT / "cli").glob("*.py")}
    assert sources <= names
    assert {"tf_lottery/py.typed", "tf_lottery/results/report/report.html"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"tf_lottery", "tf_lottery_cli"}


def test_the_command_runs_from_the_unpacked_wheel(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import tf_lottery, tf_lottery_cli; print(tf_lottery.__file__); tf_lottery_cli.main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "presets", "--json"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(str(tmp_path / "site"))
    assert "mnist-lenet-300-100" in result.stdout
