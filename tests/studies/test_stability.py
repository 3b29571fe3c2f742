"""Distance and angle over surviving weights, by hand; and the study of a run."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.studies import StudyRun, analyze
from tf_lottery.studies.stability import distance_and_angle

TRUE = {"a": np.ones((2,), bool), "b": np.ones((1,), bool)}


def test_distance_and_angle_by_hand():
    full = {"a": np.array([1.0, 0.0]), "b": np.array([0.0])}
    pruned = {"a": np.array([0.0, 1.0]), "b": np.array([2.0])}
    actual = distance_and_angle(full, pruned, TRUE)
    assert actual["a"] == {"distance": pytest.approx(2**0.5), "relative_distance": pytest.approx(2**0.5), "angle": 90.0}
    assert actual["b"] == {"distance": 2.0, "relative_distance": None, "angle": None}  # the full one has no direction
    assert actual["(all)"]["distance"] == pytest.approx(6**0.5)
    assert actual["(all)"]["angle"] == 90.0


def test_only_survivors_count():
    full, pruned = {"a": np.array([3.0, 100.0])}, {"a": np.array([5.0, 0.0])}
    actual = distance_and_angle(full, pruned, {"a": np.array([True, False])})
    assert actual["(all)"] == {"distance": 2.0, "relative_distance": pytest.approx(2 / 3), "angle": 0.0}


@given(arrays.arrays("float32", 3, elements=st.floats(0.125, 100, width=32)), st.floats(0.1, 10))
def test_scaling_changes_the_distance_only(weights, factor):
    actual = distance_and_angle({"a": weights}, {"a": weights * factor}, {"a": np.ones(3, bool)})["(all)"]
    assert actual["angle"] == pytest.approx(0.0, abs=0.1)
    assert actual["relative_distance"] == pytest.approx(abs(factor - 1), abs=1e-5)


def test_the_study_compares_ticket_and_control_with_round_0(toy):
    outcome = analyze("stability", toy)
    rows = outcome.tables["stability_by_replicate"]
    assert {(row["round"], row["variant"]) for row in rows} == {
        (number, variant) for number in (1, 2) for variant in ("ticket", "random_reinit")
    }
    job = Job(1, 2, "random_reinit")
    mask, full, weights = toy.masks(job)["dense/kernel"], toy.weights(Job(1, 0)), toy.weights(job)
    expected = np.linalg.norm((full["dense/kernel"] - weights["dense/kernel"])[mask])
    (row,) = [
        row
        for row in rows
        if (row["replicate"], row["round"], row["variant"], row["layer"]) == (1, 2, "random_reinit", "dense/kernel")
    ]
    assert row["distance"] == pytest.approx(expected, rel=1e-6)
    assert row["weights_kept"] == 40
    assert "random reinit" in outcome.sentences[0]
    assert set(outcome.figures) == {"angle", "distance"}


def test_without_round_0_there_is_nothing_to_compare_with(toy):
    with pytest.raises(UnfitError, match="Received rounds 1, 2"):
        analyze("stability", StudyRun(toy.path, rounds=[1, 2]))
