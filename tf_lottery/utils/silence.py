"""Keep the chatter of TensorFlow's and MLIR's C++ code off stdout and stderr."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import IO

# Colours, and TensorFlow's names of nodes.
_MARKS = re.compile(r"\x1b\[[0-9;]*m|\{\{.*?\}\}\s*")
# A line of a traceback and the code below it.
_CODE = re.compile(r'^[ \t]*File ".*\n(?:.*\S.*\n)?', re.MULTILINE)
# What Keras and TensorFlow write above the reason.
_HEADING = re.compile(
    r"(?:\w+: )?[\"']?Exception encountered when calling |in user code:|Graph execution error:|Detected at node "
    r"|Could not automatically infer .*Error encountered:$"
)


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


def _message(error: BaseException | str) -> str:
    if isinstance(error, KeyError) and len(error.args) == 1:
        return str(error.args[0])  # its `str` is the `repr` of the message, line breaks and all
    return str(error) if str(error).strip() else type(error).__name__


def one_line(error: BaseException | str, *, limit: int = 300) -> str:
    """The first line of a message that says something, shortened to `limit` characters.

    Example:
        >>> one_line("Exception encountered when calling Dense.call().\\n\\n\\x1b[1mno such shape\\x1b[0m")
        'no such shape'
        >>> one_line("<unknown>:0: error: loc(callsite(x)): 'tf.Foo' op is neither a custom op nor a flex op\\nmore")
        "'tf.Foo' op is neither a custom op nor a flex op"
    """
    text = _CODE.sub("", _MARKS.sub("", _message(error)))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line for line in lines if not _HEADING.match(line)] or lines
    telling = next((line for line in lines if "error:" in line.lower()), lines[0])
    telling = telling.rsplit("error: ", 1)[-1]
    if telling.startswith("loc("):
        telling = telling.split("): ", 1)[-1]
    return telling if len(telling) <= limit else telling[: limit - 3] + "..."
