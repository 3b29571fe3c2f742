"""A model's own methods of training and evaluation are run by experiments as `fit` runs them, or refused by name."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment import problem
from tf_lottery.experiment.config import Config

L = keras.layers
X = Y = np.ones((64, 1), "float32")


class Doubled(keras.Model):
    """Trains towards twice the targets."""

    def train_step(self, data):
        x, y = data[:2]
        return super().train_step((x, 2.0 * y))


class Tripled(keras.Model):
    """Trains towards three times the targets, in a step that calls nothing of Keras's own."""

    def train_step(self, data):
        x, y = data
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((3.0 * y - self(x, training=True)) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss, "doubled": 2.0 * loss}


class OwnLoss(keras.Model):
    """Its least loss is where the output is the target plus one."""

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean((y + 1.0 - y_pred) ** 2)


class OwnEvaluation(keras.Model):
    def test_step(self, data):
        x, _ = data
        return {"loss": keras.ops.mean(x) + 6.0, "answer": 42.0}


class OwnMetrics(keras.Model):
    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {"examples": keras.ops.shape(y)[0], "answer": 42.0}


class Adding(keras.Model):
    """Moves its weight when it is evaluated."""

    def test_step(self, data):
        self.trainable_variables[0].assign_add([[1.0]])
        return {"loss": 0.5}


class Logs(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.last = dict(logs)


def make(cls):
    inputs = keras.Input((1,))
    return cls(inputs, L.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))


def find(model, **options):
    given = {"loss": "mse", "optimizer": keras.optimizers.SGD(0.1), "rounds": 1, "rate": 0.0, "steps": 200}
    return tfl.find_ticket(model, X, Y, validation_data=(X, Y), verbose=0, **{**given, **options})


def learned(result, round_number=0):
    (weight,) = result.ticket(round_number).trained_weights.values()
    return float(weight[0, 0])


@pytest.mark.parametrize("jit_compile", [True, False])
@pytest.mark.parametrize(("cls", "value"), [(Doubled, 2.0), (Tripled, 3.0), (OwnLoss, 2.0), (keras.Model, 1.0)])
def test_own_steps_and_losses_are_trained_by(cls, value, jit_compile):
    assert learned(find(make(cls), jit_compile=jit_compile)) == pytest.approx(value, abs=1e-5)
    assert learned(find(lambda: make(cls), jit_compile=jit_compile)) == pytest.approx(value, abs=1e-5)


def test_a_data_set_is_trained_on_by_the_own_step():
    stream = tf.data.Dataset.from_tensor_slices((X, Y)).batch(32)
    result = tfl.find_ticket(
        make(Tripled),
        stream,
        validation_data=stream,
        loss="mse",
        optimizer=keras.optimizers.SGD(0.1),
        rounds=0,
        steps=200,
    )
    assert learned(result) == pytest.approx(3.0, abs=1e-5)


def test_what_the_own_train_step_returns_is_reported():
    logs = Logs()
    find(make(Tripled), steps=1, rounds=0, callbacks=[logs])
    # The step sees (3 * 1 - 0)^2 and moves the weight by 0.1 * 2 * 3 = 0.6; the evaluation is Keras's own.
    assert logs.last == {"loss": 9.0, "doubled": 18.0, "val_loss": pytest.approx((1 - 0.6) ** 2)}


def test_what_the_own_test_step_returns_is_reported():
    row = find(make(OwnEvaluation), steps=3, rounds=0).rows[0]
    assert (row["val_loss"], row["val_answer"]) == (7.0, 42.0)
    assert row["early_stop_step"] == 1


def test_what_own_compute_metrics_returns_is_reported():
    logs = Logs()
    find(make(OwnMetrics), steps=3, rounds=0, batch_size=16, eval_every=3, callbacks=[logs])
    assert (logs.last["examples"], logs.last["val_examples"], logs.last["val_answer"]) == (16.0, 64.0, 42.0)
    assert logs.last["loss"] == pytest.approx((1 + 0.8**2 + 0.64**2) / 3)  # of outputs 0, 0.2, 0.36


def test_an_evaluation_that_moves_weights_leaves_the_training_alone():
    assert learned(find(make(Adding), eval_every=1)) == pytest.approx(1.0, abs=1e-5)


def test_one_step_of_the_own_needs_a_loss_for_the_other():
    with pytest.raises(UsageError, match=r"`loss` must be given.* its own `train_step`: give it the other"):
        find(make(Tripled), loss=None)
    assert learned(find(make(OwnLoss), loss=None)) == pytest.approx(2.0, abs=1e-5)


def test_a_method_set_on_the_instance_is_not_lost():
    model = make(keras.Model)
    model.train_step = lambda data: {"loss": 0.0}
    with pytest.raises(UsageError, match=r"attribute 'train_step' .* cannot be copied"):
        find(model)


class NoLoss(keras.Model):
    def train_step(self, data):
        return {"error": tf.constant(1.0)}


class NoDictionary(keras.Model):
    def train_step(self, data):
        return tf.constant(1.0)


class Failing(keras.Model):
    def train_step(self, data):
        _x, _y, _weights = data
        return {"loss": 0.0}


class TwoOptimizers(Tripled):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.second = keras.optimizers.SGD(0.1)


