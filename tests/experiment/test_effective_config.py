"""Which source of a value wins: command line, configuration file, preset, defaults."""

import json

import pytest

from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory, manifest
from tf_lottery.experiment.effective_config import effective_config


def test_without_anything_it_is_the_embedded_default():
    config = effective_config(None, None, {})
    assert (config.preset, config.dataset, config.rounds, config.replicates) == ("digits-mlp", "digits", 12, 3)


def test_options_win_over_the_file_and_the_file_over_the_preset(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("rate = 0.5\nrounds = 7\nbatch_size = 10\n")
    config = effective_config("mnist-lenet-300-100", str(file), {"rate": 0.4})
    assert (config.rate, config.rounds, config.batch_size) == (0.4, 7, 10)
    assert (config.learning_rate, config.dataset, config.preset) == (1.2e-3, "mnist", "mnist-lenet-300-100")


def test_a_file_that_names_a_preset_starts_from_it(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text('preset = "mnist-lenet-300-100"\nsteps = 10\n')
    config = effective_config(None, str(file), {})
    assert (config.model, config.steps, config.preset) == ("fc1", 10, "mnist-lenet-300-100")


def test_a_file_without_a_preset_starts_from_the_defaults(tmp_path):
    file = tmp_path / "my.json"
    file.write_text('{"rounds": 3}')
    assert effective_config(None, str(file), {}) == Config(rounds=3)


def test_a_saved_configuration_comes_to_the_same_hash(tmp_path):
    config = effective_config("mnist-lenet-300-100", None, {"rate": 0.3, "validation": 1000, "rewind": "step:50"})
    file = tmp_path / "config.json"
    document = {"schema": "tf-lottery.run-directory/1", **config.to_json(), "hash": config.hash(), "model_hash": "ab"}
    file.write_text(json.dumps(document))
    again = effective_config(None, str(file), {})
    assert again == config
    assert again.hash() == config.hash()


@pytest.mark.parametrize(
    ("below", "above", "expected"),
    [
        ({"steps": 50}, {"epochs": 2.0}, {"steps": None, "epochs": 2.0}),
        ({"epochs": 2.0}, {"steps": 50}, {"steps": 50, "epochs": None}),
        ({"output_rate": 0.1, "rounds": 5}, {"densities": (1.0, 0.5, 0.2)}, {"output_rate": None, "rounds": 2}),
        ({"final_density": 0.1, "rounds": 5}, {"densities": (0.5, 0.2)}, {"final_density": None, "rounds": 2}),
        ({"densities": [1.0, 0.5]}, {"rate": 0.3}, {"densities": (), "rate": 0.3}),
        ({"final_density": 0.1}, {"rate": 0.3}, {"final_density": None}),
        ({"densities": [1.0, 0.5]}, {"final_density": 0.1, "rounds": 3}, {"densities": (), "rounds": 3}),
        ({"output_rate": 0.1, "conv_rate": 0.1}, {"distribution": "erk"}, {"output_rate": None, "conv_rate": None}),
        ({"output_rate": 0.1}, {"distribution": "uniform"}, {"output_rate": 0.1}),
    ],
)
def test_another_way_to_say_the_same_replaces_the_weaker_one(below, above, expected, tmp_path):
    file = tmp_path / "below.json"
    file.write_text(json.dumps(below))
    config = effective_config(None, str(file), above)
    assert {key: getattr(config, key) for key in expected} == expected


def test_both_ways_at_once_are_refused():
    with pytest.raises(UsageError, match="steps"):
        effective_config(None, None, {"steps": 10, "epochs": 1.0})


def test_other_data_or_another_model_is_not_the_default_preset():
    assert effective_config(None, None, {"dataset": "mnist"}).preset == "custom"
    assert effective_config(None, None, {"model": "fc1"}).preset == "custom"
    assert effective_config(None, None, {"rounds": 1}).preset == "digits-mlp"
    assert effective_config("digits-mlp", None, {"model": "fc1"}).preset == "digits-mlp"


def test_bad_files_have_errors_of_their_own(tmp_path):
    (tmp_path / "a.toml").write_text("rate = ")
    (tmp_path / "b.json").write_text('{"rtae": 0.1}')
    with pytest.raises(DamagedError):
        effective_config(None, str(tmp_path / "a.toml"), {})
    with pytest.raises(UsageError, match="'rate'"):
        effective_config(None, str(tmp_path / "b.json"), {})
    with pytest.raises(UsageError, match="can't be read"):
        effective_config(None, str(tmp_path / "c.json"), {})
    with pytest.raises(UsageError, match=r"Unknown preset 'nosuch'.*digits-mlp"):
        effective_config("nosuch", None, {})


@pytest.mark.parametrize("option", [{"rate": 0.3}, {"densities": (0.5, 0.2)}, {"criterion": "snip"}, {"rewind": "lr"}])
def test_what_makes_masks_is_refused_beside_the_tickets_of_another_run(option, tmp_path):
    """These options were taken, and decided nothing."""
    store = RunDirectory(tmp_path)
    store.create(Config().to_json() | {"hash": Config().hash()})
    store.rewind_folder(0).mkdir(parents=True)
    manifest.write(store.rewind_folder(0), manifest.Manifest({}))
    (name,) = option
    with pytest.raises(UsageError, match=f"`{name}` decides masks"):
        effective_config(None, None, {"tickets_from": store.path, **option})
    config = effective_config(None, None, {"tickets_from": store.path, "classes": (0, 1)})
    assert (config.preset, config.classes, config.tickets_from) == ("custom-transfer", (0, 1), str(tmp_path))
    with pytest.raises(UsageError, match="takes the configuration of that run"):
        effective_config("digits-mlp", None, {"tickets_from": store.path})
