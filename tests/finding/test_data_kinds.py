"""Data as `fit` takes it: arrays, `tf.data.Dataset` and `keras.utils.PyDataset`, and how long an epoch is."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.finding import py_datasets, training_data

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)


def make():
    return keras.Sequential([keras.Input((6,)), L.Dense(10, activation="relu"), L.Dense(3)])


def find(x=X, y=Y, **options):
    """A ticket after 6 steps."""
    defaults = {"loss": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "metrics": ["accuracy"]}
    defaults |= {"rounds": 1, "rate": 0.5, "steps": 6, "batch_size": 16, "jit_compile": False, "verbose": 0}
    return tfl.find_ticket(make, x, y, **{**defaults, **options})


def stream(x=X, y=Y, *more):
    return tf.data.Dataset.from_tensor_slices((x, y, *more)).batch(16)


def generated(count=5):
    """A data set of `count` batches, whose length TensorFlow does not know."""
    signature = (tf.TensorSpec((16, 6)), tf.TensorSpec((16,), tf.int64))
    return tf.data.Dataset.from_generator(
        lambda: ((X[i * 16 : i * 16 + 16], Y[i * 16 : i * 16 + 16]) for i in range(count)), output_signature=signature
    )


class Batches(keras.utils.PyDataset):
    """Five batches of 16 examples; it writes down what is asked of it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.events = []

    def __len__(self):
        return 5

    def __getitem__(self, index):
        self.events.append(index)
        return X[index * 16 : index * 16 + 16], Y[index * 16 : index * 16 + 16]

    def on_epoch_begin(self):
        self.events.append("begin")

    def on_epoch_end(self):
        self.events.append("end")


class Endless(Batches):
    """The same batches over and over, without a length."""

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return super().__getitem__(index % 5)


def weights(result, number=1):
    return result.ticket(number).trained_weights


def assert_same_weights(first, second):
    for number in (0, 1):
        for path, weight in weights(first, number).items():
            assert weight.tobytes() == weights(second, number)[path].tobytes(), path


@pytest.fixture(scope="module")
def of_arrays():
    return find(validation_data=(X[:30], Y[:30]), test_data=(X[30:50], Y[30:50]))


def test_validation_and_test_data_may_be_of_other_kinds(of_arrays):
    mixed = find(validation_data=stream(X[:30], Y[:30]), test_data=Batches())
    assert_same_weights(mixed, of_arrays)
    for row, expected in zip(mixed.rows, of_arrays.rows, strict=True):
        assert row["val_loss"] == pytest.approx(expected["val_loss"], rel=1e-5)
        assert row["val_accuracy"] == pytest.approx(expected["val_accuracy"], rel=1e-6)
        assert row["test_accuracy"] is not None
    assert len(find(stream(), None, validation_data=(X, Y)).rows) == 2
    assert len(find(test_data=stream()).rows) == 2  # the training arrays are split all the same


def test_arrays_beside_a_stream_tell_runs_apart(tmp_path):
    find(validation_data=stream(), run_dir=tmp_path / "run")
    with pytest.raises(UsageError, match="another configuration"):
        find(X + 1, validation_data=stream(), run_dir=tmp_path / "run")


