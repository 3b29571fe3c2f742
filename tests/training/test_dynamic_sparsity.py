"""RigL and SET in `fit`: what is dropped and grown, by hand; counts that never change; resumed and refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from reruns import resume_in_fit
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers import named_variables
from tf_lottery.layers.wrapping import masked_variables
from tf_lottery.training.callbacks.scoring_batches import ScoringBatches
from tf_lottery.training.gradients.dense_loss import DenseGradients
from tf_lottery.training.state import optimizer_variables, slots_of
from toys import AlwaysNoise, Subclassed, stored_value

L = keras.layers
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = RNG.normal(size=(40, 3)).astype("float32")


def sequential():
    return keras.Sequential([keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(3)])


def compiled(model, optimizer="adam", **options):
    wrapped = tfl.wrap(model)
    wrapped.compile(optimizer, "mse", **options)
    return wrapped


def fit(model, *callbacks, epochs=1, **options):
    return model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, epochs=epochs, callbacks=list(callbacks), **options)


class BeforeCalls(keras.callbacks.Callback):
    """Writes down, before every call, the masks, the stored weights and the optimizer's slots by weight path."""

    def __init__(self):
        super().__init__()
        self.seen = {}

    def on_train_batch_begin(self, batch, logs=None):
        optimizer = self.model.optimizer
        slots = {}
        if optimizer.built:
            variables = optimizer_variables(optimizer)
            for key, path in slots_of(optimizer, self.model).items():
                slots.setdefault(path, []).append(variables[key].numpy())
        weights = {path: stored_value(v) for path, v in masked_variables(self.model).items()}
        self.seen[int(optimizer.iterations)] = tfl.get_masks(self.model), weights, slots


def rigl(**options):
    return tfl.callbacks.RigL(X, Y, **{"sparsity": 0.75, "end_step": 12, "frequency": 3, "alpha": 0.5, **options})


def set_(**options):
    return tfl.callbacks.SET(**{"sparsity": 0.75, "end_step": 12, "frequency": 3, "alpha": 0.5, **options})


@pytest.mark.parametrize("make", [rigl, set_])
def test_counts_and_steps(make):
    model, watch = compiled(sequential()), BeforeCalls()
    fit(model, make(), watch, epochs=2)
    for masks, _, _ in watch.seen.values():
        assert [int(mask.sum()) for mask in masks.values()] == [12, 6]  # a quarter of 48 and 24
    moved = {
        step: [
            int((watch.seen[step][0][path] != watch.seen[step - 1][0][path]).sum()) // 2
            for path in ("dense/kernel", "dense_1/kernel")
        ]
        for step in range(1, 20)
    }
    # At steps 3, 6 and 9 of 12 the fraction is 0.25 * (1 + cos(pi / 4, pi / 2, 3 pi / 4)): 0.427, 0.25 and 0.073; of 12
    # weights these are 5, 3 and 1, of 6 weights 3, 2 (1.5, half to even) and 0. A weight that goes may come back.
    limits = {3: [5, 3], 6: [3, 2], 9: [1, 0]}
    for step, counts in moved.items():
        assert all(0 <= count <= limit for count, limit in zip(counts, limits.get(step, [0, 0]), strict=True)), step
    assert sum(map(sum, moved.values())) > 0


@pytest.mark.parametrize("make", [rigl, set_])
def test_what_is_dropped_and_what_grown_weights_start_with(make):
    model, watch = compiled(sequential()), BeforeCalls()
    fit(model, make(), watch)
    before, after = watch.seen[3 - 1], watch.seen[3]
    path = "dense/kernel"
    old, new, weights = before[0][path], after[0][path], after[1][path]
    grown, dropped = new & ~old, old & ~new
    assert grown.any()
    assert not weights[grown].any()
    assert not weights[dropped].any()
    assert weights[old & new].all()
    for slot in after[2][path]:
        assert not slot[~(old & new)].any()
        assert slot[old & new].any()


