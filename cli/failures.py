"""Failures: one line of cause, one of remedy, and the exit code of the contract."""

import contextlib
import errno
import os
import select
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tf_lottery.errors import LotteryError

INTERRUPTED = 130
TERMINATED = 143
RESOURCE = 6
# For errors whose cause says it all.
REMEDIES = {
    1: "See what the command printed.",
    2: "Correct the option or the configuration; `--help` shows what is valid.",
    3: "Choose data and a model that fit each other.",
}
# Commands that train: what they finished is committed, and they resume from there.
RESUMING = ("run", "reproduce", "analyze")
# What the disk, its permissions and its limits raise.
DISK = {
    getattr(errno, name)
    for name in ("ENOSPC", "EROFS", "EACCES", "ENOENT", "EPERM", "EDQUOT", "EFBIG", "EIO", "EMFILE", "ENOTDIR")
    if hasattr(errno, name)
}


class Terminated(BaseException):
    """SIGTERM came. No `Exception`, so that nothing but the end of the process handles it."""


class Interrupted(BaseException):
    """Ctrl-C came. Click would print an empty line on a `KeyboardInterrupt`."""


@dataclass(frozen=True)
class Failure:
    """A failure as the command line reports it.

    Attributes:
        code: the exit code.
        lines: lines for stderr.
    """

    code: int
    lines: tuple[str, ...]


def guarded(action: Callable[[], Any], *, debug: bool, command: str = "run") -> int:
    """Call `action` and return the exit code; a failure is reported on stderr.

    Args:
        action: runs the command; the integer that it returns is the exit code, anything else means 0.
        debug: show the traceback first.
        command: the name of the command, whose flags the report names.
    """
    try:
        with terminable():
            result = action()
            sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())  # of a bare group
        return 0
    except (Exception, Interrupted, KeyboardInterrupt, Terminated) as error:
        if isinstance(error, BrokenPipeError) and _reader_is_gone():
            _drop_stdout()  # the reader has what it wanted, as in `tf-lottery ls | head -1`
            return 0
        failure = describe(error, command)
        with contextlib.suppress(OSError, ValueError):
            if debug and not isinstance(error, click.ClickException):
                traceback.print_exception(error)
            for line in failure.lines:
                click.echo(line, err=True)
        if isinstance(error, OSError):
            _drop_stdout()
        return failure.code


def describe(error: BaseException, command: str = "run") -> Failure:
    """Return the exit code and the lines of a failure.

    Args:
        error: what was raised.
        command: the name of the command, whose flags the lines name.
    """
    from tf_lottery.errors import LotteryError
    from tf_lottery.utils.text import one_line

    from .wording import in_flags

    if isinstance(error, LotteryError):
        code = exit_code(error)
        remedy = error.remedy or REMEDIES.get(code, "")
        return _failure(code, in_flags(error.cause, command), in_flags(remedy, command))
    if isinstance(error, click.ClickException):
        path = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "tf-lottery"
        return _failure(error.exit_code, error.format_message(), f"See `{path} --help`.")
    if isinstance(error, Interrupted | KeyboardInterrupt | click.Abort):
        return _failure(INTERRUPTED, "stopped by Ctrl-C.", _after_a_stop(command))
    if isinstance(error, Terminated):
        return _failure(TERMINATED, "stopped by SIGTERM.", _after_a_stop(command))
    if isinstance(error, OSError) and error.errno in DISK:
        where = f"{error.filename}: " if error.filename else ""
        return _failure(
            RESOURCE, f"{where}{error.strerror}.", "Free disk space, or choose a place that you may write to."
        )
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


def _after_a_stop(command: str) -> str:
    if command in RESUMING:
        return "What was committed is kept: the same command resumes."
    return "Nothing half-written is left: the same command starts over."


def _failure(code: int, cause: str, remedy: str) -> Failure:
    lines = [_printable(f"error: {cause}"), _printable(remedy)]
    return Failure(code, tuple(line for line in lines if line))


def _printable(text: str) -> str:
    """Return a text in one line; what moves the cursor or changes colors, as a file may quote it, is spelled out."""
    line = " ".join(text.split())
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in line)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that locks are released and processes are ended."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    raise Terminated


def _reader_is_gone() -> bool:
    """Whether nobody reads stdout or stderr any more; another pipe that breaks is a failure."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0)):
                return True
    return False


def _drop_stdout() -> None:
    """Send the rest of stdout nowhere: Python would fail on it again when it exits."""
    with contextlib.suppress(OSError, ValueError):
        descriptor = sys.stdout.fileno()
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, descriptor)
        os.close(sink)
