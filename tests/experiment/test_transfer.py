"""Tickets of one run, trained on other data: their masks and start weights, and what is refused."""

import numpy as np
import pytest

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.experiment import run as experiment
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job
from tf_lottery.experiment.problem import from_config
from tf_lottery.experiment.run import locate
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.experiment.transferred_tickets import tickets_hash, transferred

BASE = {"dataset": "digits", "model": "mlp", "steps": 20, "eval_every": 20, "rounds": 2, "rate": 0.4, "jobs": 1}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    config = Config(**BASE, classes=(0, 1, 2, 3, 4), variants=("ticket",), replicates=2)
    store = locate(config, tmp_path_factory.mktemp("runs"))
    experiment.run(config, store, make_problem=lambda: from_config(config))
    return store


def started(source, folder, **changes):
    config = Config.from_json(transferred(source) | changes)
    store = locate(config, folder)
    return config, store, experiment.run(config, store, make_problem=lambda: from_config(config))


def test_the_other_classes_are_trained_with_the_tickets_masks_and_weights(source, tmp_path):
    changes = {"classes": (5, 6, 7, 8, 9), "variants": ("ticket", "random_reinit")}
    config, store, rows = started(source, tmp_path, **changes)
    assert config.preset == "custom-transfer"
    assert len(rows) == 2 * (1 + 2 * 2)
    for replicate in (0, 1):
        for number in (1, 2):
            for variant in ("ticket", "random_reinit"):
                masks = store.masks(Job(replicate, number, variant))
                theirs = source.masks(Job(replicate, number))
                assert all(np.array_equal(masks[key], theirs[key]) for key in theirs)
        ours, theirs = store.rewind_state(replicate), source.rewind_state(replicate)
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    assert not verify_run(store).problems
    assert experiment.run(config, store) == rows  # nothing is left to do


def test_another_source_is_another_run(source, tmp_path):
    config = Config.from_json(transferred(source))
    assert config.hash() != config.updated(tickets_hash="0" * 16).hash()
    assert config.hash() == config.updated(tickets_from="/elsewhere").hash()
    other = config.updated(tickets_hash="0" * 16)
    with pytest.raises(DamagedError, match="is not the run that tickets were taken from"):
        experiment.run(other, locate(other, tmp_path), make_problem=lambda: from_config(other))


def test_shapes_that_do_not_fit_are_refused(source, tmp_path):
    with pytest.raises(UnfitError, match=r"must have shape .*the same shape"):
        started(source, tmp_path, classes=(0, 1, 2))


def test_more_rounds_than_the_source_has_are_refused(source, tmp_path):
    with pytest.raises(UsageError, match=r"round 3.*whose ticket is to be trained"):
        started(source, tmp_path, rounds=3)
    assert not list(tmp_path.rglob("manifest.json"))  # it is refused before anything is trained


@pytest.mark.slow
def test_masks_that_are_not_nested_are_no_damage(tmp_path):
    config = Config(**BASE, pruning="before_training", criterion="random", variants=("ticket",))
    store = locate(config, tmp_path)
    experiment.run(config, store, make_problem=lambda: from_config(config))
    _, there, _ = started(store, tmp_path)
    first, second = (there.masks(Job(0, number)) for number in (1, 2))
    assert any((second[key] & ~first[key]).any() for key in first)
    assert not verify_run(there).problems


def test_a_source_of_short_searches_has_no_ticket_for_each_round(tmp_path):
    config = Config(**BASE, search_steps=5, variants=("ticket",))
    store = locate(config, tmp_path)
    store.create(config.to_json() | {"hash": config.hash()})
    with pytest.raises(UsageError, match="short searches"):
        transferred(store)


def test_a_source_without_rewind_weights_is_refused(tmp_path):
    config = Config(**BASE)
    store = locate(config, tmp_path)
    store.create(config.to_json() | {"hash": config.hash()})
    with pytest.raises(UsageError, match="no rewind weights yet"):
        tickets_hash(store)
