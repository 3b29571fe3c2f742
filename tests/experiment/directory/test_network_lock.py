"""Locks where the system has none to give, or does not answer; renames and files of servers that lose answers."""

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tf_lottery.errors import DamagedError, ResourceError, RunInUseError
from tf_lottery.experiment.directory import RunDirectory, run_lock
from tf_lottery.utils import heartbeat_lock, network_files
from tf_lottery.utils.files import load_json, write_bytes
from tf_lottery.utils.heartbeat_lock import HeartbeatLock, HeldError

CONTENDER = Path(__file__).with_name("lock_contender.py")
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@pytest.fixture
def quick(monkeypatch):
    """Heartbeats of milliseconds."""
    for name, seconds in {"BEAT": 0.02, "STALE": 0.4, "_POLL": 0.01}.items():
        monkeypatch.setattr(heartbeat_lock, name, seconds)
    monkeypatch.setattr(run_lock, "ANSWER_SECONDS", 0.2)


@pytest.fixture
def no_locks(quick, monkeypatch):
    def refuse(descriptor, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)


def on_machine(monkeypatch, name):
    monkeypatch.setattr(heartbeat_lock, "machine_identity", lambda: name)


def write_owner(path, number, *, machine="elsewhere/boot/space", pid=1, start="1"):
    """The file of an owner that writes no heartbeat."""
    owner = {"machine": machine, "pid": pid, "start": start, "token": "token"}
    path.with_name(f"{path.name}.{number:08d}").write_text(f"{json.dumps(owner)}\n{0:020d}\n")


