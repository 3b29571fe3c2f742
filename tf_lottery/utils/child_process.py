"""Run a program of this library in a process of its own, and give every way in which that can fail a reason."""

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

from tf_lottery.utils.signals import deferred_signals
from tf_lottery.utils.text import one_line
from tf_lottery.utils.warm_process import ROOT, WarmProcess, end_process

_USAGE = 2


class ProgramError(Exception):
    """The process failed, crashed or did not end in time; the message says which of them, in one line.

    Args:
        message: the whole sentence, beginning with the name of the process.
        reason: why, without that name.
        crashed_with: the name of the signal that ended the process, e.g. "SIGSEGV"; empty if none did.
    """

    def __init__(self, message: str, reason: str, *, crashed_with: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.crashed_with = crashed_with


def program(module: str) -> str:
    """Python code that runs `main` of a module with the arguments of the command line.

    The package's folder goes to the end of the path: at the front (PYTHONPATH), site-packages would hide the standard
    library.
    """
    return f"import sys; sys.path.append({ROOT!r}); from {module} import main; sys.exit(main(sys.argv[1:]))"


_warm: ContextVar[dict[str, WarmProcess] | None] = ContextVar("_warm", default=None)


@contextlib.contextmanager
def warm_programs() -> Iterator[None]:
    """Let a program that is run several times in the block stay in its process, with all that it has imported.

    A process that crashes or takes too long is replaced at the next call. Inside such a block, another changes nothing.
    """
    if _warm.get() is not None:
        yield
        return
    processes: dict[str, WarmProcess] = {}
    before = _warm.set(processes)
    try:
        yield
    finally:
        _warm.reset(before)
        for process in processes.values():
            process.close()


def run_program(
    code: str,
    arguments: Sequence[str | Path],
    *,
    name: str,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run Python code in another process, wait for its end, and return what it wrote to stdout.

    The process ends when this one is interrupted. It is a new one, but for `warm_programs`.

    Args:
        code: the program, see `program`.
        arguments: of the command line.
        name: what the process is called in reasons, e.g. "the LiteRT interpreter".
        timeout: in seconds; None for no limit.
        environment: the variables of the process, which then is a new one; None for those of this process.

    Raises:
        ProgramError: the process fails, crashes or does not end in time.
        OSError: it failed by one: there was no room for its files.
    """
    try:
        processes = _warm.get()
        if processes is not None and environment is None:
            returncode, output, errors = _run_warm(processes, code, list(map(str, arguments)), timeout)
        else:
            returncode, output, errors = _run_new(code, list(map(str, arguments)), timeout, environment)
    except subprocess.TimeoutExpired:
        reason = f"did not finish within {timeout:.0f} seconds"
        raise ProgramError(f"{name} {reason}", reason) from None
    if disk := re.search(r"^OSError: \[Errno (\d+)\] ([^:\n]+)", errors, re.MULTILINE):
        raise OSError(int(disk[1]), disk[2])
    if returncode < 0:
        number = signal.Signals(-returncode).name
        raise ProgramError(f"{name} crashed with {number}", f"crashed with {number}", crashed_with=number)
    if returncode:
        # A message may span lines: it starts at the traceback's only line that is neither indented nor its heading.
        messages = re.findall(r"^[\w.]+(?:Error|Exception): ((?:.|\n)+)", errors, re.MULTILINE)
        reason = one_line(messages[-1] if messages else errors or f"exit code {returncode}")
        raise ProgramError(f"{name} failed: {reason}", reason)
    return output


def _run_new(
    code: str, arguments: list[str], timeout: float | None, environment: Mapping[str, str] | None
) -> tuple[int, str, str]:
    """The exit code of a program in a new process, what it wrote to stdout, and to stderr."""
    process = None
    try:
        with deferred_signals():  # `Popen` would lose a process that it has just started
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", code, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
            )
        output, errors = process.communicate(timeout=timeout)
    finally:
        if process is not None:
            end_process(process)
    return process.returncode, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")


def _run_warm(
    processes: dict[str, WarmProcess], code: str, arguments: list[str], timeout: float | None
) -> tuple[int, str, str]:
    """The same in the process of the program, which is started where there is none."""
    if code not in processes:
        processes[code] = WarmProcess()
    try:
        answer = processes[code].run(code, arguments, timeout=timeout)
    except BaseException:  # of a signal too: it may still be at work
        processes.pop(code).close()
        raise
    if processes[code].has_ended():
        processes.pop(code).close()
    return answer


def wrong_usage(module: str, arguments: str) -> int:
    """Write to stderr how a program of this library is called, and return the exit code for that.

    Args:
        module: the program's module.
        arguments: the names of its arguments.
    """
    sys.stderr.write(f"Usage: python -m {module} {arguments}\n")
    return _USAGE
