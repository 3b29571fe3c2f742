"""Training under a mirrored strategy: what one device would train, from two."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "strategy_training.py"


def run(*arguments):
    done = subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def measured():
    return run()


@pytest.fixture(scope="module")
def of_runs(tmp_path_factory):
    return run(tmp_path_factory.mktemp("strategy"))


def test_two_replicas_train_what_one_device_does(measured):
    # 100 steps in float32 with synchronized batch normalization and images that are augmented by (seed, step).
    assert measured["difference"] < 1e-5
    assert measured["pruned"] == 0


def test_losses_and_metrics_are_those_of_all_examples(measured):
    # 203 examples: one is left over where two replicas share them.
    one, two = measured["results"]
    assert set(one) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.slow
def test_all_replicas_hold_the_same(of_runs):
    # Also moving statistics that each replica computes from its own slice.
    assert of_runs["replicas_equal"]


@pytest.mark.slow
def test_a_restored_training_continues_to_the_same_bits(of_runs):
    # With dropout, and with metrics that each replica sums up alone.
    assert of_runs["resumed_equal"]
    whole, resumed = of_runs["resumed_results"]
    assert resumed == whole


def test_random_numbers_are_a_function_of_state_step_and_replica(measured):
    first, again = measured["draws"]
    assert first == again
    (first_replica, second_replica), next_step = first
    assert first_replica != second_replica
    assert first_replica != next_step[0]
    assert second_replica != next_step[1]
    assert {0.0, 2.0} == set(first_replica)


@pytest.mark.slow
def test_masks_of_three_rounds_are_those_of_one_device(of_runs):
    assert of_runs["masks_differ"] == [0, 0, 0, 0]
    assert sorted(set(of_runs["kept"]), reverse=True) == of_runs["kept"]


@pytest.mark.slow
def test_an_extended_run_equals_one_without_a_stop(of_runs):
    assert of_runs["extended_equal"]


@pytest.mark.slow
def test_the_batches_of_a_stream_are_divided_too(of_runs):
    one, two = of_runs["of_stream"]
    assert two == pytest.approx(one, rel=1e-5)


@pytest.mark.parametrize(
    ("case", "expected"),
    [
        ("batch", "UsageError: `batch_size` is divided among the replicas, of which there are 2. Received: 15."),
        ("stateful", "UsageError: A strategy divides each batch, and lstm keeps a state for each example"),
        ("other", "UsageError: `strategy` must be one of none, mirrored, multi-worker, or a MirroredStrategy"),
        ("unknown", "UsageError: `strategy` must be one of none, mirrored, multi-worker, or a MirroredStrategy"),
    ],
)
def test_what_no_strategy_can_train_is_refused(measured, case, expected):
    assert measured[case].startswith(expected)
