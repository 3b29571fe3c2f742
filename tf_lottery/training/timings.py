"""The time that an engine spends in training, evaluation and compilation."""

import contextlib
import time
from collections.abc import Hashable, Iterator


class Timings:
    """Adds up the time of the calls of compiled functions.

    The first call of a function for one shape traces and compiles it, so it counts as compilation.

    Attributes:
        seconds: time spent so far in "train", "evaluate" and "compile".
        steps_timed: how many steps the time in "train" is for.
        seconds_per_step: of the last chunk of steps; None before the first.
    """

    def __init__(self) -> None:
        self.seconds = {"train": 0.0, "evaluate": 0.0, "compile": 0.0}
        self.steps_timed = 0
        self.seconds_per_step: float | None = None
        self._called: set[tuple[str, Hashable]] = set()

    def is_first(self, kind: str, shape: Hashable) -> bool:
        """Return whether a function has not been called for a shape yet.

        Args:
            kind: "train" or "evaluate".
            shape: what the function is compiled for.
        """
        return (kind, shape) not in self._called

    @contextlib.contextmanager
    def measure(self, kind: str, shape: Hashable, steps: int = 0) -> Iterator[None]:
        """Add the time of a block, also of one that fails.

        Args:
            kind: "train" or "evaluate".
            shape: what the called function is compiled for.
            steps: how many training steps the block does.
        """
        begin = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - begin
            first = self.is_first(kind, shape)
            self._called.add((kind, shape))
            self.seconds["compile" if first else kind] += seconds
            if steps and not first:
                self.steps_timed += steps
                self.seconds_per_step = seconds / steps
