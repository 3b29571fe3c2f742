"""Gradual pruning in `fit`: exact counts at exact steps, by hand; resumed, compiled and refused."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from reruns import resume_in_fit
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.layers.wrapping import masked_variables
from tf_lottery.training.state import optimizer_variables, slots_of
from toys import Subclassed, stored_value

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 6)).astype("float32"), RNG.integers(0, 3, 40)
# At steps 2, 5 and 8 the sparsity is 0, 0.375 and 0.75.
RISING = tfl.schedules.PolynomialDecay(0.0, 0.75, begin_step=2, end_step=8, power=1, frequency=3)


def sequential():
    return keras.Sequential([keras.Input((6,)), L.Dense(8, activation="relu"), L.Dense(3)])


def functional():
    inputs = keras.Input((6,))
    outputs = L.Conv2D(4, (2, 3), activation="relu")(L.Reshape((2, 3, 1))(inputs))
    return keras.Model(inputs, L.Dense(3)(L.Flatten()(outputs)))


def subclassed():
    model = Subclassed(3)
    model(X[:1])
    return model


@keras.saving.register_keras_serializable("tests")
class OwnStep(Subclassed):
    """Trains by its own optimizer, beside the one that `compile` was given."""

    def __init__(self):
        super().__init__(3)
        self.own_optimizer = keras.optimizers.SGD(0.1)

    def train_step(self, data):
        import tensorflow as tf

        x, y = data
        with tf.GradientTape() as tape:
            loss = self.compute_loss(x, y, self(x, training=True))
        self.own_optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

    def get_config(self):
        return {}


class Recorder(keras.callbacks.Callback):
    """Writes down the masks after every call."""

    def __init__(self):
        super().__init__()
        self.masks = {}

    def on_train_batch_end(self, batch, logs=None):
        self.masks[int(self.model.optimizer.iterations)] = tfl.get_masks(self.model)

    def kept(self, path):
        return {step: int(masks[path].sum()) for step, masks in self.masks.items()}


def compiled(model, optimizer="sgd", **options):
    wrapped = tfl.wrap(model, in_place=isinstance(model, Subclassed))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    wrapped.compile(optimizer, loss, **options)
    return wrapped


def fit(model, *callbacks, epochs=1, **options):
    return model.fit(X, Y, batch_size=4, shuffle=False, verbose=0, epochs=epochs, callbacks=list(callbacks), **options)


@pytest.mark.parametrize(
    ("make", "path", "counts"),
    # Sizes 48, 24, 24 and 18: all of them, 0.625 and 0.25 of them; 18 gives 11.25 and 4.5, rounded half to even.
    [
        (sequential, "dense/kernel", (48, 30, 12)),
        (sequential, "dense_1/kernel", (24, 15, 6)),
        (functional, "conv2d/kernel", (24, 15, 6)),
        (subclassed, "dense/kernel", (18, 11, 4)),
    ],
)
def test_counts_at_steps(make, path, counts):
    model, recorder = compiled(make(), "adam"), Recorder()
    fit(model, tfl.callbacks.GradualPruning(RISING), recorder)
    first, second, third = counts
    expected = {step: first if step < 5 else second if step < 8 else third for step in range(1, 11)}
    assert recorder.kept(path) == expected
    for step in range(2, 11):
        assert not (recorder.masks[step][path] & ~recorder.masks[step - 1][path]).any()


def test_the_largest_weights_stay():
    model = compiled(sequential(), keras.optimizers.SGD(0.0))
    kernel = np.array(model.layers[0].kernel.value)
    fit(model, tfl.callbacks.GradualPruning(RISING))
    largest = np.abs(kernel) >= np.sort(np.abs(kernel), axis=None)[-12]
    np.testing.assert_array_equal(tfl.get_masks(model)["dense/kernel"], largest)
    np.testing.assert_array_equal(np.array(model.layers[0].kernel.value), np.where(largest, kernel, 0))


def test_step_0_comes_before_the_first_update():
    model, recorder = compiled(sequential(), keras.optimizers.SGD(0.1)), Recorder()
    kernel = np.array(model.layers[0].kernel.value)
    fit(model, tfl.callbacks.GradualPruning(tfl.schedules.ConstantSparsity(0.5, 0)), recorder)
    largest = np.abs(kernel) >= np.sort(np.abs(kernel), axis=None)[-24]
    np.testing.assert_array_equal(recorder.masks[1]["dense/kernel"], largest)
    assert set(recorder.kept("dense/kernel").values()) == {24}


def test_global_scope():
    model = compiled(sequential(), keras.optimizers.SGD(0.0))
    values = np.concatenate([np.array(v.value).ravel() for v in masked_variables(model).values()])
    fit(model, tfl.callbacks.GradualPruning(RISING, scope="global"))
    masks = tfl.get_masks(model)
    assert sum(int(mask.sum()) for mask in masks.values()) == 18  # 0.25 * 72
    kept = np.concatenate([mask.ravel() for mask in masks.values()])
    np.testing.assert_array_equal(kept, np.abs(values) >= np.sort(np.abs(values))[-18])


def test_channels():
    model = compiled(sequential())
    fit(model, tfl.callbacks.GradualPruning(RISING, granularity="channel"))
    mask = tfl.get_masks(model)["dense/kernel"]
    assert mask.all(axis=0).sum() == 2  # of 8 units
    assert mask.any(axis=0).sum() == 2
    assert tfl.get_masks(model)["dense_1/kernel"].all()  # its units are outputs


def test_two_of_four():
    x = np.ones((40, 8), "float32")
    model = tfl.wrap(keras.Sequential([keras.Input((8,)), L.Dense(5), L.Dense(3)]), exclude="dense_1")
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kernel = np.abs(np.array(model.layers[0].kernel.value))
    schedule = tfl.schedules.ConstantSparsity(0.5, 2)
    pruning = tfl.callbacks.GradualPruning(schedule, granularity="2:4")
    model.fit(x, np.ones((40, 3)), batch_size=4, verbose=0, callbacks=[pruning])
    groups = kernel.reshape(2, 4, 5)
    largest = groups >= np.sort(groups, axis=1)[:, 2:3]
    np.testing.assert_array_equal(tfl.get_masks(model)["dense/kernel"], largest.reshape(8, 5))


def test_units_that_do_not_fit_are_refused_before_the_first_step():
    def first_step(batch, logs):
        raise AssertionError("a training step began")

    model = compiled(keras.Sequential([keras.Input((10,)), L.Dense(5, name="ten"), L.Dense(3)]))
    late = tfl.schedules.ConstantSparsity(0.5, begin_step=1000)
    first = keras.callbacks.LambdaCallback(on_train_batch_begin=first_step)
    with pytest.raises(UnfitError, match=r"ten/kernel.*its 10 inputs are no multiple of 4"):
        model.fit(
            X[:, [0] * 10], Y, verbose=0, callbacks=[tfl.callbacks.GradualPruning(late, granularity="2:4"), first]
        )
    masks = tfl.get_masks(model)
    masks["ten/kernel"][0, 0] = False
    tfl.set_masks(model, masks)
    with pytest.raises(UnfitError, match=r"masks of 'ten/kernel' must keep or prune each unit .*as a whole"):
        model.fit(
            X[:, [0] * 10], Y, verbose=0, callbacks=[tfl.callbacks.GradualPruning(late, granularity="channel"), first]
        )


@pytest.mark.parametrize(("indivisible", "kept"), [("skip", 24), ("unstructured", 12)])
def test_rows_beside_other_layers(indivisible, kept):
    layers = [keras.Input((2,), dtype="int32"), keras.layers.Embedding(6, 4), keras.layers.Flatten()]
    model = compiled(keras.Sequential([*layers, keras.layers.Dense(3, use_bias=False)]))
    half = tfl.schedules.ConstantSparsity(0.5, begin_step=0)
    x, y = np.arange(12).reshape(6, 2) % 6, np.arange(6) % 3
    rows = tfl.callbacks.GradualPruning(half, granularity="row", indivisible=indivisible)
    model.fit(x, y, verbose=0, callbacks=[rows])
    mask = tfl.get_masks(model)["embedding/embeddings"]
    assert mask.all(axis=1).sum() == mask.any(axis=1).sum() == 3
    assert tfl.get_masks(model)["dense/kernel"].sum() == kept
    unfit = compiled(keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]))
    with pytest.raises(UnfitError, match="Dense has no rows of an embedding"):
        unfit.fit(x, y, verbose=0, callbacks=[tfl.callbacks.GradualPruning(half, granularity="row")])


def test_own_criterion():
    model = compiled(sequential(), keras.optimizers.SGD(0.0))
    kernel = np.array(model.layers[0].kernel.value)
    signed = tfl.callbacks.GradualPruning(RISING, criterion=lambda weights: weights)
    fit(model, signed)
    np.testing.assert_array_equal(tfl.get_masks(model)["dense/kernel"], kernel >= np.sort(kernel, axis=None)[-12])


@pytest.mark.parametrize("optimizer", ["adam", keras.optimizers.SGD(0.1, momentum=0.9)])
def test_stored_weights_and_slots_are_zero(optimizer):
    model = compiled(sequential(), optimizer)
    fit(model, tfl.callbacks.GradualPruning(RISING), epochs=2)
    masks, variables = tfl.get_masks(model), masked_variables(model)
    slots = slots_of(model.optimizer, model)
    checked = 0
    for path, mask in masks.items():
        assert not stored_value(variables[path])[~mask].any()
        for key in [key for key, owner in slots.items() if owner == path]:
            slot = optimizer_variables(model.optimizer)[key].numpy()
            assert not slot[~mask].any()
            assert slot[mask].any()
            checked += 1
    assert checked == (4 if optimizer == "adam" else 2)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_several_steps_in_a_call(jit_compile):
    """Calls end after steps 4, 8 and 10: what falls due at 5 is pruned at 8, by the last sparsity that did."""
    model, recorder = compiled(sequential(), steps_per_execution=4, jit_compile=jit_compile), Recorder()
    fit(model, tfl.callbacks.GradualPruning(tfl.schedules.ConstantSparsity(0.5, 5)), recorder)
    assert recorder.kept("dense/kernel") == {4: 48, 8: 24, 10: 24}
    model, recorder = compiled(sequential(), steps_per_execution=4, jit_compile=jit_compile), Recorder()
    fit(model, tfl.callbacks.GradualPruning(RISING), recorder)
    assert recorder.kept("dense/kernel") == {4: 48, 8: 12, 10: 12}


def test_nothing_is_traced_again():
    counts = []

    class Counting(L.Layer):
        def call(self, inputs):
            counts.append(1)
            return inputs

    def traces(*callbacks):
        model = compiled(keras.Sequential([keras.Input((6,)), L.Dense(8), Counting(), L.Dense(3)]))
        counts.clear()
        fit(model, *callbacks, epochs=2)
        return len(counts)

    assert traces(tfl.callbacks.GradualPruning(RISING)) == traces() > 0


@pytest.mark.parametrize("backup_first", [False, True])
@pytest.mark.parametrize("steps_per_execution", [1, 3])
def test_a_resumed_training_is_the_same(tmp_path, backup_first, steps_per_execution):
    # Epochs end after 10, 20 and 30 steps; pruned at 2, 6, 10, ... 30.
    schedule = tfl.schedules.PolynomialDecay(0.1, 0.8, begin_step=2, end_step=30, frequency=4)

    def train(*callbacks):
        keras.utils.set_random_seed(3)
        model = compiled(sequential(), "adam", steps_per_execution=steps_per_execution)
        fit(model, *callbacks, epochs=3)
        return model

    callback = functools.partial(tfl.callbacks.GradualPruning, schedule)
    resumed = resume_in_fit(train, callback, tmp_path / "backup", stop_at=2, backup_first=backup_first)
    assert int(resumed.optimizer.iterations) == 30
    assert {path: int(mask.sum()) for path, mask in tfl.get_masks(resumed).items()} == {
        "dense/kernel": 10,  # 48 * 0.2 = 9.6
        "dense_1/kernel": 5,  # 24 * 0.2 = 4.8
    }


def test_a_second_fit_continues():
    model, recorder = compiled(sequential()), Recorder()
    callback = tfl.callbacks.GradualPruning(tfl.schedules.ConstantSparsity(0.5, 15))
    fit(model, callback, recorder)
    assert set(recorder.kept("dense/kernel").values()) == {48}
    fit(model, callback, recorder)
    assert [step for step, kept in recorder.kept("dense/kernel").items() if kept == 24] == list(range(15, 21))


def test_frequencies():
    def steps_pruned(schedule, **options):
        model, recorder = compiled(sequential()), Recorder()
        fit(model, tfl.callbacks.GradualPruning(schedule, **options), recorder)
        kept = recorder.kept("dense/kernel")
        return [step for step in range(2, 11) if kept[step] < kept[step - 1]]

    assert steps_pruned(lambda step: (step % 2 == 0, step / 20)) == [2, 4, 6, 8, 10]
    assert steps_pruned(lambda step: (True, step / 20), frequency=3) == [3, 6, 9]
    rising = tfl.schedules.PolynomialDecay(0.0, 0.5, 1, 9)  # every 100 steps
    assert steps_pruned(rising, frequency=4) == [5, 9]
    assert rising.frequency == 100


WITH_TFMOT = """
import keras, numpy as np
import tensorflow_model_optimization as tfmot
import tf_lottery as tfl

x = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
kept = []
for schedules in (tfmot.sparsity.keras, tfl.schedules):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8), keras.layers.Dense(3)])
    wrapped = tfl.wrap(model)
    wrapped.compile("adam", "mse")
    schedule = schedules.PolynomialDecay(0.0, 0.75, begin_step=2, end_step=8, frequency=3)
    wrapped.fit(x, x[:, :3], batch_size=4, verbose=0, callbacks=[tfl.callbacks.GradualPruning(schedule)])
    kept.append(tfl.get_masks(wrapped))
assert all((kept[0][path] == kept[1][path]).all() for path in kept[0])
print({path: int(mask.sum()) for path, mask in kept[0].items()})
"""


def test_a_schedule_of_tfmot():
    out = subprocess.run([sys.executable, "-c", WITH_TFMOT], check=True, capture_output=True, text=True).stdout
    assert out.splitlines()[-1] == "{'dense/kernel': 12, 'dense_1/kernel': 6}"


def test_training_methods_of_the_users():
    model = compiled(subclassed())
    assert fit(model, tfl.callbacks.GradualPruning(RISING)).history["loss"]
    own = OwnStep()
    own(X[:1])
    with pytest.raises(UsageError, match="trains by other optimizers"):
        fit(compiled(own), tfl.callbacks.GradualPruning(RISING))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda step: (True, 0.5 - step / 100), "must not fall.*0.49 at step 1, after 0.5"),
        (lambda step: (step == 3, 1.0), r"at step 3 must be in \[0, 1\)"),
        (lambda step: 0.5, "must answer"),
    ],
)
def test_bad_schedules(schedule, message):
    with pytest.raises(UsageError, match=message):
        fit(compiled(sequential()), tfl.callbacks.GradualPruning(schedule))


def test_a_model_that_is_sparser_already():
    model = compiled(sequential())
    tfl.set_masks(model, {path: np.zeros_like(mask) for path, mask in tfl.get_masks(model).items()})
    with pytest.raises(UsageError, match=r"sparser than the 0\.0 that `schedule` asks for at step 2"):
        fit(model, tfl.callbacks.GradualPruning(RISING))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": 0.5}, "`schedule` must answer"),
        ({"scope": "local"}, "Unknown `scope` 'local'"),
        ({"granularity": "2x2"}, "Unknown granularity '2x2'"),
        ({"criterion": "snip"}, "Received: 'snip', which needs gradients"),
        ({"criterion": "weight_change"}, "which needs initial"),
        ({"criterion": "magnitud"}, "Did you mean 'magnitude'"),
        ({"frequency": 0}, "`frequency` must be an integer"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(UsageError, match=message):
        tfl.callbacks.GradualPruning(**{"schedule": RISING, **options})


def test_models_that_are_not_wrapped_and_experiments():
    model = sequential()
    model.compile("sgd", "mse")
    for callback in (tfl.callbacks.GradualPruning(RISING), tfl.callbacks.SparsityLogger()):
        with pytest.raises(UsageError, match="not wrapped"):
            fit(model, callback)
    with pytest.raises(UsageError, match="`callbacks` can't hold GradualPruning"):
        tfl.find_ticket(model, X, Y, rounds=1, epochs=1, callbacks=[tfl.callbacks.GradualPruning(RISING)])


def test_sparsities_in_the_logs(tmp_path):
    log = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    model = compiled(sequential())
    callbacks = [tfl.callbacks.GradualPruning(RISING), tfl.callbacks.SparsityLogger(tmp_path / "board"), log]
    history = fit(model, *callbacks, epochs=2).history
    assert history["sparsity"] == [0.75, 0.75]
    assert history["sparsity/dense/kernel"] == history["sparsity/dense_1/kernel"] == [0.75, 0.75]
    assert "sparsity/dense/kernel" in (tmp_path / "log.csv").read_text()
    assert list(scalars(tmp_path / "board")) == [
        (name, epoch, 0.75)
        for epoch in (0, 1)
        for name in ("sparsity", "sparsity/dense/kernel", "sparsity/dense_1/kernel")
    ]


def scalars(folder):
    """What TensorBoard reads: (name, step, value)."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    (file,) = folder.iterdir()
    for event in EventFileLoader(str(file)).Load():
        for value in event.summary.value:
            yield value.tag, event.step, float(make_ndarray(value.tensor))
