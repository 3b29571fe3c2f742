"""Noise on weights, corrupted inputs and attacks: pure functions by hand, and their studies of a run."""

import keras
import numpy as np
import pytest

from tf_lottery.data import Arrays
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.studies import StudyRun, analyze
from tf_lottery.studies.calculations.adversary import Adversary
from tf_lottery.studies.calculations.evaluator import input_range
from tf_lottery.studies.calculations.input_corruptions import (
    CORRUPTIONS,
    add_gaussian_noise,
    blur,
    corruptions_for_shape,
    occlude,
    reduce_contrast,
)
from tf_lottery.studies.weight_noise import LEVELS, add_weight_noise

IMAGES = np.random.default_rng(0).uniform(size=(6, 8, 8, 1)).astype("float32")


def test_noise_is_of_the_survivors_deviation_and_pruned_weights_stay_zero():
    generator = np.random.default_rng(0)
    mask = generator.uniform(size=(200, 100)) < 0.5
    weights = {
        "w": np.where(mask, generator.normal(0, 3, mask.shape), 0.0).astype("float32"),
        "b": np.ones(4, "float32"),
    }
    noisy = add_weight_noise(weights, {"w": mask}, deviations=0.5, seed=1)
    assert np.all(noisy["w"][~mask] == 0.0)
    assert noisy["b"] is weights["b"]
    added = (noisy["w"] - weights["w"])[mask]
    assert added.std() == pytest.approx(0.5 * weights["w"][mask].std(), rel=0.02)
    again = add_weight_noise(weights, {"w": mask}, deviations=1.0, seed=1)
    np.testing.assert_allclose((again["w"] - weights["w"])[mask], 2 * added, rtol=1e-3, atol=1e-5)  # the same draws
    assert not np.array_equal(add_weight_noise(weights, {"w": mask}, deviations=0.5, seed=2)["w"], noisy["w"])
    emptied = add_weight_noise({"w": np.zeros(3)}, {"w": np.zeros(3, bool)}, deviations=1.0, seed=0)
    assert emptied["w"].tolist() == [0, 0, 0]


def test_corruptions_by_hand():
    half = np.full((1, 4, 4, 1), 0.5, "float32")
    half[0, 0, 0, 0] = 1.0
    mean = half.mean()
    np.testing.assert_allclose(reduce_contrast(half, 0.5, 0), half + 0.5 * (mean - half))
    assert np.allclose(reduce_contrast(half, 1.0, 0), mean)
    hidden = occlude(np.ones((50, 5, 4, 2), "float32"), 0.5, 0)
    assert np.all((hidden == 0).sum(axis=(1, 2, 3)) == 2 * 2 * 2)  # a square of 2 by 2, both channels
    assert len({image.tobytes() for image in hidden}) == 12  # each of 4 * 3 places comes up
    assert np.all(blur(np.full((2, 5, 5, 3), 0.25, "float32"), 1.0, 0) == pytest.approx(0.25))
    point = np.zeros((1, 9, 9, 1), "float32")
    point[0, 4, 4, 0] = 1.0
    spread = blur(point, 1.0, 0)[0, :, :, 0]
    assert spread[4, 5] / spread[4, 4] == pytest.approx(np.exp(-0.5), rel=1e-4)
    noise = add_gaussian_noise(np.full((50, 20, 20, 1), 0.5, "float32"), 0.1, 0)
    assert noise.std() == pytest.approx(0.1, rel=0.02)
    assert noise.min() >= 0
    assert noise.max() <= 1


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_changes_more_at_each_level_and_keeps_the_range(name):
    each = CORRUPTIONS[name]
    actual = [each.function(IMAGES, level, 3) for level in each.levels]
    changes = [float(np.abs(x - IMAGES).mean()) for x in actual]
    assert changes == sorted(changes)
    assert changes[0] > 0
    for level, x in zip(each.levels, actual, strict=True):
        assert x.shape == IMAGES.shape
        assert x.min() >= 0
        assert x.max() <= 1
        assert np.array_equal(x, each.function(IMAGES, level, 3))


def test_flat_inputs_take_no_blur_and_no_occlusion():
    assert set(corruptions_for_shape((16,))) == {"gaussian noise", "contrast"}
    assert set(corruptions_for_shape((8, 8, 3))) == set(CORRUPTIONS)


def test_the_range_of_inputs_is_per_channel():
    x = np.array([[[[0.0, -1.0]]], [[[2.0, 5.0]]]], "float32")
    low, high = input_range(x)
    assert low.tolist() == [0, -1]
    assert high.tolist() == [2, 5]
    assert [float(bound) for bound in input_range(np.array([[1.0, 4.0]]))] == [1.0, 4.0]
    with pytest.raises(UnfitError, match="one array of real numbers"):
        input_range(np.array([[1, 2]]))
    with pytest.raises(UnfitError, match="dict"):
        input_range({"a": x})


