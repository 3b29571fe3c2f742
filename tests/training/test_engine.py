"""The engine against Keras: the same numbers on the same batches, traced once, whatever the chunks."""

import gc
import itertools
import time
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.func_graph import FuncGraph

from tf_lottery.data import Arrays
from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.layers import get_masks, named_variables, set_masks, wrap
from tf_lottery.training import timings
from tf_lottery.training.batches import on_device
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.state import capture_state

L = keras.layers
CROSS_ENTROPY = {"loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]}
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, 40)),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.05),
    "lion": lambda: keras.optimizers.Lion(0.002, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.005, momentum=0.5, centered=True),
}


def normalised():
    return L.Dense(8), L.BatchNormalization(), L.ReLU(), L.Dropout(0.3), L.Dense(3, activation="softmax")


def data(size=64, *, weighted=False, seed=0):
    generator = np.random.default_rng(seed)
    x, y = generator.normal(size=(size, 5)).astype("float32"), generator.integers(0, 3, size)
    weight = generator.uniform(0.2, 2, size).astype("float32") if weighted else None
    return on_device(Arrays(x, y, weight))


def classifier(dtype=None):
    return L.Dense(8, activation="relu", dtype=dtype), L.Dense(3, activation="softmax", dtype=dtype)


def make(stack=classifier, *, seed=1, **options):
    keras.utils.set_random_seed(seed)
    model = wrap(keras.Sequential([keras.Input((5,)), *stack(**options)]))
    generator = np.random.default_rng(seed)
    set_masks(model, {key: generator.random(mask.shape) < 0.6 for key, mask in get_masks(model).items()})
    return model


def engine_of(model, optimizer, batch, **options):
    engine = Engine(model, optimizer=optimizer, **{**CROSS_ENTROPY, **options})
    engine.prepare(batch)
    return engine


def bits(engine):
    return {key: value.tobytes() for key, value in capture_state(engine.variables()).items()}


