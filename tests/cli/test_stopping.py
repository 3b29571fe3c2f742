"""Ctrl-C, SIGTERM and SIGHUP: a command ends in order within seconds, at once after a second Ctrl-C, and cleans up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tf_lottery_cli import failures, stopping

from tf_lottery.utils import signals

# A program that hears of no exception, as a library may do, with the seconds that a command has in order to stop.
STUBBORN = """
import sys, time
from tf_lottery_cli import failures, stopping
stopping.SECONDS = float(sys.argv[1])
def swallow():
    line = "ready"
    while True:
        try:
            print(line, flush=True)
            while True:
                time.sleep(0.05)
        except BaseException:
            line = "swallowed"
child = "import time; time.sleep(600)"
def action():
    import subprocess
    print(subprocess.Popen([sys.executable, "-c", child], stdout=subprocess.DEVNULL).pid, flush=True)
    swallow()
sys.exit(failures.guarded(action, debug=False, words=("run", "--seed", "3")))
"""


def stopped(number):
    return lambda: os.kill(os.getpid(), number)


def members_of_session(leader):
    """The processes of a session that still run."""
    members = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, session = path.read_text().rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue
        if int(session) == leader and state != "Z":
            members.append(int(path.parent.name))
    return members


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("answers_ctrl_c")
def test_sighup_ends_with_129_and_the_handler_is_put_back(capsys):
    before = signal.getsignal(signal.SIGHUP)
    assert failures.guarded(stopped(signal.SIGHUP), debug=False) == 129
    assert signal.getsignal(signal.SIGHUP) is before
    assert capsys.readouterr().err.startswith("error: stopped by SIGHUP.\n")


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert failures.guarded(stopped(signal.SIGHUP), debug=False) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("answers_ctrl_c")
def test_an_error_on_the_way_out_does_not_hide_the_signal(capsys):
    """A terminal that is gone can't be written to: that error took the place of the signal."""

    def fail_while_stopping():
        try:
            os.kill(os.getpid(), signal.SIGHUP)
        finally:
            raise OSError(5, "Input/output error")

    assert failures.guarded(fail_while_stopping, debug=False) == 129
    assert "SIGHUP" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (
            ("run", "--seed", "3", "--out", "a b"),
            "Run the same command again to resume: tf-lottery run --seed 3 --out 'a b'\n",
        ),
        (
            ("run", "--fresh", "--seed", "3"),
            "Run the same command again without --fresh to resume: tf-lottery run --seed 3\n",
        ),
        (("export", "x"), "Run the same command again to start over.\n"),
    ],
)
def test_the_command_that_resumes_is_said(words, remedy, capsys):
    assert failures.guarded(stopped(signal.SIGTERM), debug=False, command=words[0], words=words) == 143
    assert capsys.readouterr().err.endswith(remedy)


@pytest.mark.usefixtures("answers_ctrl_c")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_does_not_stop_is_ended(number, start_process, wait_until, patience):
    process = start_process([sys.executable, "-c", STUBBORN, "0.5"])
    child = int(process.stdout.readline())
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    output, errors = process.communicate(timeout=patience)
    assert process.returncode == 128 + number
    assert output == "swallowed\n"
    assert errors.splitlines()[1].endswith("to resume: tf-lottery run --seed 3")
    wait_until(lambda: not runs(child))  # it has been killed, and ends in a moment


@pytest.mark.usefixtures("answers_ctrl_c")
def test_a_second_ctrl_c_ends_at_once(start_process, wait_until, patience):
    process = start_process([sys.executable, "-c", STUBBORN, "100000"])
    child = int(process.stdout.readline())
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "swallowed\n"
    time.sleep(1)  # a person needs longer than a wrapper that passes the first one on
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=patience)
    assert process.returncode == 130
    assert errors.startswith("error: stopped by Ctrl-C.\n")
    wait_until(lambda: not runs(child))  # it has been killed, and ends in a moment


OTHER_STOPS = [(signal.SIGTERM, 143, "2"), (signal.SIGHUP, 129, "1")]


@pytest.mark.usefixtures("answers_ctrl_c")
@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [(signal.SIGHUP, 129, "2"), *(pytest.param(*other, marks=pytest.mark.slow) for other in OTHER_STOPS)],
)
def test_a_run_whose_whole_session_is_stopped_leaves_nothing(
    number, code, jobs, environment, tmp_path, start_process, wait_until, patience
):
    """A closed terminal stops the workers too: their death was reported in place of the signal."""
    arguments = ["--steps", "100000", "--replicates", "2", "--eval-every", "1000", "--checkpoint-every", "0.01"]
    command = [sys.executable, "-m", "tf_lottery_cli", "run", *arguments, "--jobs", jobs]
    process = start_process(command, cwd=tmp_path, env=environment)
    wait_until(lambda: list(tmp_path.glob("runs/*/replicate_*/round_00/partial.npz")), process)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=patience)
    assert process.returncode == code, errors
    assert "Run the same command again to resume: tf-lottery run" in errors
    assert "Traceback" not in errors
    wait_until(lambda: not members_of_session(process.pid))
    assert list(tmp_path.rglob(".*.tmp")) == []


def test_the_terminal_may_be_gone(environment, tmp_path, patience):
    """SIGHUP comes when a terminal is closed: nothing can be written to it any more."""
    program = """
import os, pty, signal, subprocess, sys
master, slave = pty.openpty()
command = [sys.executable, "-c", sys.argv[1]]
process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
os.close(slave)
assert b"ready" in os.read(master, 100)
os.close(master)
process.send_signal(signal.SIGHUP)
sys.exit(process.wait())
"""
    action = """
import sys, time
from tf_lottery_cli import failures
from tf_lottery_cli.process import clean_output
def action():
    with clean_output():
        print("ready", file=sys.stderr, flush=True)
        try:
            time.sleep(600)
        finally:
            print("on the way out", file=sys.stderr)
sys.exit(failures.guarded(action, debug=False))
"""
    done = subprocess.run(
        [sys.executable, "-c", program, action], env=environment, cwd=tmp_path, timeout=patience, check=False
    )
    assert done.returncode == 129


def test_a_process_that_ends_looks_for_no_cycles():
    """Among the objects of TensorFlow that took seconds, in which a stopped command did not end."""
    program = (
        "class Cycle:\n    def __init__(self): self.own = self\n    def __del__(self): print('collected', flush=True)\n"
    )
    for prepare, expected in (("", "collected\n"), ("import tf_lottery_cli.process as p; p.prepare()\n", "")):
        command = [sys.executable, "-c", f"{prepare}{program}Cycle()"]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == expected


def test_the_signals_are_those_that_the_library_holds_back():
    assert stopping.STOPPING == signals.STOPPING
