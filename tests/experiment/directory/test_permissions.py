"""A run that the user may not read, or only a part of, is neither damaged nor smaller than it is: nothing is known."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import tf_lottery as tfl
from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.results.run_lookup import find_run, list_runs

STORED = Path(__file__).parent / "run_0_1"
NAME = "custom-730d8f7ed9"
NOBODY = 65534


@pytest.fixture
def runs():
    """A folder that any user may look into, with two runs and a ticket; those that pytest makes are its user's own."""
    with tempfile.TemporaryDirectory() as folder:
        runs = Path(folder)
        for name in ("other", "own"):
            shutil.copytree(STORED / NAME, runs / name)
        shutil.copy(STORED / "ticket.npz", runs)
        runs.chmod(0o755)
        yield runs
        for path in (runs / "other").rglob("*"):
            path.chmod(0o755)


@pytest.fixture
def without_privileges(runs):
    """Root may read whatever there is."""
    verify_run(RunReader(runs / "own"))  # all modules that reading needs are loaded then
    root = os.geteuid() == 0
    if root:
        os.setresuid(NOBODY, NOBODY, 0)
    yield
    if root:
        os.setresuid(0, 0, 0)


@pytest.fixture
def hidden(runs, request):
    """A part of a run that may not be read, taken from the parameters of the test."""
    path = runs / "other" / request.param
    path.chmod(0)
    request.getfixturevalue("without_privileges")
    return path


ROUND = "replicate_0/round_01"
FILES = ["config.json", "environment.json", f"{ROUND}/metrics.json", f"{ROUND}/manifest.json"]
PARTS = [".", "replicate_0", ROUND, f"{ROUND}/variants", *FILES]


@pytest.mark.parametrize("hidden", PARTS, indirect=True)
def test_what_may_not_be_read_is_neither_damaged_nor_left_out(hidden, runs):
    run = runs / "other"
    for reader in (lambda: RunReader(run).environment(), lambda: verify_run(RunReader(run)).raise_problems()):
        with pytest.raises(ResourceError, match=r"may not be read\. Give yourself the right to read it"):
            reader()
    if hidden.name != "environment.json":
        with pytest.raises(ResourceError, match="may not be read"):
            tfl.open_run(run)
    state = read_state(run)
    assert state.state == "unreadable" or hidden.name == "environment.json"


@pytest.mark.parametrize("hidden", ["."], indirect=True)
@pytest.mark.usefixtures("hidden")
def test_the_run_of_another_user_does_not_hide_the_own_ones(runs):
    assert {path.name for path in list_runs(runs)} == {"other", "own"}
    assert read_state(find_run("own", runs).path).state == "complete"
    assert read_state(find_run("other", runs).path).problem.endswith("other/config.json may not be read.")


def test_a_saved_state_that_may_not_be_read_is_not_to_be_deleted(runs, request):
    run, job = RunReader(runs / "other"), Job(0, 1, "random_reinit")
    (run.job_folder(job) / "manifest.json").unlink()
    run.partial_path(job).touch(0)
    request.getfixturevalue("without_privileges")
    for read in (run.load_partial, run.partial_progress):
        with pytest.raises(ResourceError, match=r"partial\.npz may not be read"):
            read(job)


def test_tickets_and_names(runs, request):
    (runs / "ticket.npz").chmod(0)
    request.getfixturevalue("without_privileges")
    with pytest.raises(ResourceError, match=r"ticket\.npz may not be read"):
        tfl.load_ticket(runs / "ticket.npz")
    for read in (tfl.load_ticket, tfl.open_run):
        with pytest.raises(UsageError, match=r"File name too long\. Give another path"):
            read(runs / f"{'x' * 300}.npz")
