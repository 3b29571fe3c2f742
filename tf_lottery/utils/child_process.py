"""Run a program of this library in a process of its own, and give every way in which that can fail a reason."""

import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import tf_lottery
from tf_lottery.utils.signals import deferred_signals
from tf_lottery.utils.text import one_line

_ROOT = str(Path(tf_lottery.__file__).parents[1])
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
    return f"import sys; sys.path.append({_ROOT!r}); from {module} import main; sys.exit(main(sys.argv[1:]))"


def run_program(
    code: str,
    arguments: Sequence[str | Path],
    *,
    name: str,
    timeout: float | None = None,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Run Python code in a new process, wait for its end, and return what it wrote to stdout.

    The process ends when this one is interrupted.

    Args:
        code: the program, see `program`.
        arguments: of the command line.
        name: what the process is called in reasons, e.g. "the LiteRT interpreter".
        timeout: in seconds; None for no limit.
        environment: the variables of the process; None for those of this process.

    Raises:
        ProgramError: the process fails, crashes or does not end in time.
        OSError: it failed by one: there was no room for its files.
    """
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    process = None
    try:
        with deferred_signals():  # `Popen` would lose a process that it has just started
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
            )
        output, error_output = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        reason = f"did not finish within {timeout:.0f} seconds"
        raise ProgramError(f"{name} {reason}", reason) from None
    finally:
        if process is not None:
            _end(process)
    errors = error_output.decode("utf-8", "replace")
    if disk := re.search(r"^OSError: \[Errno (\d+)\] ([^:\n]+)", errors, re.MULTILINE):
        raise OSError(int(disk[1]), disk[2])
    if process.returncode < 0:
        number = signal.Signals(-process.returncode).name
        raise ProgramError(f"{name} crashed with {number}", f"crashed with {number}", crashed_with=number)
    if process.returncode:
        # A message may span lines: it starts at the traceback's only line that is neither indented nor its heading.
        messages = re.findall(r"^[\w.]+(?:Error|Exception): ((?:.|\n)+)", errors, re.MULTILINE)
        reason = one_line(messages[-1] if messages else errors or f"exit code {process.returncode}")
        raise ProgramError(f"{name} failed: {reason}", reason)
    return output.decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process if it still runs, wait for its end (`subprocess.run` waits 0.25 seconds), and close its pipes."""
    with process:
        process.kill()


def wrong_usage(module: str, arguments: str) -> int:
    """Write to stderr how a program of this library is called, and return the exit code for that.

    Args:
        module: the program's module.
        arguments: the names of its arguments.
    """
    sys.stderr.write(f"Usage: python -m {module} {arguments}\n")
    return _USAGE