@pytest.mark.parametrize("xla", ["on", "off"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_are_those_of_keras_fit_on_the_same_batches(name, xla):
    batch = data(weighted=True)
    order = Order(64, 16, seed=3)
    mine, theirs = make(), make()
    engine = engine_of(mine, OPTIMIZERS[name](), batch, xla=xla)
    engine.run(batch, order, start=0, stop=12)
    rows = order.steps(0, 12).ravel()
    theirs.compile(OPTIMIZERS[name](), **CROSS_ENTROPY, jit_compile=False)
    arrays = [np.asarray(tensor)[rows] for tensor in batch]
    history = theirs.fit(arrays[0], arrays[1], sample_weight=arrays[2], batch_size=16, shuffle=False, verbose=0).history
    results = engine.results()
    assert results["loss"] == pytest.approx(history["loss"][0], rel=1e-5)
    assert results["accuracy"] == pytest.approx(history["accuracy"][0], rel=1e-6)
    for (path, a), b in zip(named_variables(mine).items(), named_variables(theirs).values(), strict=True):
        # Lion steps by the sign of a momentum: where that is 0 to rounding, the sign is any.
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-4, atol=2e-5, err_msg=path)


@pytest.mark.parametrize("xla", ["on", "off"])
def test_chunks_of_other_bounds_change_no_bit_and_trace_nothing(xla, sparse):
    batch, order = data(), Order(64, 16, seed=3)
    actual = []
    for bounds in ([0, 20], [0, 1, 3, 9, 10, 20]):
        engine = engine_of(make(normalised), OPTIMIZERS["adam"](), batch, xla=xla, sparse=sparse)
        for start, stop in itertools.pairwise(bounds):
            engine.run(batch, order, start=start, stop=stop)
        actual.append(bits(engine))
        assert engine.traces["train"] == 1
        assert engine._compiled().train_chunk.experimental_get_tracing_count() == 1
    assert actual[0] == actual[1]


def test_other_masks_other_weights_and_another_order_trace_nothing():
    batch = data()
    engine = engine_of(make(), keras.optimizers.Adam(), batch)
    for seed in range(3):
        generator = np.random.default_rng(seed)
        set_masks(engine.model, {k: generator.random(m.shape) < 0.5 for k, m in get_masks(engine.model).items()})
        engine.run(batch, Order(64, 16, seed=seed), start=5 * seed, stop=5 * seed + 7)
        engine.evaluate(batch)
    assert engine.traces == {"train": 1, "evaluate": 1}


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("size", [1037, 1000, 3])
def test_evaluate_covers_every_example_as_keras_does(size, weighted):
    batch = data(size, weighted=weighted)
    model = make()
    engine = engine_of(model, keras.optimizers.SGD(), batch)
    mine = engine.evaluate(batch)
    weight = None if batch.weight is None else np.asarray(batch.weight)
    theirs = model.evaluate(
        np.asarray(batch.x), np.asarray(batch.y), sample_weight=weight, batch_size=100, verbose=0, return_dict=True
    )
    assert mine == pytest.approx(theirs, rel=1e-5)


def test_an_evaluation_changes_no_variable_and_no_running_metric():
    batch = data()
    engine = engine_of(make(normalised), keras.optimizers.Adam(), batch)
    before = bits(engine)
    engine.evaluate(batch)
    assert bits(engine) == before


def test_several_inputs_and_outputs_with_losses_of_their_own():
    def two():
        keras.utils.set_random_seed(2)
        a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b")
        hidden = L.Dense(6, activation="tanh", kernel_regularizer="l2")(L.Concatenate()([a, b]))
        model = keras.Model(
            {"a": a, "b": b}, {"value": L.Dense(1, name="value")(hidden), "kind": L.Dense(3, name="kind")(hidden)}
        )
        return wrap(model)

    generator = np.random.default_rng(0)
    x = {"a": generator.normal(size=(50, 3)).astype("float32"), "b": generator.normal(size=(50, 2)).astype("float32")}
    y = {"value": generator.normal(size=(50, 1)).astype("float32"), "kind": generator.integers(0, 3, 50)}
    loss = {"value": "mse", "kind": keras.losses.SparseCategoricalCrossentropy(from_logits=True)}
    options = {
        "loss": loss,
        "metrics": {"value": ["mae"], "kind": ["accuracy"]},
        "loss_weights": {"value": 0.5, "kind": 2.0},
    }
    batch, order = on_device(Arrays(x, y)), Order(50, 10, seed=0)
    mine, theirs = two(), two()
    engine = engine_of(mine, keras.optimizers.Adam(0.01), batch, **options)
    engine.run(batch, order, start=0, stop=5)
    rows = order.steps(0, 5).ravel()
    theirs.compile(keras.optimizers.Adam(0.01), **options)
    take = lambda tree: {key: value[rows] for key, value in tree.items()}  # noqa: E731
    history = theirs.fit(take(x), take(y), batch_size=10, shuffle=False, verbose=0).history
    assert engine.results() == pytest.approx({key: value[0] for key, value in history.items()}, rel=1e-4)
    expected = theirs.evaluate(x, y, batch_size=50, verbose=0, return_dict=True)
    assert engine.evaluate(batch) == pytest.approx(expected, rel=1e-4)


def test_regression_with_a_metric():
    generator = np.random.default_rng(0)
    batch = on_device(
        Arrays(generator.normal(size=(40, 5)).astype("float32"), generator.normal(size=40).astype("float32"))
    )
    model = make(lambda: (L.Dense(4, activation="relu"), L.Dense(1)))
    engine = engine_of(model, keras.optimizers.SGD(), batch, loss="mse", metrics=["mae"])
    engine.run(batch, Order(40, 8, 0), start=0, stop=5)
    predicted = model.predict(np.asarray(batch.x), verbose=0)[:, 0]
    expected = {"loss": np.mean((predicted - batch.y) ** 2), "mae": np.mean(np.abs(predicted - batch.y))}
    assert engine.evaluate(batch) == pytest.approx(expected, rel=1e-5)


def test_augmentation_is_seeded_by_the_step():
    def shift(images, seeds):
        return images + tf.cast(seeds[0] * 100 + seeds[1], tf.float32)

    batch = data()
    outcomes = []
    for bounds, seed in (((0, 6), 1), ((0, 2, 6), 1), ((0, 6), 2)):
        engine = engine_of(
            make(lambda: (L.Rescaling(0.001), L.Dense(3))), keras.optimizers.SGD(0.01), batch, augment=shift
        )
        for start, stop in itertools.pairwise(bounds):
            engine.run(batch, Order(64, 16, 3), start=start, stop=stop, augment_seed=seed)
        outcomes.append(bits(engine))
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_a_loss_that_becomes_nan_is_an_error_that_names_the_steps():
    batch = data()
    engine = engine_of(
        make(lambda: (L.Dense(8), L.Dense(1))), keras.optimizers.SGD(1e30), batch, loss="mse", metrics=None
    )
    with pytest.raises(NonFiniteError, match=r"(nan|inf) in steps 0 to 9"):
        engine.run(batch, Order(64, 16, 0), start=0, stop=10)


def test_a_float16_model_scales_its_loss():
    batch = data()
    engine = engine_of(make(dtype="mixed_float16"), keras.optimizers.SGD(0.05), batch)
    assert isinstance(engine.optimizer, keras.optimizers.LossScaleOptimizer)
    wrapped = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05))
    assert engine_of(make(dtype="mixed_float16"), wrapped, batch).optimizer is wrapped
    assert isinstance(
        engine_of(make(dtype="mixed_bfloat16"), keras.optimizers.SGD(), batch).optimizer, keras.optimizers.SGD
    )


