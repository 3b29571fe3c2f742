"""The checks of an installation."""

import pytest

from tf_lottery.errors import CheckFailed
from tf_lottery.exporting.diagnose import installation
from tf_lottery.exporting.diagnose.installation import InstallationCheck, check_installation


def test_a_whole_installation(tmp_path, data_dir):
    checks = {check.name: check for check in check_installation(tmp_path / "new" / "runs", str(data_dir))}
    assert [name for name, check in checks.items() if check.status == "fail"] == []
    assert {"Python", "tensorflow", "XLA", "LiteRT", "Cores", "Memory", "Data folder", "Runs folder", "Disk"} <= set(
        checks
    )
    assert checks["LiteRT"].detail == "converts, loads and computes right"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (CheckFailed("XLA computes nothing."), "CheckFailed: XLA computes nothing."),
        (ImportError("no module\nand more"), "ImportError: no module and more"),
    ],
)
def test_what_fails_is_a_line(monkeypatch, error, detail):
    def fail():
        raise error

    assert installation._attempt("XLA", fail) == InstallationCheck("XLA", "fail", detail)


def test_little_disk_and_memory_and_no_data_are_warnings(tmp_path, monkeypatch):
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e6}))
    storage = {check.name: check for check in installation._storage(tmp_path, str(tmp_path / "none"))}
    assert storage["Disk"] == InstallationCheck("Disk", "warn", "0.0 GB free")
    assert storage["Data folder"].status == "warn"
    monkeypatch.setattr(installation, "available_memory", lambda: None)
    machine = {check.name: check for check in installation._machine()}
    assert machine["Memory"] == InstallationCheck("Memory", "warn", "not known on this system")