def test_rigl_by_hand():
    """A linear model of unit vectors that does not learn: the gradient of a weight is 2 / 6 * (w - y)."""
    x, y = np.eye(6, dtype="float32"), np.float32([[0.0], [3.0], [0.0], [-2.0], [1.0], [0.5]])
    model = compiled(keras.Sequential([keras.Input((6,)), L.Dense(1, use_bias=False)]), keras.optimizers.SGD(0.0))
    kernel = np.array([[0.5], [0.4], [-0.3], [0.2], [0.9], [-0.1]], "float32")
    mask = np.array([[True], [False], [True], [False], [False], [True]])
    named_variables(model)["dense/kernel"].assign(kernel)
    tfl.set_masks(model, {"dense/kernel": mask})
    callback = tfl.callbacks.RigL(x, y, sparsity=0.5, end_step=3, frequency=2, alpha=0.999, batch_size=6)
    model.fit(x, y, batch_size=2, verbose=0, callbacks=[callback])
    # At step 2 of 3 the fraction is 0.999 / 2 * (1 + cos(2 pi / 3)) = 0.25: 0.75 of three weights, 1: -0.1 goes. Of it
    # and the three that were pruned, whose w - y are -0.6, -3, 2 and -1, the second weight comes.
    expected = np.array([[True], [True], [True], [False], [False], [False]])
    np.testing.assert_array_equal(tfl.get_masks(model)["dense/kernel"], expected)
    stored = stored_value(named_variables(model)["dense/kernel"])
    np.testing.assert_array_equal(stored, np.float32([[0.5], [0.0], [-0.3], [0.0], [0.0], [0.0]]))


