"""Run a program of this library in a process of its own, and turn every way in which that can fail into a reason."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import tf_lottery
from tf_lottery.utils.silence import one_line

_ROOT = str(Path(tf_lottery.__file__).parents[1])


class ChildFailed(Exception):
    """The process failed, crashed or did not end in time; the message is the reason, in one line."""


def program(module: str) -> str:
    """Python code that runs `main` of a module with the command line's arguments.

    The package's folder goes to the end of the path: at the front (PYTHONPATH), site-packages would hide the standard
    library.
    """
    return f"import sys; sys.path.append({_ROOT!r}); from {module} import main; sys.exit(main(sys.argv[1:]))"


def start(code: str, arguments: Sequence[str | Path], *, who: str, timeout: float | None = None) -> None:
    """Run Python code in a new process and wait for it. It ends when this process is interrupted.

    Args:
        code: see `program`.
        arguments: of the command line.
        who: what runs there, for reasons.
        timeout: in seconds; None for no limit.

    Raises:
        ChildFailed: if the process fails, crashes or does not end in time.
        OSError: if it failed by one: there was no room for its files.
    """
    command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
    try:
        # Any exception here, of a signal too, kills the process.
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise ChildFailed(f"{who} did not finish within {timeout:.0f} seconds") from None
    text = done.stderr.decode("utf-8", "replace")
    if disk := re.search(r"^OSError: \[Errno (\d+)\] ([^:\n]+)", text, re.MULTILINE):
        raise OSError(int(disk[1]), disk[2])
    if done.returncode:
        raise ChildFailed(_reason(done.returncode, text, who))


def _reason(code: int, text: str, who: str) -> str:
    if code < 0:
        return f"{who} crashed with {signal.Signals(-code).name}"
    # A message may span lines: it starts at the traceback's only line that is neither indented nor its heading.
    found = re.findall(r"^[\w.]+(?:Error|Exception): ((?:.|\n)+)", text, re.MULTILINE)
    return f"{who} failed: {one_line(found[-1] if found else text or f'exit code {code}')}"
