"""Files that are put in place together are whole or as before: after a loss of power, a kill, and a failing disk."""

import errno
import json
import os

import numpy as np
import pytest
from failing_disk import FailingDisk, KilledError
from lossy_disk import FOLDER, LossyDisk, distinct_states, write_state

from tf_lottery.errors import DamagedError, ResourceError
from tf_lottery.utils import staging
from tf_lottery.utils.files import resources
from tf_lottery.utils.staging import publish, staging_folder

ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]
OLD = {"dir/inner": "old", "file": "old", "gone": "old"}
NEW = {"dir/inner": "new", "file": "new", "added": "new", "fresh": "new"}


def make_old(folder):
    (folder / "dir").mkdir(parents=True)
    for name, text in OLD.items():
        (folder / name).write_text(text)


def replace_all(folder):
    """Put new files in the place of the old ones: a folder, a file, files that were not there; and one goes."""
    with staging_folder(folder) as stage:
        (stage / "dir").mkdir()
        for name, text in NEW.items():
            (stage / name).write_text(text)
        names = dict.fromkeys(name.split("/")[0] for name in NEW)
        moves = {stage / name: folder / name for name in names}
        publish(moves, aside=stage, new=[folder / "fresh"], gone=[folder / name for name in OLD if name not in NEW][:1])


def contents(folder):
    """All files; also those that should not be there."""
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def is_old_or_new(folder):
    return contents(folder) in (OLD, NEW)


def changes_of(folder):
    make_old(folder)
    with FailingDisk(folder).at_work() as disk:
        replace_all(folder)
    assert contents(folder) == NEW
    return disk.changes


def test_killed_at_every_change(tmp_path):
    changes = changes_of(tmp_path / "whole")
    for point in range(len(changes)):
        folder = tmp_path / f"{point}"
        make_old(folder)
        with FailingDisk(folder, point).at_work(), pytest.raises(KilledError):
            replace_all(folder)
        staging.recover(folder)
        assert is_old_or_new(folder), changes[point]
        if contents(folder) == OLD:
            replace_all(folder)
        assert contents(folder) == NEW
    assert len(changes) > 30


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize("error", ERRORS)
def test_every_change_fails(tmp_path, error, lasting):
    changes = changes_of(tmp_path / "whole")
    last_sync = max(point for point, change in enumerate(changes) if change.startswith("os.fsync"))
    for point in range(len(changes)):
        folder = tmp_path / f"{point}"
        make_old(folder)
        disk, failed = FailingDisk(folder, point, error=error, lasting=lasting), False
        try:
            with disk.at_work(), resources(folder):
                replace_all(folder)
        except ResourceError as raised:
            failed = bool(raised.remedy)
        if lasting or not failed:  # what can't be put back or swept up is so by the next who writes
            staging.recover(folder)
        # All is done when the last sync fails: a disk on which nothing can be put back keeps what is new.
        done = not failed or (lasting and point == last_sync)
        assert contents(folder) == (NEW if done else OLD), disk.changes[point:]
        if not done:
            replace_all(folder)
        assert contents(folder) == NEW


def lose_power(state, disk, folder):
    """Write a state; its journals name the inodes that the files have there."""
    write_state(state, folder)
    moved = {}
    for path, (number, content) in state.items():
        if content is not FOLDER:
            os.utime(folder / path, ns=(0, disk.identities[number][1]))
        moved[disk.inodes[number]] = (folder / path).lstat().st_ino
    for journal in folder.rglob("journal.json"):
        steps = json.loads(journal.read_text())
        for step in steps:
            if step["identity"] is not None:
                step["identity"][0] = moved.get(step["identity"][0], -1)
        journal.write_text(json.dumps(steps))


def states_of_replacing(folder):
    make_old(folder)
    disk = LossyDisk(folder)
    disk.begin()
    with disk.at_work():
        replace_all(folder)
        disk.mark("the end")
    return disk, distinct_states(disk, generator=np.random.default_rng(0), count=8)


def broken_states(tmp_path):
    """What is neither as before nor whole after a loss of power; once the work had ended, what is not whole."""
    disk, states = states_of_replacing(tmp_path / "disk")
    for number, (state, marks) in enumerate(states):
        folder = tmp_path / f"{number}"
        lose_power(state, disk, folder)
        staging.recover(folder)
        if not (contents(folder) == NEW if marks else is_old_or_new(folder)):
            yield contents(folder)
    assert len(states) > 60


def test_every_loss_of_power(tmp_path):
    assert list(broken_states(tmp_path)) == []


def test_the_model_sees_a_missing_sync(tmp_path, monkeypatch):
    """Without the journal, or without what was moved aside, nothing can be put back."""
    sync = staging.sync_to_disk

    def sync_others(path):
        if not path.name.startswith(".tf_lottery_staging-"):
            sync(path)

    monkeypatch.setattr(staging, "sync_to_disk", sync_others)
    assert list(broken_states(tmp_path))


@pytest.mark.parametrize("text", ["{", "[1]", '[{"target": "../x", "identity": null}]', '[{"target": "x"}]'])
def test_a_journal_that_is_damaged_moves_nothing(tmp_path, text):
    with staging_folder(tmp_path) as stage:
        (stage / "old-0").write_text("x")
        (stage / "journal.json").write_text(text)
    with pytest.raises(DamagedError, match="journal"):
        staging.recover(tmp_path)
    assert (stage / "old-0").exists()
    assert not (tmp_path.parent / "x").exists()
