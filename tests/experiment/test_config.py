"""Configurations: checked when made, the same after a round trip, and hashed by what decides the results."""

import json

import pytest

from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.config_file import read_config_file
from tf_lottery.experiment.rewind_point import RewindPoint, rewind_point


def test_a_round_trip_through_json_is_the_same_configuration_and_hash():
    config = Config(densities=(1.0, 0.5, 0.25), include=("a/*",), rewind="epoch:1.5", validation=500, flip=True)
    again = Config.from_json(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.hash() == config.hash()
    assert isinstance(again.densities, tuple)
    assert again.rounds == 2


def test_integers_are_taken_for_floats_and_hash_alike():
    assert Config(rate=0).hash() == Config(rate=0.0).hash()
    assert Config(validation=5).hash() != Config(validation=5.0 / 7).hash()


def test_controls_always_have_their_ticket_and_order_does_not_matter():
    assert Config(variants=("random_reinit",)).variants == ("ticket", "random_reinit")
    assert Config(variants=("random_reinit", "ticket")) == Config(variants=("ticket", "random_reinit"))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 1}, r"`rate` must be in \[0, 1\)"),
        ({"rate": "0.2"}, "`rate` must be float"),
        ({"rate": float("inf")}, "`rate` must be float"),
        ({"rate": True}, "`rate` must be float"),
        ({"output_rate": -0.1}, "`output_rate` must be in"),
        ({"rounds": -1}, "`rounds` must be at least 0"),
        ({"steps": 0}, "`steps` must be positive"),
        ({"steps": 2**31}, "below 2"),
        ({"steps": 5, "epochs": 1.0}, "either `steps` or `epochs`"),
        ({"steps": None}, "either `steps` or `epochs`"),
        ({"batch_size": 0}, "`batch_size` must be at least 1"),
        ({"eval_every": 0}, "`eval_every` must be at least 1"),
        ({"learning_rate": -1.0}, "must not be negative"),
        ({"validation": 0}, "`validation` must be a positive"),
        ({"seed": -1}, "`seed` must not be negative"),
        ({"threads": 0}, "`threads` must be at least 1"),
        ({"optimizer": "adm"}, "Unknown optimizer 'adm'.*adam"),
        ({"precision": "float16"}, "Unknown precision"),
        ({"variants": ("tickt",)}, "Unknown variant"),
        ({"rewind": "step:-1"}, "`rewind` must be init, step:K, epoch:K, lr"),
        ({"densities": (1.0, 0.5), "output_rate": 0.1}, "excludes other rates"),
        ({"densities": (0.5, 1.0)}, "ensit"),
        ({"final_density": 2.0}, "ensity"),
        ({"include": (3,)}, "`include` must be"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        Config(**values)


def test_unknown_keys_are_refused_with_a_suggestion():
    with pytest.raises(UsageError, match=r"Unknown configuration key 'rats'.*rate"):
        Config.from_json({"rats": 0.2})


# Hashes that version 0.1 gave these configurations: a run directory of that version is found again.
HASHES = [
    ({}, "c475a00c51"),
    ({"normalization": "standard"}, "064117816a"),
    ({"classes": (1, 2)}, "c513157dfe"),
    ({"steps": None, "epochs": 2.5}, "151498b146"),
    ({"final_density": 0.1}, "1426c8875a"),
    ({"densities": (1, 0.5, 0.2)}, "8bb618102d"),
    ({"criterion": "snip", "score_examples": 50}, "e51baa8b1e"),
    ({"criterion": "magnitude", "score_examples": 50}, "c475a00c51"),
    ({"criterion": "synflow", "scope": "global", "pruning": "before_training"}, "eb3fbde899"),
    ({"pruning": "early_bird", "mask_distance": 0.2}, "c9ddfb2a3a"),
    ({"mask_distance": 0.2}, "c475a00c51"),
    ({"search_steps": 10, "rounds": 3}, "49d17d1013"),
    ({"granularity": "channel", "indivisible": "skip"}, "3bc9cbb465"),
    ({"indivisible": "skip"}, "c475a00c51"),
    ({"tickets_from": "/x", "tickets_hash": "abc"}, "f47b6d2300"),
    ({"rewind": "lr:step:5"}, "3b4f7cd773"),
    ({"variants": ("dense_longer",), "rounds": 7, "replicates": 3, "jobs": 2}, "c475a00c51"),
    ({"lr_schedule": "step", "lr_drop": 0.5, "lr_milestones": (5,)}, "54b0069253"),
    ({"warmup": 3}, "b24d5788da"),
    ({"validation": 100}, "e4f37fd256"),
    ({"validation": 0.2}, "db7e7b5e18"),
    ({"optimizer": "sgd", "momentum": 0.9, "weight_decay": 1e-3}, "65b37a64ac"),
    ({"include": ("a",), "exclude": "b"}, "0c523f055d"),
    ({"data_dir": "/y", "device": "cpu", "preset": "z"}, "c475a00c51"),
    ({"precision": "mixed_float16", "xla": "on", "threads": 2, "seed": 7}, "3b1ea7540f"),
]


@pytest.mark.parametrize(("values", "expected"), HASHES, ids=str)
def test_the_hash_is_that_of_version_0_1(values, expected):
    assert Config(**values).hash() == expected


def test_the_key_of_version_0_1_is_read(tmp_path):
    (tmp_path / "a.toml").write_text('normalisation = "standard"\n')
    assert read_config_file(tmp_path / "a.toml") == {"normalization": "standard"}
    old = Config().to_json() | {"normalisation": "standard"}
    del old["normalization"]
    assert Config.from_json(old) == Config(normalization="standard")
    with pytest.raises(UsageError, match="`normalisation` is the earlier name of `normalization`"):
        Config.from_json(old | {"normalization": "unit"})


def test_rewind_points():
    expected = {
        "init": ("weights", "step", 0.0),
        "step:500": ("weights", "step", 500.0),
        "epoch:0.5": ("weights", "epoch", 0.5),
        "lr": ("lr", "step", 0.0),
        "lr:epoch:2": ("lr", "epoch", 2.0),
        "finetune": ("finetune", "step", None),
        "finetune:step:30": ("finetune", "step", 30.0),
    }
    assert {text: rewind_point(text) for text in expected} == {k: RewindPoint(*v) for k, v in expected.items()}
    for text in ("", "step", "step:1.5", "epoch:-1", "500", "Step:1", "lr:", "lr:5", "weights:step:3", "lr:init"):
        with pytest.raises(UsageError):
            rewind_point(text)


def test_configuration_files(tmp_path):
    (tmp_path / "a.toml").write_text('rate = 0.3\nvariants = ["ticket"]\n')
    assert read_config_file(tmp_path / "a.toml") == {"rate": 0.3, "variants": ["ticket"]}
    (tmp_path / "a.json").write_text('{"schema": "x", "hash": "y", "rate": 0.3}')
    assert read_config_file(tmp_path / "a.json") == {"rate": 0.3}
    for name, content, kind in (
        ("b.json", "{", DamagedError),
        ("b.toml", "=", DamagedError),
        ("c.json", "[1]", UsageError),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(kind):
            read_config_file(tmp_path / name)
    with pytest.raises(UsageError, match="can't be read"):
        read_config_file(tmp_path / "none.toml")
    with pytest.raises(UsageError, match=r"ends in \.toml or \.json"):
        read_config_file(tmp_path / "a.yaml")
