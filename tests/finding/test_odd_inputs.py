"""Models, losses, metrics and optimizers off the beaten track, through `find_ticket`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.directory import Job, RunDirectory
from toys import AlwaysNoise

X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = np.arange(64) % 2
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make(*middle):
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(6, "relu"), *middle, keras.layers.Dense(2)])


def find(model, **changes):
    given = {"loss": LOSS, "rounds": 1, "rate": 0.5, "steps": 12, "batch_size": 8, "eval_every": 4, **changes}
    return tfl.find_ticket(model, X, Y, **given)


def test_evaluations_do_not_change_what_an_always_drawing_layer_trains():
    model = make(AlwaysNoise())
    plain = find(model)
    tested = find(model, test_data=(X, Y), eval_every=3)
    for number in (0, 1):
        first, second = plain.ticket(number).trained_weights, tested.ticket(number).trained_weights
        for path, weight in first.items():
            np.testing.assert_array_equal(weight, second[path], err_msg=path)


def test_an_optimizer_that_copies_weights_copies_those_of_the_job(tmp_path):
    optimizer = keras.optimizers.ScheduleFreeAdamW(learning_rate=1e-9)
    find(make, optimizer=optimizer, replicates=2, variants=("ticket", "random_reinit"), run_dir=tmp_path / "run")
    store = RunDirectory(tmp_path / "run")
    starts = [store.weights(job)["dense/kernel"] for job in (Job(0, 0), Job(1, 0), Job(0, 1, "random_reinit"))]
    assert np.abs(starts[0] - starts[1]).max() > 0.1
    result = tfl.open_run(tmp_path / "run")
    for replicate in (0, 1):  # with hardly any learning rate, a training ends where it starts
        ticket = result.ticket(0, replicate=replicate)
        for path, weight in ticket.rewind_weights.items():
            np.testing.assert_allclose(ticket.trained_weights[path], weight, atol=1e-5, err_msg=path)
    control, masks = starts[2], store.masks(Job(0, 1))["dense/kernel"]
    assert np.all((control != starts[0])[masks])


def test_a_metric_of_several_values_has_a_column_each():
    loss, targets = keras.losses.CategoricalCrossentropy(from_logits=True), np.eye(2, dtype="float32")[Y]
    metrics = [keras.metrics.F1Score()]
    result = tfl.find_ticket(make(), X, targets, loss=loss, metrics=metrics, rounds=0, steps=4)
    assert {"val_f1_score_0", "val_f1_score_1"} <= result.rows[0].keys()


def test_a_loss_that_xla_cannot_compile_trains_without_it():
    def loss(y_true, y_pred):
        scaled = tf.py_function(lambda value: value * 1.0, [y_pred], tf.float32)
        scaled.set_shape(y_pred.shape)
        return keras.losses.sparse_categorical_crossentropy(y_true, scaled, from_logits=True)

    assert find(make(), loss=loss, rounds=0).rows[0]["steps"] == 12


def test_a_lambda_layer_can_be_trained():
    assert find(make(keras.layers.Lambda(lambda x: 2.0 * x, output_shape=(6,))), rounds=0).rows


def test_bfloat16_weights_are_refused_before_the_first_round():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, dtype="bfloat16")])
    with pytest.raises(UnfitError, match="bfloat16"):
        find(model)


@pytest.mark.parametrize("metrics", [["nope"], [3]])
def test_a_metric_that_keras_does_not_know_is_told(metrics):
    with pytest.raises(UsageError, match="metric"):
        find(make(), metrics=metrics)


def test_a_recipe_tells_the_optimizer_that_trained_it():
    config = find(make(), optimizer=keras.optimizers.SGD(0.5, momentum=0.9)).ticket(1).recipe["config"]
    assert (config["optimizer"], config["learning_rate"], config["momentum"]) == ("sgd", 0.5, 0.9)
    assert config["normalization"] == "none"


def test_masks_of_another_type_are_a_usage_error():
    with pytest.raises(UsageError, match="dictionary"):
        tfl.set_masks(tfl.wrap(make()), [1, 2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"criterion": "snip"}, "scores by training examples"),
        ({"variants": ("ticket", "other_order")}, "another order of the data"),
    ],
)
def test_what_a_stream_can_t_give_is_refused(changes, message):
    """A shuffled stream gave a control other masks than its ticket's, and `other_order` was the ticket's own order."""
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(64, seed=1).batch(8)
    with pytest.raises(UnfitError, match=message):
        tfl.find_ticket(make(), stream, validation_data=stream, loss=LOSS, rounds=1, rate=0.5, steps=4, **changes)


def test_the_callers_own_schedule_keeps_its_last_rate_in_fine_tuning():
    rates = []

    class Falling(keras.optimizers.schedules.LearningRateSchedule):
        def __call__(self, step):
            return 0.1 / (1.0 + keras.ops.cast(step, "float32"))

        def get_config(self):
            return {}

    class PlainSGD(keras.optimizers.SGD):
        def apply(self, gradients, variables):
            tf.py_function(lambda rate: rates.append(float(rate)), [self.learning_rate], [])
            return super().apply(gradients, variables)

    find(make(), optimizer=PlainSGD(Falling()), rewind="finetune:step:3", jit_compile=False)
    assert rates[11:] == pytest.approx([0.1 / 12] * 4)
    assert rates[10] == pytest.approx(0.1 / 11)
