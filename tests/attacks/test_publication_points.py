"""An export or a report that is killed at any change of the disk, or fails there, leaves what was before, or all.

Every change is tried in the slow set, a sample of them in the normal one. `tests/utils/test_staging_losses.py` tries
every change of putting files in place, and every loss of power there.
"""

import errno
import shutil
from functools import partial

import keras
import pytest
from attack_runs import CONFIG, train
from disk_runs import sample
from failing_disk import FailingDisk, KilledError
from keras import layers

from tf_lottery.errors import ResourceError
from tf_lottery.experiment.directory import RunReader
from tf_lottery.exporting import export
from tf_lottery.exporting.checks.verify import verify_path
from tf_lottery.results.outcome_files import write_files
from tf_lottery.results.report.run_report import write_run_report
from tf_lottery.utils import staging

ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]
FORMATS = ["keras", "saved_model", "tflite"]


def export_small(folder, seed, formats):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential([keras.Input((16,)), layers.Dense(8, activation="relu"), layers.Dense(3)])
    export(model, folder, format=formats, precision="float32", encoding="dense", force=True)


def write_small(folder, seed):
    """What the report writes, without drawing it."""
    write_files({"page.html": b"page %d" % seed, "table.csv": b"table %d" % seed, "figure.png": bytes(100)}, folder)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


class Publication:
    """Something that writes files into a folder, over those of an earlier time.

    Args:
        work: writes, given the folder and a seed: 0 for what was there before, 1 for what is new.
        folder: a new folder for all that is tried.
    """

    def __init__(self, work, folder):
        self.work, self.folder = work, folder
        work(folder / "before", 0)
        self.before = contents(folder / "before")
        disk = FailingDisk(self.copy("whole"))
        with disk.at_work():
            work(disk.folder, 1)
        self.changes, self.names = disk.changes, set(contents(folder / "whole"))

    def copy(self, name):
        return shutil.copytree(self.folder / "before", self.folder / name)

    def check(self, folder, *, new=None):
        """Check that what is there is what was before, or all that is new; return whether it is new."""
        now = contents(folder)
        if now == self.before and not new:
            return False
        assert new is not False
        assert set(now) == self.names
        assert now != self.before
        assert verify_path(folder).problems == verify_path(folder).remarks == []
        return True

    def kill_at(self, point):
        folder = self.copy(f"killed {point}")
        with FailingDisk(folder, point).at_work(), pytest.raises(KilledError):
            self.work(folder, 1)
        if set(contents(folder)) not in (set(self.before), self.names):
            # What is not as it should be is told before it is put back.
            assert verify_path(folder).remarks or verify_path(folder).problems
        staging.recover(folder)
        self.check(folder)
        self.work(folder, 1)
        self.check(folder, new=True)
        shutil.rmtree(folder)

    def fail_at(self, point, *, error, lasting):
        folder = self.copy(f"failed {point}")
        disk, failure = FailingDisk(folder, point, error=error, lasting=lasting), None
        try:
            with disk.at_work():
                self.work(folder, 1)
        except ResourceError as raised:
            failure = raised
        if failure is None:  # what can't be removed may stay until the next time; what can't be linked is copied
            assert disk.changes[point].startswith(("os.remove", "os.rmdir", "os.link"))
            staging.recover(folder)
        elif lasting:  # nothing can be put back on a disk that takes nothing more
            staging.recover(folder)
        new = self.check(folder)
        assert new or failure.remedy
        self.work(folder, 1)
        self.check(folder, new=True)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def small_export(tmp_path_factory):
    return Publication(partial(export_small, formats="keras"), tmp_path_factory.mktemp("export"))


def test_exports_killed_at_some_changes(small_export):
    for point in sample(len(small_export.changes), 5, seed=0):
        small_export.kill_at(point)


def test_some_changes_of_exports_fail(small_export):
    for number, point in enumerate(sample(len(small_export.changes), 5, seed=1)):
        small_export.fail_at(point, error=ERRORS[number % 4], lasting=number % 2 == 0)


def test_reports_killed_at_every_change(tmp_path):
    publication = Publication(write_small, tmp_path)
    for point in range(len(publication.changes)):
        publication.kill_at(point)


@pytest.mark.parametrize("lasting", [True, False])
def test_every_change_of_reports_fails(tmp_path, lasting):
    publication = Publication(write_small, tmp_path)
    for point in range(len(publication.changes)):
        publication.fail_at(point, error=ERRORS[point % 4], lasting=lasting)


@pytest.mark.slow
def test_exports_killed_at_every_change(tmp_path):
    publication = Publication(partial(export_small, formats=FORMATS), tmp_path)
    for point in range(len(publication.changes)):
        publication.kill_at(point)
    print(f"export: killed at each of {len(publication.changes)} changes, as before or whole after each")


@pytest.mark.slow
@pytest.mark.parametrize("error", ERRORS)
def test_every_change_of_exports_fails(tmp_path, error):
    publication = Publication(partial(export_small, formats=FORMATS[:2]), tmp_path)
    for point in range(len(publication.changes)):
        publication.fail_at(point, error=error, lasting=point % 2 == ERRORS.index(error) % 2)
    print(f"export, {errno.errorcode[error]}: at each of {len(publication.changes)} changes, as before or whole")


@pytest.mark.slow
def test_whole_reports_at_every_change(tmp_path):
    run = train(tmp_path / "run", CONFIG)
    publication = Publication(
        lambda folder, seed: write_run_report(RunReader(run), folder, max_drop=0.5 * seed), tmp_path
    )
    for point in range(len(publication.changes)):
        publication.kill_at(point)
        publication.fail_at(point, error=ERRORS[point % 4], lasting=point % 8 < 4)
    print(f"report: killed and failing at each of {len(publication.changes)} changes, as before or whole after each")
