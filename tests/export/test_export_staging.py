"""All or nothing: staging, publishing, rolling back."""

import os
import subprocess
import sys

import pytest

from tf_lottery.errors import ResourceError
from tf_lottery.export.staging import publish, staging_folder


def test_the_staging_folder_and_a_folder_made_for_it_are_gone_after_a_failure(tmp_path):
    with pytest.raises(ZeroDivisionError), staging_folder(tmp_path / "new" / "deep") as stage:
        (stage / "file").write_text("x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_publishing_files_and_folders_and_replacing_them(tmp_path):
    for content in ("one", "two"):
        with staging_folder(tmp_path) as stage:
            (stage / "f").write_text(content)
            (stage / "d").mkdir()
            (stage / "d" / content).write_text(content)
            publish({stage / "f": tmp_path / "file", stage / "d": tmp_path / "dir"}, aside=stage)
        assert (tmp_path / "file").read_text() == content
        assert os.listdir(tmp_path / "dir") == [content]
        assert sorted(os.listdir(tmp_path)) == ["dir", "file"]


def test_a_failure_half_way_restores_everything(tmp_path):
    (tmp_path / "file").write_text("old")
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "inner").write_text("old")
    with staging_folder(tmp_path) as stage:
        for name in ("f", "g", "last"):
            (stage / name).write_text("new")
        (stage / "d").mkdir()
        moves = {
            stage / "f": tmp_path / "file",
            stage / "d": tmp_path / "dir",
            stage / "g": tmp_path / "added",
            stage / "last": tmp_path / "absent" / "x",
        }
        with pytest.raises(ResourceError):
            publish(moves, aside=stage)
    assert sorted(os.listdir(tmp_path)) == ["dir", "file"]
    assert (tmp_path / "file").read_text() == "old"
    assert (tmp_path / "dir" / "inner").read_text() == "old"


def test_a_file_takes_the_place_of_a_folder_and_the_other_way_round(tmp_path):
    (tmp_path / "was_dir").mkdir()
    (tmp_path / "was_dir" / "x").write_text("old")
    (tmp_path / "was_file").write_text("old")
    with staging_folder(tmp_path) as stage:
        (stage / "f").write_text("new")
        (stage / "d").mkdir()
        publish({stage / "f": tmp_path / "was_dir", stage / "d": tmp_path / "was_file"}, aside=stage)
    assert (tmp_path / "was_dir").read_text() == "new"
    assert (tmp_path / "was_file").is_dir()


def test_what_a_killed_process_left_is_swept_and_a_living_one_s_is_not(tmp_path):
    code = (
        "import os, sys, signal; from pathlib import Path; from tf_lottery.export.staging import staging_folder\n"
        "with staging_folder(Path(sys.argv[1])) as stage:\n"
        "    (stage / 'half').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert len(os.listdir(tmp_path)) == 1
    with staging_folder(tmp_path) as mine:
        assert os.listdir(tmp_path) == [mine.name]
        with staging_folder(tmp_path) as other:
            assert sorted(os.listdir(tmp_path)) == sorted([mine.name, other.name])
    assert os.listdir(tmp_path) == []


def test_a_destination_below_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ResourceError, match="Could not write") as caught, staging_folder(tmp_path / "file" / "sub"):
        pass
    assert caught.value.exit_code == 6
