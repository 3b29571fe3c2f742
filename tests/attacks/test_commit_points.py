"""A run that is killed at any change of the disk goes on to the same bytes; one that fails says so, and does too.

Every change is tried in the slow set, a sample of them in the normal one. The process is not really killed, which would
take it seconds to start again: its disk takes no more changes (`failing_disk`). `tests/experiment/test_kill.py` kills
processes.
"""

import errno

import pytest
from disk_runs import RUNS, check_unfinished, go, sample
from failing_disk import FailingDisk, KilledError
from run_content import assert_same, content

from tf_lottery.errors import ResourceError
from tf_lottery.experiment.workers import trainer

ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]


@pytest.fixture(autouse=True)
def state_saved_at_every_evaluation(monkeypatch):
    monkeypatch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)


def whole_run(folder, name):
    """The content of an undisturbed run, and all changes that it makes to the disk."""
    with FailingDisk(folder / "whole").at_work() as disk:
        go(folder / "whole", name)
    whole = content(folder / "whole")
    assert not any("partial" in file or file.endswith(".tmp") for file in whole)
    assert sum("partial.npz" in change for change in disk.changes) > 4
    return whole, disk.changes


def kill_at(folder, name, point, whole):
    """Kill the run at one change of the disk, and let it go on."""
    with FailingDisk(folder, point).at_work(), pytest.raises(KilledError):
        go(folder, name)
    check_unfinished(folder)
    go(folder, name)
    assert_same(content(folder), whole)


def may_fail(changes, point):
    """Whether a change may fail without an error: what can't be removed stays, and a folder that is there is there."""
    made_again = changes[point].startswith("os.mkdir") and changes[point] in changes[:point]
    return made_again or changes[point].startswith(("os.remove", "os.rmdir"))


def fail_at(folder, name, point, whole, *, error, lasting):
    """Let one change of the disk fail, or all from there on, and repeat the run."""
    disk, failure = FailingDisk(folder, point, error=error, lasting=lasting), None
    try:
        with disk.at_work():
            go(folder, name)
    except ResourceError as raised:
        failure = raised
    assert failure.remedy if failure else may_fail(disk.changes, point)
    check_unfinished(folder)
    go(folder, name)
    assert_same(content(folder), whole)


@pytest.mark.parametrize(("name", "count"), [("rewinding", 10), ("searches", 6)])
def test_killed_at_some_changes(tmp_path, name, count):
    whole, changes = whole_run(tmp_path, name)
    for point in sample(len(changes), count, seed=0):
        kill_at(tmp_path / str(point), name, point, whole)


def test_some_changes_fail(tmp_path):
    whole, changes = whole_run(tmp_path, "rewinding")
    for number, point in enumerate(sample(len(changes), 8, seed=1)):
        fail_at(tmp_path / str(point), "rewinding", point, whole, error=ERRORS[number % 4], lasting=number % 2 == 0)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_killed_at_every_change(tmp_path, name):
    whole, changes = whole_run(tmp_path, name)
    for point in range(len(changes)):
        kill_at(tmp_path / str(point), name, point, whole)
    print(f"{name}: killed at each of {len(changes)} changes, equal after each")


@pytest.mark.slow
@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("error", ERRORS)
def test_every_change_fails(tmp_path, error, lasting):
    whole, changes = whole_run(tmp_path, "rewinding")
    for point in range(len(changes)):
        fail_at(tmp_path / str(point), "rewinding", point, whole, error=error, lasting=lasting)
    print(f"{errno.errorcode[error]}: at each of {len(changes)} changes, equal after the repeat")
