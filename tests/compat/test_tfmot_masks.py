"""Pruning by tfmot's names: the same masks at the same steps as tfmot, in calls of several steps, and resumed."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from reruns import resume_in_fit
from tf_lottery.compat import tfmot
from tfmot_training import WEIGHTS, Recorder, X, Y, fit, sequential

TRAIN_BY_TFMOT = """
import json, sys
import numpy as np
import tensorflow_model_optimization as tfmot
import tf_keras

case = json.load(sys.stdin)
answers = []
for name, arguments, options in case["cases"]:
    layers = [tf_keras.layers.Dense(8, activation="relu", input_shape=(6,)), tf_keras.layers.Dense(3)]
    net = tf_keras.Sequential(layers)
    net.set_weights([np.array(weight, "float32") for weight in case["weights"]])
    schedule = getattr(tfmot.sparsity.keras, name)(**arguments)
    model = tfmot.sparsity.keras.prune_low_magnitude(net, pruning_schedule=schedule, **options)
    model.compile(tf_keras.optimizers.SGD(0.0), "mse")
    steps = []

    class Recorder(tf_keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            steps.append([mask.numpy().astype(bool).tolist() for layer in model.layers
                          for _, mask, _ in layer.pruning_vars])

    model.fit(np.array(case["x"], "float32"), np.array(case["y"], "float32"), batch_size=4, shuffle=False, verbose=0,
              callbacks=[tfmot.sparsity.keras.UpdatePruningStep(), Recorder()])
    answers.append(steps)
print(json.dumps(answers))
"""
CASES = [
    (
        "PolynomialDecay",
        {"initial_sparsity": 0.2, "final_sparsity": 0.8, "begin_step": 2, "end_step": 11, "frequency": 3},
        {},
    ),
    ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 0, "frequency": 4}, {}),
    ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 1, "frequency": 1}, {"block_size": [2, 1]}),
    (
        "ConstantSparsity",
        {"target_sparsity": 0.7, "begin_step": 1},
        {"block_size": [2, 1], "block_pooling_type": "MAX"},
    ),
    ("ConstantSparsity", {"target_sparsity": 0.5, "begin_step": 5}, {"sparsity_m_by_n": [2, 4]}),
]


@pytest.fixture(scope="module")
def masks_of_tfmot():
    """The masks after every step of tfmot's trainings."""
    case = {"cases": CASES, "weights": [w.tolist() for w in WEIGHTS], "x": X.tolist(), "y": Y.tolist()}
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_BY_TFMOT],
        input=json.dumps(case),
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("number", range(len(CASES)))
def test_masks_are_those_of_tfmot(masks_of_tfmot, number):
    """The weights do not learn here, so that masks depend on the schedule alone."""
    name, arguments, options = CASES[number]
    model = tfmot.prune_low_magnitude(sequential(), getattr(tfmot, name)(**arguments), **options)
    recorder = Recorder()
    fit(model, recorder, optimizer=keras.optimizers.SGD(0.0))
    assert len(recorder.masks) == len(masks_of_tfmot[number]) == 12
    for step, (mine, its) in enumerate(zip(recorder.masks, masks_of_tfmot[number], strict=True), 1):
        for first, second in zip(mine, its, strict=True):
            np.testing.assert_array_equal(first, np.array(second), err_msg=f"step {step}")
    assert not recorder.masks[-1][0].all()


def test_steps_and_counts():
    """By hand: step s is the s-th update, so masks of step 3 hold in it; 48 and 24 weights at 0.25 and 0.75."""
    schedule = tfmot.PolynomialDecay(0.25, 0.75, begin_step=3, end_step=5, power=1, frequency=2)
    recorder = Recorder()
    fit(tfmot.prune_low_magnitude(sequential(), schedule), recorder)
    counts = [[int(mask.sum()) for mask in masks] for masks in recorder.masks]
    assert counts == [[48, 24]] * 2 + [[36, 18]] * 2 + [[12, 6]] * 8


@pytest.mark.parametrize("jit_compile", [False, True])
def test_several_steps_in_a_call(jit_compile):
    """Calls end after 5, 10 and 12 steps: step 6 is due before the second call, step 8 after it."""
    for due, expected in ((6, [48, 24, 24]), (8, [48, 24, 24]), (11, [48, 48, 24]), (12, [48, 48, 24])):
        model = tfmot.prune_low_magnitude(sequential(), tfmot.ConstantSparsity(0.5, due))
        recorder = Recorder()
        fit(model, recorder, steps_per_execution=5, jit_compile=jit_compile)
        assert [int(masks[0].sum()) for masks in recorder.masks] == expected, due


@pytest.mark.parametrize("backup_first", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 5])
def test_a_resumed_training_is_the_same(tmp_path, backup_first, steps_per_execution):
    def train(*callbacks):
        model = tfmot.prune_low_magnitude(sequential(), tfmot.PolynomialDecay(0.0, 0.8, 0, 24, frequency=2))
        model.compile("adam", "mse", steps_per_execution=steps_per_execution)
        model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, epochs=2, callbacks=list(callbacks))
        return model

    callback, backup = tfmot.UpdatePruningStep, tmp_path / "backup"
    resumed = resume_in_fit(train, callback, backup, stop_at=1, backup_first=backup_first)
    assert [int(mask.sum()) for mask in tfl.get_masks(resumed).values()] == [10, 5]
