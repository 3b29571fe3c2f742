"""Readers that go away, names that are too long, directories in place of files, and locks of other users."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tf_lottery.errors import ResourceError, RunInUseError, UsageError
from tf_lottery.experiment.directory import RunDirectory, run_lock

LONG = "x" * 300


@pytest.mark.parametrize("arguments", ["presets", "--help", "status nosuch 2>&1", "methods --json", ""])
def test_a_reader_that_never_reads_is_no_error(arguments, tmp_path):
    """Click ended with 1 where the pipe was broken before the first line."""
    os.mkfifo(tmp_path / "pipe")
    # The pipe is opened for reading and closed again before the command writes.
    program = f"exec 3<>pipe 4>pipe 3<&-; exec {sys.executable} -m tf_lottery_cli {arguments} >&4"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == (2 if "nosuch" in arguments else 0), done.stderr
    assert "Exception ignored" not in done.stderr
    assert "rror" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", LONG],
        ["verify", LONG],
        ["ls", "--out", LONG],
        ["report", f"{LONG}/{LONG}"],
        ["export", f"{LONG}.keras"],
        ["bench", f"{LONG}.tflite"],
        ["run", "--out", LONG, "--steps", "20"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_name_that_is_too_long_is_an_error_of_use(arguments, invoke, here):
    result = invoke(*arguments)
    assert result.exit_code == 2, result.stderr
    assert "File name too long" in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_folder_in_place_of_a_ticket_is_an_error_of_use(command, invoke, here):
    (here / "ticket.npz").mkdir()
    result = invoke(command, "ticket.npz")
    assert result.exit_code == 2
    assert "ticket.npz is a folder" in result.stderr


def test_a_folder_in_place_of_the_results_is_damage(copied, invoke):
    (copied / "results.csv").unlink()
    (copied / "results.csv").mkdir()
    result = invoke("verify", copied)
    assert result.exit_code == 5
    assert "results.csv can't be read: Is a directory" in result.stderr


@pytest.fixture
def not_writable(monkeypatch):
    """Locks can't be opened for writing, as those of another user's run."""

    def refuse(self, *arguments, **options):
        raise PermissionError(13, "Permission denied", self.lock_file)

    monkeypatch.setattr(run_lock.filelock.FileLock, "acquire", refuse)


def test_a_run_of_another_user_is_in_use_while_it_is_locked(tmp_path, monkeypatch, request):
    """It was called unfinished: the lock could not be taken for another reason than that it was held."""
    store = RunDirectory(tmp_path)
    with store.lock():
        request.getfixturevalue("not_writable")
        assert store.in_use()
        message = f"of the user {tmp_path.owner()} is in use, and may not be written by you"
        with pytest.raises(RunInUseError, match=message), RunDirectory(tmp_path).lock():
            pass
        monkeypatch.undo()
    assert not store.in_use()


@pytest.mark.usefixtures("not_writable")
def test_a_run_of_another_user_that_is_not_locked_is_not_in_use(tmp_path):
    (tmp_path / run_lock.NAME).touch()
    assert not RunDirectory(tmp_path).in_use()
    with pytest.raises(ResourceError, match="Permission denied"), RunDirectory(tmp_path).lock():
        pass


def test_a_lock_that_may_not_even_be_read_may_be_held(tmp_path, monkeypatch, not_writable):
    (tmp_path / run_lock.NAME).touch()
    monkeypatch.setattr(os, "open", lambda *arguments: (_ for _ in ()).throw(PermissionError(13, "Permission denied")))
    assert RunDirectory(tmp_path).in_use()


def test_without_a_temporary_folder_find_ticket_says_what_to_do(monkeypatch):
    import tempfile

    import keras
    import numpy as np

    import tf_lottery as tfl

    def refuse(**options):
        raise FileNotFoundError(2, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
    with pytest.raises(ResourceError, match=r"No usable temporary directory .* Pass `run_dir`"):
        tfl.find_ticket(
            model, np.ones((8, 2), "float32"), np.ones((8, 2), "float32"), loss="mse", rounds=0, steps=1, verbose=0
        )


def test_a_ticket_that_is_a_folder_is_an_error_of_use_in_python(tmp_path):
    import tf_lottery as tfl

    with pytest.raises(UsageError, match="is a folder, not a ticket"):
        tfl.load_ticket(Path(tmp_path))