def test_a_py_dataset_is_trained_on_epoch_by_epoch_in_another_order_each():
    dataset = Batches()
    batches = py_datasets.training_stream(dataset, seed=3)
    dataset.events.clear()
    read = [y.numpy() for _, y in batches.take(10)]
    del batches
    epochs = [event for event in dataset.events if event in ("begin", "end")]
    assert epochs[:3] == ["begin", "end", "begin"]
    orders = [
        [i for y in part for i in range(5) if np.array_equal(y, Y[i * 16 : i * 16 + 16])]
        for part in (read[:5], read[5:])
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == [0, 1, 2, 3, 4]
    assert orders[0] != orders[1]
    again = [y.numpy() for _, y in py_datasets.training_stream(Batches(), seed=3).take(10)]
    np.testing.assert_array_equal(read, again)
    other = [y.numpy() for _, y in py_datasets.training_stream(Batches(), seed=4).take(10)]
    assert not np.array_equal(read, other)


@pytest.mark.parametrize("options", [{"workers": 3}, {"workers": 1, "use_multiprocessing": True}], ids=str)
def test_workers_of_a_py_dataset_change_nothing(options):
    expected = [x.numpy() for x, _ in py_datasets.training_stream(Batches(), seed=3).take(12)]
    dataset = Batches(**options)
    np.testing.assert_array_equal(
        [x.numpy() for x, _ in py_datasets.training_stream(dataset, seed=3).take(12)], expected
    )
    read = [y.numpy() for _, y in py_datasets.evaluation_stream(dataset)]
    np.testing.assert_array_equal(np.concatenate(read), Y)


def test_a_py_dataset_has_epochs():
    result = find(Batches(), None, validation_data=Batches(), steps=None, epochs=2, rewind="epoch:1")
    assert [row["steps"] for row in result.rows] == [10, 5]
    assert_same_weights(result, find(Batches(), None, validation_data=(X, Y), steps=10, rewind="step:5"))


def test_a_py_dataset_without_a_length_needs_steps():
    assert find(Endless(), None, validation_data=(X, Y)).rows[0]["steps"] == 6
    stated = find(Endless(), None, validation_data=(X, Y), steps=None, epochs=2, steps_per_epoch=4)
    assert stated.rows[0]["steps"] == 8
    with pytest.raises(UsageError, match="`x` repeats without end"):
        find(Endless(), None, validation_data=(X, Y), steps=None, epochs=2)
    with pytest.raises(UsageError, match="`validation_data` repeats without end"):
        find(validation_data=Endless())


def test_lists_of_inputs_in_a_py_dataset():
    class Pairs(Batches):
        def __getitem__(self, index):
            x, y = super().__getitem__(index)
            return [x[:, :4], x[:, 4:]], y

    x, _ = next(iter(py_datasets.evaluation_stream(Pairs())))
    assert [part.shape for part in x] == [(16, 4), (16, 2)]


def test_a_py_dataset_that_cannot_be_read_is_refused():
    class Empty(Batches):
        def __len__(self):
            return 0

    class Wrong(Batches):
        def __getitem__(self, index):
            return "nothing"

    for dataset in (Empty(), Wrong()):
        with pytest.raises(UnfitError, match=f"{type(dataset).__name__} can't be read"):
            find(dataset, None, validation_data=(X, Y))


def test_a_data_set_of_unknown_length_is_counted():
    result = find(generated(), None, validation_data=(X, Y), steps=None, epochs=2, rewind="epoch:1")
    assert [row["steps"] for row in result.rows] == [10, 5]
    assert training_data.count_batches(generated(3)) == 3


def test_a_data_set_without_end_needs_steps():
    endless = stream().repeat()
    assert find(endless, None, validation_data=(X, Y)).rows[0]["steps"] == 6
    with pytest.raises(UsageError, match="Pass `steps`, or `steps_per_epoch`"):
        find(endless, None, validation_data=(X, Y), steps=None, epochs=2)


def test_counting_that_takes_long_says_what_makes_it_unnecessary(monkeypatch, caplog):
    monkeypatch.setattr(training_data, "PATIENCE", -1.0)
    assert training_data.count_batches(generated(3)) == 3
    assert [record.getMessage()[:36] for record in caplog.records] == ["counting the batches of x: 1 so far;"]


def test_steps_per_epoch_is_what_an_epoch_means(tmp_path):
    result = find(steps=None, epochs=3, steps_per_epoch=2, rewind="epoch:1", run_dir=tmp_path / "run")
    assert [row["steps"] for row in result.rows] == [6, 4]
    assert_same_weights(result, find(steps=6, rewind="step:2"))
    with pytest.raises(UsageError, match="another configuration"):
        find(steps=None, epochs=3, steps_per_epoch=3, rewind="epoch:1", run_dir=tmp_path / "run")
    for wrong in (0, -1, 2.5, True):
        with pytest.raises(UsageError, match="`steps_per_epoch` must be a positive integer"):
            find(steps=None, epochs=3, steps_per_epoch=wrong)


def test_class_weight_is_a_weight_for_each_example(tmp_path):
    class_weight = {0: 0.5, 2: 3.0}
    by_example = np.array([0.5, 1.0, 3.0], "float32")[Y]
    validation = {"validation_data": (X, Y)}
    expected = find(sample_weight=by_example, **validation)
    assert_same_weights(find(class_weight=class_weight, **validation, run_dir=tmp_path / "run"), expected)
    one_hot = keras.losses.CategoricalCrossentropy(from_logits=True)
    targets = np.eye(3, dtype="float32")[Y]
    validation = {"validation_data": (X, targets), "loss": one_hot}
    assert_same_weights(
        find(y=targets, class_weight=class_weight, **validation),
        find(y=targets, sample_weight=by_example, **validation),
    )
    with pytest.raises(UsageError, match="another configuration"):
        find(class_weight={0: 0.6}, validation_data=(X, Y), run_dir=tmp_path / "run")


@pytest.mark.parametrize("targets", [Y, Y[:, None], np.eye(3, dtype="float32")[Y]], ids=["(n,)", "(n, 1)", "one-hot"])
def test_class_weight_of_a_data_set(targets):
    from tf_lottery.finding.class_weights import with_class_weight

    weighted = with_class_weight(stream(X, targets), {0: 0.5, 2: 3.0})
    got = np.concatenate([weight.numpy() for _, _, weight in weighted])
    np.testing.assert_array_equal(got, np.array([0.5, 1.0, 3.0], "float32")[Y])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_weight": {0: 2.0}, "sample_weight": np.ones(80)}, "exclude each other"),
        ({"x": stream(X, Y, np.ones(80)), "y": None, "class_weight": {0: 2.0}}, "exclude each other"),
        ({"class_weight": [1.0, 2.0]}, "must be a dictionary"),
        ({"class_weight": {"cat": 2.0}}, "must be a dictionary"),
        ({"class_weight": {0: -1.0}}, "must be a dictionary"),
        ({"x": stream(), "y": Y}, "`y` must be left out"),
        ({"x": Batches(), "y": None, "sample_weight": np.ones(80)}, "`sample_weight` must be left out"),
        ({"x": iter([(X, Y)]), "y": None}, "A generator can be read once"),
        ({"x": lambda: (yield X, Y), "y": None}, "A generator can be read once"),
        ({"validation_data": iter([(X, Y)])}, "`validation_data` must be arrays"),
        ({"x": type("DataLoader", (), {})(), "y": None}, "Received: DataLoader. Wrap it"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_data_that_fit_would_not_take_is_refused(options, message):
    with pytest.raises(UsageError, match=message):
        find(**{"validation_data": (X, Y), **options})


def test_sparse_batches_train_without_xla_where_it_was_not_asked_for():
    dense = (np.random.default_rng(0).random((32, 200)) < 0.05).astype("float32")
    labels = np.arange(32) % 2
    batches = tf.data.Dataset.from_tensor_slices((tf.sparse.from_dense(dense), labels)).batch(8)
    inputs = keras.Input((200,), sparse=True)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Dense(8, activation="relu")(inputs)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    options = {"validation_data": batches, "loss": loss, "rounds": 1, "steps": 8, "verbose": 0}
    automatic, without = (
        tfl.find_ticket(model, batches, jit_compile=jit, **options).ticket(1) for jit in ("auto", False)
    )
    for path, weights in without.trained_weights.items():
        np.testing.assert_array_equal(automatic.trained_weights[path], weights)  # no batch was lost
    with pytest.raises(UnfitError, match=r"XLA can't compile a step: .*SparseFillEmptyRows.*`jit_compile`"):
        tfl.find_ticket(model, batches, jit_compile=True, **options)
