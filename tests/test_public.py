"""The public names of the package, and what importing it loads."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl

NAMES = (
    "wrap strip get_masks set_masks scores prune find_ticket load_model load_ticket export from_tfmot Result Ticket "
    "ExportReport"
)


@pytest.mark.parametrize("name", NAMES.split())
def test_the_names_of_the_contract_are_there(name):
    assert name in tfl.__all__
    assert name in dir(tfl)
    assert callable(getattr(tfl, name))
    assert getattr(tfl, name).__doc__


def test_modules_under_names_of_their_own():
    from tf_lottery import callbacks, schedules

    assert callbacks is tfl.callbacks
    assert sorted(callbacks.__all__) == ["GradualPruning", "RigL", "SET", "SparsityLogger"]
    assert schedules.PolynomialDecay is tfl.schedules.PolynomialDecay
    assert {"callbacks", "schedules"} <= set(dir(tfl))


def test_every_public_name_loads():
    assert all(getattr(tfl, name) is not None for name in tfl.__all__)
    with pytest.raises(AttributeError, match="no attribute 'winning'"):
        _ = tfl.winning


def loaded_by(code):
    code += "; import sys; print([n for n in ('tensorflow', 'keras', 'matplotlib', 'sklearn') if n in sys.modules])"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "import tf_lottery",
        "import tf_lottery; tf_lottery.prune, tf_lottery.scores, tf_lottery.Config, tf_lottery.load_ticket",
        "import tf_lottery; tf_lottery.open_run; tf_lottery.__version__",
    ],
)
def test_nothing_heavy_is_loaded(code):
    assert loaded_by(code) == "[]"


def test_scores_and_prune_by_hand():
    weights = {"kernel": np.array([[0.5, -2.0], [0.0, -0.1]])}
    masks = tfl.prune(tfl.scores(weights), {"kernel": np.ones((2, 2), bool)}, rate=0.5)
    assert masks["kernel"].tolist() == [[True, True], [False, False]]


def test_a_wrapped_model_loads_with_both_loaders(tmp_path):
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.Dense(1)])
    wrapped = tfl.wrap(model)
    masks = {key: np.arange(mask.size).reshape(mask.shape) % 2 == 0 for key, mask in tfl.get_masks(wrapped).items()}
    tfl.set_masks(wrapped, masks)
    wrapped.save(tmp_path / "wrapped.keras")
    x = np.ones((2, 3), "float32")
    for load in (tfl.load_model, keras.models.load_model):
        again = load(tmp_path / "wrapped.keras")
        for key, mask in tfl.get_masks(again).items():
            np.testing.assert_array_equal(mask, masks[key])
        np.testing.assert_array_equal(again.predict(x, verbose=0), wrapped.predict(x, verbose=0))
