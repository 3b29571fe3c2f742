"""A run as a whole: created, resumed, extended; what is done is not done again; and what is refused."""

import json
import os
import shutil

import keras
import pytest

from reruns import assert_same_training
from tf_lottery.errors import DamagedError, ResourceError, RunInUseError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run import Events, extended, locate, run
from toys import classifying_problem

TIMINGS = ("seconds", "steps_per_second")


def make_problem():
    def make_model(replicate):
        keras.utils.set_random_seed(replicate)
        layers = keras.layers
        return keras.Sequential(
            [keras.Input((6,)), layers.Dense(10, activation="relu"), layers.Dropout(0.2), layers.Dense(3)]
        )

    return classifying_problem(make_model)


SMALL = Config(steps=12, eval_every=6, batch_size=10, rounds=1, rate=0.3, xla="off", variants=("ticket",), jobs=1)
LARGE = SMALL.updated(rounds=2, replicates=2, variants=("ticket", "random_reinit"))


def go(config, path, **options):
    return run(config, RunDirectory(path), make_problem=make_problem, **options)


def without_timings(rows):
    return [{key: value for key, value in row.items() if key not in TIMINGS} for row in rows]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    return path, go(LARGE, path)


def test_a_run_leaves_what_the_contract_says(whole):
    path, rows = whole
    assert {"config.json", "results.csv", "metrics.jsonl", "environment.json", "model.json"} < set(os.listdir(path))
    assert len(rows) == 10
    assert len((path / "results.csv").read_text().splitlines()) == 11
    assert sorted(os.listdir(path / "replicate_1/round_02")) == [
        *("manifest.json", "masks.npz", "metrics.json", "variants", "weights.npz")
    ]
    assert (path / "replicate_0/rewind/manifest.json").is_file()
    assert not list(path.rglob("*.tmp"))
    assert not list(path.rglob("partial.npz"))
    environment = json.loads((path / "environment.json").read_text())
    assert {"tensorflow", "keras", "numpy", "python", "threads", "xla", "precision", "tf32", "processor"} < set(
        environment
    )


def test_the_same_run_again_does_nothing(whole):
    path, rows = whole
    before = {
        p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in path.rglob("*") if "replicate" in str(p) and p.is_file()
    }
    heard = []
    events = Events(on_start=lambda store, jobs, waiting: heard.append((len(jobs), len(waiting))))

    def never():
        raise AssertionError("nothing is to be made")

    assert run(LARGE, RunDirectory(path), make_problem=never, events=events) == rows
    assert heard == [(10, 0)]
    assert before == {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in before}


def test_an_extended_run_is_the_run_done_in_one_go_and_does_nothing_again(whole, tmp_path):
    whole_path, rows = whole
    path = tmp_path / "run"
    go(SMALL, path)
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in (path / "replicate_0").rglob("*") if p.is_file()}
    for changes in ({"rounds": 2}, {"replicates": 2}, {"variants": ("ticket", "random_reinit")}):
        go(extended(SMALL.updated(**changes), RunDirectory(path)), path)
        assert before == {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in before}
    assert json.loads((path / "config.json").read_text()) == json.loads((whole_path / "config.json").read_text())
    store, other = RunDirectory(path), RunDirectory(whole_path)
    assert without_timings(store.rows()) == without_timings(rows)
    assert (path / "metrics.jsonl").read_bytes() == (whole_path / "metrics.jsonl").read_bytes()
    for job in plan.jobs(LARGE):
        assert_same_training(store, other, job)


