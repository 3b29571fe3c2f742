"""The table of docs/rewinding.md, cell by cell: what a round starts from in each rewind mode."""

import keras
import numpy as np
import pytest

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.training_and_rewind_steps import rewind_step
from tf_lottery.experiment.workers.trainer import Trainer
from tf_lottery.results.result import open_run
from tf_lottery.training.learning_rates import Schedule
from tf_lottery.training.state import restore_state
from toys import classifying_problem

L = keras.layers
STEPS, K = 24, 9
STATISTICS = "model/batch_normalization/moving_mean"
RANDOM = "model/dropout/seed_generator_state"


def make_model(replicate):
    keras.utils.set_random_seed(replicate)
    stack = [L.Dense(16), L.BatchNormalization(), L.ReLU(), L.Dropout(0.2), L.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *stack])


def trained(path, **changes):
    given = {"steps": STEPS, "eval_every": 6, "batch_size": 10, "rounds": 2, "rate": 0.3, "xla": "off"}
    config = Config(**{**given, "variants": ("ticket",), **changes})
    schedule = Schedule("step", base=0.01, steps=STEPS, milestones=(12,), drop=0.1, warmup=6)
    given = classifying_problem(make_model, make_optimizer=lambda: keras.optimizers.Adam(schedule), test=None)
    store = RunDirectory(path)
    trainer = Trainer(config, given, store)
    for job in plan.jobs(config):
        trainer.run(job)
    return trainer, store


def rate_at_the_start(trainer, state):
    """The learning rate of the first step from a state."""
    restore_state(trainer.bench.variables(), state)
    return float(trainer.engine.optimizer.learning_rate)


# mode -> (first step, last step, weights and statistics of, slots and random state of, iterations, learning rate)
INITIAL, STEP_K, TRAINED = "initial", "step K", "trained"
MODES = {
    "init": (0, STEPS, INITIAL, INITIAL, 0, 0.01 / 6),
    f"step:{K}": (K, STEPS, STEP_K, STEP_K, K, 0.01),
    "lr": (0, STEPS, TRAINED, INITIAL, 0, 0.01 / 6),
    f"lr:step:{K}": (K, STEPS, TRAINED, STEP_K, K, 0.01),
    "finetune": (STEPS, 2 * STEPS, TRAINED, TRAINED, STEPS, 0.001),
    "finetune:step:10": (STEPS, STEPS + 10, TRAINED, TRAINED, STEPS, 0.001),
}


@pytest.mark.parametrize("mode", MODES)
def test_each_cell_of_the_table(tmp_path, mode, sparse):
    first, last, weights_of, optimizer_of, iterations, rate = MODES[mode]
    trainer, store = trained(tmp_path, rewind=mode, sparse=sparse)
    start = trainer.training_start(Job(0, 1))
    saved = store.rewind_state(0)
    ended = {f"model/{key}": value for key, value in store.weights(Job(0, 0)).items()} | store.optimizer(Job(0, 0))
    initial = trainer.bench.at_step_0(trainer.bench.initial_weights(0), trainer.bench.dense())
    states = {INITIAL: initial, STEP_K: saved, TRAINED: ended}

    assert (start.step, start.stop) == (first, last)  # the steps, and with them the data order
    weights, optimizer = states[weights_of], states[optimizer_of]
    for key, value in start.state.items():
        path = key.removeprefix("model/") if key.startswith("model/") else trainer.bench.slots.get(key)
        source = optimizer if key.startswith("optimizer/") or key == RANDOM else weights
        np.testing.assert_array_equal(value, source[key] * start.masks.get(path, True), err_msg=key)
    assert STATISTICS in start.state
    assert RANDOM in start.state
    assert start.state["optimizer/0"] == iterations
    assert rate_at_the_start(trainer, start.state) == pytest.approx(rate)
    # The states differ, so the cells do too.
    assert not np.array_equal(initial[STATISTICS], ended[STATISTICS])
    assert not np.array_equal(initial[RANDOM], ended[RANDOM])
    row = store.metrics(Job(0, 1))["row"]
    assert row["steps"] == last - first
    assert store.metrics(Job(0, 1))["start_step"] == first


def test_rounds_of_fine_tuning_follow_each_other(tmp_path):
    trainer, store = trained(tmp_path, rewind="finetune:step:10")
    start = trainer.training_start(Job(0, 2))
    assert (start.step, start.stop) == (STEPS + 10, STEPS + 20)
    assert start.state["optimizer/0"] == STEPS + 10
    np.testing.assert_array_equal(start.state[STATISTICS], store.weights(Job(0, 1))["batch_normalization/moving_mean"])


def test_fine_tuning_without_pruning_is_a_longer_training(tmp_path, sparse):
    """Weights, slots, statistics, random state, schedule and data order all go on: the bits are those of one run."""
    _, pieces = trained(tmp_path / "pieces", rewind="finetune:step:12", rate=0.0, rounds=2, sparse=sparse)
    _, whole = trained(tmp_path / "whole", rewind="finetune:step:24", rate=0.0, rounds=1, sparse=sparse)
    first, second = pieces.weights(Job(0, 2)), whole.weights(Job(0, 1))
    assert {key: value.tobytes() for key, value in first.items()} == {k: v.tobytes() for k, v in second.items()}


