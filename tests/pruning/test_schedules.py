"""Schedules of gradual pruning: values by hand, and the same answers as tfmot's own schedules."""

import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.pruning.schedules import ask, check_schedule, with_frequency

# The arguments of schedules that tfmot and this library are asked about, and the steps.
POLYNOMIAL = [
    {"initial_sparsity": 0.0, "final_sparsity": 0.8, "begin_step": 0, "end_step": 1000},
    {"initial_sparsity": 0.5, "final_sparsity": 0.9, "begin_step": 30, "end_step": 231, "frequency": 7},
    {"initial_sparsity": 0.3, "final_sparsity": 0.6, "begin_step": 5, "end_step": 90, "power": 1, "frequency": 10},
    {"initial_sparsity": 0.9, "final_sparsity": 0.2, "begin_step": 0, "end_step": 100, "power": 2, "frequency": 1},
]
CONSTANT = [
    {"target_sparsity": 0.5, "begin_step": 0},
    {"target_sparsity": 0.75, "begin_step": 13, "end_step": 45, "frequency": 8},
]
STEPS = list(range(0, 1101, 3))

ASK_TFMOT = """
import json, sys
import tensorflow_model_optimization as tfmot
cases = json.load(sys.stdin)
answers = []
for name, arguments in cases["schedules"]:
    schedule = getattr(tfmot.sparsity.keras, name)(**arguments)
    pairs = [schedule(step) for step in cases["steps"]]
    answers.append([[bool(prune), float(sparsity)] for prune, sparsity in pairs] + [schedule.get_config()])
print(json.dumps(answers))
"""


@pytest.mark.parametrize(
    ("step", "sparsity"),
    # By hand: 0.8 - 0.8 * (1 - step / 200) ** 3, with fractions 1, 27/64, 1/8 and 1/64 of 0.8 left.
    [(0, 0.0), (50, 0.4625), (100, 0.7), (150, 0.7875), (200, 0.8), (201, 0.8), (10**6, 0.8)],
)
def test_polynomial_decay_by_hand(step, sparsity):
    schedule = tfl.schedules.PolynomialDecay(0.0, 0.8, begin_step=0, end_step=200)
    assert schedule(step)[1] == pytest.approx(sparsity, abs=1e-12)


def test_turns_of_a_polynomial_decay():
    schedule = tfl.schedules.PolynomialDecay(0.2, 0.8, 10, 40, frequency=15)
    assert [step for step in range(100) if schedule(step)[0]] == [10, 25, 40]
    assert schedule(9) == (False, pytest.approx(0.2))


def test_a_decay_of_no_length_jumps():
    schedule = tfl.schedules.PolynomialDecay(0.2, 0.8, 10, 10)
    assert schedule(9) == (False, pytest.approx(0.2))
    assert schedule(10) == (True, 0.8)


def test_turns_of_a_constant_sparsity():
    endless = tfl.schedules.ConstantSparsity(0.5, begin_step=5, frequency=20)
    assert [step for step in range(70) if endless(step)[0]] == [5, 25, 45, 65]
    ending = tfl.schedules.ConstantSparsity(0.5, begin_step=5, end_step=45, frequency=20)
    assert [step for step in range(200) if ending(step)[0]] == [5, 25, 45]
    assert ending(0) == (False, 0.5)


def test_steps_of_any_kind_of_integer():
    schedule = tfl.schedules.PolynomialDecay(0.0, 0.8, np.int64(0), np.int32(200))
    assert schedule(np.int64(100)) == (True, pytest.approx(0.7))
    assert schedule(keras.ops.convert_to_tensor(100)) == (True, pytest.approx(0.7))
    assert isinstance(schedule(np.int64(100))[0], bool)
    json.dumps(schedule.get_config())


@pytest.fixture(scope="module")
def answers_of_tfmot():
    """What tfmot's schedules answer, and their configurations; tfmot changes Keras for its whole process."""
    schedules = [("PolynomialDecay", arguments) for arguments in POLYNOMIAL]
    schedules += [("ConstantSparsity", arguments) for arguments in CONSTANT]
    done = subprocess.run(
        [sys.executable, "-c", ASK_TFMOT],
        input=json.dumps({"schedules": schedules, "steps": STEPS}),
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip(range(len(schedules)), json.loads(done.stdout.splitlines()[-1]), strict=True)), schedules