class ListedOptimizers(Tripled):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.optimizers = [keras.optimizers.SGD(0.1)]

    def train_step(self, data):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((data[1] - self(data[0], training=True)) ** 2)
        self.optimizers[0].apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}


class LossOfExamples(keras.Model):
    def train_step(self, data):
        return {"loss": keras.ops.mean(super().train_step(data)["loss"] + 0.0 * data[1], axis=1)}


class ValuesOfExamples(keras.Model):
    def train_step(self, data):
        return {**super().train_step(data), "targets": data[1]}


class TensorFlowCount(keras.Model):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.count = tf.Variable(0.0)


class TensorFlowRandom(keras.Model):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.generators = [tf.random.Generator.from_seed(1)]


class OwnLoop(keras.Model):
    def fit(self, *args, **options):
        return super().fit(*args, **options)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (NoLoss, r"own `train_step` must return its loss as 'loss'\. Received: error\."),
        (NoDictionary, r"own `train_step` must return a dictionary of numbers\."),
        (Failing, r"own `train_step` fails on the first examples: ValueError: not enough values"),
        (TwoOptimizers, r"holds other optimizers .*: second\."),
        (ListedOptimizers, r"own `train_step` also changes sgd\w*/iteration"),
        (LossOfExamples, r"own `train_step` must return one number as 'loss'\. Received: an array of shape \(2,\)"),
        (TensorFlowCount, r"Received, made by TensorFlow: 'count' of 'tensor_flow_count.*add_weight"),
        (TensorFlowRandom, r"Received, made by TensorFlow: 'generators' of 'tensor_flow_random"),
        (OwnLoop, r"OwnLoop .* with its own fit\. .*`train_step`.*`tf_lottery\.wrap`"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(cls, message, tmp_path):
    for model in (make(cls), lambda: make(cls)):
        with pytest.raises(UsageError, match=message):
            find(model, run_dir=tmp_path / "run")
    assert not list(tmp_path.glob("run/replicate_*"))


def test_values_per_example_are_refused_by_name():
    with pytest.raises(UsageError, match=r"'targets' of shape \(2, 1\) for the first examples, then \(32, 1\)"):
        find(make(ValuesOfExamples))


def test_a_run_by_configuration_runs_the_own_step(tmp_path, monkeypatch):
    (tmp_path / "own_training_model.py").write_text(
        "import keras\n"
        "def make(cls):\n"
        "    inputs = keras.Input((8, 8, 1))\n"
        "    return cls(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))\n"
        "class Step(keras.Model):\n"
        "    def train_step(self, data):\n"
        "        return super().train_step(data)\n"
        "class Loop(keras.Model):\n"
        "    def fit(self, *args):\n"
        "        return super().fit(*args)\n"
        "def step():\n"
        "    return make(Step)\n"
        "def loop():\n"
        "    return make(Loop)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert problem.from_config(Config(dataset="digits", model="own_training_model:step")).make_model(0).built
    with pytest.raises(UnfitError, match=r"from own_training_model:loop: Loop .* its own fit"):
        problem.from_config(Config(dataset="digits", model="own_training_model:loop"))


def test_another_train_step_is_another_run(tmp_path):
    find(make(Doubled), run_dir=tmp_path / "run", steps=2)
    with pytest.raises(UsageError, match="another"):
        find(make(Tripled), run_dir=tmp_path / "run", steps=2)


def test_fit_of_the_wrapped_model_trains_by_its_own_step():
    wrapped = tfl.wrap(make(Doubled))
    wrapped.compile(keras.optimizers.SGD(0.1), "mse")
    wrapped.fit(X, Y, epochs=60, verbose=0)
    assert float(wrapped(X[:1])[0, 0]) == pytest.approx(2.0, abs=1e-3)


def test_a_subclass_without_methods_of_training_is_taken():
    class Plain(keras.Model):
        pass

    assert find(make(Plain)).best().density == 1.0


class Contrast(keras.Model):
    """Learns without targets: the mean of its outputs goes to 4."""

    def train_step(self, x):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((self(x, training=True) - 4.0) ** 2)
        self.optimizer.apply(tape.gradient(loss, self.trainable_variables), self.trainable_variables)
        return {"loss": loss}

    def test_step(self, x):
        return {"loss": tf.reduce_mean((self(x, training=False) - 4.0) ** 2)}


@pytest.mark.parametrize("kind", ["arrays", "data set"])
def test_a_model_whose_steps_need_no_targets(kind):
    options = {"optimizer": keras.optimizers.SGD(0.1), "rounds": 0, "steps": 200, "verbose": 0}
    if kind == "arrays":
        result = tfl.find_ticket(make(Contrast), X, test_data=X, **options)
    else:
        batches = tf.data.Dataset.from_tensor_slices(X).batch(32)
        result = tfl.find_ticket(make(Contrast), batches, validation_data=batches, **options)
    assert learned(result) == pytest.approx(4.0, abs=1e-4)


def test_other_models_need_targets():
    with pytest.raises(UsageError, match="`y` must be given"):
        tfl.find_ticket(make(keras.Model), X, loss="mse", rounds=0)
    batches = tf.data.Dataset.from_tensor_slices(X).batch(32)
    with pytest.raises(UnfitError, match="the loss needs targets"):
        tfl.find_ticket(make(keras.Model), batches, validation_data=batches, loss="mse", rounds=0, steps=2)