def test_dense_longer_goes_on_at_the_last_learning_rate(tmp_path):
    trainer, store = trained(tmp_path, variants=("ticket", "dense_longer"))
    for number, before in ((1, Job(0, 0)), (2, Job(0, 1, "dense_longer"))):
        start = trainer.training_start(Job(0, number, "dense_longer"))
        assert (start.step, start.stop) == (number * STEPS, (number + 1) * STEPS)
        assert start.state["optimizer/0"] == number * STEPS
        assert all(mask.all() for mask in start.masks.values())
        np.testing.assert_array_equal(start.state["model/dense/kernel"], store.weights(before)["dense/kernel"])
        assert rate_at_the_start(trainer, start.state) == pytest.approx(0.001)


def test_controls_start_at_the_tickets_step_or_at_step_0(tmp_path):
    names = ("shuffled_masks", "noise_0.5", "other_order", "random_reinit", "small_dense", "reshuffled_weights")
    trainer, _ = trained(tmp_path, rewind=f"step:{K}", variants=("ticket", *names), rounds=1)
    ticket = trainer.training_start(Job(0, 1))
    for name in names[:3]:
        start = trainer.training_start(Job(0, 1, name))
        assert (start.step, start.state["optimizer/0"]) == (K, K)
        np.testing.assert_array_equal(start.state[RANDOM], ticket.state[RANDOM])
        np.testing.assert_array_equal(start.state[STATISTICS], ticket.state[STATISTICS])
    for name in names[3:]:
        start = trainer.training_start(Job(0, 1, name))
        assert (start.step, start.stop, start.state["optimizer/0"]) == (0, STEPS, 0)
        assert not start.state[STATISTICS].any()
        assert not any(start.state[key].any() for key in trainer.bench.slots)


def test_the_other_order_has_other_batches_and_other_weights_come_of_it(tmp_path):
    trainer, store = trained(tmp_path, rewind=f"step:{K}", rounds=0, variants=("ticket", "other_order"))
    first, second = (trainer.bench.feed(0, order=order).order.steps(0, 6) for order in ("order", "other order"))
    assert not np.array_equal(first, second)
    assert sorted(first.ravel()) == sorted(second.ravel())
    ticket, other = store.weights(Job(0, 0)), store.weights(Job(0, 0, "other_order"))
    assert store.metrics(Job(0, 0, "other_order"))["start_step"] == K
    assert not np.array_equal(ticket["dense/kernel"], other["dense/kernel"])


def test_a_run_without_the_optimizers_state_can_t_be_gone_on_from(tmp_path):
    trainer, store = trained(tmp_path, rewind="finetune", rounds=1)
    (store.job_folder(Job(0, 0)) / "optimizer.npz").unlink()
    with pytest.raises(UnfitError, match="`fresh=True`"):
        trainer.training_start(Job(0, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rewind": "step:24"}, "before the end of a training of 24 steps"),
        ({"rewind": "lr:step:30"}, "before the end of a training of 24 steps"),
        ({"rewind": "step:9", "search_steps": 8}, "before the end of a search of 8 steps"),
        ({"search_steps": 25}, "must not exceed a full training"),
        ({"rewind": "finetune", "search_steps": 5}, "Fine-tuning continues full trainings"),
        ({"rewind": "lr", "pruning": "before_training"}, "no trained weights"),
        ({"pruning": "early_bird", "criterion": "weight_change"}, "looks back on a whole training"),
        ({"pruning": "one_shot", "search_steps": 5}, "shortens the rounds of iterative pruning"),
        ({"rewind": "finetune:step:0"}, "at least one step"),
        ({"rewind": "finetune:epoch:0.001"}, "at least one step"),
        ({"pruning": "early_bird", "eval_every": 5}, "the masks of 6 evaluations"),
        ({"search_steps": 5, "variants": ("dense_longer",)}, "each round trained in full"),
        ({"pruning": "one_shot", "variants": ("dense_longer",)}, "each round trained in full"),
        ({"lr_drop": 0.5}, "`lr_drop` is of the learning-rate schedule 'step'"),
        ({"criterion": "synflow", "scope": "global", "output_rate": 0.01}, "they have one rate"),
        ({"criterion": "synflow"}, "Pass scope 'global'"),
    ],
)
def test_rewind_points_and_ways_of_pruning_that_do_not_fit(changes, message):
    with pytest.raises(UsageError, match=message):
        rewind_step(Config(**{"steps": STEPS, "eval_every": 1, **changes}), 10)


@pytest.mark.parametrize("mode", ["step:9", "lr:step:9", "finetune"])
def test_a_ticket_holds_the_weights_that_its_training_started_from(tmp_path, mode, sparse):
    trainer, store = trained(tmp_path, rewind=mode, sparse=sparse)
    store.create(trainer.config.to_json())
    start = trainer.training_start(Job(0, 2))
    ticket = open_run(tmp_path).ticket(2)
    for path, value in ticket.rewind_weights.items():
        if not path.endswith("seed_generator_state"):
            np.testing.assert_array_equal(value, start.state[f"model/{path}"], err_msg=path)
