"""`find_ticket` and what it returns, for subclassed models: built ones, and functions that make them."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError

L = keras.layers
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@keras.saving.register_keras_serializable("tests of find_ticket")
class Net(keras.Model):
    def __init__(self, units=10, rate=0.1, **options):
        super().__init__(**options)
        self.units, self.rate = units, rate
        self.first = L.Dense(units, "relu")
        self.rest = [L.Dropout(rate), L.Dense(3)]

    def call(self, x, training=False):
        x = self.rest[0](self.first(x), training=training)
        return self.rest[1](x)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "rate": self.rate}


class NoConfiguration(keras.Model):
    def __init__(self, units, scale):
        super().__init__()
        self.first, self.last = L.Dense(units, "relu"), L.Dense(3)
        self.scale = scale

    def call(self, x):
        return self.scale * self.last(self.first(x))


class Distiller(keras.Model):
    """Distillation (Hinton et al. 2015) as Keras's guides write it, with a `compile` of its own."""

    def __init__(self, student, teacher):
        super().__init__()
        self.student, self.teacher = student, teacher

    def compile(self, optimizer, student_loss, distillation_loss, alpha):
        super().compile(optimizer=optimizer)
        self.student_loss, self.distillation_loss, self.alpha = student_loss, distillation_loss, alpha

    def call(self, x):
        return self.student(x)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        soft = keras.ops.softmax(self.teacher(x, training=False))
        distilled = self.distillation_loss(soft, keras.ops.softmax(y_pred))
        return self.alpha * self.student_loss(y, y_pred) + (1 - self.alpha) * distilled


def built(model):
    model(X[:2])
    return model


def mlp(units=10):
    return keras.Sequential([keras.Input((6,)), L.Dense(units, "relu"), L.Dense(3)])


def make():
    return built(Net())


def find(model, **options):
    given = {"loss": LOSS, "metrics": ["accuracy"], "rounds": 2, "rate": 0.5, "steps": 8, "batch_size": 16}
    return tfl.find_ticket(model, X, Y, verbose=0, **{**given, **options})


def same(first, second):
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def test_a_built_model_gives_its_ticket_and_is_not_changed():
    model = make()
    before = [weight.copy() for weight in model.get_weights()]
    ticket = find(model).ticket(2)
    assert type(model) is Net
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    # 60 -> 30 -> 15 of the first layer; 30 -> 22 -> 16 of the output layer, at half the rate.
    assert {path: int(mask.sum()) for path, mask in ticket.masks.items()} == {"first/kernel": 15, "rest_1/kernel": 16}
    np.testing.assert_array_equal(ticket.rewind_weights["first/kernel"], before[0] * ticket.masks["first/kernel"])


def test_the_ticket_is_that_of_the_functional_twin():
    model = built(Net(rate=0.0))
    twin = keras.Sequential([keras.Input((6,)), L.Dense(10, "relu"), L.Dropout(0.0), L.Dense(3)])
    twin.set_weights(model.get_weights())
    own, other = (find(each, jit_compile=False).ticket(2) for each in (model, twin))
    for path, name in (("first", "dense"), ("rest_1", "dense_1")):
        assert np.array_equal(own.masks[f"{path}/kernel"], other.masks[f"{name}/kernel"])
        assert np.array_equal(own.trained_weights[f"{path}/bias"], other.trained_weights[f"{name}/bias"])


def test_a_function_makes_the_replicates_and_controls():
    first, second = (find(make, replicates=2, variants=["ticket", "random_reinit"]) for _ in range(2))
    for replicate in (0, 1):
        assert same(first.ticket(2, replicate=replicate).masks, second.ticket(2, replicate=replicate).masks)
    assert {row["variant"] for row in first.rows} == {"ticket", "random_reinit"}
    assert not same(first.ticket(0).rewind_weights, first.ticket(0, replicate=1).rewind_weights)


def test_a_run_resumes_and_extends(tmp_path):
    model = make()
    find(model, run_dir=tmp_path / "run", rounds=1)
    extended = find(model, run_dir=tmp_path / "run")
    once = find(model)
    assert same(extended.ticket(2).trained_weights, once.ticket(2).trained_weights)


def test_the_ticket_makes_its_model_and_fits_others(tmp_path):
    model = make()
    ticket = find(model).ticket(2)
    ticket.save(tmp_path / "ticket.npz")
    loaded = tfl.load_ticket(tmp_path / "ticket.npz")
    kernels = {path: ticket.trained_weights[path] for path in ticket.trained_weights}
    hidden = np.maximum(X @ kernels["first/kernel"] + kernels["first/bias"], 0)
    expected = hidden @ kernels["rest_1/kernel"] + kernels["rest_1/bias"]
    for plain in (loaded.model(), tfl.strip(loaded.apply(make(), trained=True))):
        assert type(plain) is Net
        np.testing.assert_allclose(plain(X), expected, rtol=1e-5, atol=1e-6)
        assert np.count_nonzero(plain.first.kernel.numpy()) == 15


def test_without_a_configuration_a_function_is_needed():
    with pytest.raises(UsageError, match=r"NoConfiguration can't be copied: .*units, scale would be lost"):
        find(built(NoConfiguration(10, 2.0)))
    ticket = find(lambda: built(NoConfiguration(10, 2.0))).ticket(2)
    assert int(ticket.masks["first/kernel"].sum()) == 15
    with pytest.raises(tfl.LotteryError, match=r"no `get_config`.*Make it yourself"):
        ticket.model()
    wrapped = ticket.apply(built(NoConfiguration(10, 2.0)), trained=True, in_place=True)
    assert np.count_nonzero(wrapped.first.kernel.numpy()) == 15


def test_distillation_trains_the_student_alone():
    teacher = mlp(32)
    taught = [weight.copy() for weight in teacher.get_weights()]

    def distiller():
        teacher.trainable = False
        model = built(Distiller(mlp(), teacher))
        model.compile("adam", LOSS, keras.losses.KLDivergence(), alpha=0.1)
        return model

    result = find(distiller, loss=None, metrics=["accuracy"], exclude="teacher")
    ticket = result.ticket(2)
    assert sorted(ticket.masks) == ["student/dense/kernel", "student/dense_1/kernel"]
    assert all(np.array_equal(a, b) for a, b in zip(taught, teacher.get_weights(), strict=True))
    for name, weight in zip(("dense/kernel", "dense/bias"), taught[:2], strict=True):
        assert np.array_equal(ticket.trained_weights[f"teacher/{name}"], weight)
    assert not np.array_equal(ticket.trained_weights["student/dense/bias"], np.zeros(10))


def test_a_layer_that_was_changed_since_is_not_lost():
    model = make()
    model.rest[0].rate = 0.7
    with pytest.raises(UsageError, match=r"Net can't be copied: its layer .dropout.* has another rate .*in_place=True"):
        find(model)
    wrapped = tfl.wrap(model, in_place=True)
    assert wrapped.rest[0].rate == 0.7
