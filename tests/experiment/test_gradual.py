"""The control `gradual`: one training that is pruned meanwhile, to as many weights as the ticket keeps."""

import keras
import numpy as np
import pytest

from reruns import assert_same_training, run_with_a_stop
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.gradual_control import gradual_masks, pruning_steps
from tf_lottery.experiment.workers.trainer import Trainer
from tf_lottery.pruning.units import single_weights
from toys import adam, classifying_problem

L = keras.layers
CONFIG = Config(
    steps=40, eval_every=10, batch_size=10, rounds=2, rate=0.5, xla="off", replicates=1, variants=("ticket", "gradual")
)


def make_model(replicate):
    keras.utils.set_random_seed(replicate)
    return keras.Sequential([keras.Input((6,)), L.Dense(16, "relu"), L.Dropout(0.2), L.Dense(3)])


def problem():
    return classifying_problem(make_model, make_optimizer=adam)


@pytest.fixture(scope="module")
def config(sparse):
    return CONFIG.updated(sparse=sparse)


@pytest.fixture(scope="module")
def done(tmp_path_factory, config):
    store = RunDirectory(tmp_path_factory.mktemp("gradual"))
    trainer = Trainer(config, problem(), store)
    for job in plan.jobs(config):
        trainer.run(job)
    return trainer, store


def test_the_schedule_by_hand():
    assert pruning_steps(1) == (1,)
    assert pruning_steps(100)[0] == 2  # 75 / 50 = 1.5: half to even
    assert pruning_steps(100)[-1] == 75
    shapes = {"kernel": (10, 10)}
    weights = {"kernel": np.arange(100.0).reshape(10, 10)}
    masks = {"kernel": np.ones((10, 10), bool)}
    ticket = {"kernel": np.zeros((10, 10), bool)}
    ticket["kernel"][0] = True
    config, counts = Config(steps=400), []
    for step in (100, 200, 300):  # thirds of the pruning
        masks = gradual_masks(
            config,
            step,
            training=400,
            roles={"kernel": "dense"},
            ticket=ticket,
            weights=weights,
            masks=masks,
            units=single_weights(shapes),
        )
        counts.append(int(masks["kernel"].sum()))
        assert masks["kernel"].ravel()[-counts[-1] :].all()  # the largest are left
    # 10 + 90 * (2/3)^3 = 36.67 and 10 + 90 / 27 = 13.33
    assert counts == [37, 13, 10]


def test_it_ends_with_the_tickets_counts_and_zeros(done):
    _, store = done
    for number in (1, 2):
        ticket, gradual = store.masks(Job(0, number)), store.masks(Job(0, number, "gradual"))
        weights = store.weights(Job(0, number, "gradual"))
        for path, mask in ticket.items():
            assert int(gradual[path].sum()) == int(mask.sum())
            assert not weights[path][~gradual[path]].any()
        row = store.metrics(Job(0, number, "gradual"))["row"]
        assert row["weights_kept"] == sum(int(mask.sum()) for mask in ticket.values())
        assert row["steps"] == 40


def test_it_starts_dense_from_the_initial_weights(done):
    trainer, _ = done
    start = trainer.training_start(Job(0, 2, "gradual"))
    assert (start.step, start.stop) == (0, 40)
    assert all(mask.all() for mask in start.masks.values())
    kernel = make_model(0).layers[0].kernel.numpy()
    np.testing.assert_array_equal(start.state["model/dense/kernel"], kernel)


def test_the_best_step_is_one_with_the_last_masks(done):
    _, store = done
    row = store.metrics(Job(0, 2, "gradual"))["row"]
    assert row["early_stop_step"] >= pruning_steps(40)[-1] == 30


def test_stopped_in_its_middle_it_comes_to_the_same_bits(done, tmp_path, config):
    _, whole = done
    store = RunDirectory(tmp_path)
    for job in plan.jobs(config):
        if job.variant != "gradual":
            Trainer(config, problem(), store).run(job)

    def make_trainer():
        return Trainer(config, problem(), store, checkpoint_every=1e-9)

    job = Job(0, 2, "gradual")
    assert 0 < run_with_a_stop(make_trainer, job, at=17, chunk=3) < 17
    assert_same_training(whole, store, job)
