"""Outputs that hardly vary over the samples are said to prove little."""

import numpy as np
import pytest

from tf_lottery.exporting.checks.output_spread import commonest_share, describe_constant_outputs, relative_change
from tf_lottery.exporting.output_kinds import OutputKind

CLASSES = {"y": OutputKind("logits", "a test")}


def test_a_collapsed_model_is_warned_of():
    constant = np.tile([[0.2, 0.5, 0.3]], (50, 1)) + 1e-4 * np.random.default_rng(0).random((50, 3))
    (sentence,) = describe_constant_outputs({"y": constant}, CLASSES)
    assert sentence == (
        "warning: the output 'y' changes by only 0.01 % of its size over the samples: agreement with it proves little."
    )
    assert describe_constant_outputs({"y": np.zeros((50, 3))}, {}) != []


def test_an_image_that_is_the_same_for_all_samples_is_warned_of():
    image = np.random.default_rng(0).random((1, 4, 4, 3)).repeat(9, axis=0)  # it varies, but not over the samples
    assert len(describe_constant_outputs({"y": image}, {})) == 1


def test_one_class_for_all_samples_is_warned_of():
    scores = np.random.default_rng(0).random((200, 2)) + np.array([0.0, 2.0])
    scores[0] = [9.0, 0.0]
    (sentence,) = describe_constant_outputs({"y": scores}, CLASSES)
    assert "predicts the same class for 99.50 % of the samples" in sentence
    assert describe_constant_outputs({"y": scores}, {}) == []  # as numbers, it varies


def test_what_varies_is_not_warned_of():
    varied = np.random.default_rng(0).normal(size=(200, 3))
    assert describe_constant_outputs({"y": varied}, CLASSES) == []
    assert describe_constant_outputs({"y": varied[:1]}, CLASSES) == []


def test_measures_by_hand():
    # Means 3 and 8, changes 0 and 1: the root of 1/2, of values whose squares have the mean (9 + 9 + 49 + 81) / 4.
    assert relative_change(np.array([[3.0, 7.0], [3.0, 9.0]])) == pytest.approx(np.sqrt(0.5 / 37))
    assert relative_change(np.zeros((3, 2))) == 0.0
    assert commonest_share(np.array([[2, 2], [0, 2]])) == 0.75
