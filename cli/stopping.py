"""Signals that stop a command: the first ends it in order, within seconds; Ctrl-C once more ends it at once."""

import contextlib
import glob
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

# Those of `tf_lottery.utils.signals`, which help pages do not load.
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
# What a command may take to end in order: locks are released, processes ended, half-written files removed.
SECONDS = 4.0
# A wrapper that passes Ctrl-C on, beside the terminal, is no second Ctrl-C.
SAME_KEY_PRESS = 0.3
_END = 0


class Interrupted(BaseException):
    """Ctrl-C came. Click would print an empty line on a `KeyboardInterrupt`."""


class Terminated(BaseException):
    """SIGTERM came. No `Exception`, so that nothing but the end of the process handles it."""


class HungUp(BaseException):
    """SIGHUP came: the terminal is closed."""


class Stop:
    """Whether a signal has come that stops the command.

    Attributes:
        error: the exception for the first such signal; None before.
    """

    error: BaseException | None = None

    def answer(self, number: int, frame: FrameType | None) -> None:
        """Raise the exception for a signal; a further one changes nothing, so that what cleans up is not cut off.

        Args:
            number: the signal.
            frame: where it came.
        """
        if self.error is None:
            self.error = _exception(number)
            raise KeyboardInterrupt if number == signal.SIGINT else self.error


def _exception(number: int) -> BaseException:
    return Interrupted() if number == signal.SIGINT else Terminated() if number == signal.SIGTERM else HungUp()


@contextlib.contextmanager
def stoppable(report: Callable[[BaseException], int]) -> Iterator[Stop]:
    """Answer signals in the block by exceptions, and end the process where they do not.

    An exception may be lost in code that handles all of them, and no exception is raised while native code computes.

    Args:
        report: prints what is to be said of an exception, and returns the exit code.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # signals interrupt the main thread only
        return
    before = {number: signal.getsignal(number) for number in STOPPING}
    # What is ignored stays ignored, as by `nohup`; a handler that was not set from Python could not be put back.
    answered = [number for number, handler in before.items() if handler not in (None, signal.SIG_IGN)]
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    watcher = threading.Thread(target=_watch, args=(reading, report), daemon=True)
    watcher.start()
    descriptor = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    for number in answered:
        signal.signal(number, stop.answer)
    try:
        yield stop
    finally:
        signal.set_wakeup_fd(descriptor)
        for number in answered:
            signal.signal(number, before[number])
        os.write(writing, bytes([_END]))
        watcher.join()
        os.close(reading)
        os.close(writing)


def _watch(reading: int, report: Callable[[BaseException], int]) -> None:
    """End the process where it has not ended itself in time after a signal, or where Ctrl-C comes again."""
    first, begin = 0, 0.0
    while True:
        left = max(0.05, begin + SECONDS - time.monotonic()) if first else None
        arrived = bool(select.select([reading], [], [], left)[0])
        number = os.read(reading, 1)[0] if arrived else first
        if arrived and number == _END:
            return
        if number not in STOPPING:
            continue
        if not first:
            first, begin = number, time.monotonic()
        seconds = time.monotonic() - begin
        again = arrived and number == signal.SIGINT and seconds > SAME_KEY_PRESS
        if again or (seconds > SECONDS and not _are_deferred()):
            _end(first, report)


def _are_deferred() -> bool:
    """Whether the library holds signals back, as it can only where it is loaded."""
    signals = sys.modules.get("tf_lottery.utils.signals")
    return signals is not None and signals.are_deferred()


def _end(number: int, report: Callable[[BaseException], int]) -> None:
    """End the process and those that it started, as they are."""
    code = report(_exception(number))
    for child in _children():
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGKILL)
    os._exit(code)


def _children() -> list[int]:
    """The processes that this one started, where the system lists them."""
    children: list[int] = []
    for path in glob.glob("/proc/self/task/*/children"):
        with contextlib.suppress(OSError):
            children += map(int, Path(path).read_text().split())
    return children
