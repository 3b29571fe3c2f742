"""`find_ticket` on published architectures: a round of one step, followed by hand with plain Keras and NumPy."""

from collections.abc import Callable
from typing import Any, TypeAlias

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.layers import named_variables
from zoo.zoo_models import NAMES, inputs_of, small_mobilenet, targets_of, zoo_model
from zoo.zoo_page import check_cells

RATE = 0.5
# Of the first step of the dense network, over all weights: gradients of new models may be tiny, or explode.
LENGTH = 0.1
# With two, batch normalization of single pixels turns last bits into other gradients, in plain Keras too.
EXAMPLES = 16

Weights: TypeAlias = dict[str, np.ndarray]


def sgd(rate: float) -> keras.optimizers.Optimizer:
    return keras.optimizers.SGD(rate, momentum=0.9)


def values_of(model: keras.Model) -> Weights:
    return {path: np.array(variable.value) for path, variable in named_variables(model).items()}


class PlainTraining:
    """Training steps of plain Keras, each from given weights.

    Args:
        model: a new plain model.
        x: a batch of inputs.
        y: their targets.

    Attributes:
        rate: the learning rate, with which the first step from the model's own weights has the length `LENGTH`.
    """

    def __init__(self, model: keras.Model, x: Any, y: Any) -> None:
        self.model, self.x, self.y = model, x, y
        model.compile(sgd(1.0), "mse", jit_compile=False)
        model.optimizer.build(model.trainable_variables)
        self.state = [np.array(variable.value) for variable in model.optimizer.variables]
        self.rate, start = 1.0, values_of(model)
        changes = distances(self.step(start, {}), start)
        trained = [path for path, variable in named_variables(model).items() if variable.trainable]
        self.rate = float(LENGTH / np.linalg.norm([changes[path] for path in trained]))

    def step(self, start: Weights, masks: Weights) -> Weights:
        """What one step makes of weights of which the pruned ones are zero; its changes to those undone.

        Args:
            start: the value of every variable by path.
            masks: boolean arrays by path; True keeps.
        """
        for path, variable in named_variables(self.model).items():
            variable.assign(start[path] * masks.get(path, 1))
        for variable, value in zip(self.model.optimizer.variables, self.state, strict=True):
            variable.assign(value)
        self.model.optimizer.learning_rate = self.rate
        self.model.train_on_batch(self.x, self.y)
        return {path: value * masks.get(path, 1) for path, value in values_of(self.model).items()}


def pruned_by_hand(weights: np.ndarray) -> np.ndarray:
    """The mask that keeps the larger half of an array."""
    mask = np.ones(weights.size, bool)
    mask[np.argsort(np.abs(weights).ravel(), kind="stable")[: round(RATE * weights.size)]] = False
    return mask.reshape(weights.shape)


def moved_by_last_bits(weights: Weights, seed: int) -> Weights:
    """Weights of which each is multiplied by 1 or by a neighbor of 1, at random."""
    random = np.random.default_rng(seed)
    step = np.finfo("float32").eps
    return {
        path: value * (1 + step * random.integers(-1, 2, value.shape)).astype("float32")
        if value.dtype == np.float32
        else value
        for path, value in weights.items()
    }


def distances(one: Weights, other: Weights) -> dict[str, float]:
    """The Euclidean distance of each array, by path."""
    return {path: float(np.linalg.norm((value - other[path].astype("float64")).ravel())) for path, value in one.items()}


def assert_trained_alike(ours: Weights, plain: PlainTraining, start: Weights, masks: Weights) -> None:
    """Compare weights after a step with those of plain Keras, as far as rounding allows.

    How far rounding moves a step of plain Keras is measured: others start from weights moved by their last bits. Beside
    that, a fiftieth of the change: an activation that rounds to the other side of its kink is one more in one of them.

    Args:
        ours: what `find_ticket` made, by path.
        plain: trains by hand.
        start: the initial weights, unpruned.
        masks: boolean arrays by path; True keeps.
    """
    by_hand = plain.step(start, masks)
    assert list(ours) == list(by_hand)
    changes = distances(by_hand, {path: value * masks.get(path, 1) for path, value in start.items()})
    moved = [distances(by_hand, plain.step(moved_by_last_bits(start, seed), masks)) for seed in range(3)]
    noise = {path: max(one[path] for one in moved) for path in by_hand}
    assert sum(noise.values()) < 0.1 * sum(changes.values()), "rounding alone makes such a difference"
    for path, distance in distances(ours, by_hand).items():
        last_bits = 1e-6 * np.linalg.norm(by_hand[path].astype("float64").ravel())
        assert distance <= 10 * noise[path] + 0.02 * changes[path] + last_bits, path


def search(make: Callable[[], keras.Model]) -> dict[str, str]:
    """Find a ticket of a model, and follow each step of it by hand; returns its cell of the table.

    Args:
        make: makes the model, with the same weights each time.
    """
    model = make()
    x = inputs_of(model, EXAMPLES)
    y = targets_of(model(x))
    data = tf.data.Dataset.from_tensors((x, y))
    start = values_of(model)
    plain = PlainTraining(make(), x, y)
    result = tfl.find_ticket(
        *(model, data),
        validation_data=data,
        loss="mse",
        optimizer=sgd(plain.rate),
        rounds=1,
        steps=1,
        rate=RATE,
        output_rate=RATE,
        jit_compile=False,
        verbose=0,
    )
    dense, ticket = result.ticket(0), result.ticket(1)
    assert all(np.array_equal(value, start[path]) for path, value in values_of(model).items())
    assert_trained_alike(dense.trained_weights, plain, start, {})
    assert_trained_alike(ticket.trained_weights, plain, start, ticket.masks)
    for path, mask in ticket.masks.items():
        assert np.array_equal(mask, pruned_by_hand(dense.trained_weights[path])), path
        assert not ticket.trained_weights[path][~mask].any(), path
    for path, value in ticket.rewind_weights.items():
        assert np.array_equal(value, start[path] * ticket.masks.get(path, 1)), path
    return {"Ticket": "yes"}


@pytest.mark.slow
def test_a_ticket_of_a_small_mobilenet():
    search(small_mobilenet)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_tickets(name):
    check_cells(name, search(lambda: zoo_model(name)))
