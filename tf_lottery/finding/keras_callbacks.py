"""Keras callbacks over the trainings of an experiment, with what Keras promises them in `fit`.

An epoch of a callback is the span between two evaluations of a training: `eval_every` steps. The steps are compiled in
chunks, so the batch methods are called once per chunk, as with `steps_per_execution`.
"""

import copy
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.job_observer import JobObserver, JobTraining
from tf_lottery.finding.progress_display import ProgressDisplay
from tf_lottery.finding.unchanged_training import unchanged_training
from tf_lottery.training.callbacks import SET, GradualPruning, RigL

_C = keras.callbacks
_FULL_LENGTH = "every training runs its full length, since the masks of the next round come from its last step"
_BY_STEP = "a resumed training must have the learning rate of an uninterrupted one, a function of the step alone"
_SCHEDULE = "Give the optimizer a `keras.optimizers.schedules.LearningRateSchedule`."
# What find_ticket can't honor, by class: the reason, and what to do instead.
REFUSED: dict[type, tuple[str, str]] = {
    _C.EarlyStopping: (
        _FULL_LENGTH,
        "Drop it: each row of the result has the step of least validation loss, early_stop_step. Pass fewer `steps`.",
    ),
    _C.ReduceLROnPlateau: (_BY_STEP, _SCHEDULE),
    _C.LearningRateScheduler: (_BY_STEP, _SCHEDULE),
    _C.BackupAndRestore: ("it would put back the weights of another training", "Pass `run_dir` to resume a run."),
    _C.SwapEMAWeights: (
        "it exchanges the weights that are trained",
        "Drop it: an optimizer with use_ema=True ends each training with its averages.",
    ),
}
for _kind in (GradualPruning, RigL, SET):
    REFUSED[_kind] = (
        "the masks of a training are those of its round",
        "Train the model that `tf_lottery.wrap(model)` returns in `fit`, with this callback.",
    )
if hasattr(_C, "OrbaxCheckpoint"):  # not in every version of Keras
    REFUSED[_C.OrbaxCheckpoint] = (
        "it numbers the checkpoints of one training, and there are several",
        "Use keras.callbacks.ModelCheckpoint: each training has a folder of its own there.",
    )
# Methods that call another one where they are not overridden.
_OLD_NAMES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


