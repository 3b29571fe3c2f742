"""Keep the chatter of TensorFlow's and MLIR's C++ code off stdout and stderr."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import IO


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Send what this process writes to the file descriptors 1 and 2 nowhere.

    Python's `redirect_stdout` is not enough: the converter writes from C++. What went wrong is in the exceptions.

    Example:
        >>> with quiet():
        ...     _ = os.write(1, b"noise")
    """
    with open(os.devnull, "wb") as sink:
        saved = _redirect(sink)
        try:
            yield
        finally:
            _flush()
            for descriptor, copy in saved:
                os.dup2(copy, descriptor)
                os.close(copy)


def _redirect(sink: IO[bytes]) -> list[tuple[int, int]]:
    _flush()
    saved = []
    for descriptor in (1, 2):
        try:
            saved.append((descriptor, os.dup(descriptor)))
        except OSError:
            # A daemon may have closed it: then there is nothing to keep clean.
            continue
        os.dup2(sink.fileno(), descriptor)
    return saved


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()