def test_dense_gradients_by_hand():
    model = compiled(keras.Sequential([keras.Input((6,)), L.Dense(3, use_bias=False)]))
    kernel = RNG.normal(size=(6, 3)).astype("float32")
    mask = RNG.random((6, 3)) < 0.5
    named_variables(model)["dense/kernel"].assign(kernel)
    tfl.set_masks(model, {"dense/kernel": mask})
    gradient = DenseGradients(model)(X, Y)["dense/kernel"]
    expected = 2 / Y.size * X.T.astype("float64") @ (X @ (kernel * mask) - Y)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-6)
    weights = np.linspace(0, 1, 40).astype("float32")
    weighted = DenseGradients(model)(X, Y, weights)["dense/kernel"]
    expected = 2 / Y.size * X.T.astype("float64") @ (weights[:, None] * (X @ (kernel * mask) - Y))
    np.testing.assert_allclose(weighted, expected, rtol=1e-5, atol=1e-6)
    absolute = DenseGradients(model, keras.losses.get("mae"))(X, Y)["dense/kernel"]
    expected = 1 / Y.size * X.T.astype("float64") @ np.sign(X @ (kernel * mask) - Y)
    np.testing.assert_allclose(absolute, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(tfl.get_masks(model)["dense/kernel"], mask)


@pytest.mark.parametrize("eager", [False, True])
def test_dense_gradients_leave_no_trace(eager):
    layers = [keras.Input((6,)), L.Dense(8), L.BatchNormalization(), AlwaysNoise(), L.Dropout(0.5), L.Dense(3)]
    model = compiled(keras.Sequential(layers), metrics=["mae"], run_eagerly=eager)
    fit(model, set_())
    state = [*model.variables, *model.optimizer.variables, *model.metrics_variables]
    before = [variable.numpy() for variable in state]
    DenseGradients(model)(X, Y)
    for variable, value in zip(state, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value, err_msg=variable.path)


def test_frozen_weights_are_left_alone():
    model = sequential()
    model.layers[0].trainable = False
    model = compiled(model)
    fit(model, rigl())
    assert [int(mask.sum()) for mask in tfl.get_masks(model).values()] == [48, 6]


@pytest.mark.parametrize("make", [rigl, set_])
@pytest.mark.parametrize("backup_first", [False, True])
@pytest.mark.parametrize(("steps_per_execution", "frequency"), [(1, 5), (3, 5), (4, 6)])
def test_a_resumed_training_is_the_same(tmp_path, make, backup_first, steps_per_execution, frequency):
    # Epochs end after 10, 20 and 30 steps; weights move at 5, 10, ... 20. With four in a call, the last call of an
    # epoch has two; what was due at step 18 was done before it.
    def train(*callbacks):
        keras.utils.set_random_seed(3)
        model = compiled(sequential(), "adam", steps_per_execution=steps_per_execution)
        fit(model, *callbacks, epochs=3)
        return model

    resumed = resume_in_fit(
        train,
        lambda: make(end_step=25, frequency=frequency),
        tmp_path / "backup",
        stop_at=2,
        backup_first=backup_first,
    )
    assert int(resumed.optimizer.iterations) == 30


def test_a_subclassed_model_and_other_losses():
    class Twice(Subclassed):
        def train_step(self, data):
            return super().train_step((data[0], 2 * data[1]))

    model = Twice(3)
    model(X)
    model = tfl.wrap(model, in_place=True)
    model.compile("adam", "mse")
    with pytest.raises(UsageError, match="Twice has a `train_step` of its own"):
        fit(model, rigl())
    fit(model, rigl(loss=lambda y, outputs: (outputs - 2 * y) ** 2))
    assert int(tfl.get_masks(model)["dense/kernel"].sum()) == 4  # 18 * 0.25 = 4.5, half to even


def test_masks_that_are_there():
    model = compiled(sequential())
    fit(model, set_(end_step=1))
    first = tfl.get_masks(model)
    fit(model, set_(end_step=1, seed=5))
    for path, mask in tfl.get_masks(model).items():
        np.testing.assert_array_equal(mask, first[path])
    with pytest.raises(UnfitError, match="other masks of dense/kernel, dense_1/kernel"):
        fit(model, set_(sparsity=0.5))
    other = compiled(sequential())
    fit(other, set_(end_step=1, seed=5))
    assert any((mask != first[path]).any() for path, mask in tfl.get_masks(other).items())


def test_sparsities_by_path():
    model = compiled(sequential())
    fit(model, set_(sparsity={"dense/kernel": 0.5, "dense_1/kernel": 0.0}))
    assert [int(mask.sum()) for mask in tfl.get_masks(model).values()] == [24, 24]
    model = compiled(sequential())
    fit(model, rigl(distribution=lambda shapes, density: dict(zip(shapes, (0.125, 0.5), strict=True))))
    assert [int(mask.sum()) for mask in tfl.get_masks(model).values()] == [6, 12]


def test_batches_by_number():
    batches = ScoringBatches(X, {"out": Y}, batch_size=7, seed=0)
    x, y, weight = batches.batch(3)
    assert x.shape == (7, 6)
    assert weight is None
    rows = [int(np.flatnonzero((row == X).all(1))[0]) for row in x]
    assert len(set(rows)) == 7
    np.testing.assert_array_equal(y["out"], Y[rows])
    np.testing.assert_array_equal(batches.batch(3)[0], x)
    assert (batches.batch(4)[0] != x).any()
    dataset = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    stream = ScoringBatches(dataset, None, batch_size=1, seed=0)
    for number, start in ((0, 0), (1, 16), (2, 32), (3, 0), (7, 16), (2, 32), (2, 32)):
        np.testing.assert_array_equal(stream.batch(number)[0], X[start : start + 16], err_msg=str(number))


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        part = slice(20 * index, 20 * index + 20)
        return X[part], Y[part], np.ones(20, "float32")


def test_growing_by_a_data_set():
    for data in (Batches(), tf.data.Dataset.from_tensor_slices((X, Y)).batch(20)):
        model = compiled(sequential())
        fit(model, tfl.callbacks.RigL(data, sparsity=0.75, end_step=12, frequency=3))
        assert [int(mask.sum()) for mask in tfl.get_masks(model).values()] == [12, 6]
    np.testing.assert_array_equal(ScoringBatches(Batches(), None, batch_size=1, seed=0).batch(3)[0], X[20:])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rigl(sparsity=1.0), r"sparsity must be in \[0, 1\)"),
        (lambda: rigl(end_step=0), "`end_step` must be a positive integer"),
        (lambda: set_(frequency=1.5), "`frequency` must be a positive integer"),
        (lambda: set_(alpha=2), "`alpha` must be in"),
        (lambda: set_(distribution="erdos"), "Unknown `distribution` 'erdos'"),
        (lambda: tfl.callbacks.RigL(X, sparsity=0.5, end_step=9), "`x` and `y` must be arrays"),
        (lambda: tfl.callbacks.RigL(Batches(), Y, sparsity=0.5, end_step=9), "`x` and `y` must be arrays"),
        (lambda: tfl.callbacks.RigL(X, Y[:5], sparsity=0.5, end_step=9), "the same number of examples"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises((UsageError, UnfitError), match=message):
        make()


def test_batches_that_do_not_fit():
    with pytest.raises(UnfitError, match="does not take the batch"):
        fit(compiled(sequential()), tfl.callbacks.RigL(X[:, :5], Y, sparsity=0.75, end_step=12, frequency=3))
    empty = tf.data.Dataset.from_tensor_slices((X[:0], Y[:0])).batch(4)
    with pytest.raises(UnfitError, match="has no batches"):
        fit(compiled(sequential()), tfl.callbacks.RigL(empty, sparsity=0.75, end_step=12, frequency=3))