@pytest.fixture(scope="module")
def linear():
    """A linear classifier of two classes: the margin x.(w1 - w0) falls by at most epsilon * |w1 - w0|_1."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, use_bias=False)])
    model.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.set_weights([np.array([[1.0, -1.0], [0.0, 0.5], [-2.0, 0.0], [0.0, 0.0]], "float32")])
    return model


def test_attacks_on_a_linear_model_reach_the_worst_case_in_closed_form(linear):
    x = np.array([[0.5, 0.5, 0.5, 0.5], [0.4, 0.6, 0.5, 0.5]], "float32")
    arrays = Arrays(x, np.array([0, 1]))
    adversary = Adversary(linear, np.zeros(()), np.ones(()))
    difference = np.array([-2.0, 0.5, 2.0, 0.0])  # w1 - w0
    toward = np.array([1.0, -1.0])  # for class 0 the loss grows with the margin of class 1, for class 1 against it
    worst = x + 0.1 * toward[:, None] * np.sign(difference)
    np.testing.assert_allclose(adversary.fgsm(arrays, 0.1), worst, atol=1e-6)
    np.testing.assert_allclose(adversary.pgd(arrays, 0.1)[:, :3], worst[:, :3], atol=1e-6)
    margins = (adversary.fgsm(arrays, 0.1) - x) @ difference
    np.testing.assert_allclose(np.abs(margins), 0.1 * np.abs(difference).sum(), rtol=1e-5)


def test_attacks_stay_within_epsilon_and_within_the_range(linear):
    generator = np.random.default_rng(0)
    arrays = Arrays(generator.uniform(-1, 3, size=(40, 4)).astype("float32"), generator.integers(0, 2, 40))
    low, high = np.array([-1.0]), np.array([3.0])
    adversary = Adversary(linear, low, high)
    for x in (adversary.fgsm(arrays, 0.2), adversary.pgd(arrays, 0.2, seed=1)):
        assert np.abs(x - arrays.x).max() <= 0.2 * 4 + 1e-6
        assert x.min() >= -1
        assert x.max() <= 3
        assert np.abs(x - arrays.x).max() > 0.7
    # The last input does not matter to the loss, so it stays where the random start put it.
    assert np.all(adversary.fgsm(arrays, 0.2)[:, 3] == arrays.x[:, 3])
    starts = [adversary.pgd(arrays, 0.2, seed=seed)[:, 3] for seed in (1, 1, 2)]
    assert np.array_equal(starts[0], starts[1])
    assert not np.array_equal(starts[0], starts[2])
    with pytest.raises(UsageError, match="at least 1"):
        adversary.pgd(arrays, 0.2, steps=0)
    outside = Arrays(np.full((1, 4), 9.0, "float32"), np.array([0]))
    assert adversary.fgsm(outside, 0.2).max() <= 9.0  # what lies outside is left there, and goes no farther


def test_weight_noise_of_a_run(toy):
    outcome = analyze("weight-noise", StudyRun(toy.path, rounds=[0, 2], problem=toy.problem), draws=2)
    rows = outcome.tables["trained_weights_by_draw"]
    assert len(rows) == 2 * 2 * (1 + 2 * (len(LEVELS) - 1))
    table = outcome.tables["test_accuracy"]
    assert [row["noise"] for row in table] == list(LEVELS)
    assert all(name.startswith("round ") for name in list(table[0])[1:])
    assert len(table[0]) == 3
    initial = outcome.tables["initial_weights"]
    assert [(row["round"], row["noise"]) for row in initial] == [(2, 0.0), (2, 1.0)]
    expected = [row["test_accuracy"] for row in toy.rows() if row["round"] == 2 and row["variant"] == "noise_1"]
    assert initial[1]["test_accuracy"] == pytest.approx(np.mean(expected))
    with pytest.raises(UsageError, match="draws"):
        analyze("weight-noise", toy, draws=0)


def test_corruption_and_attacks_of_a_run(toy):
    small = StudyRun(toy.path, rounds=[0, 1], replicates=[0], problem=toy.problem)
    clean = {row["round"]: row["test_accuracy"] for row in small.rows() if row["variant"] == "ticket"}
    for name, none in (("corruption", "level"), ("attacks", "epsilon")):
        outcome = analyze(name, small)
        unchanged = [row for row in outcome.tables[f"{name}_by_replicate"] if row[none] == 0.0]
        assert unchanged
        assert all(row["test_accuracy"] == pytest.approx(clean[row["round"]]) for row in unchanged)
    rows = outcome.tables["attacks_by_replicate"]
    for number in (0, 1):
        losses = {
            name: [row["test_loss"] for row in rows if (row["round"], row["attack"]) == (number, name)]
            for name in ("FGSM", "PGD")
        }
        assert losses["FGSM"] == sorted(losses["FGSM"])
        assert losses["PGD"][-1] > losses["FGSM"][-1] * 0.9
    assert "50 test examples" in outcome.sentences[-1]
    few = analyze("corruption", small, test_examples=7)
    assert "7 test examples" in " ".join(few.sentences)
