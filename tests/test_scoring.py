"""Scores: by hand, and what is refused."""

import numpy as np
import pytest

from tf_lottery import scoring
from tf_lottery.errors import NonFiniteError, UsageError


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_magnitude_is_the_absolute_value(dtype):
    weights = {"a": np.array([-2.0, 0.5, -0.0], dtype)}
    scored = scoring.scores(weights)
    np.testing.assert_array_equal(scored["a"], [2.0, 0.5, 0.0])
    assert scored["a"].dtype == dtype
    np.testing.assert_array_equal(weights["a"], [-2.0, 0.5, 0.0])


def test_random_is_a_function_of_seed_and_path():
    weights = {"a": np.zeros((40, 5)), "b": np.zeros((40, 5))}
    first = scoring.scores(weights, "random", seed=1)
    again = scoring.scores({"b": weights["b"]}, "random", seed=1)
    other = scoring.scores(weights, "random", seed=2)
    np.testing.assert_array_equal(first["b"], again["b"])
    assert not (first["a"] == first["b"]).all() and not (first["a"] == other["a"]).all()
    assert ((first["a"] >= 0) & (first["a"] < 1)).all() and abs(first["a"].mean() - 0.5) < 0.1


def test_what_a_criterion_needs():
    assert scoring.needs("magnitude") == set() and scoring.needs("random") == {"seed"}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_are_refused(value):
    with pytest.raises(NonFiniteError, match="weights of 'a' must be finite. Received: 1 NaN"):
        scoring.scores({"a": np.array([1.0, value])})


@pytest.mark.parametrize(
    "criterion, arguments, message",
    [
        ("magnitud", {}, "Did you mean 'magnitude'. Valid: magnitude, random"),
        ("random", {}, "missing a required argument: 'seed'"),
        ("magnitude", {"seed": 1}, "unexpected keyword argument 'seed'"),
    ],
)
def test_wrong_arguments_are_refused(criterion, arguments, message):
    with pytest.raises(UsageError, match=message):
        scoring.scores({"a": np.ones(2)}, criterion, **arguments)
