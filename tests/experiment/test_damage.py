"""A file of a run that was altered is never believed: by `verify`, by the next run, by a result or an export."""

import shutil

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, LotteryError, UsageError
from tf_lottery.experiment import weights_per_round
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.pruning.units import single_weights

FILES = ("environment.json", "model.json", "results.csv", "metrics.jsonl")
X = np.random.default_rng(0).normal(size=(40, 4)).astype("float32")
Y = np.arange(40) % 2


def find(run_dir, **changes):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    given = {"rounds": 1, "rate": 0.5, "steps": 4, "batch_size": 8, "run_dir": run_dir, **changes}
    return tfl.find_ticket(model, X, Y, loss=loss, metrics=["accuracy"], **given)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("run") / "run"
    find(path)
    return path


@pytest.fixture
def run(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def test_a_whole_run_has_no_problem(run):
    assert verify_run(RunDirectory(run)).problems == []


@pytest.mark.parametrize("name", [*FILES, "replicate_0/round_01/metrics.json", "replicate_0/round_01/manifest.json"])
def test_verify_sees_any_flipped_bit(run, name):
    path = run / name
    content = path.read_bytes()
    generator = np.random.default_rng(0)
    for position in generator.integers(len(content), size=60):
        altered = bytearray(content)
        altered[position] ^= 1 << int(generator.integers(8))
        path.write_bytes(altered)
        try:
            problems = verify_run(RunDirectory(run)).problems
        except LotteryError as error:
            problems = [error.cause]
        assert problems, f"byte {position} of {name}"
    path.write_bytes(content)


def test_an_altered_architecture_is_neither_exported_nor_extended(run):
    path = run / "model.json"
    path.write_bytes(path.read_bytes().replace(b'"relu"', b'"selu"'))
    with pytest.raises(DamagedError, match=r"model.json"):
        tfl.open_run(run).ticket(1)
    with pytest.raises(DamagedError, match=r"model.json"):
        find(run, rounds=2)


def test_altered_metrics_are_not_believed(run):
    path = run / "replicate_0" / "round_01" / "metrics.json"
    path.write_bytes(path.read_bytes().replace(b'"val_loss": ', b'"val_loss": 1'))
    with pytest.raises(DamagedError, match=r"metrics.json"):
        tfl.open_run(run)


def test_the_hash_tells_how_a_model_is_wired(tmp_path):
    def make(both):
        inputs = keras.Input((4,))
        first, second = keras.layers.Dense(2)(inputs), keras.layers.Dense(2)(inputs)
        return keras.Model(inputs, keras.layers.Add()([first, second] if both else [second, second]))

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    given = {"loss": loss, "rounds": 0, "steps": 2, "batch_size": 8, "run_dir": tmp_path / "run"}
    tfl.find_ticket(make(True), X, Y, **given)
    with pytest.raises(UsageError, match="another configuration"):
        tfl.find_ticket(make(False), X, Y, **given)


def test_the_newest_of_numbered_runs_is_found_over_a_gap(tmp_path):
    from tf_lottery.experiment.run import locate

    config = Config()
    first = locate(config, tmp_path).path
    for number in ("", "-3"):
        (tmp_path / f"{first.name}{number}").mkdir()
    assert locate(config, tmp_path).path.name == f"{first.name}-3"
    assert locate(config, tmp_path, fresh=True).path.name == f"{first.name}-4"


@pytest.mark.parametrize(
    "changes", [{"final_density": 1e-5}, {"densities": (0.5, 1e-5)}, {"final_density": 0.05, "scope": "global"}]
)
def test_a_density_that_would_empty_an_array_is_refused(changes):
    shapes = {"a/kernel": (10,), "b/kernel": (5,)}
    with pytest.raises(UsageError, match="density"):
        weights_per_round.check_reachable(Config(rounds=2, **changes), single_weights(shapes), shapes)


@pytest.mark.parametrize(
    "changes", [{"momentum": 0.9}, {"preset": "../x"}, {"preset": ""}, {"rounds": 1001}, {"replicates": 1001}]
)
def test_a_configuration_that_would_be_ignored_or_harmful_is_refused(changes):
    with pytest.raises(UsageError):
        Config(**changes)


def test_the_jobs_of_a_damaged_manifest_are_told(run):
    (run / "replicate_0" / "round_01" / "manifest.json").write_bytes(b"{}")
    with pytest.raises(DamagedError, match="manifest"):
        RunDirectory(run).metrics(Job(0, 1))
