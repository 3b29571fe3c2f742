"""Failures: one line of cause, one of remedy, and the exit code of the contract."""

import contextlib
import errno
import os
import select
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TextIO

import click

from .stopping import HungUp, Interrupted, Terminated, stoppable

if TYPE_CHECKING:
    from tf_lottery.errors import LotteryError

INTERRUPTED = 130
# Code and name of the other signals that stop a command.
STOPPED = {Terminated: (143, "SIGTERM"), HungUp: (129, "SIGHUP")}
RESOURCE = 6
# For errors whose cause says it all.
REMEDIES = {
    1: "See what the command printed.",
    2: "Correct the option or the configuration; `--help` shows what is valid.",
    3: "Choose data and a model that fit each other.",
}
# Commands that train: what they finished is committed, and they resume from there.
RESUMING = ("run", "sweep", "reproduce", "analyze")
WITH_JOBS, JOBS = ("run", "sweep", "reproduce"), "--jobs"
# A run that was started over is the newest one, which the command without this finds again.
FRESH = "--fresh"
# What the disk, its permissions and its limits raise.
DISK = {
    getattr(errno, name)
    for name in (
        "ENOSPC",
        "EROFS",
        "EACCES",
        "ENOENT",
        "EPERM",
        "EDQUOT",
        "EFBIG",
        "EIO",
        "EMFILE",
        "ENOTDIR",
        "ESTALE",
    )
    if hasattr(errno, name)
}


class PipeBroke(BaseException):
    """A pipe broke. No `OSError`, for which click would end the process with 1.

    Args:
        error: Python's exception.
    """

    def __init__(self, error: BrokenPipeError) -> None:
        super().__init__(str(error))
        self.error = error


@dataclass(frozen=True)
class Failure:
    """A failure as the command line reports it.

    Attributes:
        code: the exit code.
        lines: lines for stderr.
    """

    code: int
    lines: tuple[str, ...]


def guarded(action: Callable[[], Any], *, debug: bool, command: str = "run", words: Sequence[str] = ()) -> int:
    """Call `action` and return the exit code; a failure is reported on stderr.

    Args:
        action: runs the command; the integer that it returns is the exit code, anything else means 0.
        debug: show the traceback first.
        command: the name of the command, whose flags the report names.
        words: the command as typed, behind the program's name.
    """

    def report(error: BaseException) -> int:
        from tf_lottery.utils.text import printable

        failure = describe(error, command, words)
        with contextlib.suppress(OSError, ValueError):
            if debug and not isinstance(error, click.ClickException):
                for line in "".join(traceback.format_exception(error)).splitlines():
                    click.echo(printable(line), err=True)
            for line in failure.lines:
                click.echo(line, err=True)
        return failure.code

    stop = None
    try:
        with stoppable(report) as stop:
            result = _answered(action)
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except (Exception, HungUp, Interrupted, KeyboardInterrupt, Terminated) as error:
        # What fails after a signal, fails because of it: a terminal that is gone can't be written to.
        cause = error if stop is None or stop.error is None else stop.error
        if isinstance(cause, BrokenPipeError) and _reader_is_gone():
            _drop(sys.stdout)  # the reader has what it wanted, as in `tf-lottery ls | head -1`
            return 0
        code = report(cause)
        if isinstance(cause, OSError | HungUp):
            _drop(sys.stdout)
        if isinstance(cause, HungUp):
            _drop(sys.stderr)
        return code


def _answered(action: Callable[[], Any]) -> Any:
    """Return what `action` returns; a bare group prints its help, and a pipe that breaks is Python's own exception."""
    try:
        return action()
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return 0
    except PipeBroke as broken:
        raise broken.error from None


