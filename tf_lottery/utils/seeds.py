"""Seeds derived from seeds: every random choice is a pure function of the run's seed and of what it is for."""

import contextlib
import hashlib
import random
from collections.abc import Iterator

import numpy as np


def derive(*parts: int | str) -> int:
    """A 31-bit seed made from `parts`, the same on every machine.

    Args:
        *parts: what the seed is for, e.g. `derive(seed, "replicate", 3)`.

    Returns:
        An integer in [0, 2**31).

    Example:
        >>> derive(7, "order", 0) == derive(7, "order", 0)
        True
        >>> derive(7, "order", 0) == derive(7, "order", 1)
        False
    """
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little") >> 1


def generator(*parts: int | str) -> np.random.Generator:
    """A NumPy generator seeded by `derive(*parts)`."""
    return np.random.Generator(np.random.Philox(derive(*parts)))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Make code that draws from the global generators of Python and NumPy repeatable, and leave no trace of it.

    Keras draws the seed of an unseeded initializer or Dropout from Python's `random`; inside this context those draws
    are a function of `seed`. The states of both generators are put back at the end.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