def test_a_run_of_version_0_1_is_read_and_resumed(whole, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(whole[0], path)
    text = (path / "config.json").read_text()
    (path / "config.json").write_text(text.replace('"normalization"', '"normalisation"'))
    assert RunDirectory(path).document()["normalization"] == "unit"
    assert RunDirectory(path).config() == LARGE
    assert go(LARGE, path) == whole[1]
    assert (path / "config.json").read_text() == text


def test_a_smaller_command_tells_all_that_is_there_and_shrinks_nothing(whole):
    path, rows = whole
    assert go(SMALL, path) == rows
    assert RunDirectory(path).document()["rounds"] == 2


def test_events_tell_the_run(tmp_path):
    heard = []
    events = Events(
        on_start=lambda store, jobs, waiting: heard.append(("start", len(waiting))),
        on_progress=lambda job, step, stop: heard.append(("progress", job, step, stop)),
        on_done=lambda job, row: heard.append(("done", job, row["round"])),
    )
    go(SMALL, tmp_path / "run", events=events)
    assert heard[0] == ("start", 2)
    assert heard[-1] == ("done", Job(0, 1), 1)
    assert ("progress", Job(0, 0), 12, 12) in heard


@pytest.mark.parametrize(
    "change", [{"rate": 0.4}, {"seed": 1}, {"steps": 13}, {"rewind": "step:3"}, {"optimizer": "sgd"}]
)
def test_another_configuration_in_the_same_directory_is_refused(whole, change):
    path, rows = whole
    with pytest.raises(UsageError, match="another configuration"):
        go(LARGE.updated(**change), path)
    assert RunDirectory(path).rows() == rows


def test_another_model_in_the_same_directory_is_refused(whole):
    with pytest.raises(UsageError, match="another configuration or model"):
        go(LARGE, whole[0], model_hash="other")


def test_a_run_in_use_is_refused(whole):
    with RunDirectory(whole[0]).lock(), pytest.raises(RunInUseError, match="in use by another process"):
        go(LARGE, whole[0])


@pytest.mark.parametrize("name", ["metrics.json", "masks.npz", "weights.npz"])
def test_a_damaged_file_that_a_resumed_run_needs_is_said(tmp_path, name):
    path = tmp_path / "run"
    go(SMALL, path)
    target = path / "replicate_0/round_01" / name
    content = bytearray(target.read_bytes())
    content[-30] ^= 1
    target.write_bytes(content)
    with pytest.raises(DamagedError, match=name):
        go(SMALL.updated(rounds=2), path)
    assert not RunDirectory(path).is_complete(Job(0, 2))


def test_a_damaged_rewind_checkpoint_is_said(tmp_path):
    path = tmp_path / "run"
    go(SMALL, path)
    target = next((path / "replicate_0/rewind").glob("*.data*"))
    target.chmod(0o644)
    content = bytearray(target.read_bytes())
    content[10] ^= 1
    target.write_bytes(content)
    with pytest.raises(DamagedError, match=r"checkpoint.data"):
        go(SMALL.updated(rounds=2), path)


def test_a_folder_that_can_not_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError):
        go(SMALL, tmp_path / "file" / "run")


def test_the_directory_is_named_by_preset_and_hash_and_fresh_counts_up(tmp_path):
    config = SMALL.updated(preset="digits-mlp")
    first = locate(config, tmp_path)
    assert first.path == tmp_path / f"digits-mlp-{config.hash()}"
    assert locate(config, tmp_path, fresh=True).path == first.path  # nothing is there yet
    first.path.mkdir()
    assert locate(config, tmp_path).path == first.path
    second = locate(config, tmp_path, fresh=True)
    assert second.path.name == f"{first.path.name}-2"
    second.path.mkdir()
    assert locate(config, tmp_path).path == second.path
    assert locate(config, tmp_path, fresh=True).path.name.endswith("-3")
    assert locate(config, tmp_path, model_hash="x").path.name != first.path.name


def test_what_only_extends_or_says_where_is_not_in_the_hash():
    same = {"preset": "x", "rounds": 3, "replicates": 4, "variants": ("ticket", "random_reinit"), "jobs": 3}
    assert SMALL.updated(**same, device="cpu", data_dir="/x").hash() == SMALL.hash()
    for change in ({"threads": 2}, {"xla": "on"}, {"eval_every": 3}, {"precision": "mixed_bfloat16"}, {"flip": True}):
        assert SMALL.updated(**change).hash() != SMALL.hash(), change
