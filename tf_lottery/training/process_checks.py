"""What the processes of a strategy must have in common, which is checked before anything is trained."""

import contextlib
import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.training.replicas import Replicas
from tf_lottery.utils.files import write_bytes
from tf_lottery.utils.text import one_line

APPEAR = 30.0
"""Seconds that a network file system may take to show a new file."""
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.FailedPreconditionError,
    tf.errors.InternalError,
)
"""What TensorFlow raises in the other processes when one is gone."""


def check_equal(replicas: Replicas, values: Mapping[str, object]) -> None:
    """Check that all processes have the same values; in each of them the same error is raised.

    Args:
        replicas: the replicas.
        values: by what they are, in words; the same keys in each process.

    Raises:
        UsageError: some differ.
    """
    digests = [hashlib.sha256(repr(value).encode()).digest()[:8] for value in values.values()]
    table = replicas.each(np.frombuffer(b"".join(digests), np.int64).tolist())
    unequal = {name: np.flatnonzero(column != column[0]).tolist() for name, column in zip(values, table.T, strict=True)}
    if differ := {name: numbers for name, numbers in unequal.items() if numbers}:
        where = ", ".join(f"{name} (process {', '.join(map(str, numbers))})" for name, numbers in differ.items())
        own = "; ".join(f"{name}: {values[name]}" for name in differ)
        raise UsageError(
            f"All processes of a strategy run the same command with the same versions. Other than in process 0: "
            f"{where}. Here, in process {replicas.process}, {own}.",
            "Make them equal, and start all processes again.",
        )


def check_shared(replicas: Replicas, folder: Path, *, timeout: float = APPEAR) -> None:
    """Check that all processes see one folder, by a token that the chief writes into it.

    Args:
        replicas: the replicas.
        folder: the folder, which the chief has made.
        timeout: seconds to wait for the token.

    Raises:
        ResourceError: a process does not see it.
    """
    number = int(replicas.each([secrets.randbits(62)])[0, 0])  # the chief's
    token = folder / f".token-{number:016x}.tmp"
    if replicas.is_chief:
        write_bytes(token, b"")
    replicas.each([0])  # it is written
    end = time.monotonic() + timeout
    while not (seen := token.exists()) and time.monotonic() < end:
        time.sleep(0.2)
    missing = np.flatnonzero(replicas.each([seen])[:, 0] == 0).tolist()
    if replicas.is_chief:
        with contextlib.suppress(OSError):
            token.unlink()
    if missing:
        raise ResourceError(
            f"All processes of a strategy share the run directory. Process {', '.join(map(str, missing))} does not see "
            f"what process 0 writes into {folder}.",
            "Put runs where all machines see them under the same path (`out`), e.g. on a network file system.",
        )


def wait_until_visible(path: Path, *, timeout: float = APPEAR) -> None:
    """Wait until a file that the chief wrote is seen here.

    Args:
        path: the file.
        timeout: seconds that a network file system may take.

    Raises:
        ResourceError: it is not seen.
    """
    end = time.monotonic() + timeout
    while not path.exists():
        if time.monotonic() > end:
            raise ResourceError(f"{path} was written by another process, and is not seen here.", "Run the same again.")
        time.sleep(0.2)


@contextlib.contextmanager
def noticing_lost_processes(replicas: Replicas | None) -> Iterator[None]:
    """Raise an error of this library where another process of the strategy is gone.

    Raises:
        ResourceError: one is gone; what is committed or saved stays.
    """
    try:
        yield
    except LOST as error:
        if replicas is None or replicas.processes == 1:
            raise
        raise ResourceError(
            f"A process of the strategy is gone, so that the others can't train on: {one_line(error.message)[:200]}",
            "What was committed or saved is kept: run the same again in all processes to resume.",
        ) from error
