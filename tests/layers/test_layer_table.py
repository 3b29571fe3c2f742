"""docs/layers.md has every layer class of Keras that has weights, and says what the library does."""

import importlib.util
from pathlib import Path

import keras
import pytest

import tf_lottery as tfl
from tf_lottery.layers import named_variables
from tf_lottery.layers.kinds import kind_of

DOCS = Path(__file__).resolve().parents[2] / "docs"


def refresh_layers():
    spec = importlib.util.spec_from_file_location("refresh_layers", DOCS / "refresh_layers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def script():
    return refresh_layers()


def test_every_layer_with_weights_is_in_the_table(script):
    assert script.classes_that_may_have_weights() - script.WITHOUT_EXAMPLE.keys() <= script.EXAMPLES.keys()
    for name, example in script.EXAMPLES.items():
        assert type(example.make()) is getattr(keras.layers, name)
        assert example.model().get_layer("layer").variables, name


def test_the_table_is_up_to_date(script):
    page = (DOCS / "layers.md").read_text()
    assert script.cells_on_exports(page).keys() == script.EXAMPLES.keys()
    assert script.refreshed(page, script.cells_on_exports(page)) == page


def test_all_kernels_are_masked_and_nothing_else(script):
    """By the names of Keras's variables, not by the table of kinds: matrices that inputs are multiplied with."""
    for name, example in script.EXAMPLES.items():
        if name == "STFTSpectrogram":  # whose kernels hold a Fourier transform
            continue
        model = example.model()
        trained = [path for path, variable in named_variables(model).items() if variable.trainable]
        kernels = {path for path in trained if "kernel" in path or "embeddings" in path}
        assert set(tfl.discover(model).found) == kernels, name


def test_a_layer_of_a_kind_has_the_role_of_the_table(script):
    for name, example in script.EXAMPLES.items():
        roles = {weight.role for path, weight in tfl.discover(example.model()).found.items() if "last" not in path}
        if role := kind_of(example.make()).role:
            assert roles == {role}, name


@pytest.mark.slow
def test_what_it_says_of_exports_is_so(script):
    page = (DOCS / "layers.md").read_text()
    assert script.cells_on_exports(page) == {name: script.exported(one) for name, one in script.EXAMPLES.items()}
