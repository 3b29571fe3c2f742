"""Survivors and live units: by hand, against a brute-force search of paths, and of a run."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.run import run
from tf_lottery.layers import architecture
from tf_lottery.models.building import build
from tf_lottery.studies import StudyRun, analyze
from tf_lottery.studies.calculations.live_units import (
    count_connected_units,
    count_live_weights,
    find_live_units,
    is_chain,
)
from tf_lottery.studies.survivors import survivor_statistics

BOOLS = st.booleans()


def test_a_unit_behind_a_dead_one_is_dead():
    # Inputs 0, 1 -> hidden 0, 1, 2 -> hidden 0, 1 -> output. Hidden 2 of the first level feeds only the dead unit 1.
    first = np.array([[1, 0, 0], [0, 0, 1]], bool)
    second = np.array([[1, 0], [0, 0], [0, 1]], bool)
    third = np.array([[1], [0]], bool)
    live = find_live_units([first, second, third])
    assert [level.tolist() for level in live] == [[True, False], [True, False, False], [True, False], [True]]
    assert count_live_weights([first, second, third], live) == [1, 1, 1]


def test_flattened_channels_are_followed_channels_last():
    convolution = np.zeros((1, 1, 1, 2), bool)
    convolution[0, 0, 0, 1] = True  # only channel 1 is fed
    dense = np.zeros((6, 2), bool)  # three positions of two channels: features 1, 3, 5 are of channel 1
    dense[2, 0] = True  # reads channel 0, which is dead
    dense[3, 1] = True
    live = find_live_units([convolution, dense])
    assert [level.tolist() for level in live] == [[True], [False, True], [False, True]]
    assert count_live_weights([convolution, dense], live) == [1, 1]


@given(
    arrays.arrays(bool, (3, 4), elements=BOOLS),
    arrays.arrays(bool, (4, 2), elements=BOOLS),
    arrays.arrays(bool, (2, 3), elements=BOOLS),
)
def test_live_is_on_a_path_from_input_to_output(a, b, c):
    live = find_live_units([a, b, c])
    paths = [(i, j, k, m) for i in range(3) for j in range(4) for k in range(2) for m in range(3)]
    paths = [(i, j, k, m) for i, j, k, m in paths if a[i, j] and b[j, k] and c[k, m]]
    for level, units in enumerate(live):
        assert set(np.flatnonzero(units)) == {path[level] for path in paths}
    edges = [{path[position : position + 2] for path in paths} for position in range(3)]
    assert count_live_weights([a, b, c], live) == [
        # A weight between two live units is on a path: the one leads to it, the other on from it.
        len(actual)
        for actual in edges
    ]


def test_kernels_that_do_not_follow_are_refused():
    with pytest.raises(ValueError, match="3 inputs can't come from 2 units"):
        find_live_units([np.ones((1, 2), bool), np.ones((3, 1), bool)])


def test_ends_of_a_convolution_and_of_a_vector():
    mask = np.zeros((3, 3, 2, 4), bool)
    mask[0, 2, 1, 3] = mask[2, 2, 1, 0] = True
    assert count_connected_units(mask) == {"inputs_read": 1, "inputs": 2, "outputs_fed": 2, "outputs": 4}
    assert set(count_connected_units(np.ones(3, bool)).values()) == {None}


@pytest.mark.parametrize(("name", "chain"), [("fc1", True), ("conv2", True), ("resnet8", False)])
def test_which_architectures_are_chains(name, chain):
    assert is_chain(architecture(build(name, input_shape=(16, 16, 3), classes=10))) is chain


def test_a_functional_chain_is_one_until_it_branches():
    import keras

    image = keras.Input((4,))
    hidden = keras.layers.Dense(3)(image)
    straight = keras.Model(image, keras.layers.Dense(2)(keras.layers.ReLU()(hidden)))
    assert is_chain(architecture(straight))
    branched = keras.Model(image, [keras.layers.Dense(2)(hidden), keras.layers.Dense(3)(hidden)])
    assert not is_chain(architecture(branched))
    document = json.loads(architecture(straight))
    document["config"]["layers"][1]["class_name"] = "LSTM"
    assert not is_chain(json.dumps(document))
    assert not is_chain(json.dumps({"class_name": "Own", "config": {"layers": 3}, "builds": {}}))
    assert not is_chain(json.dumps({"class_name": "Own", "variables": {"dense/kernel": [4, 3]}}))


def test_statistics_by_hand():
    trained = np.array([1.0, -3.0, 0.0, 4.0])
    rewound = np.array([2.0, 1.0, 1.0, 1.0])
    actual = survivor_statistics(trained, rewound, np.array([True, True, False, True]))
    assert (actual["kept"], actual["total"], actual["layer_density"]) == (3, 4, 0.75)
    assert actual["mean_size"] == pytest.approx(8 / 3)
    assert actual["deviation"] == pytest.approx(np.std([1, -3, 4]))
    assert actual["positive"] == pytest.approx(2 / 3)
    assert actual["signs_kept"] == pytest.approx(2 / 3)
    assert actual["rewind_mean_size"] == pytest.approx(4 / 3)
    nothing = survivor_statistics(trained, rewound, np.zeros(4, bool))
    assert nothing["kept"] == 0
    assert nothing["mean_size"] is None
    assert nothing["signs_kept"] is None


def test_the_study_of_a_run(toy):
    outcome = analyze("survivors", toy)
    (row,) = [
        row
        for row in outcome.tables["survivors_by_replicate"]
        if (row["replicate"], row["round"], row["layer"]) == (0, 1, "dense/kernel")
    ]
    mask, trained = toy.masks(Job(0, 1))["dense/kernel"], toy.weights(Job(0, 1))["dense/kernel"]
    assert (row["kept"], row["layer_density"]) == (80, 0.5)
    assert row["mean_size"] == pytest.approx(np.abs(trained[mask]).mean())
    rewound = toy.rewind_weights(0)["dense/kernel"]
    assert row["signs_kept"] == pytest.approx(np.mean(np.sign(trained[mask]) == np.sign(rewound[mask])))
    levels = [row for row in outcome.tables["live_units"] if row["round"] == 0]
    assert [(row["level"], row["live"], row["units"]) for row in levels] == [
        ("inputs", 16, 16),
        ("dense", 10, 10),
        ("dense_1", 3, 3),
    ]
    assert outcome.sentences[-1].startswith("Live in round 2: ")


@pytest.mark.parametrize("rewind", ["lr", "finetune"])
def test_tickets_that_start_from_trained_weights_are_compared_with_those(rewind, toy, problem, tmp_path):
    """The rewind state, which such a ticket never saw, was once taken for its start."""
    config = toy.config.updated(rewind=rewind, replicates=1, variants=("ticket",))
    run(config, RunDirectory(tmp_path / "run"), make_problem=lambda: problem)
    actual = StudyRun(tmp_path / "run")
    mask, before = actual.masks(Job(0, 2))["dense/kernel"], actual.weights(Job(0, 1))["dense/kernel"]
    after, rewound = actual.weights(Job(0, 2))["dense/kernel"], actual.rewind_weights(0)["dense/kernel"]
    rows = {
        row["round"]: row
        for row in analyze("survivors", actual).tables["survivors_by_replicate"]
        if row["layer"] == "dense/kernel"
    }
    assert rows[2]["rewind_mean_size"] == pytest.approx(np.abs(before[mask]).mean(), rel=1e-6)
    assert rows[2]["rewind_mean_size"] != pytest.approx(np.abs(rewound[mask]).mean(), rel=1e-3)
    assert rows[2]["signs_kept"] == pytest.approx(np.mean(np.sign(after[mask]) == np.sign(before[mask])))
    assert rows[0]["rewind_mean_size"] == pytest.approx(np.abs(rewound).mean(), rel=1e-6)
