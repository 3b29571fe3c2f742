"""A compiled model brings its optimizer, loss and metrics; what the call names takes precedence."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.finding.training_settings import compiled_settings, training_settings

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)


def make(**compiled):
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), L.Dense(10, activation="relu"), L.Dense(3)])
    if compiled:
        model.compile(**{"optimizer": keras.optimizers.SGD(0.05, momentum=0.9), "loss": loss(), **compiled})
    return model


def loss():
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def find(model, **options):
    defaults = {"rounds": 1, "rate": 0.5, "steps": 6, "batch_size": 16, "verbose": 0}
    return tfl.find_ticket(model, X, Y, **{**defaults, **options})


def same_weights(first, second):
    pairs = [(first.ticket(number).trained_weights, second.ticket(number).trained_weights) for number in (0, 1)]
    return all(a[path].tobytes() == b[path].tobytes() for a, b in pairs for path in a)


def test_a_compiled_model_brings_what_it_was_compiled_with(tmp_path):
    model = make(metrics=["accuracy"], weighted_metrics=["accuracy"])
    settings = model.get_compile_config()
    before = [weight.copy() for weight in model.get_weights()]
    brought = find(model, run_dir=tmp_path / "run")
    assert "val_accuracy" in brought.rows[0]
    assert "val_weighted_accuracy" in brought.rows[0]
    config = brought.ticket(0).recipe["config"]
    assert (config["optimizer"], config["momentum"], config["xla"]) == ("sgd", 0.9, "auto")
    # It is the run of the call that names everything.
    named = {"optimizer": keras.optimizers.SGD(0.05, momentum=0.9), "loss": loss()}
    named |= {"metrics": ["accuracy"], "weighted_metrics": ["accuracy"]}
    assert find(make(), **named, run_dir=tmp_path / "run").rows == brought.rows
    # The model is as it was.
    assert model.get_compile_config() == settings
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert model.optimizer.iterations == 0


def test_arguments_take_precedence():
    model = make(metrics=["accuracy"])
    adam = find(model, optimizer=keras.optimizers.Adam(0.01))
    assert adam.ticket(0).recipe["config"]["optimizer"] == "adam"
    assert same_weights(adam, find(make(), optimizer=keras.optimizers.Adam(0.01), loss=loss()))
    assert "val_top" in find(model, metrics=[keras.metrics.SparseTopKCategoricalAccuracy(2, name="top")]).rows[0]


def test_the_learning_rate_that_was_set_last_is_used():
    model = make(metrics=["accuracy"])
    model.optimizer.learning_rate = 0.5
    result = find(model)
    assert result.ticket(0).recipe["config"]["learning_rate"] == 0.5
    assert same_weights(result, find(make(), optimizer=keras.optimizers.SGD(0.5, momentum=0.9), loss=loss()))


def test_a_model_without_a_loss_needs_one():
    with pytest.raises(UsageError, match="`loss` must be given: the model is not compiled with one"):
        find(make())
    with pytest.raises(UsageError, match="`loss` must be given"):
        find(make(loss=None, metrics=["accuracy"]))
    assert find(make(loss=None, metrics=["accuracy"]), loss=loss()).rows[0]["val_accuracy"] is not None


def test_a_function_that_makes_compiled_models():
    result = find(lambda: make(loss=lambda y, outputs: loss()(y, outputs), metrics=["accuracy"]), replicates=2)
    assert [row["replicate"] for row in result.rows] == [0, 0, 1, 1]
    assert all(row["val_accuracy"] is not None for row in result.rows)


def test_a_model_file_brings_what_it_was_compiled_with(tmp_path):
    model = make(loss="sparse_categorical_crossentropy", metrics=["accuracy"], loss_weights=0.5)
    model.optimizer.build(model.trainable_variables)
    model.save(tmp_path / "model.keras")
    result = find(keras.models.load_model(tmp_path / "model.keras"))
    assert same_weights(result, find(model))
    assert result.rows[0]["val_accuracy"] is not None
    assert compiled_settings(model)["loss_weights"] == 0.5


def test_jit_compile_of_a_model_is_taken_where_it_was_chosen():
    def setting(model, **options):
        return training_settings(model, loss=loss(), **options).jit_compile

    assert setting(make()) == setting(make(jit_compile="auto")) == "auto"
    chosen = not make(jit_compile="auto").jit_compile  # what Keras does not choose here
    assert setting(make(jit_compile=chosen)) is chosen
    assert setting(make(jit_compile=chosen), jit_compile=not chosen) is not chosen
    assert find(make(jit_compile=True), rounds=0).ticket(0).recipe["config"]["xla"] == "on"


def test_run_eagerly_is_not_used_silently(caplog):
    training_settings(make(run_eagerly=True))
    assert [record.getMessage() for record in caplog.records] == [
        "run_eagerly of the model is not used: the steps of a training are compiled"
    ]


def test_mixed_precision_of_a_compiled_model():
    keras.utils.set_random_seed(5)
    model = keras.Sequential([keras.Input((6,)), L.Dense(8, dtype="mixed_float16"), L.Dense(3)])
    model.compile("adam", loss())
    assert find(model, rounds=0).ticket(0).recipe["config"]["optimizer"] == "adam"
