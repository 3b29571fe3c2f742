"""Small runs to attack, and all that reads a run directory, with what each says of it."""

import hashlib

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, LotteryError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory, RunReader
from tf_lottery.experiment.run import Events, run
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.transferred_tickets import TicketSource, transferred
from tf_lottery.exporting.sources.source_model import open_source_model
from tf_lottery.results.compare.compared_runs import read_compared_run
from tf_lottery.results.report import run_report
from tf_lottery.studies import StudyRun, analyze
from toys import classifying_problem

CONFIG = Config(steps=8, eval_every=2, batch_size=10, rounds=2, rate=0.4, xla="off", jobs=1, replicates=2, seed=0)
CONFIG = CONFIG.updated(rewind="step:3", variants=("ticket", "random_reinit"))
MORE = CONFIG.updated(rounds=3)
OWN, OTHER = "own", "other"
JOB_FILES = ("masks.npz", "weights.npz", "metrics.json", "manifest.json")


class StopError(Exception):
    """Stops a training."""


def train(path, config, *, stop=None, checkpoint_every=None):
    """Train a run, or a part of it: to a step of a job, at which it is stopped as by a lost machine."""

    def make_model(replicate):
        keras.utils.set_random_seed(10 * config.seed + replicate)
        return keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(3)])

    def on_progress(job, step, last):
        if stop is not None and (job, step) == stop:
            raise StopError

    try:
        run(
            config,
            RunDirectory(path),
            make_problem=lambda: classifying_problem(make_model),
            events=Events(on_progress=on_progress),
            checkpoint_every=checkpoint_every,
        )
    except StopError:
        assert RunReader(path).partial_path(stop[0]).is_file()
    return path


def arrays_digest(arrays):
    """One string for arrays by name: their types, shapes and bits."""
    text = hashlib.sha256()
    for key in sorted(arrays):
        array = np.asarray(arrays[key])
        text.update(f"{key} {array.dtype} {array.shape}".encode() + array.tobytes())
    return text.hexdigest()


def read_tickets(path):
    result = tfl.open_run(path)
    jobs = [(number, replicate) for number in range(CONFIG.rounds + 1) for replicate in range(CONFIG.replicates)]
    tickets = [result.ticket(*job) for job in jobs]
    groups = ("masks", "rewind_weights", "trained_weights")
    return [([arrays_digest(getattr(ticket, name)) for name in groups], ticket.recipe) for ticket in tickets]


def read_for_transfer(path):
    source = RunReader(path)
    config = Config.from_json(transferred(source) | {"tickets_from": str(path)})
    tickets = TicketSource(config, source.masks(Job(0, 0)))
    masks = [tickets.masks(Job(replicate, number)) for replicate in (0, 1) for number in range(3)]
    stated = config.to_json() | {"tickets_from": ""}
    return [*map(arrays_digest, [*masks, tickets.weights(0), tickets.weights(1)]), stated]


def read_report(path):
    """All that the page, the figures and the tables are made of."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_report, "write_report", lambda **content: content)
        return run_report.write_run_report(RunReader(path), "") | {"folder": ""}


def read_for_export(path):
    source = open_source_model(str(path), round_number=2, replicate=0)
    weights = [weight.numpy() for weight in source.model.weights]
    return arrays_digest(dict(enumerate(weights)) if weights else {}), source.config


def read_for_analysis(path):
    study = StudyRun(path)
    return [analyze(name, study).tables for name in ("overlap", "survivors")], study.rows()


def read_status(path):
    state = read_state(path).to_json() | {"run_dir": ""}
    if state["state"] == "damaged":
        raise DamagedError(state["problem"])
    return state


def read_for_comparison(path):
    compared = read_compared_run(RunReader(path))
    return compared.config, compared.rows, compared.model, compared.data


READERS = {
    "open_run": lambda path: tfl.open_run(path).rows,
    "ticket": read_tickets,
    "report": read_report,
    "export": read_for_export,
    "analyze": read_for_analysis,
    "tickets_from": read_for_transfer,
    "status": read_status,
    "compare": read_for_comparison,
}


def outcome(function, *arguments):
    """What a function returns; None where it refuses."""
    try:
        return function(*arguments)
    except LotteryError:
        return None


def end_state(path):
    """The masks and weights of every training of a run; the times aside, its results and manifests."""
    store = RunReader(path)
    jobs = store.complete_jobs()
    for job in jobs:
        store.verify(job)
    arrays = {job: [(store.job_folder(job) / name).read_bytes() for name in JOB_FILES[:2]] for job in jobs}
    return arrays, {job: store.metrics(job)["history"] for job in jobs}
