"""Every failure: one line of cause, one of remedy, the exit code of the contract, nothing left behind."""

import errno
import os
import signal

import click
import pytest
from tf_lottery_cli import failures

from tf_lottery import errors


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.CheckFailed("a", "b"), 1),
        (errors.UsageError("a", "b"), 2),
        (errors.UsageError("a"), 2),
        (errors.UnfitError("a", "b"), 3),
        (errors.NonFiniteError("a", "b"), 3),
        (errors.RunInUseError("a", "b"), 4),
        (errors.DamagedError("a\nb", "c"), 5),
        (errors.ResourceError("a", "b"), 6),
        (OSError(errno.ENOSPC, "No space left on device", "x"), 6),
        (OSError(errno.EROFS, "Read-only file system", "x"), 6),
        (PermissionError(errno.EACCES, "Permission denied", "x"), 6),
        (MemoryError(), 6),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 1),  # not of stdout, whose reader may go: see test_run.py
        (click.UsageError("no such option"), 2),
        (failures.Interrupted(), 130),
        (KeyboardInterrupt(), 130),
        (failures.Terminated(), 143),
        (KeyError("x"), 1),
    ],
)
def test_each_error_has_its_code_and_two_lines(error, code):
    failure = failures.describe(error)
    assert failure.code == code
    assert len(failure.lines) == 2
    assert failure.lines[0].startswith("error: ")
    assert "\n" not in "".join(failure.lines)


def test_every_class_of_error_has_its_code():
    def below(kind):
        return [kind, *(deeper for child in kind.__subclasses__() for deeper in below(child))]

    kinds = [kind for kind in below(errors.LotteryError) if kind.__module__ == errors.__name__]
    assert {kind.__name__: failures.exit_code(kind("a")) for kind in kinds} == {
        "LotteryError": 1,
        "CheckFailed": 1,
        "UsageError": 2,
        "UnfitError": 3,
        "NonFiniteError": 3,
        "RunInUseError": 4,
        "DamagedError": 5,
        "ResourceError": 6,
        "UnfinishedRunError": 6,
    }


def test_an_unexpected_error_is_called_a_bug(capsys):
    def fail():
        raise ZeroDivisionError("three by zero")

    assert failures.guarded(fail, debug=False) == 1
    stderr = capsys.readouterr().err
    assert stderr == (
        "error: ZeroDivisionError: three by zero\nThis is a bug: run it with --debug, and report what it shows.\n"
    )
    assert failures.guarded(fail, debug=True) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_pipe_that_breaks_elsewhere_is_no_success(capsys):
    """Of stdout it only means that the reader has what it wanted; a command then printed nothing and ended with 0."""

    def fail():
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    assert failures.guarded(fail, debug=False) == 1
    assert capsys.readouterr().err.startswith("error: BrokenPipeError: ")


def test_sigterm_ends_with_143_and_the_handler_is_put_back(capsys):
    before = signal.getsignal(signal.SIGTERM)
    assert failures.guarded(lambda: os.kill(os.getpid(), signal.SIGTERM), debug=False) == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert "SIGTERM" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["run", "nosuch"], 2, "digits-mlp"),
        (["run", "digit-mlp"], 2, "Did you mean 'digits-mlp'"),
        (["run", "--rate", "1"], 2, "0<=x<1"),
        (["run", "--rate", "nan"], 2, "rate"),
        (["run", "--checkpoint-every", "nan"], 2, "checkpoint-every"),
        (["report", "digits-mlp", "--max-drop", "nan"], 2, "max-drop"),
        (["run", "--rounds", "-1"], 2, "x>=0"),
        (["run", "--steps", "0"], 2, "x>=1"),
        (["run", "--steps", "10", "--epochs", "1"], 2, "steps"),
        (["run", "--densities", "0.5,0.8"], 2, "Densities must fall"),
        (["run", "--densities", "a,b"], 2, "separated by commas"),
        (["run", "--variants", "ticket,nosuch"], 2, "random_reinit"),
        (["run", "--rewind", "step:500", "--steps", "100"], 2, "before the end"),
        (["run", "--rewind", "later"], 2, "step:K"),
        (["run", "--model", "mpl"], 2, "Did you mean 'mlp'"),
        (["run", "--dataset", "../digits"], 2, "data list"),
        (["run", "--config", "nosuch.toml"], 2, "can't be read"),
        (["run", "--scope", "local"], 2, "global"),
        (["status"], 2, "There is no run"),
        (["status", "nosuch"], 2, "There is no run"),
        (["report", "nosuch"], 2, "There is no run"),
        (["verify", "nosuch"], 2, "There is no run"),
        (["export", "nosuch"], 2, "There is no run"),
        (["export", "ticket.npz", "--round", "3"], 2, "--round"),
        (["completion", "powershell"], 2, "bash"),
    ],
)
def test_bad_input_has_its_code_and_leaves_nothing(arguments, code, words, invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke(*arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert 1 <= result.stderr.count("\n") <= 2
    assert result.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "Traceback" in invoke("run", "nosuch", "--debug").stderr
    assert "Traceback" in invoke("--debug", "run", "nosuch").stderr


def test_a_run_that_cannot_fit_in_memory_leaves_nothing(invoke, tmp_path, monkeypatch):
    monkeypatch.setattr("tf_lottery.experiment.memory.available_memory", lambda *, swap: 1.5e9)
    monkeypatch.chdir(tmp_path)
    done = invoke("run", "--jobs", "3", "--replicates", "3", "--threads", "1")
    assert done.exit_code == 6, done.stderr
    assert "Training in 3 processes takes 1.6 GB of memory at least, of which 1.5 GB are free." in done.stderr
    assert "--jobs 2" in done.stderr
    assert list(tmp_path.iterdir()) == []
