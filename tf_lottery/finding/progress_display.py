"""What `verbose` shows: a progress bar for each training, or one line when it is done."""

import logging
import sys
import time
from typing import Any

import keras

from tf_lottery.errors import UsageError

log = logging.getLogger(__name__)
VERBOSITIES = ("auto", 0, 1, 2)


class ProgressDisplay(keras.callbacks.Callback):
    """Shows one training after the other on stdout; the base of `ProgressBars` and `ProgressLines`."""

    def on_run_begin(self, done: int, total: int, path: object) -> None:
        """Say what a resumed run has done already.

        Args:
            done: how many trainings are committed.
            total: how many there are in all.
            path: the run directory.
        """
        if done:
            show(f"{done} of {total} trainings are already done in {path}.\n")

    def on_train_begin(self, logs: Any = None) -> None:
        """Start the clock."""
        self._begin = time.monotonic()

    def title(self) -> str:
        """Return which training it is, e.g. "Round 3/8, ticket"."""
        name = f"Round {self.params['round']}/{self.params['rounds']}"
        if self.params["replicates"] > 1:
            name += f", replicate {self.params['replicate']}"
        return f"{name}, {self.params['variant']}"


class ProgressBars(ProgressDisplay):
    """A progress bar for each training, with its density, its loss and its validation accuracy."""

    def on_train_begin(self, logs: Any = None) -> None:
        """Print the title and an empty bar."""
        super().on_train_begin()
        show(f"{self.title()}\n")
        self._values: dict[str, float] = {"density": self.params["density"]}
        self._epoch, self._done = 0, 0
        target = self.params["last_step"] - self.params["first_step"]
        self._bar = keras.utils.Progbar(target, stateless_metrics=(), unit_name="step")
        self._update(finalize=False)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Remember the epoch, which steps are counted in.

        Args:
            epoch: the span between two evaluations, counted from 0.
            logs: not used.
        """
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Move the bar and show the loss.

        Args:
            batch: the last step of the chunk, counted in its epoch.
            logs: the running loss and metrics.
        """
        self._done = self._epoch * self.params["steps"] + batch + 1 - self.params["first_step"]
        self._values |= {name: value for name, value in (logs or {}).items() if name == "loss"}
        self._update(finalize=False)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Show the validation accuracy.

        Args:
            epoch: the span between two evaluations, counted from 0.
            logs: the loss and the metrics, those of the validation data with `val_` before their names.
        """
        self._values |= shown_values(logs or {})
        self._update(finalize=False)

    def on_train_end(self, logs: Any = None) -> None:
        """Finish the bar."""
        self._update(finalize=True)

    def _update(self, *, finalize: bool) -> None:
        self._bar.update(self._done, list(self._values.items()), finalize=finalize)


class ProgressLines(ProgressDisplay):
    """One line for each training when it is done."""

    def on_train_end(self, logs: Any = None) -> None:
        """Print the line."""
        values = {"density": self.params["density"], **shown_values(logs or {})}
        text = " - ".join(f"{name}: {_number(value)}" for name, value in values.items())
        show(f"{self.title()}: {text} - {time.monotonic() - self._begin:.0f}s\n")


def progress_display(verbose: Any) -> ProgressDisplay | None:
    """Return what shows the trainings as `verbose` asks, or None.

    Raises:
        UsageError: `verbose` is none of the values that `fit` takes.
    """
    if verbose not in VERBOSITIES:
        raise UsageError(f"`verbose` must be 'auto', 0, 1 or 2. Received: {verbose!r}.", "Pass `verbose='auto'`.")
    if verbose == 0:
        return None
    return ProgressLines() if verbose == 2 or not redraws_lines() else ProgressBars()


def redraws_lines() -> bool:
    """Whether stdout can write over a line: a terminal or a notebook."""
    return "ipykernel" in sys.modules or bool(getattr(sys.stdout, "isatty", lambda: False)())


def shown_values(logs: dict[str, float]) -> dict[str, float]:
    """Return the loss and the validation accuracies, or the validation loss of a model without an accuracy."""
    accuracies = {name: logs[name] for name in logs if name.startswith("val_") and name.endswith("accuracy")}
    losses = ("loss",) if accuracies else ("loss", "val_loss")
    return {**{name: logs[name] for name in losses if name in logs}, **accuracies}


def show(text: str) -> None:
    """Write a text where Keras writes its progress: on stdout, or in the log if interactive logging is disabled."""
    if keras.config.is_interactive_logging_enabled():
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        log.info(text.rstrip("\n"))


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"
