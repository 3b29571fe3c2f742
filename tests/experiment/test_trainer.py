"""The jobs of an experiment: what each starts from, which masks it has, and what it leaves."""

import itertools

import keras
import numpy as np
import pytest

from reruns import assert_same_training, run_with_a_stop
from tf_lottery.data import Arrays
from tf_lottery.errors import DamagedError, NonFiniteError, UnfitError
from tf_lottery.experiment import plan
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.workers.result_row import accuracy
from tf_lottery.experiment.workers.trainer import Trainer
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.training.state import capture_state
from toys import adam, classifying_problem, random_arrays

L = keras.layers


def make_model(replicate):
    keras.utils.set_random_seed(replicate)
    stack = [L.Dense(16), L.BatchNormalization(), L.ReLU(), L.Dropout(0.2), L.Dense(8, activation="relu"), L.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *stack])


def problem(optimizer=adam, model=make_model, **options):
    return classifying_problem(model, make_optimizer=optimizer, **options)


CONFIG = Config(steps=24, eval_every=6, batch_size=10, rounds=2, rate=0.3, xla="off", rewind="step:9", replicates=2)


def trained(path, config=CONFIG, given=None):
    store = RunDirectory(path)
    trainer = Trainer(config, given or problem(), store)
    for job in plan.jobs(config):
        trainer.run(job)
    return trainer, store


@pytest.fixture(scope="module")
def config(sparse):
    return CONFIG.updated(sparse=sparse)


@pytest.fixture(scope="module")
def done(tmp_path_factory, config):
    return trained(tmp_path_factory.mktemp("done"), config)


def test_one_trace_serves_all_rounds_variants_and_replicates(done, sparse):
    trainer, _ = done
    capacities = {"off": 1, "on": 3}[sparse]  # the kernels have other sizes for all weights, 70 % and 49 % of them
    assert trainer.engine.traces["train"] == capacities
    assert trainer.engine.traces["evaluate"] == capacities  # validation and test data are of one size


def test_a_job_starts_from_the_rewind_state_times_its_masks(done):
    trainer, store = done
    for job in [Job(0, 1), Job(0, 2), Job(1, 2)]:
        start = trainer.training_start(job)
        masks, step, state = start.masks, start.step, start.state
        saved = store.rewind_state(job.replicate)
        assert step == 9
        assert state["optimizer/0"] == 9
        for key, value in state.items():
            path = key.removeprefix("model/") if key.startswith("model/") else trainer.bench.slots.get(key)
            expected = saved[key] * masks[path] if path in masks else saved[key]
            np.testing.assert_array_equal(value, expected, err_msg=key)
            assert value.dtype == saved[key].dtype


@pytest.mark.parametrize("rewind", ["init", "step:9"])
def test_what_is_trained_is_what_was_started_from(tmp_path, rewind, config):
    """With a learning rate of 0 the trained weights are the start weights, so nothing comes between."""
    config = config.updated(rewind=rewind, replicates=1)
    given = problem(lambda: keras.optimizers.SGD(0.0, momentum=0.9))
    _trainer, store = trained(tmp_path, config, given)
    dense = {
        path: w for path, w in store.weights(Job(0, 0)).items() if path.endswith(("kernel", "bias", "gamma", "beta"))
    }
    for number in (1, 2):
        masks, weights = store.masks(Job(0, number)), store.weights(Job(0, number))
        for path, weight in dense.items():
            np.testing.assert_array_equal(weights[path], weight * masks.get(path, True), err_msg=path)
        control = store.weights(Job(0, number, "random_reinit"))
        for path, mask in masks.items():
            assert not control[path][~mask].any()
            assert control[path][mask].all()
            assert (control[path][mask] != weights[path][mask]).all(), path


def test_a_round_with_nothing_pruned_is_the_rewound_dense_training(tmp_path, config):
    """Weights, statistics, random states, slots, schedule and data order of step 9 are all put back."""
    schedule = keras.optimizers.schedules.CosineDecay(0.05, 24)
    given = problem(lambda: keras.optimizers.SGD(schedule, momentum=0.9, use_ema=True))
    _, store = trained(tmp_path, config.updated(rate=0.0, rounds=1, variants=("ticket",)), given)
    for replicate in (0, 1):
        dense, again = Job(replicate, 0), Job(replicate, 1)
        first, second = store.weights(dense), store.weights(again)
        assert {key: value.tobytes() for key, value in first.items()} == {k: v.tobytes() for k, v in second.items()}
        late = [record for record in store.metrics(dense)["history"] if record["step"] > 12]
        assert late == [record for record in store.metrics(again)["history"] if record["step"] > 12]