def test_average_weights_replace_the_live_ones_at_the_end():
    batch = data()
    engine = engine_of(make(), keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), batch, xla="off")
    start = {path: np.asarray(v) for path, v in named_variables(engine.model).items()}
    average, live = {path: np.zeros_like(v) for path, v in start.items()}, start
    for step in range(3):
        engine.run(batch, Order(64, 16, 0), start=step, stop=step + 1)
        live = {path: np.array(v) for path, v in named_variables(engine.model).items()}
        average = {path: live[path] if step == 0 else 0.5 * average[path] + 0.5 * live[path] for path in live}
    engine.finish()
    for path, variable in named_variables(engine.model).items():
        np.testing.assert_allclose(variable, average[path], rtol=1e-5, atol=1e-7, err_msg=path)


def test_a_stream_is_trained_in_order_with_a_partial_last_batch():
    batch = data(40, weighted=True)
    dataset = tf.data.Dataset.from_tensor_slices(tuple(batch)).batch(16)  # batches of 16, 16, 8
    mine, theirs = make(), make()
    engine = engine_of(mine, keras.optimizers.Adam(0.01), batch, xla="off")
    iterator = iter(dataset.repeat())
    engine.run_stream(iterator, start=0, stop=2)
    engine.run_stream(iterator, start=2, stop=6)
    theirs.compile(keras.optimizers.Adam(0.01), **CROSS_ENTROPY, jit_compile=False)
    theirs.fit(dataset, epochs=2, shuffle=False, verbose=0)
    for (path, a), b in zip(named_variables(mine).items(), named_variables(theirs).values(), strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=1e-4, atol=1e-5, err_msg=path)
    assert engine.traces["train"] <= 3  # the loop, and a step for one batch size and for any
    assert engine.evaluate(dataset) == pytest.approx(theirs.evaluate(dataset, verbose=0, return_dict=True), rel=1e-3)


def test_a_stream_without_batches_is_an_error():
    batch = data()
    engine = engine_of(make(), keras.optimizers.SGD(), batch)
    empty = tf.data.Dataset.from_tensor_slices((np.zeros((4, 5), "float32"), np.zeros(4, "int64"))).take(0).batch(2)
    with pytest.raises(UnfitError, match="yields no batch"):
        engine.run_stream(iter(empty.repeat()), start=0, stop=1)


def test_time_is_accounted_and_compilation_apart(monkeypatch):
    clock, shift = time.perf_counter, [0.0]
    monkeypatch.setattr(timings, "time", SimpleNamespace(perf_counter=lambda: clock() + shift[0]))

    def slow_to_trace(x):  # Python runs it when the step is traced, and never again
        shift[0] += 1e6
        return x

    batch = data()
    engine = engine_of(make(lambda: (L.Lambda(slow_to_trace), *classifier())), keras.optimizers.SGD(), batch)
    engine.run(batch, Order(64, 16, 0), start=0, stop=10)
    assert engine.timings.steps_timed == 10
    assert 0 < engine.timings.seconds["train"] < 1e6 <= engine.timings.seconds["compile"]
    assert 1 <= engine.chunk_size() <= 500


@pytest.mark.parametrize(
    "optimizer",
    [
        pytest.param("sgd", id="plain"),
        pytest.param(keras.optimizers.LossScaleOptimizer, id="scaled", marks=pytest.mark.slow),
    ],
)
def test_compiled_graphs_die_with_their_engine(optimizer):
    """Each engine left three graphs behind: TensorFlow kept the gradient function of Keras's sum over replicas."""

    def train():
        batch, make_optimizer = data(), OPTIMIZERS["sgd"]
        chosen = make_optimizer() if optimizer == "sgd" else optimizer(make_optimizer())
        engine = engine_of(make(), chosen, batch, xla="off")
        engine.run(batch, Order(64, 8, 0), start=0, stop=2)
        assert graphs() > before

    def graphs():
        gc.collect()
        return sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())

    before = graphs()
    train()
    assert graphs() == before
