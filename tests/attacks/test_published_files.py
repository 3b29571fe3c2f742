"""What is published beside a run, its report and its analyses, is in a manifest: `verify` sees what was changed."""

import socket

import pytest

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.directory.extra_files import extra_files
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.exporting.checks.verify import verify_path
from tf_lottery.results.outcome_files import write_files
from tf_lottery.utils.files import write_bytes

FILES = {"table.csv": b"density,accuracy\n0.5,0.91\n", "page.html": b"<p>0.91</p>"}


def with_outcomes(path):
    """A run without trainings, with small files in the place of the report and an analysis."""
    run = RunDirectory(path)
    run.create(Config().to_json() | {"hash": Config().hash()})
    for folder in (path / "report", path / "analysis" / "overlap"):
        write_files(FILES, folder, owner=run.run_owner())
    return run


def remarks(run):
    return [remark for remark in verify_run(run).remarks if "not finished" not in remark]


@pytest.mark.parametrize("folder", ["report", "analysis/overlap"])
@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
def test_a_flipped_digit_is_seen(tmp_path, folder, name):
    run = with_outcomes(tmp_path / "run")
    file = run.path / folder / name
    place = next(at for at, byte in enumerate(file.read_bytes()) if chr(byte) in "12345")
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)
    verification = verify_run(run)
    assert len(verification.problems) == 1
    assert "write the report or the analysis again" in verification.remedies[verification.problems[0]]


def test_a_file_that_is_missing_is_seen_and_an_extra_one_told(tmp_path):
    run = with_outcomes(tmp_path / "run")
    (run.path / "report" / "notes.txt").write_text("mine")
    verification = verify_run(run)
    assert verification.problems == []
    assert remarks(run) == [f"Not of {run.path / 'report'}, and not checked: notes.txt."]
    (run.path / "report" / "table.csv").unlink()
    assert any("table.csv" in problem for problem in verify_run(run).problems)


def test_a_report_without_a_manifest_is_told(tmp_path):
    run = with_outcomes(tmp_path / "run")
    (run.path / "report" / "manifest.json").unlink()
    assert "not checked: an earlier version wrote it" in remarks(run)[0]
    write_files(FILES, run.path / "report", owner=run.run_owner())
    assert remarks(run) == []


def test_nothing_is_written_over_the_manifest_of_something_else(tmp_path):
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    with pytest.raises(UsageError, match="something else"):
        write_files(FILES, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_files_that_stay_are_still_checked(tmp_path):
    write_files(FILES, tmp_path)
    write_files({"page.html": b"new"}, tmp_path)
    assert verify_path(tmp_path).checked["files of reports and analyses have their SHA-256"] == 2
    (tmp_path / "table.csv").write_bytes(b"other")
    assert verify_path(tmp_path).problems


def test_files_that_are_not_of_the_run_are_told(tmp_path):
    run = with_outcomes(tmp_path / "run")
    folder = run.job_folder(Job(0, 1))
    for name in ("masks.npz", "masks (1).npz", ".masks.npz.7.tmp"):
        write_bytes(folder / name, b"x")
    write_bytes(run.path / "replicate_0" / "copy" / "masks.npz", b"x")
    for number in range(5):
        write_bytes(run.path / f"notes {number}.txt", b"x")
    told = "notes 0.txt, notes 1.txt, notes 2.txt, notes 3.txt, notes 4.txt and 2 more"
    assert f"Not of the run, and not checked: {told}." in remarks(run)
    assert [path.parent.name for path in extra_files(run)[5:]] == ["copy", "round_01"]


def test_a_write_that_was_stopped_is_told(tmp_path):
    write_files(FILES, tmp_path)
    (tmp_path / f".tf_lottery_staging-{socket.gethostname()}-{2**22 + 1}-00000000-abc").mkdir()
    assert ["was stopped in its middle" in remark for remark in verify_path(tmp_path).remarks] == [True]
    write_files(FILES, tmp_path)
    assert verify_path(tmp_path).remarks == []