def test_masks_of_a_control_are_the_tickets_and_its_weights_are_others(done):
    trainer, store = done
    for replicate in (0, 1):
        for number in (1, 2):
            ticket, control = Job(replicate, number), Job(replicate, number, "random_reinit")
            files = [(store.job_folder(job) / "masks.npz").read_bytes() for job in (ticket, control)]
            assert files[0] == files[1]
            begun = trainer.training_start(control)
            masks, step, start = begun.masks, begun.step, begun.state
            tickets = trainer.training_start(ticket).state
            assert step == 0
            assert start["optimizer/0"] == 0
            for path, mask in masks.items():
                fresh, old = start[f"model/{path}"], tickets[f"model/{path}"]
                assert not fresh[~mask].any(), path
                assert (fresh[mask] != old[mask]).all(), path
            assert not start["model/batch_normalization/moving_mean"].any()
            assert not any(start[key].any() for key in trainer.bench.slots)


def test_controls_of_other_rounds_and_replicates_start_from_other_weights(done):
    trainer, _ = done
    jobs = [Job(r, n, "random_reinit") for r in (0, 1) for n in (1, 2)]
    kernels = [trainer.training_start(job).state["model/dense/kernel"] for job in jobs]
    for first, second in itertools.combinations(kernels, 2):
        both = (first != 0) & (second != 0)
        assert both.any()
        assert not np.any((first == second) & both)


def test_replicates_differ_in_weights_and_order(done):
    trainer, store = done
    a, b = store.weights(Job(0, 0)), store.weights(Job(1, 0))
    assert not np.array_equal(a["dense/kernel"], b["dense/kernel"])
    assert not np.array_equal(trainer.bench.feed(0).order.steps(0, 6), trainer.bench.feed(1).order.steps(0, 6))


def test_masks_come_from_the_weights_of_the_last_step_and_shrink(done):
    _, store = done
    for replicate in (0, 1):
        for number in (1, 2):
            before, after = Job(replicate, number - 1), Job(replicate, number)
            old, new, weights = store.masks(before), store.masks(after), store.weights(before)
            for path in new:
                assert not (new[path] & ~old[path]).any()
                rate = 0.15 if path == "dense_2/kernel" else 0.3
                survivors = int(old[path].sum())
                assert int(new[path].sum()) == survivors - round(rate * survivors)
                gone, kept = np.abs(weights[path])[old[path] & ~new[path]], np.abs(weights[path])[new[path]]
                assert gone.max() <= kept.min()


def test_only_kernels_are_masked(done):
    assert list(done[1].masks(Job(0, 1))) == ["dense/kernel", "dense_1/kernel", "dense_2/kernel"]


def test_pruned_weights_are_zero_in_what_is_stored(done):
    _, store = done
    for job in store.complete_jobs():
        weights = store.weights(job)
        for path, mask in store.masks(job).items():
            assert not weights[path][~mask].any()
            assert weights[path][mask].all()


def test_the_row_says_what_was_trained(done):
    _, store = done
    row = store.metrics(Job(1, 2))["row"]
    masks = store.masks(Job(1, 2))
    assert row["weights_kept"] == mask_tools.kept(masks)
    assert row["weights_total"] == 6 * 16 + 16 * 8 + 8 * 3
    assert row["density"] == row["weights_kept"] / row["weights_total"]
    assert row["sparsity"] == 1 - row["density"]
    assert row["steps"] == 15
    assert store.metrics(Job(1, 0))["row"]["steps"] == 24
    history = store.metrics(Job(1, 2))["history"]
    assert [record["step"] for record in history] == [12, 18, 24]
    losses = [record["val_loss"] for record in history]
    assert row["early_stop_val_loss"] == min(losses)
    assert row["early_stop_step"] == 12 + 6 * losses.index(min(losses))
    assert row["val_loss"] == losses[-1]
    assert 0 <= row["test_accuracy"] <= 1
    assert row["steps_per_second"] > 0