def describe(error: BaseException, command: str = "run", words: Sequence[str] = ()) -> Failure:
    """Return the exit code and the lines of a failure.

    Args:
        error: what was raised.
        command: the name of the command, whose flags the lines name.
        words: the command as typed, behind the program's name.
    """
    from tf_lottery.errors import LotteryError, UnfinishedRunError
    from tf_lottery.utils.regular_files import IMPOSSIBLE_NAMES
    from tf_lottery.utils.text import one_line

    from .wording import in_flags

    if isinstance(error, LotteryError):
        code = exit_code(error)
        remedy = error.remedy or REMEDIES.get(code, "")
        if isinstance(error, UnfinishedRunError) and command in RESUMING:
            remedy = _after_a_stop(command, words, jobs=error.jobs)
        return _failure(code, in_flags(error.cause, command), in_flags(remedy, command))
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tf-lottery"
        return _failure(error.exit_code, error.format_message(), f"See `{path} --help`.")
    if isinstance(error, Interrupted | KeyboardInterrupt | click.Abort):
        return _failure(INTERRUPTED, "stopped by Ctrl-C.", _after_a_stop(command, words))
    for kind, (code, name) in STOPPED.items():
        if isinstance(error, kind):
            return _failure(code, f"stopped by {name}.", _after_a_stop(command, words))
    where = f"{error.filename}: " if isinstance(error, OSError) and error.filename else ""
    if isinstance(error, OSError) and error.errno in IMPOSSIBLE_NAMES:
        return _failure(2, f"{where}{error.strerror}.", "Give another path.")
    if isinstance(error, OSError) and error.errno in DISK:
        remedy = "Free disk space, or choose a place that you may write to."
        if isinstance(error, PermissionError):
            remedy = "Give yourself the right to it, or choose a place that you may read and write to."
        return _failure(RESOURCE, f"{where}{error.strerror}.", remedy)
    if isinstance(error, MemoryError) or type(error).__name__ == "ResourceExhaustedError":
        return _failure(RESOURCE, "Out of memory.", "Take a smaller --batch-size, fewer --jobs, or a smaller model.")
    return _failure(
        1, f"{type(error).__name__}: {one_line(error)}", "This is a bug: run it with --debug, and report what it shows."
    )


def exit_code(error: "LotteryError") -> int:
    """Return the exit code of an error of the library: that of the nearest class in the contract's table."""
    from tf_lottery import errors

    codes: dict[type, int] = {
        errors.LotteryError: 1,
        errors.CheckFailed: 1,
        errors.UsageError: 2,
        errors.UnfitError: 3,
        errors.RunInUseError: 4,
        errors.DamagedError: 5,
        errors.ResourceError: RESOURCE,
    }
    return next(codes[base] for base in type(error).__mro__ if base in codes)


def _after_a_stop(command: str, words: Sequence[str], *, jobs: int | None = None) -> str:
    if command in RESUMING:
        resuming = [word for word in words if word != FRESH]
        changed = f" without {FRESH}" if FRESH in words else ""
        if jobs and command in WITH_JOBS:
            resuming = [*_without_option(resuming, JOBS), JOBS, str(jobs)]
            changed += f" with {JOBS} {jobs}"
        line = f": {shlex.join(['tf-lottery', *resuming])}" if words else "."
        return f"What was committed is kept. Run the same command again{changed} to resume{line}"
    return "Nothing half-written is left. Run the same command again to start over."


def _without_option(words: Sequence[str], option: str) -> list[str]:
    """Return the words of a command without an option and its value."""
    kept = [word for before, word in zip(["", *words], words, strict=False) if option not in (before, word)]
    return [word for word in kept if not word.startswith(f"{option}=")]


def _failure(code: int, cause: str, remedy: str) -> Failure:
    from tf_lottery.utils.text import printable, without_colors

    # Printable first: some control characters count as space.
    lines = [printable(" ".join(without_colors(line).split())) for line in (f"error: {cause}", remedy)]
    return Failure(code, tuple(line for line in lines if line))


def _reader_is_gone() -> bool:
    """Whether nobody reads stdout or stderr any more; another pipe that breaks is a failure."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
                return True
    return False


def _drop(stream: TextIO) -> None:
    """Send the rest of a standard stream nowhere: Python would fail on it again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = stream.fileno()
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, descriptor)
        os.close(sink)
