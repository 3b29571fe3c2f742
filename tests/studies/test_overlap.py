"""Overlap against chance: by enumeration, by simulation, and of a run."""

from itertools import combinations

import numpy as np
import pytest

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import Job
from tf_lottery.studies import StudyRun, analyze
from tf_lottery.studies.overlap import compare_masks, expected_overlap


@pytest.mark.parametrize(("total", "first", "second"), [(5, 2, 3), (6, 3, 3), (4, 4, 1), (7, 1, 1), (3, 0, 2)])
def test_chance_is_the_mean_over_all_pairs_of_masks(total, first, second):
    a = set(range(first))
    values = [len(a & set(b)) / len(a | set(b)) for b in combinations(range(total), second)]
    assert expected_overlap(total, first, second) == pytest.approx(np.mean(values))


def test_chance_is_what_random_masks_show():
    generator = np.random.default_rng(0)
    total, first, second = 4000, 900, 500
    values = []
    for _ in range(400):
        a, b = (np.isin(np.arange(total), generator.permutation(total)[:count]) for count in (first, second))
        values.append((a & b).sum() / (a | b).sum())
    assert expected_overlap(total, first, second) == pytest.approx(np.mean(values), abs=4 * np.std(values) / 20)


def test_chance_of_empty_full_and_large_masks():
    assert expected_overlap(9, 0, 0) == 1.0
    assert expected_overlap(9, 9, 9) == 1.0
    # In a layer this large the overlap hardly varies: p / (2 - p).
    assert expected_overlap(2_000_000, 400_000, 400_000) == pytest.approx(0.2 / 1.8, rel=1e-5)


def test_compare_by_hand():
    first = {"a": np.array([1, 1, 0, 0], bool), "b": np.array([1, 0], bool)}
    second = {"a": np.array([1, 0, 1, 0], bool), "b": np.array([1, 0], bool)}
    actual = compare_masks(first, second)
    assert actual["a"]["overlap"] == pytest.approx(1 / 3)
    assert actual["a"]["chance"] == pytest.approx((1 * 1 + 4 / 3 + 0) / 6)  # of 6 masks: 1 equal, 4 share one, 1 none
    assert actual["b"]["overlap"] == 1.0
    assert actual["b"]["chance"] == 0.5
    assert actual["(all)"]["overlap"] == 0.5  # 2 of 4
    assert actual["(all)"]["chance"] == pytest.approx(1.5 / (6 - 1.5))  # 1 + 0.5 expected in common


def test_masks_of_another_model_are_refused():
    with pytest.raises(UnfitError, match="must have shape"):
        compare_masks({"a": np.ones(3, bool)}, {"a": np.ones(4, bool)})


def test_the_study_of_replicates_and_rounds(toy):
    outcome = analyze("overlap", toy)
    rows = outcome.tables["overlap"]
    assert [(row["between"], row["round"]) for row in rows] == [
        *(("replicates", number) for number in (0, 1, 2)),
        *(("rounds", number) for number in (1, 2)),
    ]
    assert rows[0]["overlap"] == rows[0]["chance"] == 1.0
    kept = [sum(mask.sum() for mask in toy.masks(Job(0, number)).values()) for number in (1, 2)]
    assert rows[4]["overlap"] == pytest.approx(kept[1] / kept[0])  # nested masks
    expected = compare_masks(toy.masks(Job(0, 2)), toy.masks(Job(1, 2)))["(all)"]["overlap"]
    assert rows[2]["overlap"] == expected


def test_a_run_overlaps_itself_wholly(toy):
    outcome = analyze("overlap", toy, StudyRun(toy.path))
    rows = [row for row in outcome.tables["overlap_by_pair"] if row["between"] == "runs"]
    assert len(rows) == 6 * 3
    assert all(row["overlap"] == 1.0 for row in rows)
    assert outcome.tables["overlap"][-1]["chance"] < 0.5


def test_nothing_to_compare_is_said(toy):
    with pytest.raises(UnfitError, match="one replicate and one round"):
        analyze("overlap", StudyRun(toy.path, rounds=[1], replicates=[0]))
    with pytest.raises(UnfitError, match="in common"):
        analyze("overlap", StudyRun(toy.path, rounds=[1]), StudyRun(toy.path, rounds=[2]))
