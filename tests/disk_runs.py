"""Tiny runs whose changes of the disk are enumerated, and what is asked of what they left."""

import keras
import numpy as np

import tf_lottery as tfl
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.run_verification import verify_run

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = (X[:, 0] > 0).astype("int32")
RUNS = {
    "rewinding": {"rounds": 2, "rewind": "step:2", "variants": ("ticket", "random_reinit")},
    "searches": {"rounds": 2, "search_steps": 4},
    "early bird": {"rounds": 1, "pruning": "early_bird", "eval_every": 1, "variants": ("ticket", "random_masks")},
    "fine-tuning": {"rounds": 2, "rewind": "finetune:step:3", "replicates": 1},
}


def go(folder, name):
    """The run in a folder, begun or gone on with."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dropout(0.2)]
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"steps": 6, "eval_every": 2, "rate": 0.5, "jit_compile": False, "verbose": 0}
    return tfl.find_ticket(model, X, Y, loss=loss, run_dir=folder, **(options | RUNS[name]))


def check_unfinished(folder):
    """What is there is whole: an unfinished run is no damage."""
    if (folder / "config.json").exists():
        assert verify_run(RunDirectory(folder)).problems == []


def sample(points, count, *, seed):
    """Some of the points, the first and the last among them."""
    chosen = np.random.default_rng(seed).choice(points, count, replace=False)
    return sorted({0, points - 1, *chosen.tolist()})
