"""One training: the grid of evaluations, the captured step, early stopping that stops nothing, going on."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.data import Arrays
from tf_lottery.errors import NonFiniteError, UnfitError
from tf_lottery.layers import wrap
from tf_lottery.training.engine import Engine
from tf_lottery.training.loop import MemoryFeed, StreamFeed, TrainingProgress, splits, train
from tf_lottery.training.observer import TrainingObserver
from tf_lottery.training.order import Order
from tf_lottery.training.state import capture_state, restore_state

L = keras.layers


def part(size, seed):
    generator = np.random.default_rng(seed)
    return Arrays(generator.normal(size=(size, 5)).astype("float32"), generator.integers(0, 3, size))


def setup(*, test=True, train=None, layers=None, sparse="off"):
    keras.utils.set_random_seed(6)
    layers = layers or [L.Dense(16, activation="relu"), L.BatchNormalization(), L.Dropout(0.2), L.Dense(3)]
    model = wrap(keras.Sequential([keras.Input((5,)), *layers]))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"metrics": ["accuracy"], "xla": "off", "sparse": sparse}
    engine = Engine(model, optimizer=keras.optimizers.Adam(0.02), loss=loss, **settings)
    data = splits(train or part(50, 0), part(20, 1), part(20, 2) if test else None)
    engine.prepare(data.example())
    return engine, data


def run(engine, data, progress=None, **options):
    feed = (
        MemoryFeed(data.train, Order(50, 10, seed=0))
        if not isinstance(data.train, tf.data.Dataset)
        else StreamFeed(data.train)
    )
    return train(
        engine, feed, data, progress=progress or TrainingProgress(0), **{"stop": 25, "eval_every": 6, **options}
    )


def bits(engine):
    return {key: value.tobytes() for key, value in capture_state(engine.variables()).items()}


def test_evaluations_are_on_the_grid_and_at_the_end():
    engine, data = setup()
    history = run(engine, data).history
    assert [record["step"] for record in history] == [6, 12, 18, 24, 25]
    assert list(history[0]) == ["step", "train_loss", "train_accuracy", "val_loss", "val_accuracy"]


def test_from_a_later_start_the_grid_is_the_same():
    engine, data = setup()
    assert [record["step"] for record in run(engine, data, TrainingProgress(8)).history] == [12, 18, 24, 25]


def test_evaluations_and_the_captured_step_change_no_bit_of_the_weights(sparse):
    outcomes = []
    for options in ({"eval_every": 25}, {"eval_every": 1}, {"eval_every": 6, "capture_at": 9}):
        engine, data = setup(sparse=sparse)
        run(engine, data, **options)
        outcomes.append({key: value for key, value in bits(engine).items() if not key.startswith("metrics/")})
    assert outcomes[0] == outcomes[1] == outcomes[2]


@pytest.mark.parametrize("step", [0, 9, 12])
def test_the_state_is_captured_at_the_step_that_was_asked_for(step):
    engine, data = setup()
    actual = []
    run(engine, data, capture_at=step, on_capture=lambda: actual.append(capture_state(engine.variables())))
    assert len(actual) == 1
    assert actual[0]["optimizer/0"] == step
    plain, data = setup()
    if step:
        run(plain, data, stop=step, eval_every=100)
    for key, value in capture_state(plain.variables()).items():
        if not key.startswith("metrics/"):
            np.testing.assert_array_equal(actual[0][key], value, err_msg=key)


def test_the_early_stop_step_is_the_first_of_least_validation_loss():
    engine, data = setup()
    progress = run(engine, data, stop=200, eval_every=10)
    losses = [record["val_loss"] for record in progress.history]
    assert len(losses) == 20
    assert progress.step == 200
    assert progress.best_loss == min(losses)
    assert progress.best_step == 10 * (losses.index(min(losses)) + 1)
    assert progress.best_step < 200  # it overfits: the test data at the minimum is not that of the end
    assert progress.best_test != progress.test
    assert engine.evaluate(data.validation)["loss"] == losses[-1]  # the weights are those of the last step


def test_equal_losses_stop_at_the_first():
    engine, data = setup(layers=[L.Dense(3)])
    engine.optimizer.learning_rate.assign(0.0)
    progress = run(engine, data)
    assert len({record["val_loss"] for record in progress.history}) == 1
    assert len(progress.history) == 5
    assert progress.best_step == 6


def test_test_data_changes_neither_weights_nor_the_early_stop_step():
    outcomes = []
    for test in (True, False):
        engine, data = setup(test=test)
        progress = run(engine, data)
        outcomes.append((progress.best_step, progress.history, bits(engine)))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("stop_at", [1, 6, 7, 24])
def test_a_training_that_goes_on_from_a_saved_state_ends_the_same(stop_at, sparse):
    engine, data = setup(sparse=sparse)
    engine.chunk_size = lambda: 1
    saved = {}

    def save(progress):
        if progress.step == stop_at:
            saved["state"], saved["progress"] = capture_state(engine.variables()), progress.to_json()

    whole = run(engine, data, checkpoint=lambda p: save(TrainingProgress(**p.to_json())), checkpoint_every=0.0)
    again, data = setup(sparse=sparse)
    restore_state(again.variables(), saved["state"])
    resumed = run(again, data, TrainingProgress(**{**saved["progress"], "history": list(saved["progress"]["history"])}))
    assert resumed.to_json() == whole.to_json()
    assert bits(again) == bits(engine)


def test_a_stream_rewinds_to_the_batches_of_a_step():
    stream = tf.data.Dataset.from_tensor_slices((part(50, 0).x, part(50, 0).y)).batch(16)
    engine, data = setup(train=stream)
    actual = []
    run(engine, data, capture_at=9, on_capture=lambda: actual.append(capture_state(engine.variables())))
    again, data = setup(train=stream)
    restore_state(again.variables(), actual[0])
    run(again, data, TrainingProgress(9))
    first = {key: value for key, value in bits(engine).items() if not key.startswith("metrics/")}
    assert first == {key: value for key, value in bits(again).items() if not key.startswith("metrics/")}


def test_a_validation_loss_that_is_not_finite_is_an_error():
    engine, data = setup()
    kernel = engine.model.trainable_variables[-1]
    kernel.assign(np.full(kernel.shape, np.nan, "float32"))
    with pytest.raises(NonFiniteError, match="loss must be finite"):
        run(engine, data)


@pytest.mark.parametrize("element", [(np.zeros((4, 5)),) * 4, {"x": np.zeros((4, 5))}])
def test_elements_of_another_form_are_an_error(element):
    stream = tf.data.Dataset.from_tensors(element)
    with pytest.raises(UnfitError, match=r"must yield \(x, y\)"):
        splits(stream, stream).example()


def test_inputs_alone_have_no_targets():
    for element in (np.zeros((4, 5)), (np.zeros((4, 5)),)):
        stream = tf.data.Dataset.from_tensors(element)
        batch = splits(stream, stream).example()
        assert (tuple(batch.x.shape), batch.y, batch.weight) == ((4, 5), None, None)


class Watch(TrainingObserver):
    """Writes down what it sees."""

    def __init__(self):
        self.seen = []

    def on_chunk_begin(self, step):
        self.seen.append(("chunk", step))

    def on_chunk_end(self, step):
        self.seen.append(("chunk end", step))

    def on_evaluation_begin(self, step):
        self.seen.append(("evaluation", step))

    def on_evaluation_end(self, step, record):
        self.seen.append(("evaluation end", step, record["step"]))


def test_an_observer_sees_chunks_and_evaluations_in_their_order():
    engine, data = setup()
    watch = Watch()
    run(engine, data, stop=8, observer=watch)
    evaluations = [event for event in watch.seen if event[0].startswith("evaluation")]
    assert evaluations == [
        ("evaluation", 6),
        ("evaluation end", 6, 6),
        ("evaluation", 8),
        ("evaluation end", 8, 8),
    ]
    chunks = [event for event in watch.seen if event[0].startswith("chunk")]
    assert chunks[0] == ("chunk", 0)
    assert chunks[-1] == ("chunk end", 8)
    assert [step for _, step in chunks[1:-1:2]] == [step for _, step in chunks[2::2]]  # one begins where one ended
    assert watch.seen.index(("chunk end", 6)) < watch.seen.index(("evaluation", 6))
