"""Wrapped and stripped models survive a `.keras` file, in this process and in one that never saw this library."""

import copy
import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery.layers as layers
from tf_lottery.errors import DamagedError, UnfitError, UsageError

LOAD_ALL = """
import json, pathlib, sys
import keras, numpy as np

folder = pathlib.Path(sys.argv[1])
for name, structure in json.loads((folder / "inputs.json").read_text()).items():
    with np.load(folder / f"{name}.npz") as arrays:
        inputs = keras.tree.pack_sequence_as(structure, [arrays[str(i)] for i in range(len(arrays.files))])
    outputs = keras.tree.flatten(keras.models.load_model(folder / f"{name}.keras")(inputs, training=False))
    np.savez(folder / f"{name}-outputs.npz", *[np.array(out) for out in outputs])
assert "tf_lottery" not in sys.modules
"""


def equal(first, second):
    keras.tree.map_structure(np.testing.assert_array_equal, first, second)


def test_wrapped_models_round_trip(kind, random_masks, tmp_path):
    wrapped = layers.wrap(kind.model())
    masks = random_masks(layers.get_masks(wrapped))
    layers.set_masks(wrapped, masks)
    inputs = kind.inputs(wrapped)
    expected, weights = wrapped(inputs, training=False), layers.get_weights(wrapped)
    variables = layers.named_variables(wrapped)
    for path, mask in masks.items():  # as a foreign optimizer may do
        variables[path].assign(np.where(mask, weights[path], 9.0))
    wrapped.save(tmp_path / "wrapped.keras")
    loaded = keras.models.load_model(tmp_path / "wrapped.keras")
    assert layers.is_wrapped(loaded)
    stored = {path: np.array(v.value) for path, v in layers.named_variables(loaded).items()}
    assert list(stored) == list(weights)
    for path, weight in weights.items():
        if not path.endswith("seed_generator_state"):  # Keras keeps these in no file
            assert stored[path].tobytes() == weight.tobytes(), path
    equal(masks, layers.get_masks(loaded))
    equal(expected, loaded(inputs, training=False))


def test_stripped_models_load_without_this_library(kinds, random_masks, tmp_path):
    expected, structures = {}, {}
    for name, kind in kinds.items():
        if name.startswith(("custom", "keyword_call")):  # classes of these tests, which the other process lacks
            continue
        wrapped = layers.wrap(kind.model())
        layers.set_masks(wrapped, random_masks(layers.get_masks(wrapped)))
        inputs = kind.inputs(wrapped)
        expected[name] = keras.tree.flatten(wrapped(inputs, training=False))
        flat = keras.tree.flatten(inputs)
        structures[name] = keras.tree.pack_sequence_as(inputs, list(range(len(flat))))
        np.savez(tmp_path / f"{name}.npz", **{str(i): array for i, array in enumerate(flat)})
        layers.strip(wrapped).save(tmp_path / f"{name}.keras")
    (tmp_path / "inputs.json").write_text(json.dumps(structures))
    subprocess.run([sys.executable, "-c", LOAD_ALL, str(tmp_path)], check=True, capture_output=True, cwd=tmp_path)
    for name, outputs in expected.items():
        with np.load(tmp_path / f"{name}-outputs.npz") as loaded:
            equal(outputs, [loaded[key] for key in loaded.files])


def test_deep_copies_stand_alone(kinds, random_masks):
    kind = kinds["dropout_norm"]
    wrapped = layers.wrap(kind.model())
    masks = random_masks(layers.get_masks(wrapped))
    layers.set_masks(wrapped, masks)
    twin = copy.deepcopy(wrapped)
    inputs = kind.inputs(wrapped)
    before = wrapped(inputs)
    equal(before, twin(inputs))
    layers.set_masks(twin, {path: np.zeros_like(mask) for path, mask in masks.items()})
    equal(before, wrapped(inputs))
    equal(layers.get_masks(wrapped), masks)


def test_a_clone_of_a_wrapped_model_is_wrapped(kinds):
    wrapped = layers.wrap(kinds["attention"].model())
    clone = keras.models.clone_model(wrapped)
    assert list(layers.get_masks(clone)) == list(layers.get_masks(wrapped))


def test_optimizer_and_masks_go_on_after_loading(kinds, random_masks, tmp_path):
    kind = kinds["dense"]
    wrapped = layers.wrap(kind.model())
    layers.set_masks(wrapped, random_masks(layers.get_masks(wrapped)))
    wrapped.compile(keras.optimizers.Adam(0.01), "mse")
    x, y = kind.inputs(wrapped), np.eye(3, dtype="float32")
    wrapped.fit(x, y, epochs=2, shuffle=False, verbose=0)
    wrapped.save(tmp_path / "model.keras")
    loaded = layers.load_model(tmp_path / "model.keras")
    for model in (wrapped, loaded):
        model.fit(x, y, epochs=2, shuffle=False, verbose=0)
    equal(layers.get_weights(wrapped), layers.get_weights(loaded))


