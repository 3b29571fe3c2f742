"""All or nothing: staging, publishing, rolling back."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.utils import staging
from tf_lottery.utils.staging import publish, staging_folder


def old_and_staged(folder: Path, stage: Path) -> dict[Path, Path]:
    """A folder, a file and another to be replaced, one to be added, and what is to take their places."""
    (folder / "dir").mkdir(exist_ok=True)
    (folder / "dir" / "inner").write_text("old")
    (stage / "d").mkdir()
    (stage / "d" / "inner").write_text("new")
    for name in ("file", "other", "gone"):
        (folder / name).write_text("old")
    for name in ("f", "o", "a"):
        (stage / name).write_text("new")
    names = {"d": "dir", "f": "file", "a": "added", "o": "other"}
    return {stage / name: folder / target for name, target in names.items()}


def contents(folder: Path) -> dict[str, str]:
    return {str(item.relative_to(folder)): item.read_text() for item in folder.rglob("*") if item.is_file()}


def publish_with(monkeypatch, changes, folder, **options):
    """Publish to a folder, with functions of modules changed while the renames are made."""
    with staging_folder(folder) as stage:
        moves = old_and_staged(folder, stage)
        with monkeypatch.context() as patch:
            for (module, name), function in changes.items():
                patch.setattr(module, name, function)
            publish(moves, aside=stage, **options)


OLD = {"dir/inner": "old", "file": "old", "other": "old", "gone": "old"}
NEW = {"dir/inner": "new", "file": "new", "other": "new", "added": "new"}


def test_the_staging_folder_is_gone_after_a_failure(tmp_path):
    def fail():
        with staging_folder(tmp_path / "new" / "deep") as stage:
            (stage / "file").write_text("x")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
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


def test_a_file_takes_the_place_of_a_folder(tmp_path):
    (tmp_path / "was_dir").mkdir()
    (tmp_path / "was_dir" / "x").write_text("old")
    (tmp_path / "was_file").write_text("old")
    with staging_folder(tmp_path) as stage:
        (stage / "f").write_text("new")
        (stage / "d").mkdir()
        publish({stage / "f": tmp_path / "was_dir", stage / "d": tmp_path / "was_file"}, aside=stage)
    assert (tmp_path / "was_dir").read_text() == "new"
    assert (tmp_path / "was_file").is_dir()


def test_what_a_killed_process_left_is_swept(tmp_path):
    code = (
        "import os, sys, signal; from pathlib import Path\n"
        "from tf_lottery.utils.staging import staging_folder\n"
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
    with pytest.raises(ResourceError, match="can't be written"), staging_folder(tmp_path / "file" / "sub"):
        pass


@pytest.mark.parametrize("call", range(1, 9))
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError])
def test_whatever_comes_in_between_restores_everything(tmp_path, monkeypatch, call, error):
    count = 0

    def counted(whole):
        def run(*arguments):
            nonlocal count
            count += 1
            if count == call:
                raise error
            return whole(*arguments)

        return run

    changes = {(os, name): counted(getattr(os, name)) for name in ("replace", "rename", "link")}
    with pytest.raises(error):
        publish_with(monkeypatch, changes, tmp_path, gone=[tmp_path / "gone"])
    assert contents(tmp_path) == OLD


_KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.append(sys.argv[3])
from test_staging import old_and_staged
from tf_lottery.utils.staging import publish, staging_folder
folder, left = Path(sys.argv[1]), int(sys.argv[2])
def counted(whole):
    def run(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)
    return run
with staging_folder(folder) as stage:
    moves = old_and_staged(folder, stage)
    for name in ("replace", "rename", "link", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    publish(moves, aside=stage, gone=[folder / "gone"])
"""


def killed_at(folder: Path, call: int) -> int:
    command = [sys.executable, "-c", _KILLED, str(folder), str(call), str(Path(__file__).parent)]
    return subprocess.run(command, check=False, capture_output=True).returncode


@pytest.mark.parametrize("call", range(1, 12))
def test_what_a_killed_process_moved_aside_comes_back(tmp_path, call):
    # The last but one call deletes the journal, which is the commit; the last sweeps up.
    assert killed_at(tmp_path, call) == -signal.SIGKILL
    with staging_folder(tmp_path):
        pass
    assert contents(tmp_path) == (OLD if call <= 10 else NEW)


def test_what_somebody_put_there_after_a_kill_is_kept(tmp_path):
    # The first renames: of the journal, of the old folder, of the new folder.
    assert killed_at(tmp_path, 3) == -signal.SIGKILL
    assert not (tmp_path / "dir").exists()
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "inner").write_text("mine")
    staging.recover(tmp_path)
    assert contents(tmp_path) == {**OLD, "dir/inner": "mine"}


def test_a_failed_rollback_leaves_the_old_files(tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError(5, "Input/output error")

    rename = os.rename
    changes = {
        (os, "link"): fail,
        (staging.shutil, "copy2"): fail,
        (os, "rename"): lambda one, two: fail() if Path(two) == tmp_path / "dir" else rename(one, two),
    }
    with pytest.raises(ResourceError, match="Input/output"):
        publish_with(monkeypatch, changes, tmp_path)
    assert "dir/inner" not in contents(tmp_path)
    staging.recover(tmp_path)
    assert contents(tmp_path) == OLD


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_the_renames(tmp_path, monkeypatch, number):
    class Stopped(BaseException):
        pass

    def stop(number, frame):
        raise Stopped

    before = signal.signal(number, stop)
    try:
        replace = os.replace
        changes = {(os, "replace"): lambda *pair: (signal.raise_signal(number), replace(*pair))}
        with pytest.raises(Stopped):
            publish_with(monkeypatch, changes, tmp_path, gone=[tmp_path / "gone"])
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert contents(tmp_path) == NEW


@pytest.mark.parametrize("place", ["file", "dir"])
@pytest.mark.parametrize("links", [True, False])
def test_what_appeared_meanwhile_is_not_replaced(tmp_path, monkeypatch, place, links):
    if not links:
        monkeypatch.setattr(os, "link", lambda *pair: (_ for _ in ()).throw(PermissionError(1, "no links")))
    with staging_folder(tmp_path) as stage:
        moves = old_and_staged(tmp_path, stage)
        with pytest.raises(UsageError, match=f"{place} appeared"):
            publish(moves, aside=stage, new=[tmp_path / place])
    assert contents(tmp_path) == OLD
    with staging_folder(tmp_path / "fresh") as stage:
        (stage / "f").write_text("new")
        (stage / "d").mkdir()
        moves = {stage / name: tmp_path / "fresh" / name for name in ("f", "d")}
        publish(moves, aside=stage, new=moves.values())
    assert sorted(os.listdir(tmp_path / "fresh")) == ["d", "f"]
