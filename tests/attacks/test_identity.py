"""A file that is whole but belongs elsewhere is never believed: to another round, replicate, seed or run."""

import hashlib
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, LotteryError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory, RunReader
from tf_lottery.experiment.run import Events, run
from tf_lottery.experiment.run_state import read_state
from tf_lottery.experiment.run_verification import verify_run
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
ROUND = "replicate_0/round_01"
CONTROL = f"{ROUND}/variants/random_reinit"
REWIND = "replicate_0/rewind"
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


def swaps():
    """What is replaced by which namesake: paths below the folder of the runs."""
    elsewhere = ["replicate_0/round_00", "replicate_0/round_02", "replicate_1/round_01", CONTROL]
    for name in JOB_FILES:
        for folder in elsewhere:
            yield f"{ROUND}/{name}", f"{OWN}/{folder}/{name}"
        yield f"{CONTROL}/{name}", f"{OWN}/{ROUND}/{name}"
        yield f"{CONTROL}/{name}", f"{OTHER}/{CONTROL}/{name}"
        yield f"{ROUND}/{name}", f"{OTHER}/{ROUND}/{name}"
    for name in (*JOB_FILES, "optimizer.npz"):
        yield f"replicate_0/round_00/{name}", f"{OWN}/replicate_1/round_00/{name}"
        yield f"replicate_0/round_00/{name}", f"{OTHER}/replicate_0/round_00/{name}"
    for name in ("checkpoint.data-00000-of-00001", "checkpoint.index", "manifest.json"):
        yield f"{REWIND}/{name}", f"{OWN}/replicate_1/rewind/{name}"
        yield f"{REWIND}/{name}", f"{OTHER}/{REWIND}/{name}"
    for name in ("config.json", "environment.json", "model.json", "results.csv", "metrics.jsonl"):
        yield name, f"{OTHER}/{name}"
    # Whole folders: their files fit their manifests.
    for folder in elsewhere:
        yield ROUND, f"{OWN}/{folder}"
    yield "replicate_0/round_02", f"{OWN}/{ROUND}"
    yield "replicate_0", f"{OWN}/replicate_1"
    yield REWIND, f"{OWN}/replicate_1/rewind"
    for folder in (ROUND, CONTROL, "replicate_0/round_00", "replicate_0/round_02", REWIND, "replicate_0"):
        yield folder, f"{OTHER}/{folder}"
    yield "replicate_*", OTHER


SWAPS = list(swaps())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / OWN, CONFIG)
    train(folder / OTHER, CONFIG.updated(seed=1))
    return folder


def put(target, source):
    """Put a copy of a file or folder in the place of its namesake."""
    if source.is_dir():
        variants = target / "variants"
        kept = shutil.copytree(variants, target.with_name("kept")) if variants.is_dir() else None
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        if kept:  # the controls beside a ticket stay
            shutil.rmtree(variants, ignore_errors=True)
            shutil.move(kept, variants)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        shutil.copy(source, target)


def swapped(runs, path, place, namesake):
    """A copy of the run with a namesake in one of its places."""
    shutil.copytree(runs / OWN, path)
    if place == "replicate_*":
        for folder in path.glob(place):
            shutil.rmtree(folder)
            shutil.copytree(runs / namesake / folder.name, folder)
    else:
        put(path / place, runs / namesake)
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


@pytest.fixture(scope="module")
def answers(runs):
    """What each reader says of the run as it was written."""
    return {name: reader(runs / OWN) for name, reader in READERS.items()}


def outcome(function, *arguments):
    """What a function returns; None where it refuses."""
    try:
        return function(*arguments)
    except LotteryError:
        return None


@pytest.mark.parametrize(("place", "namesake"), SWAPS)
def test_no_reader_believes_a_namesake(place, namesake, runs, answers, tmp_path):
    path = swapped(runs, tmp_path / OWN, place, namesake)
    silent = [name for name, reader in READERS.items() if outcome(reader, path) not in (None, answers[name])]
    assert silent == []
    equal = (runs / OWN / place).is_file() and (runs / OWN / place).read_bytes() == (runs / namesake).read_bytes()
    verification = outcome(verify_run, RunReader(path))
    assert equal or verification is None or verification.problems


