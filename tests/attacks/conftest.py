"""Two runs that differ in their seed, and what all readers say of the first."""

import shutil
from pathlib import Path

import pytest
from attack_runs import CONFIG, MORE, OTHER, OWN, READERS, end_state, train


@pytest.fixture(scope="session")
def runs(tmp_path_factory):
    """Two runs that differ in their seed."""
    folder = tmp_path_factory.mktemp("runs")
    train(folder / OWN, CONFIG)
    train(folder / OTHER, CONFIG.updated(seed=1))
    return folder


@pytest.fixture(scope="session")
def answers(runs):
    """What each reader says of the run as it was written."""
    return {name: reader(runs / OWN) for name, reader in READERS.items()}


@pytest.fixture(scope="session")
def longer(runs):
    """The end of the run with one more round."""
    return end_state(train(Path(shutil.copytree(runs / OWN, runs / "longer")), MORE))
