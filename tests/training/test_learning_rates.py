"""Learning-rate schedules: hand-computed values, the last value kept, exact steps, round trips, bad input."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.training.learning_rates import Held, Schedule, constant_or_schedule, hold
from tf_lottery.training.optimizers import copy_optimizer


def make(kind, **options):
    return constant_or_schedule(Schedule(kind, **options))


def values(schedule, steps):
    return [float(schedule(step)) for step in steps]


# Values by hand.


def test_constant_without_warmup_is_a_plain_number():
    rate = make("constant", base=0.25, steps=10)
    assert rate == 0.25
    assert isinstance(rate, float)


def test_warmup_rises_to_the_base_in_its_last_step():
    rate = make("constant", base=0.4, steps=10, warmup=4)
    assert values(rate, range(6)) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4], rel=1e-6)


def test_a_warmup_of_one_step_changes_no_step():
    rate = make("step", base=0.5, steps=4, milestones=(2,), warmup=1)
    assert values(rate, range(4)) == pytest.approx([0.5, 0.5, 0.05, 0.05], rel=1e-6)


def test_the_longest_warmup_ends_at_the_last_step_but_one():
    rate = make("constant", base=1.0, steps=4, warmup=3)
    assert values(rate, range(6)) == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 1], rel=1e-6)


def test_step_drops_at_each_milestone_and_not_before():
    rate = make("step", base=0.8, steps=20, milestones=(5, 12), drop=0.5)
    assert values(rate, [0, 4, 5, 11, 12, 19]) == pytest.approx([0.8, 0.8, 0.4, 0.4, 0.2, 0.2], rel=1e-6)


def test_a_milestone_within_the_warmup_counts_after_it():
    rate = make("step", base=0.8, steps=20, milestones=(2, 12), drop=0.5, warmup=4)
    assert values(rate, [1, 3, 4, 11, 12]) == pytest.approx([0.4, 0.8, 0.4, 0.4, 0.2], rel=1e-6)


def test_cosine_falls_from_the_base_over_the_steps_after_the_warmup():
    rate = make("cosine", base=0.2, steps=8)
    half = math.sqrt(0.5)
    assert values(rate, [0, 2, 4, 6]) == pytest.approx([0.2, 0.1 * (1 + half), 0.1, 0.1 * (1 - half)], rel=1e-6)
    late = make("cosine", base=0.2, steps=8, warmup=4)
    # 4 steps of warm-up, then quarters of the cosine: cos 0, cos pi/4, cos pi/2, cos 3pi/4.
    assert values(late, range(8)) == pytest.approx(
        [0.05, 0.1, 0.15, 0.2, 0.2, 0.1 * (1 + half), 0.1, 0.1 * (1 - half)], rel=1e-6
    )


def test_cosine_equals_its_formula_to_the_last_step():
    steps, warmup = 30_000, 500
    rate = make("cosine", base=0.1, steps=steps, warmup=warmup)
    for step in (500, 501, 7_000, 15_250, 29_000, 29_998, 29_999):
        expected = 0.05 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))
        # The formula itself, in double precision, loses digits where it goes to 0: 1e-16 of 0.05.
        assert float(rate(step)) == pytest.approx(expected, rel=1e-6, abs=1e-17)


@pytest.mark.parametrize(
    ("arguments", "last"),
    [
        ({"kind": "constant", "warmup": 3}, 0.4),
        ({"kind": "step", "milestones": (9,)}, 0.04),
        ({"kind": "cosine"}, 0.2 * (1 + math.cos(0.9 * math.pi))),
    ],
)
def test_the_last_value_is_kept(arguments, last):
    rate = make(**arguments, base=0.4, steps=10)
    assert values(rate, [9, 10, 11, 10**6, 2**40]) == pytest.approx([last] * 5, rel=1e-5)
    assert len(set(values(rate, [9, 10, 11, 10**6, 2**40]))) == 1
    assert float(rate(8)) != float(rate(9)) or arguments["kind"] == "constant"


# Exact steps, dtypes, graphs.


def test_steps_stay_exact_beyond_what_float32_can_count():
    milestone = 2**24 + 1  # float32 rounds it to 2**24
    rate = make("step", base=1.0, steps=2**40, milestones=(milestone, 2**33 + 1))
    around = [milestone - 1, milestone, 2**33, 2**33 + 1]
    assert values(rate, map(np.int64, around)) == pytest.approx([1, 0.1, 0.1, 0.01], rel=1e-6)
    cosine = make("cosine", base=1.0, steps=2**26, warmup=2**24)
    assert float(cosine(np.int64(2**24))) == 1.0
    # One step before the end: sin(pi / 2 / (2**26 - 2**24))**2.
    assert float(cosine(np.int64(2**26 - 1))) == pytest.approx((math.pi / 2 / (2**26 - 2**24)) ** 2, rel=1e-6)


SCHEDULES = {
    "constant": make("constant", base=0.3, steps=9, warmup=4),
    "step": make("step", base=0.3, steps=9, milestones=(5, 7), warmup=2),
    "cosine": make("cosine", base=0.3, steps=9, warmup=2),
    "held": hold(keras.optimizers.schedules.ExponentialDecay(0.3, 1, 0.9), 8),
}


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("jit", [False, True])
def test_graphs_with_and_without_xla_agree_with_eager_steps(name, jit):
    schedule = SCHEDULES[name]
    compiled = tf.function(lambda step: schedule(step), jit_compile=jit, autograph=False)
    for dtype in ("int32", "int64"):
        actual = [compiled(tf.constant(step, dtype)) for step in range(12)]
        assert all(value.dtype == tf.float32 and value.shape == () for value in actual)
        assert [float(value) for value in actual] == pytest.approx(values(schedule, range(12)), rel=1e-6)


def test_an_optimizer_follows_its_iterations_where_they_are_set_back():
    variable = keras.Variable(np.zeros(1, "float32"))
    optimizer = keras.optimizers.SGD(make("step", base=1.0, steps=4, milestones=(2,), warmup=2))
    moves = []
    for step in (0, 1, 2, 3, 4, 1, 2):
        if step == 1 and len(moves) > 2:
            optimizer.iterations.assign(1)  # rewound
        before = float(variable.value[0])
        optimizer.apply([keras.ops.ones(1)], [variable])
        moves.append(before - float(variable.value[0]))
    assert moves == pytest.approx([0.5, 1.0, 0.1, 0.1, 0.1, 1.0, 0.1], rel=1e-5)


# Round trips.


@pytest.mark.parametrize("name", SCHEDULES)
def test_configuration_round_trip(name):
    schedule = SCHEDULES[name]
    again = keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule))
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert values(again, range(12)) == values(schedule, range(12))


def test_optimizers_with_schedules_are_copied_and_saved(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(SCHEDULES["step"], momentum=0.9), "mse")
    model.optimizer.build(model.trainable_variables)
    path = tmp_path / "model.keras"
    model.save(path)
    for optimizer in (copy_optimizer(model.optimizer), keras.models.load_model(path).optimizer):
        assert values(optimizer._learning_rate, range(9)) == values(SCHEDULES["step"], range(9))


# Holding a schedule of the caller's.


class Unregistered(keras.optimizers.schedules.LearningRateSchedule):
    def __call__(self, step):
        return keras.ops.cast(step, "float32") * 0.5


def test_hold_keeps_the_value_of_the_last_step():
    held = hold(Unregistered(), 3)
    assert isinstance(held, Held)
    assert values(held, [0, 2, 3, 4, 100]) == [0.0, 1.0, 1.5, 1.5, 1.5]
    assert float(held(keras.Variable(7, dtype="int64", trainable=False))) == 1.5


@pytest.mark.parametrize("schedule", [0.1, None, lambda: 0.1, "cosine"])
def test_hold_takes_schedules_only(schedule):
    with pytest.raises(UsageError, match="LearningRateSchedule"):
        hold(schedule, 3)


@pytest.mark.parametrize("last", [-1, 1.5, None])
def test_hold_takes_a_step(last):
    with pytest.raises(UsageError, match="last"):
        hold(Unregistered(), last)


# Bad input.


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"kind": "cosin"}, "'cosine'"),
        ({"kind": None}, "constant, step, cosine"),
        ({"base": -0.1}, "base"),
        ({"base": math.inf}, "base"),
        ({"base": "fast"}, "base"),
        ({"steps": 0}, "steps"),
        ({"steps": 10.0}, "steps"),
        ({"steps": True}, "steps"),
        ({"warmup": 10}, "shorter"),
        ({"warmup": 11}, "shorter"),
        ({"warmup": -1}, "warmup"),
        ({"drop": 0.0}, "drop"),
        ({"drop": 1.0}, "drop"),
        ({"drop": math.nan}, "drop"),
        ({"milestones": (-1,)}, "milestones"),
        ({"milestones": (0, 2)}, "milestones"),
        ({"milestones": (4, 2)}, "rise"),
        ({"milestones": (2, 2)}, "rise"),
        ({"milestones": (2, 10)}, "end of the training"),
        ({"milestones": (2.5,)}, "milestones"),
        ({"milestones": 2}, "sequence"),
        ({"milestones": ()}, "needs one"),
        ({"kind": "cosine"}, "belong to the schedule 'step'"),
        ({"kind": "constant"}, "belong to the schedule 'step'"),
    ],
)
def test_bad_input_is_refused(changes, word):
    good = {"kind": "step", "base": 0.1, "steps": 10, "milestones": (2, 9), "drop": 0.1, "warmup": 9}
    assert isinstance(make(**good), Schedule)
    with pytest.raises(UsageError) as caught:
        make(**good | changes)
    assert word in str(caught.value)
    assert caught.value.remedy
