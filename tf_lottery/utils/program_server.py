"""What runs in a `WarmProcess`: one program after the other, until its parent closes the pipe."""

import contextlib
import functools
import io
import json
import os
import sys
import threading
import time
import traceback
from typing import Any


def serve() -> None:
    """Run the programs that come on stdin, and answer each on stdout.

    A line holds `{"code": Python code, "arguments": [...], "folder": the current directory}`, the answer
    `{"returncode": ..., "output": ...}`; errors end with a traceback on stderr. What a program imports stays loaded.
    """
    end_with_parent()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what native code prints is no answer
    for line in sys.stdin:
        request = json.loads(line)
        os.chdir(request["folder"])
        returncode, output = _run(request["code"], request["arguments"])
        sys.stderr.flush()
        answers.write(json.dumps({"returncode": returncode, "output": output}) + "\n")


def _run(code: str, arguments: list[str]) -> tuple[int, str]:
    """Run a program as `python -c` does: its exit code, and what it wrote to stdout."""
    output = io.StringIO()
    sys.argv = ["-c", *arguments]
    with contextlib.redirect_stdout(output):
        try:
            exec(code, {"__name__": "__main__"})
            returncode = 0
        except SystemExit as end:
            returncode = _exit_code(end.code)
        except Exception:
            traceback.print_exc()
            returncode = 1
    return returncode, output.getvalue()


def _exit_code(code: Any) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    sys.stderr.write(f"{code}\n")
    return 1


@functools.cache
def end_with_parent() -> None:
    """End this process, whatever it does, soon after its parent has ended."""
    threading.Thread(target=_wait_for_end, args=(os.getppid(),), daemon=True).start()


def _wait_for_end(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
