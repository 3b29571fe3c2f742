"""Comparison of outputs, on arrays small enough to check by hand."""

import numpy as np
import pytest

from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.export.signature import Signature
from tf_lottery.export.trial import Trial
from tf_lottery.export.verification import accuracy, compare

REFERENCE = {"y": np.array([[1.0, 4.0], [2.0, 0.0]])}


def test_equal_outputs_hold():
    found = compare(REFERENCE, {"y": REFERENCE["y"].copy()})
    assert (found.max_abs_error, found.max_rel_error, found.rms_rel_error, found.agreement) == (0.0, 0.0, 0.0, 1.0)
    assert found.failure == ""


def test_errors_are_measured_against_the_largest_output():
    found = compare(REFERENCE, {"y": np.array([[1.0, 4.5], [2.25, 0.0]])})
    assert (found.max_abs_error, found.max_rel_error) == (0.5, 0.125)
    assert "differs by 0.5, 1.2e-01" in found.failure


def test_the_tolerance_is_inclusive_and_relative():
    outputs = {"y": np.array([[1.0, 4.0], [2.5, 0.0]])}
    assert compare(REFERENCE, outputs, tolerance=0.125).failure == ""
    assert compare(REFERENCE, outputs, tolerance=0.124).failure != ""


def test_another_class_fails_but_a_near_tie_does_not():
    tie, swapped = {"y": np.array([[1.0, 1.0 + 1e-6]])}, {"y": np.array([[1.0 + 1e-6, 1.0]])}
    found = compare(tie, swapped)
    assert found.failure == ""
    assert found.agreement == 0.0
    clear, other = {"y": np.array([[1.0, 1.5]])}, {"y": np.array([[1.6, 1.5]])}
    assert "1 of 1 predicted classes differ" in compare(clear, other, tolerance=0.1).failure


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_output_fails(value):
    assert compare(REFERENCE, {"y": np.array([[1.0, 4.0], [value, 0.0]])}).failure != ""


def test_missing_and_misshapen_outputs_fail():
    assert "received None" in compare(REFERENCE, {}).failure
    assert "expected shape (2, 2), received (1, 2)" in compare(REFERENCE, {"y": np.ones((1, 2))}).failure


def test_a_non_finite_reference_is_an_error():
    with pytest.raises(NonFiniteError, match="'y'"):
        compare({"y": np.array([np.nan])}, {"y": np.array([1.0])})


def test_all_zero_outputs_agree_with_zeros_only():
    zero = {"y": np.zeros((2, 1))}
    assert compare(zero, zero).failure == ""
    assert compare(zero, {"y": np.full((2, 1), 1e-30)}).failure != ""


def test_a_single_unit_has_no_classes():
    found = compare({"y": np.ones((3, 1))}, {"y": np.ones((3, 1))})
    assert found.agreement is None


def test_agreement_is_the_worst_and_accuracy_the_mean_over_outputs():
    reference = {"a": np.array([[0.0, 9.0], [9.0, 0.0]]), "b": np.array([[0.0, 9.0], [9.0, 0.0]])}
    outputs = {"a": reference["a"], "b": np.array([[0.0, 9.0], [0.0, 9.0]])}
    assert compare(reference, outputs).agreement == 0.5
    signature = Signature(("x",), ((1,),), ("float32",), ("a", "b"))
    labels = [np.array([1, 0]), np.array([0, 0])]
    trial = Trial(signature, [np.zeros((2, 1))], reference, labels, [None, None])
    assert trial.judge(reference).accuracy == 0.75  # (2/2 + 1/2) / 2


def test_accuracy_is_of_the_reported_and_of_the_validation_samples_apart():
    reference = {"y": np.array([[1.0, 2.0], [3.0, 0.0], [5.0, 1.0]])}  # classes 1, 0, 0
    signature = Signature(("x",), ((1,),), ("float32",), ("y",))
    labels, validation = [np.array([1])], [np.array([1, 0])]
    trial = Trial(signature, [np.zeros((3, 1))], reference, labels, validation, validation=2)
    assert trial.accuracies() == (1.0, 0.5)


def test_reduced_precisions_are_judged_by_the_mean_square_and_the_classes():
    # Root mean square of the reference: sqrt((9 + 16) / 2) = 3.536; of the error: sqrt(0.02 / 2) = 0.1.
    reference, outputs = {"y": np.array([[3.0, 4.0]])}, {"y": np.array([[3.1, 4.1]])}
    found = compare(reference, outputs, precision="dynamic")
    assert found.rms_rel_error == pytest.approx(0.1 / np.sqrt(12.5))
    assert found.failure == ""
    assert "an error of 2.8e-02" in compare(reference, outputs, precision="float16").failure
    classes = {"y": np.tile([[3.0, 3.01]], (20, 1))}
    other = {"y": classes["y"].copy()}
    other["y"][:2] = [3.01, 3.0]
    assert "90.0 % of the predicted classes agree" in compare(classes, other, precision="int8").failure


def test_labels_as_indices_columns_or_one_hot():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    labels = np.array([1, 0, 0, 0])
    assert accuracy(outputs, labels) == 0.75
    assert accuracy(outputs, labels[:, None]) == 0.75
    assert accuracy(outputs, np.eye(2)[labels]) == 0.75


@pytest.mark.parametrize("labels", [np.array([0, 1, 2]), np.array([0, 1]), np.array([-1, 0, 0])])
def test_labels_that_do_not_fit(labels):
    with pytest.raises(UnfitError, match="labels"):
        accuracy(np.zeros((3, 2)), labels)
