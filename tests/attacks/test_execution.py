"""What a stranger sends runs no code: names in configurations and metadata are imported on the user's word only."""

import json
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest
from click.testing import CliRunner
from hostile_architectures import EXECUTING
from sent_files import ROW, archive, ticket_arrays, write_run
from tf_lottery_cli.app import app

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, LotteryError, UnfitError, UsageError
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.effective_config import effective_config
from tf_lottery.layers import model_from_architecture
from tf_lottery.studies.barriers import barrier
from tf_lottery.studies.extending import train_missing
from tf_lottery.studies.study_run import StudyRun

MODULE = """
import pathlib
pathlib.Path("executed").write_text("by the import")

def make(input_shape=None, classes=None):
    import keras
    return keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, name="dense")])

def score(weights):
    return weights
"""
NAMED = {
    "model": {"model": "evil_model:make"},
    "criterion": {"criterion": "evil_model:score"},
    "control": {"variants": ["ticket", "evil_model:make"]},
    "rewind function": {"rewind": "evil_model:make"},
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with a module that leaves a file where it is imported."""
    (tmp_path / "evil_model.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield tmp_path
    sys.modules.pop("evil_model", None)


def nothing_ran(folder):
    return "evil_model" not in sys.modules and not (folder / "executed").exists()


def command(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)), prog_name="tf-lottery")


@pytest.mark.parametrize("named", NAMED)
@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "sent"),
        ("status", "sent"),
        ("ls", "--out", "."),
        ("compare", "sent", "sent"),
        ("analyze", "survivors", "sent"),
        ("analyze", "instability", "sent"),
        ("run", "--config", "sent/config.json", "--dry-run"),
        ("run", "--config", "own.toml", "--dry-run"),
        ("run", "--tickets-from", "sent", "--dry-run"),
    ],
    ids=" ".join,
)
def test_commands_import_nothing_that_a_run_names(folder, named, arguments):
    write_run(folder / "sent", **NAMED[named])
    (folder / "own.toml").write_text("\n".join(f"{key} = {json.dumps(value)}" for key, value in NAMED[named].items()))
    result = command(*arguments)
    assert nothing_ran(folder)
    assert "This is a bug" not in result.output


def test_a_study_makes_the_model_from_the_architecture(folder):
    run = write_run(folder / "sent", model="evil_model:make")
    line = barrier(StudyRun(run, examples=20), Job(0, 0), Job(0, 0), points=3)
    assert set(line.values) >= {"train_loss", "test_loss"}
    assert nothing_ran(folder)


def test_a_study_calls_the_function_of_a_trusted_run(folder):
    run = write_run(folder / "sent", model="evil_model:make")
    barrier(StudyRun(run, examples=20, trust=True), Job(0, 0), Job(0, 0), points=3)
    assert (folder / "executed").exists()


@pytest.mark.parametrize("named", NAMED)
def test_a_run_is_extended_on_the_users_word(folder, named):
    run = write_run(folder / "sent", **NAMED[named])
    with pytest.raises(UsageError, match="evil_model:") as caught:
        train_missing(run, ["random_reinit"])
    assert "`trust=True`" in caught.value.remedy
    assert nothing_ran(folder)


def test_a_configuration_is_taken_on_the_users_word(folder):
    run = write_run(folder / "sent", **NAMED["criterion"])
    with pytest.raises(UsageError, match="evil_model:score"):
        effective_config(None, run / "config.json", {})
    assert effective_config(None, run / "config.json", {}, trust=True).criterion == "evil_model:score"
    assert effective_config(None, run / "config.json", {"criterion": "magnitude"}).criterion == "magnitude"
    assert effective_config(None, None, {"criterion": "evil_model:score"}).criterion == "evil_model:score"
    assert nothing_ran(folder)


def test_the_command_line_says_which_flag(folder):
    write_run(folder / "sent", **NAMED["model"])
    result = command("run", "--config", "sent/config.json", "--dry-run")
    assert result.exit_code == 2
    assert "evil_model:make" in result.output
    assert "--trust" in result.output
    assert nothing_ran(folder)


# Keras.


@pytest.mark.parametrize("name", EXECUTING)
def test_architectures_run_nothing(folder, name):
    with pytest.raises(UnfitError):
        model_from_architecture(json.dumps(EXECUTING[name]))
    path = folder / "sent.npz"
    recipe = {"schema": "tf-lottery.ticket/1", "architecture": json.dumps(EXECUTING[name]), "row": ROW}
    path.write_bytes(archive(ticket_arrays(recipe)))
    with pytest.raises(UnfitError):
        tfl.load_ticket(path).model()
    assert nothing_ran(folder)
    assert keras.src.saving.serialization_lib.in_safe_mode() is None


@pytest.mark.parametrize("name", EXECUTING)
def test_model_files_run_nothing(folder, name):
    whole = folder / "whole.keras"
    keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10)]).save(whole)
    with zipfile.ZipFile(whole) as source, zipfile.ZipFile(folder / "sent.keras", "w") as target:
        for member in source.namelist():
            content = json.dumps(EXECUTING[name]) if member == "config.json" else source.read(member)
            target.writestr(member, content)
    with pytest.raises(UnfitError):
        tfl.load_model(folder / "sent.keras")
    assert nothing_ran(folder)


def test_paths_in_a_model_file_lead_nowhere(folder):
    inside = folder / "inside"
    inside.mkdir()
    whole = inside / "sent.keras"
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(whole)
    with zipfile.ZipFile(whole, "a") as target:
        target.writestr("../outside.txt", "written")
        target.writestr("assets/../../outside.txt", "written")
        target.writestr("/tmp/tf_lottery_outside.txt", "written")
    with pytest.raises(DamagedError):
        tfl.load_model(whole)
    assert not (folder / "outside.txt").exists()


@pytest.mark.parametrize("kind", ["group", "dataset"])
def test_links_in_weights_read_no_other_file(folder, kind):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    secret, sent = folder / "secret.weights.h5", folder / "sent.weights.h5"
    model.save_weights(secret)
    model.save_weights(sent)
    for variable in model.variables:
        variable.assign(keras.ops.zeros_like(variable))
    before = model.get_weights()
    with h5py.File(sent, "a") as file:
        place = "layers/dense" if kind == "group" else "layers/dense/vars/0"
        del file[place]
        file[place] = h5py.ExternalLink(str(secret), place)
    with pytest.raises(UnfitError):
        tfl.load_weights(model, sent)
    for old, new in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


# Data sets.


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_metadata_of_data_sets_imports_nothing(folder, key):
    prepared = folder / "own" / "1.0.0"
    prepared.mkdir(parents=True)
    image = {"image": {"shape": {"dimensions": ["2", "2", "1"]}, "dtype": "uint8"}}
    label = {"classLabel": {"numClasses": "2"}}
    features = {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {
            "features": {
                "image": {"pythonClassName": "tensorflow_datasets.core.features.image_feature.Image", **image},
                "label": {"pythonClassName": "tensorflow_datasets.core.features.class_label_feature.ClassLabel"}
                | label,
                "other": {key: "evil_model.Feature", **label},
            }
        },
    }
    if key == "type":
        features = {key: "evil_model.Feature", "content": {}} | features
    splits = [{"name": "train", "shardLengths": ["1"], "numBytes": "1"}]
    info = {"name": "own", "version": "1.0.0", "splits": splits, "moduleName": "evil_model"}
    (prepared / "features.json").write_text(json.dumps(features))
    (prepared / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(LotteryError, match="evil_model"):
        tfl.data.load("own", data_dir=folder)
    assert nothing_ran(folder)
