"""Signals that stop a process, at a moment when they can be answered."""

import contextlib
import signal
import threading
from collections.abc import Iterator

# Ctrl-C, the end that a system asks for, and a terminal that is closed (which Windows has no signal for).
STOPPING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


@contextlib.contextmanager
def deferred_signals() -> Iterator[None]:
    """Let the signals that stop a process wait until the end of the block, which should take milliseconds."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals interrupt the main thread only
        return
    received: list[int] = []
    # A handler that was not set from Python (None) could not be put back; a signal that is ignored stays ignored.
    handlers = {int(number): signal.getsignal(number) for number in STOPPING}
    before = {number: handler for number, handler in handlers.items() if handler not in (None, signal.SIG_IGN)}
    for number in before:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in dict.fromkeys(received):
            signal.raise_signal(number)
