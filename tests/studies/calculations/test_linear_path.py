"""The line between two networks: its ends, its middle, and the barrier on it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.studies.calculations.linear_path import barrier_height, interpolate_weights, path_fractions

FLOATS = arrays.arrays("float32", 5, elements=st.floats(-1e3, 1e3, width=32))


def test_the_line_by_hand():
    first = {"w": np.array([0.0, 4.0], "float32"), "seed": np.array([1, 2], "uint32")}
    second = {"w": np.array([2.0, 0.0], "float32"), "seed": np.array([7, 7], "uint32")}
    assert interpolate_weights(first, second, 0.25)["w"].tolist() == [0.5, 3.0]
    for fraction in (0.0, 0.5, 1.0):
        actual = interpolate_weights(first, second, fraction)
        assert actual["seed"].tolist() == [1, 2]
        assert actual["w"].dtype == np.float32


@given(FLOATS, FLOATS, st.floats(0, 1))
def test_a_line_ends_exactly_at_its_ends_and_to_itself_it_is_a_point(a, b, fraction):
    assert np.array_equal(interpolate_weights({"w": a}, {"w": b}, 0.0)["w"], a)
    assert np.array_equal(interpolate_weights({"w": a}, {"w": b}, 1.0)["w"], b)
    assert np.array_equal(interpolate_weights({"w": a}, {"w": a}, fraction)["w"], a)


def test_height_is_the_largest_value_minus_the_mean_of_the_ends():
    assert barrier_height([0.25, 1.0, 0.75]) == 0.5
    assert barrier_height([0.2, 0.1, 0.4]) == pytest.approx(0.1)  # the worse end counts as on the line
    assert barrier_height([0.3, 0.2, 0.3]) == 0.0


def test_positions_are_even_and_hold_the_ends():
    assert path_fractions(5) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len(path_fractions()) == 30
    with pytest.raises(UsageError, match="at least 3"):
        path_fractions(2)


def test_networks_of_other_models_have_no_line():
    with pytest.raises(UnfitError, match="keys of the weights of the second network"):
        interpolate_weights({"a": np.zeros(1)}, {"b": np.zeros(1)}, 0.5)
