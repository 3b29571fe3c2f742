"""Agreement of outputs, and accuracies, on arrays small enough to check by hand."""

import numpy as np
import pytest

from tf_lottery.errors import NonFiniteError
from tf_lottery.exporting.checks.agreement import accuracy, compare_outputs, error_over_spread
from tf_lottery.exporting.checks.keras_reference import KerasReference
from tf_lottery.exporting.checks.output_error import decibels
from tf_lottery.exporting.output_kinds import OutputKind
from tf_lottery.exporting.signature import Signature

REFERENCE = {"y": np.array([[1.0, 4.0], [2.0, 0.0]])}
LOGITS, REGRESSION = OutputKind("logits", "a test"), OutputKind("regression", "a test")
SCORES = OutputKind("binary", "a test")
CLASSES = {"y": LOGITS}


def make_reference(outputs, labels=None, *, validation_count=0, validation_labels=None, kinds=CLASSES):
    """A reference of one input, with the outputs, labels and kinds of a test."""
    signature = Signature(("x",), ((1,),), ("float32",), tuple(outputs))
    none = [None] * len(outputs)
    count = len(next(iter(outputs.values())))
    return KerasReference(
        *(signature, [np.zeros((count, 1))], outputs, labels or none, validation_labels or none),
        validation_count=validation_count,
        kinds=kinds,
    )


def test_equal_outputs_hold():
    agreement = compare_outputs(REFERENCE, {"y": REFERENCE["y"].copy()}, kinds=CLASSES)
    assert (agreement.max_abs_error, agreement.max_rel_error, agreement.rms_rel_error, agreement.class_agreement) == (
        0.0,
        0.0,
        0.0,
        1.0,
    )
    assert agreement.failure == ""


def test_errors_are_measured_against_the_largest_output():
    agreement = compare_outputs(REFERENCE, {"y": np.array([[1.0, 4.5], [2.25, 0.0]])})
    assert (agreement.max_abs_error, agreement.max_rel_error) == (0.5, 0.125)
    assert "differs by 0.5, 1.2e-01" in agreement.failure


def test_the_tolerance_is_inclusive_and_relative():
    outputs = {"y": np.array([[1.0, 4.0], [2.5, 0.0]])}
    assert compare_outputs(REFERENCE, outputs, tolerance=0.125).failure == ""
    assert compare_outputs(REFERENCE, outputs, tolerance=0.124).failure != ""


def test_another_class_fails_but_a_near_tie_does_not():
    tie, swapped = {"y": np.array([[1.0, 1.0 + 1e-6]])}, {"y": np.array([[1.0 + 1e-6, 1.0]])}
    agreement = compare_outputs(tie, swapped, kinds=CLASSES)
    assert agreement.failure == ""
    assert agreement.class_agreement == 0.0
    clear, other = {"y": np.array([[1.0, 1.5]])}, {"y": np.array([[1.6, 1.5]])}
    assert "1 of 1 predicted classes differ" in compare_outputs(clear, other, tolerance=0.1, kinds=CLASSES).failure


