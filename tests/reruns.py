"""Trainings that are repeated, or stopped as by a lost machine and resumed: they must come to the same bits."""

import keras
import numpy as np
import pytest


class StopError(Exception):
    """Stops a training."""


class StopAtEpoch(keras.callbacks.Callback):
    """Stops a training when an epoch begins."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise StopError


def resume_in_fit(train, make_callback, backup, *, stop_at, backup_first):
    """Resume a stopped training by `BackupAndRestore`; its model, which equals that of an uninterrupted one.

    Args:
        train: function of callbacks that trains a new model and returns it.
        make_callback: makes the callback that has to resume too.
        backup: a new folder.
        stop_at: number of the epoch that the training is stopped at.
        backup_first: whether `BackupAndRestore` stands before the callback.
    """

    def callbacks():
        pair = [keras.callbacks.BackupAndRestore(backup), make_callback()]
        return pair if backup_first else pair[::-1]

    whole = train(make_callback())
    with pytest.raises(StopError):
        train(*callbacks(), StopAtEpoch(stop_at))
    resumed = train(*callbacks())
    assert resumed.history.epoch[0] == stop_at  # it did not train from the beginning
    for one, other in ((whole.variables, resumed.variables), (whole.optimizer.variables, resumed.optimizer.variables)):
        for first, second in zip(one, other, strict=True):
            np.testing.assert_array_equal(first.numpy(), second.numpy(), err_msg=first.path)
    return resumed


def run_with_a_stop(make_trainer, job, *, at, chunk):
    """Stop a job and run it to its end by another trainer; the step of the state that was saved.

    Args:
        make_trainer: makes a trainer that saves its state at every report, always in the same run directory.
        job: the job, none of which is done.
        at: step at which it is stopped, or the first one after it that is reported.
        chunk: the most steps from one report to the next.
    """

    def trainer():
        new = make_trainer()
        new.engine.chunk_size = lambda: chunk
        return new

    def stop(job, step, last, scores):
        if step >= at:
            raise StopError

    stopped = trainer()
    with pytest.raises(StopError):
        stopped.run(job, stop)
    saved = stopped.store.load_partial(job)[1]["step"]
    trainer().run(job)
    return saved


def assert_same_training(one, other, job):
    """A job has the same masks, weights and history in two run directories, to the bit."""
    for name in ("masks.npz", "weights.npz"):
        assert (one.job_folder(job) / name).read_bytes() == (other.job_folder(job) / name).read_bytes(), (job, name)
    assert one.metrics(job)["history"] == other.metrics(job)["history"], job
