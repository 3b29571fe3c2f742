"""A small finished run, with batch normalisation and Dropout in its model, and its problem."""

import keras
import numpy as np
import pytest

from tf_lottery.data import Arrays
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.run import run
from tf_lottery.studies import StudyRun
from toys import classifying_problem

CONFIG = Config(
    steps=20,
    eval_every=10,
    batch_size=10,
    rounds=2,
    rate=0.5,
    xla="off",
    jobs=1,
    replicates=2,
    rewind="step:2",
    variants=("ticket", "random_reinit", "other_order", "noise_1"),
)


def make_problem():
    def part(size, seed):
        generator = np.random.default_rng(seed)
        y = generator.integers(0, 3, size)
        x = generator.normal(size=(size, 4, 4, 1)) + y[:, None, None, None]
        return Arrays(x.astype("float32"), y)

    def make_model(replicate):
        keras.utils.set_random_seed(replicate)
        layers = [
            keras.layers.Flatten(),
            keras.layers.Dense(10, use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(3),
        ]
        return keras.Sequential([keras.Input((4, 4, 1)), *layers])

    return classifying_problem(make_model, train=part(80, 0), validation=part(30, 1), test=part(50, 2))


@pytest.fixture(scope="session")
def problem():
    return make_problem()


@pytest.fixture(scope="session")
def run_path(tmp_path_factory, problem):
    """A finished run of two rounds and two replicates; nobody changes it."""
    path = tmp_path_factory.mktemp("studies") / "run"
    run(CONFIG, RunDirectory(path), make_problem=lambda: problem)
    return path


@pytest.fixture(scope="session")
def toy(run_path, problem):
    """The whole run; its evaluator is compiled once."""
    return StudyRun(run_path, problem=problem)
