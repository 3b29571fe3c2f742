"""What may watch a training as it goes: progress displays, callbacks."""

from collections.abc import Mapping


class TrainingObserver:
    """Watches a training; every method does nothing here.

    An observer must leave the model, the optimizer and the metrics as they are: what is trained does not depend on who
    watches.
    """

    def on_chunk_begin(self, step: int) -> None:
        """Called before a chunk of steps; `step` is the first of them, counted from 0."""

    def on_chunk_end(self, step: int) -> None:
        """Called after a chunk of steps, about once a second; `step` is the number of steps done so far."""

    def on_evaluation_begin(self, step: int) -> None:
        """Called before the validation data is evaluated, after `step` steps."""

    def on_evaluation_end(self, step: int, record: Mapping[str, float | int]) -> None:
        """Called after an evaluation.

        Args:
            step: the number of steps done so far.
            record: `step`, and each training and validation metric under its name with `train_` or `val_` before it.
        """
