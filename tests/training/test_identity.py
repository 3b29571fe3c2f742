"""What makes one loss or metric another: a changed one must never get the results of the old one."""

import functools
import json

import keras
import numpy as np
import pytest

from tf_lottery.training.identity import describe


def scaled(factor):
    return lambda true, predicted: factor * predicted


class Focal(keras.losses.Loss):
    """Without a `get_config` of its own: Keras would not know `gamma`."""

    def __init__(self, gamma):
        super().__init__()
        self.gamma = gamma

    def call(self, true, predicted):
        return predicted**self.gamma


@pytest.mark.parametrize(
    "make",
    [
        scaled,
        Focal,
        lambda value: scaled(np.full(3, value)),
        lambda value: scaled(keras.Variable(float(value))),
        lambda value: functools.partial(keras.losses.mean_squared_error, value),
        lambda value: [{"out": scaled(value)}],
        lambda value: Focal(value).call,
        lambda value: keras.losses.Huber(delta=float(value)),
    ],
)
def test_equal_values_are_equal_and_others_are_not(make):
    assert describe(make(1)) == describe(make(1)) != describe(make(2))
    assert json.loads(json.dumps(describe(make(1)))) == describe(make(1))


def test_names_that_count_up_make_no_difference():
    assert Focal(1).name != Focal(1).name
    assert describe(Focal(1)) == describe(Focal(1))


def test_a_function_that_captures_itself_has_an_end():
    def recursive(true, predicted):
        return recursive(predicted, true)

    assert describe(recursive) == describe(recursive)
