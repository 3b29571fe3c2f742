"""A changed loss, layer, optimizer or schedule of the caller's never continues the run of the one before."""

import functools
import importlib
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.training.own_code import describe_compiled, own_code_digest

LAYER = "class Scaled(keras.layers.Layer):\n    def call(self, x):\n        return x * {}\n"
LOSS = "class Scaled(keras.losses.Loss):\n    def call(self, true, predicted):\n        return {} * predicted\n"
OBJECT = "class Scaled:\n    def __init__(self, held):\n        self.held = held\n"
MODULES = {
    "a constant of the module": "SCALE = VALUE\ndef made(true, predicted):\n    return SCALE * predicted\n",
    "a collection of the module": "SCALES = {'a': [VALUE]}\ndef made(true, p):\n    return SCALES['a'][0] * p\n",
    "a helper": "def scale():\n    return VALUE\ndef made(true, predicted):\n    return scale() * predicted\n",
    "a default of a helper": "V = VALUE\ndef scale(v=V):\n    return v\ndef made(true, p):\n    return scale() * p\n",
    "a closure": "def make(v):\n    def inner(p):\n        return v[0] * p\n    return inner\nmade = make([VALUE])\n",
    "a partial": "import functools\ndef scale(v, p):\n    return v * VALUE\nmade = functools.partial(scale, 1)\n",
    "a layer": f"{LAYER.format('VALUE')}made = keras.Sequential([keras.Input((2,)), Scaled()])\n",
    "a constant of a layer": f"A = VALUE\n{LAYER.format('A')}made = keras.Sequential([keras.Input((2,)), Scaled()])\n",
    "a base class": f"{LOSS.format('VALUE')}class Named(Scaled):\n    pass\nmade = Named()\n",
    "a property": "A = VALUE\nclass Scaled:\n    @property\n    def rate(self):\n        return A\nmade = Scaled()\n",
    "an array of an object": f"import numpy\n{OBJECT}A = VALUE\nmade = Scaled(numpy.full(2, A))\n",
    "a list of an object": f"{OBJECT}A = VALUE\nmade = Scaled([A])\n",
    "an optimizer": "class Slow(keras.optimizers.SGD):\n    def update_step(self, g, v, rate):\n        return VALUE\n"
    "made = Slow(0.1)\n",
    "a schedule": "A = VALUE\nclass Rate(keras.optimizers.schedules.LearningRateSchedule):\n"
    "    def __call__(self, step):\n        return A\nmade = keras.optimizers.SGD(Rate())\n",
    "code without a source": "space = {}\nexec('def made(true, p): return VALUE * p', space)\nmade = space['made']\n",
    "one lambda of a line": "a, b = lambda p: 0.1 * p, lambda p: 0.9 * p\nmade = a if VALUE < 0.5 else b\n",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Returns a function that writes a module of the caller's, imports it anew and returns what it made."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def made(text):
        (tmp_path / "callers_module.py").write_text(f"import keras\n{text}")
        sys.modules.pop("callers_module", None)
        importlib.invalidate_caches()
        return importlib.import_module("callers_module").made

    yield made
    sys.modules.pop("callers_module", None)


@pytest.mark.parametrize("name", MODULES)
def test_changed_code_has_another_digest(name, write):
    first, again, other = (own_code_digest([write(MODULES[name].replace("VALUE", v))]) for v in ("0.1", "0.1", "0.9"))
    assert first == again
    assert len(first) == len(other) == 64
    assert first != other


def test_what_packages_hold_has_none():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, "relu"), keras.layers.Lambda(keras.ops.tanh)])
    parts = [model, "mse", keras.losses.Huber(), keras.metrics.MeanMetricWrapper(keras.losses.mean_squared_error), None]
    parts += [keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.1, 5)), functools.partial(np.mean, axis=0)]
    assert own_code_digest(parts) == ""


def test_sets_in_compiled_code_have_one_order():
    code = compile("x in {'b', 'a', 'c'}", "", "eval")
    assert ["'a'", "'b'", "'c'"] in describe_compiled(code)[2]


def test_a_run_is_not_continued_with_a_changed_helper(write, tmp_path):
    x, y = np.random.default_rng(0).normal(size=(40, 4)).astype("float32"), np.arange(40) % 2
    text = "def scale():\n    return VALUE\ndef made(true, predicted):\n"
    text += "    return scale() * keras.losses.sparse_categorical_crossentropy(true, predicted, from_logits=True)\n"

    def rounds(number, value):
        model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
        loss, options = write(text.replace("VALUE", value)), {"rate": 0.3, "steps": 2, "verbose": 0}
        return tfl.find_ticket(model, x, y, loss=loss, rounds=number, run_dir=tmp_path / "run", **options).rows

    assert len(rounds(0, "0.1")) == 1
    for number in (0, 1):  # nothing is left to be trained, or a round is
        with pytest.raises(UsageError, match="has changed since the run began"):
            rounds(number, "0.9")
    assert len(rounds(0, "0.1")) == 1