def test_weights_files_hold_masked_weights(kinds, random_masks, tmp_path):
    wrapped, other = layers.wrap(kinds["dense"].model()), layers.wrap(kinds["dense"].model(seed=1))
    masks = random_masks(layers.get_masks(wrapped))
    layers.set_masks(wrapped, masks)
    wrapped.save_weights(tmp_path / "model.weights.h5")
    other.load_weights(tmp_path / "model.weights.h5")
    equal(layers.get_masks(other), masks)
    equal(layers.get_weights(other), layers.get_weights(wrapped))


@pytest.mark.parametrize("name", ["dense", "nested", "bidirectional", "custom", "dropout_norm"])
def test_weights_of_a_plain_model_go_into_a_wrapped_one(kinds, name, random_masks, tmp_path):
    plain, wrapped = kinds[name].model(seed=1), layers.wrap(kinds[name].model())
    masks = random_masks(layers.get_masks(wrapped))
    expected = {path: np.where(masks.get(path, True), w, 0) for path, w in layers.get_weights(plain).items()}
    plain.save_weights(tmp_path / "plain.weights.h5")
    layers.set_masks(wrapped, masks)
    layers.load_weights(wrapped, tmp_path / "plain.weights.h5")
    equal(
        {path: w for path, w in layers.get_weights(wrapped).items() if "seed" not in path},
        {path: w for path, w in expected.items() if "seed" not in path},
    )  # Keras keeps these in no file
    equal(layers.get_masks(wrapped), masks)
    other = layers.wrap(kinds[name].model())
    layers.set_masks(other, masks)
    layers.set_weights(other, plain.get_weights())
    equal(layers.get_weights(other).keys(), expected.keys())
    equal([layers.get_weights(other)[path] for path in masks], [expected[path] for path in masks])
    wrapped.save_weights(tmp_path / "wrapped.weights.h5")
    again = layers.wrap(kinds[name].model())
    layers.load_weights(again, tmp_path / "wrapped.weights.h5")
    equal(layers.get_masks(again), masks)


def test_weights_of_another_model_change_nothing(kinds, tmp_path):
    wrapped = layers.wrap(kinds["dense"].model())
    before = layers.get_weights(wrapped)
    kinds["dropout_norm"].model().save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(UnfitError, match=r"other.weights.h5' does not fit the model"):
        layers.load_weights(wrapped, tmp_path / "other.weights.h5")
    with pytest.raises(UnfitError, match=r"A list of 4 weights is expected. Received: 3"):
        layers.set_weights(wrapped, kinds["dense"].model().get_weights()[:3])
    kernel = before["dense/kernel"]
    for bad, reason in (
        (kernel.astype(str), "must be real numbers. Received: dtype <U"),
        (kernel.astype(object), "must be real numbers. Received: dtype object"),
        (kernel.astype("complex64"), "must be real numbers. Received: dtype complex64"),
        ([[1.0], [2.0, 3.0]], "must be an array. Received: .*inhomogeneous"),
    ):
        with pytest.raises(UnfitError, match=f"weights of 'dense/kernel' {reason}"):
            layers.set_weights(wrapped, {"dense/bias": before["dense/bias"] + 1, "dense/kernel": bad})
    for bad in (7, "weights"):
        with pytest.raises(UsageError, match=r"must be a dictionary of arrays by path, or a list. Received: (int|str)"):
            layers.set_weights(wrapped, bad)
    with pytest.raises(UsageError, match="There is no file"):
        layers.load_weights(wrapped, tmp_path / "none.weights.h5")
    (tmp_path / "damaged.weights.h5").write_text("no HDF5")
    with pytest.raises(UnfitError, match=r"damaged.weights.h5' does not fit the model"):
        layers.load_weights(wrapped, tmp_path / "damaged.weights.h5")
    equal(layers.get_weights(wrapped), before)


def test_a_missing_or_damaged_file_is_refused(kinds, tmp_path):
    with pytest.raises(UsageError, match=r"model file .* does not exist"):
        layers.load_model(tmp_path / "none.keras")
    path = tmp_path / "model.keras"
    layers.wrap(kinds["dense"].model()).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedError, match="is damaged"):
        layers.load_model(path)
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 255
    path.write_bytes(middle)
    with pytest.raises(DamagedError, match="is damaged"):
        layers.load_model(path)
    path.write_bytes(b"")
    with pytest.raises(DamagedError, match="is damaged"):
        layers.load_model(path)


@pytest.mark.parametrize("name", ["model.keras", "model.h5"])
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_whole_file_that_safe_mode_refuses_is_not_damaged(tmp_path, name):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Lambda(lambda x: 2 * x)])
    model.save(tmp_path / name)
    with pytest.raises(UnfitError, match=r"Keras cannot load .*Lambda.*`safe_mode=False`"):
        layers.load_model(tmp_path / name)
    loaded = layers.load_model(tmp_path / name, safe_mode=False)
    np.testing.assert_array_equal(loaded(np.ones((1, 2))), model(np.ones((1, 2))))


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
def test_a_damaged_hdf5_file_is_refused(tmp_path):
    path = tmp_path / "model.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)]).save(path)
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DamagedError, match="is damaged"):
        layers.load_model(path)
