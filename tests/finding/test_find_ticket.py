"""`find_ticket`: a Keras user's own model, data, loss and optimizer."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import NonFiniteError, ResourceError, UnfitError, UsageError
from toys import Subclassed

L = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)


def make():
    return keras.Sequential([keras.Input((6,)), L.Dense(10, activation="relu"), L.Dropout(0.1), L.Dense(3)])


def find(model=None, **options):
    given = {"x": X, "y": Y, "loss": LOSS, "metrics": ["accuracy"], "rounds": 1, "rate": 0.5, "steps": 8}
    return tfl.find_ticket(
        make() if model is None else model, **{**given, "batch_size": 16, "jit_compile": False, **options}
    )


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def test_a_built_model_gives_its_own_ticket_and_is_not_changed():
    model = make()
    before = [w.copy() for w in model.get_weights()]
    result = find(model, rounds=2)
    assert [row["round"] for row in result.rows] == [0, 1, 2]
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert not model.compiled
    ticket = result.ticket(2)
    assert ticket.rewind_weights["dense/kernel"].shape == (6, 10)
    np.testing.assert_array_equal(ticket.rewind_weights["dense/kernel"], before[0] * ticket.masks["dense/kernel"])
    assert ticket.density == result.rows[2]["density"] == (15 + 16) / 90  # 60 -> 30 -> 15; output layer 30 -> 22 -> 16


def test_the_parts_of_the_data_that_are_given_are_used():
    result = find(validation_data=(X[:10], Y[:10]), test_data=(X[10:30], Y[10:30]), rounds=0)
    assert result.rows[0]["test_accuracy"] * 20 == pytest.approx(round(result.rows[0]["test_accuracy"] * 20))
    assert find(rounds=0).rows[0]["test_accuracy"] is None


def test_a_function_makes_a_model_for_each_replicate_from_the_seed():
    first = find(make, replicates=2, seed=5)
    second = find(make, replicates=2, seed=5)
    assert [row["replicate"] for row in first.rows] == [0, 0, 1, 1]
    for replicate in (0, 1):
        a, b = (result.ticket(1, replicate=replicate) for result in (first, second))
        assert same(a.masks, b.masks)
        assert same(a.trained_weights, b.trained_weights)
    assert not same(first.ticket(0).rewind_weights, first.ticket(0, replicate=1).rewind_weights)
    assert not same(first.ticket(0).rewind_weights, find(make, seed=6, rounds=0).ticket(0).rewind_weights)


def test_controls_beside_the_ticket():
    result = find(variants=("ticket", "random_reinit"))
    assert [(row["round"], row["variant"]) for row in result.rows] == [
        (0, "ticket"),
        (1, "ticket"),
        (1, "random_reinit"),
    ]


def test_regression_has_no_accuracy_and_chooses_by_loss():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, activation="tanh"), L.Dense(1)])
    y = (X[:, :1] * 2).astype("float32")
    result = find(model, y=y, loss="mse", metrics=["mae"], rounds=2)
    row = result.rows[0]
    assert row["val_accuracy"] is None
    assert row["val_loss"] > 0
    assert row["val_mae"] > 0
    assert result.best(max_drop=10.0).recipe["round"] == 2


def test_sample_weights_change_the_training():
    light = np.full(80, 0.25, "float32")
    plain, weighted = find(make, rounds=0), find(make, sample_weight=light, rounds=0)
    assert weighted.rows[0]["val_loss"] < 0.5 * plain.rows[0]["val_loss"]


def test_several_inputs_and_outputs():
    a, b = keras.Input((4,), name="a"), keras.Input((2,), name="b")
    hidden = L.Dense(6, activation="relu")(L.Concatenate()([a, b]))
    model = keras.Model([a, b], {"kind": L.Dense(3, name="kind")(hidden), "value": L.Dense(1, name="value")(hidden)})
    y = {"kind": Y, "value": X[:, :1]}
    options = {"loss": {"kind": LOSS, "value": "mse"}, "metrics": {"kind": ["accuracy"], "value": ["mae"]}}
    result = find(model, x=(X[:, :4], X[:, 4:]), y=y, include=["dense*"], **options)
    assert result.rows[0]["val_accuracy"] is not None
    assert result.rows[0]["val_value_mae"] > 0
    named = find(model, x={"a": X[:, :4], "b": X[:, 4:]}, y=y, **options)
    assert len(named.rows) == 2


def test_a_tf_data_set_of_batches():
    def stream(x, y):
        return tf.data.Dataset.from_tensor_slices((x, y)).batch(16)

    result = find(
        x=stream(X[:60], Y[:60]),
        y=None,
        validation_data=stream(X[60:], Y[60:]),
        rewind="step:3",
        steps=None,
        epochs=2,
    )
    assert [row["steps"] for row in result.rows] == [8, 5]
    generator = tf.data.Dataset.from_generator(
        lambda: zip(X, Y, strict=True), output_signature=(tf.TensorSpec((6,)), tf.TensorSpec((), tf.int64))
    ).batch(16)
    assert len(find(x=generator, y=None, validation_data=stream(X, Y), steps=7).rows) == 2
    counted = find(x=generator, y=None, validation_data=stream(X, Y), steps=None, epochs=2)
    assert [row["steps"] for row in counted.rows] == [10, 10]


def test_mixed_precision_and_an_optimizer_with_a_schedule():
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, dtype="mixed_float16"), L.Dense(3)])
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 10, 0.9)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=0.1, use_ema=True)
    ticket = find(model, optimizer=optimizer).ticket(1)
    for path, mask in ticket.masks.items():
        assert not ticket.trained_weights[path][~mask].any()
    assert not optimizer.built, "the user's optimizer is not used up"


def test_a_loss_of_the_users_own():
    def own(y, outputs):
        return keras.ops.mean(keras.ops.square(keras.ops.one_hot(y, 3) - outputs), axis=-1)

    assert find(loss=own, rounds=0).rows[0]["val_loss"] > 0


def test_a_run_directory_is_resumed_and_extended(tmp_path):
    first = find(make, run_dir=tmp_path / "run")
    weights = tmp_path / "run/replicate_0/round_01/weights.npz"
    before = weights.stat().st_mtime_ns
    again = find(make, run_dir=tmp_path / "run", rounds=2)
    assert again.rows[:2] == first.rows
    assert len(again.rows) == 3
    assert weights.stat().st_mtime_ns == before
    assert same(again.ticket(2).trained_weights, find(make, rounds=2).ticket(2).trained_weights)
    assert tfl.open_run(tmp_path / "run").rows == again.rows


@pytest.mark.parametrize(
    "change",
    [
        {"rate": 0.4},
        {"optimizer": keras.optimizers.Adam(0.5)},
        {"loss": "mse"},
        {"x": X + 1},
        {"model": lambda: keras.Sequential([keras.Input((6,)), L.Dense(11), L.Dense(3)])},
        {"include": ["dense/*"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_experiment_in_the_same_directory_is_refused(tmp_path_factory, change):
    path = tmp_path_factory.getbasetemp() / "one-run"
    if not path.exists():
        find(make, run_dir=path, rounds=0)
    change = dict(change)
    with pytest.raises((UsageError, UnfitError), match=r"another configuration|does not fit"):
        find(change.pop("model", make), run_dir=path, rounds=0, **change)


# Bad input.


def with_nan(index):
    model = make()
    weights = model.get_weights()
    weights[index].flat[0] = np.nan
    model.set_weights(weights)
    return model


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"model": keras.Sequential([L.Dense(3)])}, UnfitError, "not built"),
        ({"model": Subclassed(3)}, UnfitError, "is not built: .* Call it once on a batch"),
        ({"model": "mlp"}, UsageError, "`model` must be a keras.Model or a function"),
        ({"model": lambda: None}, UsageError, "A keras.Model is expected from the function `model`"),
        ({"model": keras.Sequential([keras.Input((6,)), L.BatchNormalization()])}, UnfitError, "Nothing in the model"),
        ({"include": ["conv*"]}, UsageError, "conv"),
        ({"replicates": 2}, UsageError, "`replicates` must be 1"),
        ({"replicates": 0}, UsageError, "`replicates` must be at least 1"),
        ({"rate": 1.0}, UsageError, r"`rate` must be in \[0, 1\)"),
        ({"rate": -0.1}, UsageError, r"`rate` must be in \[0, 1\)"),
        ({"rate": float("nan")}, UsageError, "`rate` must be float"),
        ({"rounds": -1}, UsageError, "`rounds` must be at least 0"),
        ({"rounds": 1.5}, UsageError, "`rounds` must be int"),
        ({"steps": 0}, UsageError, "`steps` must be positive"),
        ({"steps": None, "epochs": -1.0}, UsageError, "`epochs` must be positive"),
        ({"epochs": 2}, UsageError, "either `steps` or `epochs`"),
        ({"batch_size": 0}, UsageError, "`batch_size` must be at least 1"),
        ({"batch_size": 1000}, UsageError, "between 1 and the number of training examples"),
        ({"eval_every": 0}, UsageError, "`eval_every` must be at least 1"),
        ({"rewind": "step:8"}, UsageError, "before the end of a training"),
        ({"rewind": "later"}, UsageError, "`rewind` must be init"),
        ({"scope": "all"}, UsageError, "Unknown scope"),
        ({"criterion": "magnitud"}, UsageError, "magnitude"),
        ({"variants": ("tickets",)}, UsageError, "ticket"),
        ({"jit_compile": "maybe"}, UsageError, "`jit_compile` must be 'auto', True or False"),
        ({"validation_split": 1.5}, UsageError, r"A fraction for `validation_split` must be in \(0, 1\)"),
        ({"y": None}, UsageError, "`y` must be given"),
        ({"x": None}, UsageError, "`x` must be given"),
        ({"validation_data": X}, UsageError, "`validation_data` must be a tuple"),
        ({"y": Y[:-1]}, UnfitError, "same number of examples"),
        ({"x": X[:, :5]}, UnfitError, "train data does not fit"),
        ({"x": np.where(X[3, 2] == X, np.nan, X)}, UnfitError, "NaN"),
        ({"y": Y + 1}, UnfitError, r"Class numbers must be in \[0, 3\)"),
        ({"y": Y - 1}, UnfitError, r"Class numbers must be in \[0, 3\)"),
        ({"validation_data": (X[:, :5], Y)}, UnfitError, "validation"),
        ({"test_data": (X, Y + 5)}, UnfitError, "test data holds"),
        ({"loss": "categorical_crossentropy"}, UnfitError, "does not fit the model and the loss"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_before_anything_is_written(tmp_path, options, kind, message):
    options = dict(options)
    with pytest.raises(kind, match=message) as caught:
        find(options.pop("model", None), run_dir=tmp_path / "run", **options)
    assert caught.value.cause
    assert isinstance(caught.value, UsageError | UnfitError)


@pytest.mark.parametrize("index", [0, 1], ids=["kernel", "bias"])
def test_weights_that_are_nan_are_refused(index):
    with pytest.raises(NonFiniteError, match="NaN"):
        find(with_nan(index))


def test_streams_that_do_not_fit_are_refused():
    good = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    for train, kind, message in (
        (good.take(0), UnfitError, "yields no batch"),
        (good.map(lambda x, y: x), UnfitError, "the loss needs targets: the data must yield"),
        (good.map(lambda x, y: (x[:, :5], y)), UnfitError, "does not fit the model"),
        (good.map(lambda x, y: (x, y + 1)), UnfitError, "Class numbers"),
    ):
        with pytest.raises(kind, match=message):
            find(x=train, y=None, validation_data=good)
    with pytest.raises(UsageError, match="`validation_data` must be given"):
        find(x=good, y=None)


def test_a_training_that_diverges_says_so_and_keeps_what_is_done(tmp_path):
    with pytest.raises(NonFiniteError, match="round 0, ticket"):
        find(
            optimizer=keras.optimizers.SGD(1e38),
            loss="mse",
            y=X[:, :3],
            metrics=None,
            run_dir=tmp_path / "run",
        )
    assert tfl.open_run(tmp_path / "run").rows == []


def test_a_place_that_can_not_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError):
        find(run_dir=tmp_path / "file" / "run")


def test_test_data_never_chooses():
    result = find(rounds=2, test_data=(X, Y))
    for row, value, test in zip(result.rows, (0.8, 0.8, 0.7), (0.1, 0.2, 0.9), strict=True):
        row |= {"val_accuracy": value, "test_accuracy": test, "test_loss": 1 - test, "early_stop_test_accuracy": test}
    assert result.best().recipe["round"] == 1
    for row in result.rows:
        row |= {"test_accuracy": 1 - row["test_accuracy"]}
    assert result.best().recipe["round"] == 1
    assert result.best(max_drop=0.11).recipe["round"] == 2


def test_a_round_that_is_not_there_is_an_error():
    result = find()
    with pytest.raises(UsageError, match="no round 7 of replicate 0"):
        result.ticket(7)
    with pytest.raises(UsageError, match="Its rounds: none; its replicates: 0"):
        result.ticket(0, replicate=3)


def test_a_loss_with_another_captured_value_is_another_run(tmp_path):
    # It was identified by its source alone, so the old results came back.
    def scaled(factor):
        return lambda true, predicted: factor * LOSS(true, predicted)

    find(loss=scaled(1.0), rounds=0, run_dir=tmp_path / "run")
    with pytest.raises(UsageError, match="another configuration"):
        find(loss=scaled(100.0), rounds=0, run_dir=tmp_path / "run")


def test_a_validation_stream_without_end_is_refused():
    # Its evaluation never returned.
    batches = tf.data.Dataset.from_tensor_slices((X, Y)).batch(16)
    for parts in ({"validation_data": batches.repeat()}, {"validation_data": batches, "test_data": batches.repeat()}):
        with pytest.raises(UsageError, match="without end"):
            find(x=batches, y=None, **parts)