def end_state(path):
    """The masks and weights of every training of a run; the times aside, its results and manifests."""
    store = RunReader(path)
    jobs = store.complete_jobs()
    arrays = {job: [(store.job_folder(job) / name).read_bytes() for name in JOB_FILES[:2]] for job in jobs}
    return arrays, {job: store.metrics(job)["history"] for job in jobs}


@pytest.fixture(scope="module")
def longer(runs):
    """The end of the run with one more round."""
    return end_state(train(Path(shutil.copytree(runs / OWN, runs / "longer")), MORE))


FOLDERS = [(place, namesake) for place, namesake in SWAPS if "." not in place]


@pytest.mark.parametrize(("place", "namesake"), [*FOLDERS, ("config.json", f"{OTHER}/config.json")])
def test_no_run_is_extended_from_a_namesake(place, namesake, runs, longer, tmp_path):
    path = swapped(runs, tmp_path / OWN, place, namesake)
    assert outcome(lambda: end_state(train(path, MORE))) in (None, longer)


@pytest.fixture(scope="module")
def stopped(runs):
    """Runs that were stopped in the middle of a training, by what they stopped at."""
    places = {
        "round 2": (CONFIG, Job(0, 2)),
        "round 1": (CONFIG, Job(0, 1)),
        "control": (CONFIG, Job(0, 1, "random_reinit")),
        "replicate 1": (CONFIG, Job(1, 2)),
        "seed 1": (CONFIG.updated(seed=1), Job(0, 2)),
        "round 0": (CONFIG, Job(0, 0)),
    }
    for name, (config, job) in places.items():
        train(runs / name, config, stop=(job, 8), checkpoint_every=0)
    return {name: RunReader(runs / name).partial_path(job) for name, (_, job) in places.items()}


def finished(path):
    return end_state(train(path, CONFIG))


def test_a_stopped_run_ends_as_the_other(runs, stopped, tmp_path):
    path = shutil.copytree(runs / "round 2", tmp_path / OWN)
    assert finished(path) == end_state(runs / OWN)


@pytest.mark.parametrize("namesake", ["round 1", "control", "replicate 1", "seed 1", "round 0"])
def test_no_training_resumes_from_a_namesake(namesake, runs, stopped, tmp_path):
    path = Path(shutil.copytree(runs / "round 2", tmp_path / OWN))
    put(path / stopped["round 2"].relative_to(runs / "round 2"), stopped[namesake])
    with pytest.raises(DamagedError, match=r"Delete that file"):
        finished(path)
    assert outcome(read_status, path) is None
    assert verify_run(RunReader(path)).problems
    # As the message says:
    (path / stopped["round 2"].relative_to(runs / "round 2")).unlink()
    assert finished(path) == end_state(runs / OWN)


@pytest.mark.parametrize("namesake", [f"{OWN}/replicate_1/rewind", f"{OTHER}/{REWIND}"])
def test_a_dense_training_does_not_pin_the_rewind_state_of_another(namesake, runs, stopped, tmp_path):
    """It was stopped after it had saved its own, and does not come by that step again."""
    path = Path(shutil.copytree(runs / "round 0", tmp_path / OWN))
    put(path / REWIND, runs / namesake)
    assert outcome(finished, path) in (None, end_state(runs / OWN))


def test_a_training_does_not_resume_on_another_round_before(runs, stopped, tmp_path):
    path = Path(shutil.copytree(runs / "round 2", tmp_path / OWN))
    put(path / ROUND, runs / OTHER / ROUND)
    assert outcome(finished, path) is None


def test_every_flipped_digit_of_a_configuration_is_seen(runs, tmp_path):
    path = Path(shutil.copytree(runs / OWN, tmp_path / OWN))
    content = (path / "config.json").read_bytes()
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1
        (path / "config.json").write_bytes(altered)
        for reader in ("open_run", "status"):
            assert outcome(READERS[reader], path) is None, (place, reader)
