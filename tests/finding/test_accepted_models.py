"""A model that can't be taken is refused in the same words wherever it comes in, and before anything is written."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import LotteryError, NonFiniteError, UnfitError, UsageError
from tf_lottery.models.building import build

L = keras.layers
X, Y = np.zeros((40, 4), "float32"), np.arange(40) % 2


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


def plain():
    return keras.Sequential([keras.Input((4,)), L.Dense(3), L.Dense(2)])


def with_nan():
    model = plain()
    model.layers[1].kernel.assign(np.full((3, 2), np.nan))
    return model


def find(model, **options):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return tfl.find_ticket(model, X, Y, loss=loss, rounds=1, steps=4, batch_size=8, verbose=0, **options)


def by_function(model):
    return find(lambda: model)


DOORS = {"wrap": tfl.wrap, "slim": tfl.slim, "find_ticket": find, "find_ticket, by a function": by_function}


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("make", "error", "cause", "remedy"),
    [
        (lambda: keras.Sequential([L.Dense(2)]), UnfitError, "The model 'sequential.* is not built", "model.build("),
        (with_nan, NonFiniteError, "kernel'.* must be finite. Received: 6 NaN or infinite of 6 values", "earlier"),
    ],
    ids=["not built", "NaN"],
)
def test_one_fact_has_one_wording(door, make, error, cause, remedy):
    with pytest.raises(error, match=cause) as caught:
        DOORS[door](make())
    assert remedy in caught.value.remedy


@pytest.mark.parametrize("door", DOORS)
def test_a_subclassed_model_must_have_been_called(door):
    with pytest.raises(UnfitError, match=r"The model 'subclassed.*' .*is not built: .* Call it once on a batch"):
        DOORS[door](Subclassed())


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("{0}:nothing", "A keras.Model is expected from {0}:nothing. Received: builtins.NoneType"),
        ("{0}:own", "The model 'own' from {0}:own is not built"),
        ("{0}:raw", "The model 'raw' from {0}:raw is not built"),
    ],
    ids=["nothing", "subclassed", "not built"],
)
def test_what_a_named_function_gives_is_unfit(tmp_path, monkeypatch, source, cause):
    monkeypatch.chdir(tmp_path)
    name = f"given_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(
        "import keras\nclass Own(keras.Model):\n    pass\ndef nothing():\n    pass\n"
        "def own():\n    return Own(name='own')\n"
        "def raw():\n    return keras.Sequential([keras.layers.Dense(2)], name='raw')\n"
    )
    with pytest.raises(UnfitError) as caught:
        build(source.format(name), input_shape=(4,), classes=2)
    assert caught.value.cause.startswith(cause.format(name))


@pytest.mark.parametrize("door", ["wrap", "find_ticket", "find_ticket, by a function"])
def test_a_wrapped_model_is_refused(door):
    with pytest.raises(UsageError, match="already wrapped"):
        DOORS[door](tfl.wrap(plain()))


def test_a_wrapped_model_leaves_no_run_directory(tmp_path):
    with pytest.raises(LotteryError):
        find(tfl.wrap(plain()), run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()
