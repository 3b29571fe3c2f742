"""A child process that runs one program after the other, and keeps what they import."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, cast

import tf_lottery
from tf_lottery.utils.signals import deferred_signals

ROOT = str(Path(tf_lottery.__file__).parents[1])
_SERVER = f"import sys; sys.path.append({ROOT!r}); from tf_lottery.utils.program_server import serve; serve()"


class WarmProcess:
    """A process with the loop of `program_server`. Close it, or use it as a context manager."""

    def __init__(self) -> None:
        command = [sys.executable, "-P", "-c", _SERVER]
        process = None
        errors = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            with deferred_signals():  # `Popen` would lose a process that it has just started
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, bufsize=0
                )
        except BaseException:
            errors.close()
            if process is not None:
                end_process(process)
            raise
        self._process, self._errors = process, errors
        self._requests = cast(IO[bytes], self._process.stdin)
        self._answers = cast(IO[bytes], self._process.stdout)

    def run(self, code: str, arguments: list[str], *, timeout: float | None = None) -> tuple[int, str, str]:
        """Run a program in the process, and wait for its end. After an exception, close the process.

        Args:
            code: Python code.
            arguments: of the command line.
            timeout: in seconds; None for no limit.

        Returns:
            The exit code (of a process that crashed, minus the number of the signal), and what the program wrote to
            stdout and to stderr.

        Raises:
            subprocess.TimeoutExpired: it takes longer.
        """
        begin = self._errors.seek(0, os.SEEK_END)
        request = {"code": code, "arguments": arguments, "folder": os.getcwd()}
        answer = self._ask(json.dumps(request).encode() + b"\n", timeout)
        self._errors.seek(begin)
        errors = self._errors.read().decode("utf-8", "replace")
        if not answer:
            ended = self._process.wait()
            return (ended, "", errors) if ended < 0 else (1, "", f"RuntimeError: it ended with exit code {ended}")
        content = json.loads(answer)
        return int(content["returncode"]), str(content["output"]), errors

    def has_ended(self) -> bool:
        """Whether the process can take no other program."""
        return self._process.poll() is not None

    def close(self) -> None:
        """End the process."""
        end_process(self._process)
        self._errors.close()

    def __enter__(self) -> "WarmProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, request: bytes, timeout: float | None) -> bytes:
        """The line that the process answers; nothing if it ends."""
        until = None if timeout is None else time.monotonic() + timeout
        with contextlib.suppress(BrokenPipeError):
            self._requests.write(request)
        answer = b""
        while not answer.endswith(b"\n"):
            left = None if until is None else max(0.0, until - time.monotonic())
            if not select.select([self._answers], [], [], left)[0]:
                raise subprocess.TimeoutExpired(self._process.args, timeout or 0.0)
            part = self._answers.read(1 << 16)
            if not part:
                return b""
            answer += part
        return answer


def end_process(process: "subprocess.Popen[bytes]") -> None:
    """Kill a process if it still runs, wait for its end (`subprocess.run` waits 0.25 seconds), and close its pipes."""
    with process:
        process.kill()