@pytest.mark.parametrize("precision", ["float32", "float16", "dynamic", "int8"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_non_finite_output_fails(value, precision):
    outputs = {"y": np.array([[1.0, 4.0], [value, 0.0]])}
    assert compare_outputs(REFERENCE, outputs, precision=precision).failure != ""


def test_missing_and_misshapen_outputs_fail():
    assert "received None" in compare_outputs(REFERENCE, {}).failure
    assert "expected shape (2, 2), received (1, 2)" in compare_outputs(REFERENCE, {"y": np.ones((1, 2))}).failure


def test_a_non_finite_reference_is_an_error():
    with pytest.raises(NonFiniteError, match="'y'"):
        compare_outputs({"y": np.array([np.nan])}, {"y": np.array([1.0])})


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_all_zero_outputs_agree_with_zeros_only(precision):
    zero = {"y": np.zeros((2, 1))}
    assert compare_outputs(zero, zero, precision=precision).failure == ""
    assert compare_outputs(zero, {"y": np.full((2, 1), 1e-30)}, precision=precision).failure != ""


def test_outputs_that_hold_no_classes_are_compared_as_numbers():
    """The largest of three numbers is no class: boxes and images missed their budget by it, or passed it unseen."""
    boxes = {"y": np.array([[0.1, 0.2, 0.7], [0.3, 0.2, 0.5]] * 10)}
    other = {"y": boxes["y"][:, ::-1] * 1.0}
    for kinds in ({}, {"y": REGRESSION}, {"y": OutputKind("image", "a test")}):
        agreement = compare_outputs(boxes, other, precision="int8", kinds=kinds)
        assert agreement.class_agreement is None
        assert "classes" not in agreement.failure


def test_yes_or_no_of_each_value():
    scores = {"y": np.array([[1.0, -2.0], [-3.0, 4.0]])}
    agreement = compare_outputs(scores, {"y": np.array([[1.0, 2.0], [-3.0, 4.0]])}, kinds={"y": SCORES})
    assert agreement.class_agreement == 0.75


def test_decibels_by_hand():
    assert [decibels(error) for error in (1.0, 0.1, 0.01, 0.0)] == [0.0, 20.0, 40.0, np.inf]


def test_error_over_spread_by_hand():
    # Each channel: values 1 and 3, spread 1; errors of 0.5 everywhere: 0.5.
    expected = np.array([[1.0, 101.0], [3.0, 103.0]])
    assert error_over_spread(expected, expected + 0.5) == 0.5
    assert error_over_spread(np.array([[2.0]]), np.array([[2.5]])) == 0.25  # one sample: over its own size


def test_a_constant_is_no_answer_however_near_the_mean():
    # A regression to 1000 +- 0.2: the mean square over that of the values would be 2e-4.
    reference = {"y": 1000 + 0.2 * np.sin(np.arange(50.0))[:, None]}
    constant = {"y": np.full((50, 1), 1000.0)}
    assert "of its spread" in compare_outputs(reference, constant, precision="int8").failure


def test_small_channels_do_not_hide_behind_large_ones():
    # Boxes in pixels beside scores: the scores are all answered 0.
    rng = np.random.default_rng(0)
    boxes, scores = rng.uniform(0, 640, (200, 4)), rng.uniform(0, 1, (200, 2))
    reference = {"y": np.concatenate([boxes, scores], 1)}
    lost = {"y": np.concatenate([boxes, np.zeros_like(scores)], 1)}
    assert "loses channel 4 and 1 more" in compare_outputs(reference, lost, precision="int8").failure
    near = {"y": reference["y"] * 1.001}
    assert compare_outputs(reference, near, precision="int8").failure == ""


def test_rare_classes_of_a_distribution_may_round_to_nothing():
    rows = np.tile([[0.899, 0.1, 0.001], [0.1, 0.8985, 0.0015]], (50, 1))
    rounded = np.round(rows * 256) / 256
    assert compare_outputs({"y": rows}, {"y": rounded}, precision="int8").failure == ""


def test_reduced_precisions_are_judged_by_error_and_classes():
    # Channels 3, 5 and 4, 8: spreads 1 and 2, together sqrt(2.5); errors of 0.1: 0.0632.
    reference = {"y": np.array([[3.0, 4.0], [5.0, 8.0]])}
    outputs = {"y": reference["y"] + 0.1}
    agreement = compare_outputs(reference, outputs, precision="dynamic")
    assert agreement.rms_rel_error == pytest.approx(0.1 / np.sqrt(2.5))
    assert agreement.failure == ""
    assert "an error of 6.3e-02 of its spread" in compare_outputs(reference, outputs, precision="float16").failure
    classes = {"y": np.tile([[3.0, 3.01], [9.0, 1.0]], (20, 1))}
    other = {"y": classes["y"].copy()}
    other["y"][0:8:2] = [3.01, 3.0]
    failure = compare_outputs(classes, other, precision="int8", kinds=CLASSES).failure
    assert "90.0 % of the predicted classes agree" in failure


def test_agreement_is_the_worst_and_accuracy_the_mean():
    reference = {"a": np.array([[0.0, 9.0], [9.0, 0.0]]), "b": np.array([[0.0, 9.0], [9.0, 0.0]])}
    outputs = {"a": reference["a"], "b": np.array([[0.0, 9.0], [0.0, 9.0]])}
    kinds = {"a": LOGITS, "b": LOGITS}
    assert compare_outputs(reference, outputs, kinds=kinds).class_agreement == 0.5
    judging = make_reference(reference, [np.array([1, 0]), np.array([0, 0])], kinds=kinds)
    assert judging.compare(reference).accuracy == 0.75  # (2/2 + 1/2) / 2


def test_what_chooses_is_of_the_validation_samples_alone():
    reference = {"y": np.array([[1.0, 2.0], [3.0, 0.0], [5.0, 1.0]])}  # classes 1, 0, 0
    judging = make_reference(reference, [np.array([1])], validation_count=2, validation_labels=[np.array([1, 0])])
    assert judging.accuracies() == (1.0, 0.5)
    close = np.tile([[0.0, 8.0], [4.0, 4.01]], (20, 1))
    judging = make_reference({"y": close}, validation_count=20)
    wrong_on_test = close.copy()
    wrong_on_test[1] = [4.01, 4.0]
    agreement = judging.compare({"y": wrong_on_test}, precision="int8")
    assert (agreement.class_agreement, agreement.validation_loss) == (39 / 40, 0.0)
    wrong_on_validation = close.copy()
    wrong_on_validation[21] = [4.01, 4.0]
    agreement = judging.compare({"y": wrong_on_validation}, precision="int8")
    assert (agreement.class_agreement, agreement.validation_loss) == (39 / 40, pytest.approx(1 / 20))


def test_without_classes_the_error_chooses():
    reference = {"y": np.array([[1.0], [3.0]] * 200)}
    agreement = make_reference(reference, kinds={"y": REGRESSION}).compare(
        {"y": reference["y"] + 0.05}, precision="int8"
    )
    assert (agreement.class_agreement, agreement.accuracy) == (None, None)
    assert agreement.validation_loss == pytest.approx(0.05)


def test_the_budget_of_boxes_is_their_error():
    """Four numbers whose order never changes: by their largest, an error of 7.5 % of the spread was a loss of 0."""
    rng = np.random.default_rng(0)
    boxes = np.array([0.1, 0.2, 0.7, 0.9]) + 0.03 * rng.standard_normal((300, 4))
    agreement = make_reference({"y": boxes}, kinds={"y": REGRESSION}).compare(
        {"y": boxes + 0.075 * 0.03 * rng.standard_normal(boxes.shape)}, precision="int8"
    )
    assert agreement.failure == ""
    assert agreement.validation_loss == pytest.approx(0.075, rel=0.05)


def test_the_budget_holds_for_every_output():
    """Beside an accuracy that was kept, the error of a second output was not looked at."""
    outputs = {"class": np.array([[0.0, 4.0], [3.0, 0.0]] * 10), "age": np.array([[1.0], [3.0]] * 10)}
    kinds = {"class": LOGITS, "age": REGRESSION}
    labels = [np.array([1, 0] * 5), None]
    judging = make_reference(outputs, validation_count=10, validation_labels=labels, kinds=kinds)
    agreement = judging.compare({**outputs, "age": outputs["age"] + 0.1}, precision="int8")
    assert agreement.losses == {"class": 0.0, "age": pytest.approx(0.1)}
    assert (agreement.validation_accuracy, agreement.validation_loss) == (1.0, pytest.approx(0.1))
    wrong = {**outputs, "class": outputs["class"].copy()}
    wrong["class"][-1] = [0.0, 0.1]
    assert judging.compare(wrong).losses == {}  # it is refused
    assert judging.compare(wrong, precision="float16").failure != ""


def test_what_an_accuracy_loses():
    close = np.tile([[0.0, 8.0], [4.0, 4.01]], (20, 1))
    judging = make_reference({"y": close}, validation_count=20, validation_labels=[np.zeros(20, int)])
    better = close.copy()
    better[21] = [4.01, 4.0]
    agreement = judging.compare({"y": better}, precision="int8")
    assert (agreement.validation_accuracy, agreement.validation_loss) == (0.05, -0.05)


def test_remarks():
    numbers = {"y": np.array([[1.0], [3.0]])}
    few = make_reference(numbers, [np.array([0.5, 0.7])], kinds={"y": REGRESSION})
    assert few.remarks() == [
        "Compared on 2 samples only: 256 or more are better.",
        "The output 'y' is regression (known by a test): no accuracy is reported.",
    ]
    (unknown,) = make_reference({"y": np.arange(512.0).reshape(256, 2)}, kinds={}).remarks()
    assert unknown.startswith("What the output 'y' holds is not known: it is compared as numbers. `task=`")
    classes = np.eye(2)[np.arange(256) % 2]
    assert make_reference({"y": classes}, [np.zeros(256, int)]).remarks() == []


def test_labels_as_indices_columns_or_one_hot():
    outputs = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4]])
    labels = np.array([1, 0, 0, 0])
    assert accuracy(outputs, labels, LOGITS) == 0.75
    assert accuracy(outputs, labels[:, None], LOGITS) == 0.75
    assert accuracy(outputs, np.eye(2)[labels], LOGITS) == 0.75
    assert accuracy(outputs, outputs, REGRESSION) is None


def test_accuracy_of_yes_or_no():
    probabilities = OutputKind("binary", "a test", threshold=0.5)
    assert accuracy(np.array([[0.6], [0.2], [0.4]]), np.array([1, 0, 1]), probabilities) == pytest.approx(2 / 3)
    assert accuracy(np.array([[2.0], [-1.0], [0.4]]), np.array([1, 0, 1]), SCORES) == 1.0
    assert accuracy(np.array([[2.0, -1.0]]), np.array([[1, 1]]), SCORES) == 0.5
