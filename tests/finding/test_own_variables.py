"""Variables that a model has beside those of its layers belong to its state: copied, rewound, drawn again."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError
from tf_lottery.layers import named_variables
from tf_lottery.training.reinitialize import fresh_weights

L = keras.layers
X = np.random.default_rng(0).normal(size=(64, 3)).astype("float32")
Y = X.sum(axis=1, keepdims=True)


class Counting(keras.Model):
    """A graph whose class trains towards targets that grow with a count of its own."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")
        self.shift = self.add_weight(shape=(3,), initializer="random_normal", name="shift")
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs + self.shift, training=training, mask=mask)

    def train_step(self, data):
        x, y = data
        self.count.assign_add(1.0)
        noise = keras.random.normal(keras.ops.shape(y), seed=self.seeds)
        return super().train_step((x, 0.1 * y * self.count + noise))


class SubclassedCounting(keras.Model):
    """The same without a graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.dense = L.Dense(1)
        self.shift = self.add_weight(shape=(3,), initializer="random_normal", name="shift")
        self.seeds = keras.random.SeedGenerator(3)

    def call(self, x):
        return self.dense(x + self.shift) + keras.random.normal((1,), seed=self.seeds)


def graph():
    inputs = keras.Input((3,))
    return Counting(inputs, L.Dense(1)(inputs))


def nested():
    inputs = keras.Input((3,))
    return keras.Model(inputs, graph()(inputs))


def subclassed():
    model = SubclassedCounting()
    model(X[:2])
    return model


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (graph, ["dense/kernel", "dense/bias", "shift", "count", "seed_generator_state"]),
        (nested, [f"counting/{name}" for name in ("dense/kernel", "dense/bias", "shift", "count")]),
        (subclassed, ["dense/kernel", "dense/bias", "shift", "seed_generator_state"]),
    ],
)
def test_they_have_paths_and_are_copied(make, names):
    keras.utils.set_random_seed(1)
    model = make()
    variables = named_variables(model)
    assert list(variables)[: len(names)] == names
    assert len(variables) == len(model.variables)
    for variable in variables.values():
        variable.assign(np.full(variable.shape, 7))
    for copy in (tfl.wrap(model), tfl.strip(tfl.wrap(model))):
        assert list(named_variables(copy)) == list(variables)
        assert all((np.asarray(variable) == 7).all() for variable in named_variables(copy).values())


@pytest.mark.parametrize("make", [graph, subclassed])
def test_rounds_rewind_them(make):
    """With nothing pruned, the second training is the first one again."""
    result = tfl.find_ticket(
        make,
        X,
        Y,
        validation_data=(X, Y),
        loss="mse",
        optimizer=keras.optimizers.SGD(0.01),
        rounds=1,
        rate=0.0,
        steps=20,
        batch_size=8,
        verbose=0,
    )
    first, second = result.ticket(0).trained_weights, result.ticket(1).trained_weights
    assert sorted(first) == sorted(second)
    assert all(np.array_equal(first[path], second[path]) for path in first)
    if make is graph:
        assert float(first["count"]) == 20


@pytest.mark.parametrize("make", [graph, subclassed])
def test_those_that_are_trained_are_drawn_again(make):
    model = make()
    before = {path: np.array(variable) for path, variable in named_variables(model).items()}
    one, same, other = (fresh_weights(model, seed=seed) for seed in (1, 1, 2))
    assert sorted(one) == sorted(before)
    assert np.array_equal(one["shift"], same["shift"])
    assert not np.isin(one["shift"], [*before["shift"], *other["shift"]]).any()
    assert np.array_equal(one["seed_generator_state"], before["seed_generator_state"])


def test_small_dense_needs_a_graph():
    with pytest.raises(UnfitError, match="no graph shows what it reads"):
        tfl.find_ticket(
            subclassed,
            X,
            Y,
            validation_data=(X, Y),
            loss="mse",
            optimizer="sgd",
            rounds=1,
            steps=2,
            verbose=0,
            variants=("ticket", "small_dense"),
        )


@pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning")
def test_build_alone_does_not_make_the_weights_of_the_layers():
    model = SubclassedCounting()
    model.build((None, 3))
    with pytest.raises(UnfitError, match=r"is not built: its weights do not exist yet\. Call it once on a batch"):
        tfl.wrap(model)
