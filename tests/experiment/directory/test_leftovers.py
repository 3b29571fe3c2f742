"""What a killed process leaves in a run directory: `verify` remarks on it, and the next run removes it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tf_lottery.errors import ResourceError
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.directory.run_checks import verify_store

ARRAYS = {"masks": {"a": np.ones(2, bool)}, "weights": {"a": np.ones(2)}}
METRICS = {"row": {}, "history": [], "layers": {}}
JOB = Job(0, 0)


@pytest.fixture
def store(tmp_path):
    store = RunDirectory(tmp_path / "run")
    store.create({})
    store.save_partial(JOB, {"a": np.ones(2)}, {"step": 1})
    return store


def fail_to_remove(monkeypatch, name):
    unlink = Path.unlink

    def refuse(path, missing_ok=False):
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)


def test_killed_after_its_commit_a_training_leaves_a_state_that_the_next_run_removes(store):
    code = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_leftovers import ARRAYS, JOB, METRICS
from tf_lottery.experiment.directory import RunDirectory
Path.unlink = lambda path, missing_ok=False: os.kill(os.getpid(), signal.SIGKILL)
RunDirectory(sys.argv[1]).commit(JOB, ARRAYS, METRICS)
"""
    command = [sys.executable, "-c", code, str(store.path), str(Path(__file__).parent)]
    assert subprocess.run(command, timeout=900, check=False).returncode == -signal.SIGKILL
    assert store.is_complete(JOB)
    assert store.partial_path(JOB).exists()
    assert store.leftovers() == [store.partial_path(JOB)]
    remarks = verify_store(store, [JOB]).remarks
    assert "1 file of a process that was killed; the next `run` removes it." in remarks
    store.clean()
    assert sorted(os.listdir(store.job_folder(JOB))) == ["manifest.json", "masks.npz", "metrics.json", "weights.npz"]
    assert store.leftovers() == []


def test_the_state_of_an_unfinished_training_is_no_leftover(store):
    (store.path / ".results.csv.1.tmp").touch()
    (store.path / ".rewind.1.tmp").mkdir()
    assert {path.name for path in store.leftovers()} == {".results.csv.1.tmp", ".rewind.1.tmp"}
    store.clean()
    assert store.load_partial(JOB)[1] == {"step": 1}
    assert store.leftovers() == []


def test_a_state_that_can_not_be_removed_does_not_fail_the_commit(store, monkeypatch, caplog):
    """It raised the `PermissionError` of `unlink`, although the training was committed."""
    fail_to_remove(monkeypatch, "partial.npz")
    store.commit(JOB, ARRAYS, METRICS)
    assert store.is_complete(JOB)
    assert "partial.npz can't be removed: Permission denied" in caplog.text


def test_a_leftover_that_can_not_be_removed_is_an_error_with_a_remedy(store, monkeypatch):
    store.commit(JOB, ARRAYS, METRICS)
    store.partial_path(JOB).touch()
    fail_to_remove(monkeypatch, "partial.npz")
    with pytest.raises(ResourceError, match=r"partial\.npz can't be removed: Permission denied"):
        store.clean()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_in_the_last_moment_of_a_commit_waits_for_its_end(store, monkeypatch, number):
    """Between the manifest and the removal of the saved state, it left that behind."""
    stopped = []
    before = signal.signal(number, lambda number, frame: stopped.append(store.partial_path(JOB).exists()))
    rename = os.replace

    def rename_and_stop(source, target):
        rename(source, target)
        if Path(target).name == "manifest.json":
            signal.raise_signal(number)

    monkeypatch.setattr(os, "replace", rename_and_stop)
    try:
        store.commit(JOB, ARRAYS, METRICS)
    finally:
        signal.signal(number, before)
    assert stopped == [False]
