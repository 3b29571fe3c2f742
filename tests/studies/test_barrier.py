"""Barriers of a run: zero to itself, exactly; the ends are the trained networks; and the two studies that use them."""

import shutil

import keras
import numpy as np
import pytest

from tf_lottery.data import Arrays
from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.problem import Problem
from tf_lottery.studies import StudyRun, analyze, barrier
from tf_lottery.studies.calculations.evaluator import Evaluator, take_examples


def test_a_network_with_itself_has_barrier_zero_exactly(toy):
    actual = barrier(toy, Job(0, 1), Job(0, 1), points=7)
    for measure in ("test_error", "test_loss", "train_error", "train_loss"):
        assert len(actual.values[measure]) == 7
        assert actual.height(measure) == 0.0
        assert len(set(actual.values[measure])) == 1


def test_the_barrier_is_that_of_the_path_and_the_same_backwards(toy):
    there, back = (barrier(toy, *jobs, points=5) for jobs in ((Job(0, 0), Job(1, 0)), (Job(1, 0), Job(0, 0))))
    errors = there.values["test_error"]
    assert there.height() == max(errors) - (errors[0] + errors[-1]) / 2
    assert there.values["test_loss"] == pytest.approx(back.values["test_loss"][::-1], rel=1e-5)
    assert there.height("test_loss") > 0  # two networks that never saw each other


def test_without_batch_norm_statistics_anew_a_network_scores_as_in_its_row(toy):
    for row in toy.rows():
        job = Job(row["replicate"], row["round"], row["variant"])
        actual = toy.evaluator.evaluate(toy.weights(job), parts=("test",))
        assert actual["test_accuracy"] == pytest.approx(row["test_accuracy"], abs=1e-7)
        assert actual["test_loss"] == pytest.approx(row["test_loss"], rel=1e-5)


def test_swapped_hidden_units_make_a_barrier_of_known_height():
    # y = relu(a x) b with units (1, -1) is |x|; with the units swapped it is |x| again, and half way it is 0.
    def make_model(replicate):
        layers = [
            keras.layers.Dense(2, "relu", use_bias=False, name="a"),
            keras.layers.Dense(1, use_bias=False, name="b"),
        ]
        return keras.Sequential([keras.Input((1,)), *layers])

    data = Arrays(np.array([[1.0], [-2.0]], "float32"), np.array([[1.0], [2.0]], "float32"))
    problem = Problem(make_model, keras.optimizers.SGD, keras.losses.MeanSquaredError(), None, data, data, data)
    evaluator = Evaluator(problem, examples=10, seed=0, xla="off")
    one = {"a/kernel": np.array([[1.0, -1.0]], "float32"), "b/kernel": np.ones((2, 1), "float32")}
    from tf_lottery.studies.calculations.linear_path import barrier_height, interpolate_weights

    other = one | {"a/kernel": -one["a/kernel"]}
    losses = [
        evaluator.evaluate(interpolate_weights(one, other, at), parts=("test",))["test_loss"]
        for at in (0.0, 0.25, 0.5, 1.0)
    ]
    assert losses == pytest.approx([0.0, 0.25 * 2.5, 2.5, 0.0])  # mean of 1 and 4 in the middle
    assert barrier_height(losses) == pytest.approx(2.5)
    assert evaluator.evaluate(one)["test_error"] is None  # a regression has no accuracy


def test_a_job_that_is_not_trained_is_said(toy):
    with pytest.raises(UnfitError, match="replicate 0, round 1, small_dense"):
        barrier(toy, Job(0, 1), Job(0, 1, "small_dense"))


def test_a_path_will_do_where_the_configuration_tells_the_problem(toy, run_path):
    with pytest.raises(UnfitError, match="no trained network of replicate 0, round 1, another_round"):
        barrier(run_path, Job(0, 1), Job(0, 1, "another_round"))


def test_instability_compares_the_ticket_with_its_second_order(toy):
    outcome = analyze("instability", toy, points=3)
    rows = outcome.tables["barriers_by_replicate"]
    assert [(row["round"], row["replicate"]) for row in rows] == [(r, i) for r in (0, 1, 2) for i in (0, 1)]
    expected = barrier(toy, Job(1, 2), Job(1, 2, "other_order"), points=3)
    assert rows[-1]["test_error_barrier"] == expected.height()
    assert rows[-1]["test_error_first"] == expected.values["test_error"][0]
    assert len(outcome.tables["path"]) == 6 * 3
    assert outcome.tables["barriers"][2]["test_error_barrier"] == pytest.approx(
        np.mean([row["test_error_barrier"] for row in rows[4:]])
    )
    assert "80 training examples" in " ".join(outcome.sentences)
    assert set(outcome.figures) == {"barrier", "path"}


def test_instability_of_a_ticket_with_a_copy_of_itself_is_zero_and_stable(run_path, problem, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(run_path, path)
    store = RunDirectory(path)
    for job in [job for job in store.complete_jobs() if job.variant == "other_order"]:
        ticket = Job(job.replicate, job.round)
        store.commit(job, {"masks": store.masks(ticket), "weights": store.weights(ticket)}, store.metrics(job))
    outcome = analyze("instability", StudyRun(path, problem=problem), points=4)
    assert all(row["test_error_barrier"] == row["train_loss_barrier"] == 0.0 for row in outcome.tables["barriers"])
    assert outcome.sentences[0].startswith("In all rounds the error barrier on test data is below 2 %")


def test_rounds_barrier_joins_each_round_with_the_one_before(toy):
    outcome = analyze("rounds-barrier", toy, points=3)
    rows = outcome.tables["barriers_by_replicate"]
    assert [(row["round"], row["replicate"]) for row in rows] == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert rows[2]["test_loss_barrier"] == barrier(toy, Job(0, 1), Job(0, 2), points=3).height("test_loss")
    with pytest.raises(UnfitError, match="at least two"):
        analyze("rounds-barrier", StudyRun(toy.path, rounds=[1], problem=toy.problem))


def test_the_training_subset_is_fixed_and_without_repetition():
    data = Arrays(np.arange(50.0)[:, None], np.arange(50))
    actual = take_examples(data, 10, seed=3)
    assert actual.size == 10
    assert len(set(actual.y.tolist())) == 10
    assert np.array_equal(actual.y, take_examples(data, 10, seed=3).y)
    assert not np.array_equal(actual.y, take_examples(data, 10, seed=4).y)
    assert take_examples(data, 100) is data


def test_a_stream_gives_its_first_examples():
    import tensorflow as tf

    stream = tf.data.Dataset.from_tensor_slices((np.arange(8.0)[:, None], np.arange(8))).batch(3).repeat()
    assert take_examples(stream, 7).y.tolist() == [0, 1, 2, 3, 4, 5, 6]