def test_the_same_seed_gives_the_same_bits(done, tmp_path, config):
    _, first = done
    _, second = trained(tmp_path, config)
    for job in first.complete_jobs():
        assert_same_training(first, second, job)
        assert first.metrics(job)["rewind_manifest"] == second.metrics(job)["rewind_manifest"]


def test_jobs_do_not_depend_on_the_order_that_they_run_in(done, tmp_path, config):
    _, first = done
    store = RunDirectory(tmp_path)
    trainer = Trainer(config, problem(), store)
    for job in sorted(plan.jobs(config), key=lambda job: (-job.replicate, job.round, job.variant)):
        trainer.run(job)
    for job in first.complete_jobs():
        assert (first.job_folder(job) / "weights.npz").read_bytes() == (
            store.job_folder(job) / "weights.npz"
        ).read_bytes(), job


def test_a_job_that_was_stopped_goes_on_from_its_saved_state(done, tmp_path, config):
    _, first = done
    config = config.updated(replicates=1)
    store = RunDirectory(tmp_path)

    def make_trainer():
        return Trainer(config, problem(), store, checkpoint_every=1e-9)

    for job in (Job(0, 0), Job(0, 1)):
        assert run_with_a_stop(make_trainer, job, at=18, chunk=5) == 17
        assert_same_training(first, store, job)


def test_a_nan_loss_names_the_job_and_leaves_what_is_committed(tmp_path):
    config = CONFIG.updated(replicates=1, rewind="init")
    store = RunDirectory(tmp_path)
    Trainer(config, problem(), store).run(Job(0, 0))
    heavy = Arrays(random_arrays(60, 0).x, random_arrays(60, 0).y, np.full(60, 3e38, "float32"))
    trainer = Trainer(config, problem(train=heavy), store)
    with pytest.raises(NonFiniteError, match=r"steps \d+ to \d+.*replicate 0, round 1, ticket"):
        trainer.run(Job(0, 1))
    assert store.complete_jobs() == [Job(0, 0)]


def test_a_rewind_state_is_replaced_only_while_round_0_is_not_committed(tmp_path):
    config = CONFIG.updated(replicates=1)
    store = RunDirectory(tmp_path)
    store.save_rewind_state(0, {"model/other": np.ones(2)})  # a stopped training of an unseeded model left this
    trainer = Trainer(config, problem(), store)
    trainer.run(Job(0, 0))
    state, digest = store.rewind_state(0), store.rewind_digest(0)
    assert "model/dense/kernel" in state
    assert store.metrics(Job(0, 0))["rewind_manifest"] == digest
    with pytest.raises(DamagedError, match="another rewind state"):
        store.save_rewind_state(0, {"model/other": np.ones(2)})
    assert not any(path.stat().st_mode & 0o222 for path in store.rewind_folder(0).iterdir())


def test_a_rewind_state_that_is_not_round_0s_is_refused(tmp_path):
    config = CONFIG.updated(replicates=2, variants=("ticket",))
    store = RunDirectory(tmp_path)
    trainer = Trainer(config, problem(), store)
    for replicate in (0, 1):
        trainer.run(Job(replicate, 0))
    store.rewind_folder(0).rename(tmp_path / "aside")
    store.rewind_folder(1).rename(store.rewind_folder(0))
    with pytest.raises(DamagedError, match="belongs to replicate 1, rewind state, not to replicate 0, rewind state"):
        Trainer(config, problem(), store).run(Job(0, 1))


def test_other_data_under_a_run_is_refused(tmp_path):
    store = RunDirectory(tmp_path)
    Trainer(CONFIG, problem(fingerprint="one"), store)
    with pytest.raises(UnfitError, match=r"data of .* has changed"):
        Trainer(CONFIG, problem(fingerprint="two"), store)


def test_the_accuracy_is_the_metric_of_that_name_or_the_first_that_ends_so():
    assert accuracy({"loss": 1, "top_accuracy": 0.9, "accuracy": 0.5}) == 0.5
    assert accuracy({"val_loss": 1, "val_kind_accuracy": 0.9}, "val_") == 0.9
    assert accuracy({"loss": 1, "mae": 2}) is None


def test_scoring_does_not_touch_what_is_trained_next(done):
    trainer, _ = done
    before = {k: v.tobytes() for k, v in capture_state(trainer.engine.variables()).items()}
    trainer.training_start(Job(0, 2, "random_reinit"))
    assert before == {k: v.tobytes() for k, v in capture_state(trainer.engine.variables()).items()}
