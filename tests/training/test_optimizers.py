"""New optimizers like the caller's own."""

import keras
import pytest

from tf_lottery.errors import UsageError
from tf_lottery.training.optimizers import copy_optimizer, get_optimizer, serialize_optimizer

O = keras.optimizers  # noqa: E741


class Slowing(O.schedules.LearningRateSchedule):
    """Not registered with Keras."""

    def __init__(self, first):
        self.first = first

    def __call__(self, step):
        return self.first / (1 + keras.ops.cast(step, "float32"))

    def get_config(self):
        return {"first": self.first}


class Own(O.SGD):
    """Not registered with Keras."""


@pytest.mark.parametrize(
    "optimizer",
    [
        O.Adam(0.25),
        O.Adam(Slowing(0.25)),
        O.SGD(lambda: 0.25),
        Own(0.25, momentum=0.9),
        O.LossScaleOptimizer(Own(Slowing(0.25)), initial_scale=8.0),
        O.Lamb(0.25),  # Keras's own registry lacks it
    ],
    ids=lambda optimizer: type(optimizer).__name__,
)
def test_a_copy_is_of_the_same_configuration_and_has_no_state(optimizer):
    optimizer.build([keras.Variable([1.0])])
    optimizer.apply([keras.ops.ones(1)])
    copy = copy_optimizer(optimizer)
    assert type(copy) is type(optimizer)
    assert copy is not optimizer
    assert not copy.built
    assert serialize_optimizer(copy) == serialize_optimizer(optimizer)
    inner = copy.inner_optimizer if isinstance(copy, O.LossScaleOptimizer) else copy
    assert float(inner.learning_rate) == 0.25
    assert int(copy.iterations) == 0


def test_names_excluded_from_weight_decay_stay_excluded():
    # No configuration holds them: the copies decayed what the caller had excluded.
    optimizer = O.SGD(1.0, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    kernel, bias = keras.Variable([2.0], name="kernel"), keras.Variable([2.0], name="bias")
    copy_optimizer(optimizer).apply([keras.ops.zeros(1)] * 2, [kernel, bias])
    assert float(kernel[0]) == 1.0
    assert float(bias[0]) == 2.0


def test_variables_excluded_from_weight_decay_are_refused():
    optimizer = O.AdamW()
    optimizer.exclude_from_weight_decay(var_list=[keras.Variable([1.0])])
    with pytest.raises(UsageError, match="var_names"):
        get_optimizer(optimizer)


@pytest.mark.parametrize("identifier", ["adamm", None, 5, O.Adam])
def test_what_is_no_optimizer_is_refused(identifier):
    with pytest.raises(UsageError, match="optimizer"):
        get_optimizer(identifier)


def test_an_optimizer_that_cannot_be_made_again_is_refused():
    class Closed(O.SGD):
        def __init__(self, secret, **options):
            super().__init__(**options)

    with pytest.raises(UsageError, match="get_config"):
        copy_optimizer(Closed("secret"))
