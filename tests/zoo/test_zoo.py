"""Published architectures: all families of `keras.applications`, and backbones of KerasHub where that is installed.

Each is wrapped, trained, pruned, stripped, saved and loaded.
"""

import importlib.metadata
from pathlib import Path

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.layers import named_variables
from zoo.zoo_models import APPLICATIONS, NAMES, inputs_of, same, small_mobilenet, targets_of, zoo_model
from zoo.zoo_page import PAGE, check_cells

# Compiled, their steps differ in the last bits: TensorFlow's memory optimizer estimates another peak for the wrapped
# graph, and sums up the gradients that meet there in the order in which they come. See docs/zoo.md.
EAGER = ("keras.applications.InceptionResNetV2", "keras.applications.InceptionV3")


def walk_through(plain: keras.Model, folder: Path, *, eager: bool = False) -> dict[str, str]:
    """Take one model through everything but search and export; returns its cells of the table.

    What must hold is asserted, so that the cells have figures, and a "yes" for what was shown.

    Args:
        plain: the model.
        folder: where files go.
        eager: whether to compare training steps that are not compiled.
    """
    x = inputs_of(plain)
    wrapped = tfl.wrap(plain)
    assert isinstance(wrapped, type(plain))
    outputs = plain(x)
    assert same(wrapped(x), outputs)
    y = targets_of(outputs)
    for model in (plain, wrapped):
        model.compile(keras.optimizers.SGD(1e-3, momentum=0.9), "mse", jit_compile=False, run_eagerly=eager)
    for _ in range(3):
        assert plain.train_on_batch(x, y) == wrapped.train_on_batch(x, y)
    originals, variables = named_variables(plain), named_variables(wrapped)
    for one, other in zip(originals.values(), variables.values(), strict=True):
        assert one.numpy().tobytes() == other.numpy().tobytes(), one.path
    # Half of each array, then weights set to zero by hand in the plain model, and 7.0 planted where nothing reads it.
    weights = tfl.get_weights(wrapped)
    masks = tfl.get_masks(wrapped)
    kernels = {path: weights[path] for path in masks}
    masks = tfl.prune(tfl.scores(kernels), masks, rate=0.5)
    tfl.set_masks(wrapped, masks)
    for (path, variable), original in zip(variables.items(), originals.values(), strict=True):
        if path in masks:
            original.assign(weights[path] * masks[path])
            variable.assign(np.where(masks[path], weights[path], 7.0))
    assert same(wrapped(x), plain(x))
    assert not same(wrapped(x), outputs)
    # The optimizer has momentum: it moves what is stored, and what computes stays zero.
    wrapped.train_on_batch(x, y)
    outputs = wrapped(x)
    stripped = tfl.strip(wrapped)
    assert type(stripped) is type(plain)
    for (path, original), variable in zip(named_variables(stripped).items(), variables, strict=True):
        if variable in masks:
            assert not original.numpy()[~masks[variable]].any(), path
    assert same(stripped(x), outputs)
    stripped.save(folder / "stripped.keras")
    assert same(keras.models.load_model(folder / "stripped.keras")(x), outputs)
    wrapped.save(folder / "wrapped.keras")
    loaded = tfl.load_model(folder / "wrapped.keras")
    assert same(loaded(x), outputs)
    assert all(np.array_equal(a, b) for a, b in zip(masks.values(), tfl.get_masks(loaded).values(), strict=True))
    total, masked = sum(map(np.size, weights.values())), sum(map(np.size, masks.values()))
    return {
        "Weights": f"{total:,}",
        "Masked arrays": f"{len(masks)}",
        "Masked weights": f"{masked / total:.1%}",
        "Steps bit-equal": "not compiled" if eager else "yes",
        "Zeros exact": "yes",
        "Files bit-equal": "yes",
    }


@pytest.mark.slow
def test_a_small_mobilenet(tmp_path):
    walk_through(small_mobilenet(), tmp_path)


def test_every_family_has_a_model():
    """Families differ in the module that makes them; variants of one size are not repeated."""
    families = {name: getattr(keras.applications, name).__module__ for name in APPLICATIONS}
    functions = [value for value in vars(keras.applications).values() if callable(value)]
    assert set(families.values()) == {function.__module__ for function in functions}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NAMES)
def test_wrapped_trained_and_saved(name, tmp_path):
    check_cells(name, walk_through(zoo_model(name), tmp_path, eager=name in EAGER))


def test_the_page_says_with_which_versions():
    assert importlib.metadata.version("keras") in PAGE.read_text()
