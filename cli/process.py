"""This process: what TensorFlow reads when it loads, and where the chatter of native code goes."""

import atexit
import contextlib
import gc
import io
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator

# What absl and TensorFlow print before a log level can be set, and what they only inform about.
NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog|[IW]\d{4} [\d:]+\.\d+ +\d+ \S+:\d+\]|"
    rb"\d{4}-\d\d-\d\d [\d:.]+: [IW] |"
    rb"To enable the following instructions:"
)
END = b"\0end of output\n"


def prepare() -> None:
    """Open standard streams that are closed, let the process end at once when it does, and set what TensorFlow reads.

    What the user has set stays.
    """
    _open_streams()
    # Else Python looks for cycles among all that TensorFlow made when it exits, for seconds, in which no signal counts.
    atexit.register(gc.freeze)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if not sys.warnoptions and "PYTHONWARNINGS" not in os.environ:
        warnings.simplefilter("ignore")
        os.environ["PYTHONWARNINGS"] = "ignore"


def _open_streams() -> None:
    """Give closed standard streams (`>&-`) to /dev/null: the next file opened would take their place.

    Then whatever native code prints would be written into that file.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(descriptor, True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False, errors="backslashreplace")  # noqa: SIM115


@contextlib.contextmanager
def clean_output() -> Iterator[None]:
    """Keep stdout for the command's result: all else that this process and its children write goes to stderr.

    That includes what a user's model prints. From stderr, TensorFlow's chatter is taken out. Python's `sys.stderr` goes
    on writing to where it did, so a terminal stays one.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(_Lazy()))
        if _is_descriptor(sys.stderr, 2) and _is_descriptor(sys.__stdout__, 1):
            stack.enter_context(_descriptors())
        yield


class _Lazy(io.TextIOBase):
    """Writes to whatever `sys.stderr` is at that moment."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


@contextlib.contextmanager
def _descriptors() -> Iterator[None]:
    for stream in (sys.__stdout__, sys.stderr):
        if stream is not None:
            stream.flush()
    stdout, stderr, before = os.dup(1), os.dup(2), sys.stderr
    reading, writing = os.pipe()
    terminal = open(os.dup(stderr), "w", buffering=1, errors="backslashreplace")  # noqa: SIM115
    sys.stderr = terminal
    os.dup2(writing, 2)
    os.dup2(writing, 1)
    forwarder = threading.Thread(target=_forward, args=(reading,), daemon=True)
    forwarder.start()
    try:
        yield
    finally:
        terminal.flush()
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        os.close(stdout)
        os.close(stderr)
        # Children such as multiprocessing's resource tracker hold the pipe open for longer than we want to wait.
        os.write(writing, END)
        forwarder.join()
        os.close(writing)
        sys.stderr = before
        terminal.close()


def _forward(descriptor: int) -> None:
    """Copy lines to stderr, without the noise."""
    with open(descriptor, "rb") as lines:
        for line in lines:
            last = line.endswith(END)
            line = line.removesuffix(END)
            if line and not NOISE.match(line):
                with contextlib.suppress(ValueError, OSError):
                    sys.stderr.write(line.decode(errors="backslashreplace"))
            if last:
                return


def _is_descriptor(stream: object, number: int) -> bool:
    try:
        return stream is not None and stream.fileno() == number  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return False
