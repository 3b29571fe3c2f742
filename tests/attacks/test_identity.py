"""A file that is whole but belongs elsewhere is never believed: to another round, replicate, seed or run."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from attack_runs import CONFIG, JOB_FILES, MORE, OTHER, OWN, READERS, end_state, outcome, train

import tf_lottery as tfl
from tf_lottery.errors import DamagedError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.config_file import RUN_SCHEMA, RUN_SCHEMA_WITHOUT_DIGEST, read_config_file, run_document
from tf_lottery.experiment.directory import Job, RunReader
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.exporting.checks.verify import verify_path
from tf_lottery.results.outcome_files import write_files
from tf_lottery.results.report.run_report import write_run_report
from tf_lottery.utils.files import dump_arrays, dump_json, load_arrays

ROUND = "replicate_0/round_01"
CONTROL = f"{ROUND}/variants/random_reinit"
REWIND = "replicate_0/rewind"


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


@pytest.mark.parametrize(("place", "namesake"), SWAPS)
def test_no_reader_believes_a_namesake(place, namesake, runs, answers, tmp_path):
    path = swapped(runs, tmp_path / OWN, place, namesake)
    silent = [name for name, reader in READERS.items() if outcome(reader, path) not in (None, answers[name])]
    assert silent == []
    equal = (runs / OWN / place).is_file() and (runs / OWN / place).read_bytes() == (runs / namesake).read_bytes()
    verification = outcome(verify_run, RunReader(path))
    assert equal or verification is None or verification.problems


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
    assert outcome(READERS["status"], path) is None
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
    options = read_config_file(path / "config.json")
    assert Config.from_json(options) == CONFIG
    content = (path / "config.json").read_bytes()
    places = [place for place, byte in enumerate(content) if chr(byte).isdigit()]
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1
        (path / "config.json").write_bytes(altered)
        for reader in ("open_run", "status"):
            assert outcome(READERS[reader], path) is None, (place, reader)
        # That of the schema is no option.
        assert outcome(read_config_file, path / "config.json") in (None, options), place


def test_a_copy_beside_a_training_is_no_training(runs, answers, tmp_path):
    """The number in its name is read as that of the round, and so its row was there twice."""
    path = Path(shutil.copytree(runs / OWN, tmp_path / OWN))
    for name in ("round_1", "round_01_before"):
        shutil.copytree(path / ROUND, path / "replicate_0" / name)
    assert tfl.open_run(path).rows == answers["open_run"]


@pytest.mark.parametrize(
    ("schema", "refused"),
    [(RUN_SCHEMA_WITHOUT_DIGEST, False), (RUN_SCHEMA, True)],
)
def test_only_runs_of_earlier_versions_hold_files_without_an_owner(schema, refused, runs, stopped, tmp_path):
    path = Path(shutil.copytree(runs / "round 2", tmp_path / OWN))
    document = RunReader(path).document()
    (path / "config.json").write_bytes(dump_json(run_document(document, schema)))
    partial = path / stopped["round 2"].relative_to(runs / "round 2")
    arrays = load_arrays(partial)
    progress = json.loads(arrays.pop("progress").tobytes())
    progress.pop("origin")
    partial.write_bytes(dump_arrays(arrays | {"progress": np.frombuffer(json.dumps(progress).encode(), np.uint8)}))
    assert outcome(finished, path) == (None if refused else end_state(runs / OWN))
    assert RunReader(path).schema() == schema


def test_rounds_of_version_0_1_are_known_by_their_results(tmp_path):
    stored = Path(__file__).parents[1] / "experiment/directory/run_0_1/custom-730d8f7ed9"
    path = Path(shutil.copytree(stored, tmp_path / "run"))
    put(path / ROUND, stored / CONTROL)
    with pytest.raises(DamagedError, match="results of another training"):
        tfl.open_run(path)


def test_a_report_is_verified(runs, tmp_path):
    run = RunReader(shutil.copytree(runs / OWN, tmp_path / OWN))
    files = write_run_report(run, run.path / "report")
    verification = verify_run(run)
    assert verification.problems == verification.remarks == []
    assert verification.checked["files of reports and analyses have their SHA-256"] == len(files)
    # Also a copy of it that lies elsewhere.
    copy = shutil.copytree(run.path / "report", tmp_path / "page")
    assert verify_path(copy).problems == []
    (copy / "jobs.csv").write_bytes((copy / "jobs.csv").read_bytes().replace(b"0.4", b"0.5", 1))
    assert len(verify_path(copy).problems) == 1


def test_the_report_of_another_run_is_seen(runs, tmp_path):
    run, other = RunReader(shutil.copytree(runs / OWN, tmp_path / OWN)), RunReader(runs / OTHER)
    files = {"table.csv": b"0.91"}
    write_files(files, run.path / "report", owner=other.run_owner())
    assert verify_run(run).problems == [f"{run.path / 'report'} is of another run."]
    write_files(files, run.path / "report", owner=run.run_owner(), made_from=other.made_from(other.complete_jobs()))
    assert "does not show replicate_0/round_00 as it is now" in verify_run(run).problems[0]


def test_a_report_of_fewer_trainings_is_told(runs, tmp_path):
    run = RunReader(shutil.copytree(runs / OWN, tmp_path / OWN))
    origin = {"owner": run.run_owner(), "made_from": run.made_from(run.complete_jobs())}
    write_files({"table.csv": b"0.91"}, run.path / "report", **origin)
    train(run.path, MORE)
    verification = verify_run(RunReader(run.path))
    assert verification.problems == []
    assert verification.remarks == [f"{run.path / 'report'} shows 10 of 14 trainings: write it again."]