def check_callbacks(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Return the callbacks of an argument as `fit` takes it: one, a list, a nested list, a `CallbackList` or None.

    Raises:
        UsageError: something is not a callback, or can't be honored here.
    """
    if isinstance(callbacks, _C.CallbackList):
        callbacks = callbacks.callbacks
    flat = [] if callbacks is None else keras.tree.flatten(callbacks)
    for callback in flat:
        if not isinstance(callback, _C.Callback):
            raise UsageError(
                f"`callbacks` must be objects of keras.callbacks.Callback. Received: {callback!r}.",
                "Derive a class from keras.callbacks.Callback, and pass an object of it.",
            )
        for kind, (reason, remedy) in REFUSED.items():
            if isinstance(callback, kind):
                raise UsageError(f"`callbacks` can't hold {type(callback).__name__}: {reason}.", remedy)
    return flat


class CallbackObserver(JobObserver):
    """Calls Keras callbacks as the jobs of an experiment are trained.

    Args:
        callbacks: what to call, as from `check_callbacks`.
        rounds: rounds of pruning of the experiment.
        replicates: replicates of the experiment.
        eval_every: steps between evaluations.
        verbose: passed on to the callbacks in their `params`.
    """

    def __init__(
        self,
        callbacks: Iterable[keras.callbacks.Callback],
        *,
        rounds: int,
        replicates: int,
        eval_every: int,
        verbose: Any = 0,
    ) -> None:
        self.callbacks = list(callbacks)
        self.eval_every = eval_every
        self.constant_params = {"verbose": verbose, "rounds": rounds, "replicates": replicates, "steps": eval_every}
        self._begun = False
        self._waiting: set[Job] = set()

    def events(self) -> Events:
        """Return the events of a run that these callbacks listen to."""
        return Events(on_start=self.on_start, on_done=self.on_done, observer=self)

    # The run.

    def on_start(self, store: RunDirectory, jobs: list[Job], waiting: list[Job]) -> None:
        """Remember what there is to do.

        Args:
            store: the run directory.
            jobs: all trainings of the experiment.
            waiting: those that are not committed yet.
        """
        self._store, self._waiting = store, set(waiting)
        for callback in self.callbacks:
            if isinstance(callback, ProgressDisplay):
                callback.on_run_begin(len(jobs) - len(waiting), len(jobs), store.path)

    def on_done(self, job: Job, row: Mapping[str, Any]) -> None:
        """Call `on_round_end(round, rows)`, where a callback has it, after the last training of a round.

        Args:
            job: a training that is committed.
            row: its row of results.
        """
        self._waiting.discard(job)
        if any(other.round == job.round for other in self._waiting):
            return
        rows = [row for row in self._store.rows() if row["round"] == job.round]
        for callback in self.callbacks:
            if hasattr(callback, "on_round_end"):
                callback.on_round_end(job.round, rows)

    # A training.

    def on_job_begin(self, training: JobTraining) -> None:
        """Call `set_model`, `set_params` and `on_train_begin`."""
        job = training.job
        self._training, self._epoch = training, -1
        self._logs: dict[str, float] = {}
        self._active = [callback_of_job(callback, job, appends=self._begun) for callback in self.callbacks]
        self._begun = True
        self._sends_batches = any(
            _overrides(callback, name)
            for callback in self._active
            for name in ("on_train_batch_begin", "on_train_batch_end")
        )
        training.engine.model.stop_training = False
        params = {
            **self.constant_params,
            "epochs": math.ceil(training.stop / self.eval_every),
            "replicate": job.replicate,
            "round": job.round,
            "variant": job.variant,
            "density": training.density,
            "first_step": training.step,
            "last_step": training.stop,
        }
        for callback in self._active:
            self._call(callback, "set_model", training.engine.model)
            self._call(callback, "set_params", params)
        self._send("on_train_begin")

    def on_chunk_begin(self, step: int) -> None:
        """Call `on_epoch_begin` where an epoch begins, and `on_train_batch_begin`."""
        epoch = step // self.eval_every
        if epoch != self._epoch:
            self._epoch = epoch
            self._send("on_epoch_begin", epoch)
        if self._sends_batches:
            self._send("on_train_batch_begin", step - epoch * self.eval_every)

    def on_chunk_end(self, step: int) -> None:
        """Call `on_train_batch_end` with the running loss and metrics."""
        if self._sends_batches:
            self._send("on_train_batch_end", step - 1 - self._epoch * self.eval_every, self._training.engine.results())

    def on_evaluation_begin(self, step: int) -> None:
        """Call `on_test_begin` and `on_test_batch_begin`: an evaluation is one compiled call."""
        self._send("on_test_begin")
        self._send("on_test_batch_begin", 0)

    def on_evaluation_end(self, step: int, record: Mapping[str, float | int]) -> None:
        """Call `on_test_batch_end`, `on_test_end` and `on_epoch_end`.

        Args:
            step: the number of steps done so far.
            record: the results of the evaluation.
        """
        validation = {name.removeprefix("val_"): value for name, value in record.items() if name.startswith("val_")}
        self._send("on_test_batch_end", 0, dict(validation))
        self._send("on_test_end", dict(validation))
        train = {name.removeprefix("train_"): value for name, value in record.items() if name.startswith("train_")}
        self._logs = {**train, **{f"val_{name}": value for name, value in validation.items()}}
        self._send("on_epoch_end", self._epoch, dict(self._logs))

    def on_job_end(self, training: JobTraining, row: Mapping[str, Any]) -> None:
        """Call `on_train_end` with the logs of the last epoch.

        Args:
            training: the training that is done.
            row: its row of results.
        """
        self._send("on_train_end", dict(self._logs))

    def _send(self, method: str, *arguments: Any) -> None:
        for callback in self._active:
            self._call(callback, method, *arguments)

    def _call(self, callback: keras.callbacks.Callback, method: str, *arguments: Any) -> None:
        if method == "on_epoch_end" and isinstance(callback, _C.CSVLogger):
            job = self._training.job
            which = {"replicate": job.replicate, "round": job.round, "variant": job.variant}
            arguments = (arguments[0], {**which, "density": self._training.density, **arguments[1]})
        if _is_known(callback):
            getattr(callback, method)(*arguments)
        elif _overrides(callback, method):
            with unchanged_training(self._training.engine, f"{type(callback).__name__}.{method}"):
                getattr(callback, method)(*arguments)


def callback_of_job(callback: keras.callbacks.Callback, job: Job, *, appends: bool) -> keras.callbacks.Callback:
    """Return the callback that serves one training: the callback itself, or a copy where trainings must not mix files.

    TensorBoard and ModelCheckpoint write to a folder of the training below their own; CSVLogger writes all trainings of
    a call to its one file.

    Args:
        callback: the callback of the caller.
        job: the training.
        appends: whether a training of this call came before it.
    """
    if not isinstance(callback, _C.TensorBoard | _C.ModelCheckpoint | _C.CSVLogger):
        return callback
    mine = copy.copy(callback)
    folder = os.path.join(f"replicate_{job.replicate}", f"round_{job.round:02d}", job.variant)
    if isinstance(mine, _C.TensorBoard):
        mine.log_dir = os.path.join(callback.log_dir, folder)
    elif isinstance(mine, _C.ModelCheckpoint):
        before, name = os.path.split(callback.filepath)
        mine.filepath = os.path.join(before, folder, name)
    elif appends:
        mine.append = True
    return mine


def _is_known(callback: keras.callbacks.Callback) -> bool:
    """Whether a callback is of a class that is known to leave the model as it is."""
    kind = type(callback)
    return kind.__module__.split(".")[0] in ("keras", "tf_lottery") and kind is not _C.LambdaCallback


def _overrides(callback: keras.callbacks.Callback, method: str) -> bool:
    """Whether a callback does something in a method: Keras marks those of its base class, which do nothing."""
    names = [method, *([_OLD_NAMES[method]] if method in _OLD_NAMES else [])]
    return any(not getattr(getattr(callback, name), "_is_default", False) for name in names)