def race(folder, kinds, times, *, prepare=lambda folder: None):
    """Two processes ask for the lock of one run, again and again; of each kind, how often exactly one got it."""
    contenders = [
        subprocess.Popen(
            [sys.executable, CONTENDER, machine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        for machine in ("one", "other")
    ]

    def ask(line):
        for contender in contenders:
            contender.stdin.write(f"{line}\n")
        return [contender.stdout.readline().strip() for contender in contenders]

    exclusive = dict.fromkeys(kinds, 0)
    try:
        for kind in kinds:
            (folder / kind).mkdir()
            for _ in range(times):
                prepare(folder / kind)
                exclusive[kind] += sorted(ask(f"{kind} {folder / kind}")) == ["held", "in use"]
                assert ask("release") == ["done", "done"]
    finally:
        for contender in contenders:
            contender.stdin.close()
            contender.wait()
            contender.stdout.close()
    return exclusive


def leave_dead_owner(folder):
    """A later number, of a process of another machine that is gone."""
    write_owner(folder / ".lock", heartbeat_lock._highest(folder / ".lock") + 1)


def test_one_of_two_processes_holds_a_run(tmp_path):
    kinds = ("system", "files", "machines")
    assert race(tmp_path, kinds, 4) == dict.fromkeys(kinds, 4)


@pytest.mark.slow
def test_one_of_two_processes_holds_a_run_100_times(tmp_path, capsys):
    counts = race(tmp_path, ("system", "files", "machines", "never"), 100)
    (tmp_path / "dead").mkdir()
    taken_over = race(tmp_path / "dead", ("files", "machines"), 100, prepare=leave_dead_owner)
    counts |= {f"{kind}, after a dead owner": count for kind, count in taken_over.items()}
    with capsys.disabled():
        print()
        for kind, count in counts.items():
            print(f"two processes, {kind}: {count} of 100 exclusive")
    assert set(counts.values()) == {100}


@pytest.mark.parametrize("number", NO_LOCKS)
def test_a_lock_of_files_where_the_system_has_none(tmp_path, quick, monkeypatch, number):
    def refuse(descriptor, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    store = RunDirectory(tmp_path)
    with store.lock():
        assert store.in_use()
        message = f"in use by process {os.getpid()} on "
        with pytest.raises(RunInUseError, match=message), RunDirectory(tmp_path).lock(timeout=0):
            pass
    assert not store.in_use()
    with RunDirectory(tmp_path).lock(timeout=0):
        pass


def test_a_lock_that_is_never_granted(tmp_path, quick, monkeypatch):
    """A server that is down lets the call hang; when it answers after all, its lock is given back."""
    answer, flock = threading.Event(), fcntl.flock
    monkeypatch.setattr(fcntl, "flock", lambda *arguments: answer.wait() and flock(*arguments))
    store = RunDirectory(tmp_path)
    start = time.monotonic()
    with store.lock(timeout=0):
        assert time.monotonic() - start >= 0.2
        with pytest.raises(RunInUseError), RunDirectory(tmp_path).lock(timeout=0):
            pass
        attempts = [thread for thread in threading.enumerate() if thread.name == "run lock"]
        assert len(attempts) == 2
    monkeypatch.undo()
    answer.set()
    for thread in attempts:
        thread.join()
    with RunDirectory(tmp_path).lock(timeout=1):
        pass


def test_on_a_network_both_locks_are_taken(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(network_files, "is_on_network", lambda path: True)
    with RunDirectory(tmp_path).lock():
        assert heartbeat_lock.lives(tmp_path / ".lock")
        monkeypatch.setattr(network_files, "is_on_network", lambda path: False)
        with pytest.raises(RunInUseError), RunDirectory(tmp_path).lock(timeout=0):
            pass


def test_on_the_disk_of_a_machine_its_own_lock_is_enough(tmp_path):
    with RunDirectory(tmp_path).lock():
        assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_owner_elsewhere_that_lives_is_not_replaced(tmp_path, no_locks, monkeypatch):
    on_machine(monkeypatch, "one")
    with RunDirectory(tmp_path).lock():
        on_machine(monkeypatch, "other")
        assert RunDirectory(tmp_path).in_use()
        with pytest.raises(RunInUseError, match="on one"), RunDirectory(tmp_path).lock(timeout=0.8):
            pass


def test_an_owner_elsewhere_that_is_silent_is_replaced(tmp_path, no_locks, caplog):
    write_owner(tmp_path / ".lock", 7)
    (tmp_path / ".lock").touch()
    assert not RunDirectory(tmp_path).in_use()
    with RunDirectory(tmp_path).lock(timeout=0):
        assert "whether process 1 on elsewhere still writes" in caplog.text
        assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", ".lock.00000007", ".lock.00000008"]


@pytest.mark.parametrize("content", [b"", b"\xff", b"{}", b"[]", b"null\n", b'{"machine": 1, "pid": "x"}', b"[" * 4000])
def test_a_file_that_names_no_owner_is_judged_by_its_changes(tmp_path, no_locks, content):
    (tmp_path / ".lock.00000001").write_bytes(content)
    with RunDirectory(tmp_path).lock(timeout=0):
        assert (tmp_path / ".lock.00000002").exists()


def test_a_pipe_in_the_place_of_a_lock_is_an_error(tmp_path, no_locks):
    os.mkfifo(tmp_path / ".lock.00000001")
    with pytest.raises(ResourceError, match="no regular file"), RunDirectory(tmp_path).lock():
        pass


def test_a_killed_process_of_this_machine_is_replaced_at_once(tmp_path, no_locks):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    write_owner(tmp_path / ".lock", 1, machine=heartbeat_lock.machine_identity(), pid=child.pid, start="")
    heartbeat_lock.STALE = 1e9
    with RunDirectory(tmp_path).lock(timeout=0):
        pass
    write_owner(tmp_path / ".lock", 3, machine=heartbeat_lock.machine_identity(), pid=os.getpid(), start="7")
    with RunDirectory(tmp_path).lock(timeout=0):  # another process has the number by now
        pass


def test_who_was_replaced_writes_no_more_results(tmp_path, no_locks):
    store = RunDirectory(tmp_path)
    with store.lock():
        store.write_results()
        write_owner(tmp_path / ".lock", 2)
        with pytest.raises(RunInUseError, match="taken over"):
            store.write_results()
    assert json.loads((tmp_path / ".lock.00000002").read_text().splitlines()[0])["pid"] == 1


def test_who_could_not_write_its_heartbeat_writes_no_more_results(tmp_path, no_locks, monkeypatch, wait_until):
    store = RunDirectory(tmp_path)
    with store.lock():
        lock = store._lock._heartbeat

        def refuse(*arguments):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

        monkeypatch.setattr(os, "pwrite", refuse)
        wait_until(lock.is_lost)
        with pytest.raises(RunInUseError, match="heartbeat"):
            store.write_results()


def test_a_number_that_was_looked_up_long_ago_is_given_back(tmp_path):
    lock = HeartbeatLock(tmp_path / ".lock")
    write_owner(tmp_path / ".lock", 5)
    assert not lock._create(3)
    assert [path.name for path in tmp_path.iterdir()] == [".lock.00000005"]
    assert not lock._create(5)


def test_a_lock_of_files_is_not_held_twice_by_a_process(tmp_path, quick):
    one, other = HeartbeatLock(tmp_path / ".lock"), HeartbeatLock(tmp_path / ".lock")
    one.acquire(timeout=0)
    with pytest.raises(HeldError) as caught:
        other.acquire(timeout=0)
    assert caught.value.owner.pid == os.getpid()
    one.release()
    other.acquire(timeout=0)
    other.release()


# Renames and files.


def test_a_rename_whose_answer_was_lost(tmp_path, monkeypatch):
    replace = os.replace

    def lose_the_answer(source, target):
        replace(source, target)
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source)

    monkeypatch.setattr(os, "replace", lose_the_answer)
    (tmp_path / "file").write_text("before")
    write_bytes(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_bytes() == b"after"
    (tmp_path / "folder").mkdir()
    network_files.rename(tmp_path / "folder", tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "target"]


def test_a_rename_that_did_not_happen(tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(errno.EIO, os.strerror(errno.EIO), source)

    monkeypatch.setattr(os, "replace", refuse)
    (tmp_path / "file").write_text("before")
    with pytest.raises(ResourceError, match="does not answer"):
        write_bytes(tmp_path / "file", b"after")
    assert (tmp_path / "file").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_stale_handle_is_no_damage(tmp_path, monkeypatch):
    """What a server that restarted answers says nothing about the file."""

    def refuse(*arguments, **options):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    (tmp_path / "file.json").write_text("{}")
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ResourceError, match=r"does not answer: Stale file handle.*mount it again"):
        load_json(tmp_path / "file.json")
    monkeypatch.undo()
    with pytest.raises(DamagedError):
        load_json(tmp_path / "missing.json")


def test_the_file_system_of_a_path(tmp_path, monkeypatch):
    lines = [
        "22 1 8:1 / / rw - ext4 /dev/root rw",
        f"23 22 0:5 / {tmp_path} rw shared:3 - tmpfs none rw",
        f"24 23 0:6 / {tmp_path}/a\\040b rw - nfs4 server:/x rw",
        f"25 23 0:7 / {tmp_path}/c rw - ext4 /dev/sdc rw",
        f"26 23 0:8 / {tmp_path}/c rw - fuse.sshfs a:b rw",
        "half a line",
    ]
    (tmp_path / "mountinfo").write_text("\n".join(lines))
    monkeypatch.setattr(network_files, "_MOUNTS", tmp_path / "mountinfo")
    kinds = {"": "tmpfs", "a b/run": "nfs4", "c": "fuse.sshfs", "cd": "tmpfs"}
    assert {name: network_files.file_system_type(tmp_path / name) for name in kinds} == kinds
    assert [network_files.is_on_network(tmp_path / name) for name in kinds] == [False, True, True, False]
    monkeypatch.setattr(network_files, "_MOUNTS", tmp_path / "missing")
    assert not network_files.is_on_network(tmp_path / "c")