@pytest.mark.parametrize("number", range(len(POLYNOMIAL) + len(CONSTANT)))
def test_answers_are_those_of_tfmot(answers_of_tfmot, number):
    answers, schedules = answers_of_tfmot
    name, arguments = schedules[number]
    schedule = getattr(tfl.schedules, name)(**arguments)
    *pairs, config = answers[number]
    for step, (should_prune, sparsity) in zip(STEPS, pairs, strict=True):
        mine = schedule(step)
        assert mine[0] == should_prune, step
        # tfmot computes in float32, whose spacing below 1 is 6e-8, in about five operations.
        assert mine[1] == pytest.approx(sparsity, abs=5e-7), step
    again = type(schedule).from_config(config)
    assert again.get_config() == schedule.get_config() == config["config"]


@pytest.mark.parametrize(
    "schedule", [tfl.schedules.PolynomialDecay(0.1, 0.9, 3, 99, 2, 7), tfl.schedules.ConstantSparsity(0.4, 1, 9, 2)]
)
def test_configurations_and_text(schedule):
    again = type(schedule).from_config(schedule.get_config())
    assert [again(step) for step in range(120)] == [schedule(step) for step in range(120)]
    names = {"PolynomialDecay": tfl.schedules.PolynomialDecay, "ConstantSparsity": tfl.schedules.ConstantSparsity}
    assert eval(repr(schedule), names).get_config() == schedule.get_config()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tfl.schedules.PolynomialDecay(0.0, 1.0, 0, 10), "final_sparsity must be in"),
        (lambda: tfl.schedules.PolynomialDecay(-0.1, 0.5, 0, 10), "initial_sparsity must be in"),
        (lambda: tfl.schedules.ConstantSparsity(float("nan"), 0), "target_sparsity must be in"),
        (lambda: tfl.schedules.ConstantSparsity("0.5", 0), "target_sparsity must be in"),
        (lambda: tfl.schedules.PolynomialDecay(0.0, 0.5, -1, 10), "`begin_step` must be an integer of at least 0"),
        (lambda: tfl.schedules.PolynomialDecay(0.0, 0.5, 0, -1), "`end_step` of a sparsity that rises"),
        (lambda: tfl.schedules.PolynomialDecay(0.0, 0.5, 20, 10), "`end_step` must not be before begin_step"),
        (lambda: tfl.schedules.ConstantSparsity(0.5, 0, end_step=-2), "`end_step` must be an integer of at least -1"),
        (lambda: tfl.schedules.ConstantSparsity(0.5, 0, frequency=0), "`frequency` must be an integer of at least 1"),
        (lambda: tfl.schedules.ConstantSparsity(0.5, 1.5), "`begin_step` must be an integer"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(UsageError, match=message):
        make()


def test_another_frequency():
    schedule = with_frequency(tfl.schedules.ConstantSparsity(0.5, 5), 3)
    assert [step for step in range(15) if schedule(step)[0]] == [5, 8, 11, 14]
    function = with_frequency(lambda step: (True, step / 100), 4)
    assert [step for step in range(10) if function(step)[0]] == [0, 4, 8]
    assert function(8) == (True, 0.08)


def test_answers_are_checked():
    assert ask(lambda step: (np.bool_(True), np.float32(0.25)), 0) == (True, 0.25)
    assert ask(lambda step: (False, 1.5), 0) == (False, 1.5)  # it does not prune: its sparsity does not matter
    with pytest.raises(UsageError, match="at step 7 must be in"):
        ask(lambda step: (True, 1.5), 7)
    for answer in (None, 0.5, (True,), ("x", "y")):
        with pytest.raises(UsageError, match="must answer \\(should_prune, sparsity\\)"):
            ask(lambda step, answer=answer: answer, 0)
    for wrong in (None, 0.5, tfl.schedules.ConstantSparsity):
        with pytest.raises(UsageError, match="`schedule` must answer"):
            check_schedule(wrong)
