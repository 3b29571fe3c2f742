"""A model whose own training the loop of an experiment would leave out is refused, before anything is trained."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment import problem
from tf_lottery.experiment.config import Config

X = Y = np.ones((64, 1), "float32")


class Doubled(keras.Model):
    """Trains towards twice the targets."""

    def train_step(self, data):
        x, y = data[:2]
        return super().train_step((x, 2.0 * y))


class OwnLoss(keras.Model):
    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return keras.ops.mean(keras.ops.abs(y - y_pred))


class OwnEvaluation(keras.Model):
    def test_step(self, data):
        return {"loss": 0.0}

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return {"answer": 42.0}


def make(cls):
    inputs = keras.Input((1,))
    return cls(inputs, keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")(inputs))


def find(model, **options):
    given = {"loss": "mse", "optimizer": keras.optimizers.SGD(0.1), "rounds": 1, "rate": 0.0, "steps": 200}
    return tfl.find_ticket(model, X, Y, **given, **options)


@pytest.mark.parametrize(
    ("cls", "methods"),
    [(Doubled, "train_step"), (OwnLoss, "compute_loss"), (OwnEvaluation, "test_step, compute_metrics")],
)
def test_own_methods_of_training_are_refused_by_name(cls, methods, tmp_path):
    for model in (make(cls), lambda: make(cls)):
        with pytest.raises(UsageError, match=rf"{cls.__name__} .* with its own {methods}\. .*`tf_lottery\.wrap`"):
            find(model, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_method_set_on_the_instance_is_refused():
    model = make(keras.Model)
    model.train_step = lambda data: {"loss": 0.0}
    with pytest.raises(UsageError, match="its own train_step"):
        find(model)


def test_the_function_of_a_run_is_refused(tmp_path, monkeypatch):
    (tmp_path / "own_training_model.py").write_text(
        "import keras\n"
        "class Doubled(keras.Model):\n"
        "    def train_step(self, data):\n"
        "        return super().train_step(data)\n"
        "def make():\n"
        "    inputs = keras.Input((8, 8, 1))\n"
        "    return Doubled(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(inputs)))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UnfitError, match=r"from own_training_model:make: Doubled .* train_step"):
        problem.from_config(Config(dataset="digits", model="own_training_model:make")).make_model(0)


def test_fit_of_the_wrapped_model_trains_by_its_own_step():
    wrapped = tfl.wrap(make(Doubled))
    wrapped.compile(keras.optimizers.SGD(0.1), "mse")
    wrapped.fit(X, Y, epochs=60, verbose=0)
    assert float(wrapped(X[:1])[0, 0]) == pytest.approx(2.0, abs=1e-3)


def test_a_subclass_without_methods_of_training_is_taken():
    class Plain(keras.Model):
        pass

    result = find(make(Plain))
    assert result.best().density == 1.0
