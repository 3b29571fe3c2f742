"""Tickets: saved, loaded, and put on another build of the model."""

import json
import zipfile

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import DamagedError, ResourceError, UnfitError, UsageError
from tf_lottery.layers.architecture import architecture
from tf_lottery.layers.sparse import is_sparsified
from tf_lottery.results.ticket import Ticket

L = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(80, 6)).astype("float32"), RNG.integers(0, 3, 80)


def make(units=10):
    stack = [L.Dense(units), L.BatchNormalization(), L.ReLU(), L.Dropout(0.1), L.Dense(3)]
    return keras.Sequential([keras.Input((6,)), *stack])


@pytest.fixture(scope="module")
def ticket():
    options = {"loss": LOSS, "metrics": ["accuracy"], "steps": 12, "batch_size": 16, "jit_compile": False}
    return tfl.find_ticket(make, X, Y, rounds=2, rate=0.5, rewind="step:4", **options).ticket(2)


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        assert value.dtype == second[key].dtype, key
        assert value.tobytes() == second[key].tobytes(), key


def test_a_ticket_holds_masks_rewind_weights_and_recipe(ticket):
    assert list(ticket.masks) == ["dense/kernel", "dense_1/kernel"]
    assert ticket.density == (15 + 16) / 90
    for path, mask in ticket.masks.items():
        assert mask.dtype == bool
        for weights in (ticket.rewind_weights, ticket.trained_weights):
            assert not weights[path][~mask].any()
            assert weights[path][mask].all()
    assert ticket.rewind_weights["batch_normalization/moving_mean"].any(), "statistics of step 4"
    assert ticket.recipe["rewind_step"] == 4
    assert ticket.recipe["round"] == 2
    assert ticket.recipe["row"]["round"] == 2
    assert ticket.recipe["config"]["rate"] == 0.5
    assert "keras" in ticket.recipe["environment"]


def test_saved_and_loaded_it_is_the_same(ticket, tmp_path):
    path = ticket.save(tmp_path / "deep" / "ticket.npz")
    loaded = tfl.load_ticket(path)
    assert_same(loaded.masks, ticket.masks)
    assert_same(loaded.rewind_weights, ticket.rewind_weights)
    assert_same(loaded.trained_weights, ticket.trained_weights)
    assert loaded.recipe == json.loads(json.dumps(ticket.recipe))
    assert loaded.density == ticket.density
    assert ticket.save(tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_it_fits_any_build_of_the_model(ticket):
    for _ in range(2):
        other = make()
        before = other.get_weights()
        wrapped = ticket.apply(other)
        assert_same(tfl.get_masks(wrapped), ticket.masks)
        assert_same(tfl.get_weights(wrapped), ticket.rewind_weights)
        assert all(np.array_equal(a, b) for a, b in zip(before, other.get_weights(), strict=True))
    trained = ticket.apply(make(), trained=True)
    wrapped.compile("sgd", LOSS)
    wrapped.fit(X, Y, verbose=0)
    for path, mask in ticket.masks.items():
        assert not tfl.get_weights(wrapped)[path][~mask].any()
    np.testing.assert_array_equal(trained.predict(X, verbose=0), ticket.model().predict(X, verbose=0))


def test_its_recipe_makes_the_plain_model(ticket, tmp_path):
    model = ticket.model()
    assert {type(layer).__module__.split(".")[0] for layer in model.layers} == {"keras"}
    model.save(tmp_path / "plain.keras")
    again = keras.models.load_model(tmp_path / "plain.keras")
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    np.testing.assert_array_equal(ticket.model(trained=False).get_weights()[0], ticket.rewind_weights["dense/kernel"])


def test_its_model_predicts_by_the_sparse_kernels(ticket, tmp_path):
    loaded = tfl.load_ticket(ticket.save(tmp_path / "ticket.npz"))
    sparse = loaded.model(sparse=True)
    assert is_sparsified(sparse)
    inputs = np.random.default_rng(0).normal(size=(5, *sparse.input_shape[1:])).astype("float32")
    expected = ticket.model().predict(inputs, verbose=0)
    np.testing.assert_allclose(sparse.predict(inputs, verbose=0), expected, rtol=1e-5, atol=1e-6)
    start = loaded.model(trained=False, sparse=True)
    assert not np.allclose(start.predict(inputs, verbose=0), expected)


def test_a_model_that_does_not_fit_is_refused(ticket):
    with pytest.raises(UnfitError, match="do not fit"):
        ticket.apply(make(units=11))
    with pytest.raises(UnfitError, match="missing: dense_2/bias"):
        ticket.apply(keras.Sequential([keras.Input((6,)), *make().layers, L.Dense(3)]))
    with pytest.raises(UsageError, match="already wrapped"):
        ticket.apply(tfl.wrap(make()))
    with pytest.raises(UsageError, match=r"keras\.Model is expected"):
        ticket.apply("model")


def test_what_a_ticket_lacks_is_said(ticket):
    bare = tfl.Ticket(ticket.masks, ticket.rewind_weights)
    assert bare.apply(make()) is not None
    with pytest.raises(UsageError, match="no trained weights"):
        bare.apply(make(), trained=True)
    with pytest.raises(UsageError, match="no architecture"):
        bare.model()


def test_a_file_that_is_no_ticket_is_refused(ticket, tmp_path):
    with pytest.raises(UsageError, match=r"ends in \.npz"):
        ticket.save(tmp_path / "ticket.h5")
    with pytest.raises(UsageError, match="There is no ticket"):
        tfl.load_ticket(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(DamagedError, match="not a ticket"):
        tfl.load_ticket(tmp_path / "other.npz")
    np.savez(tmp_path / "schema.npz", recipe=np.frombuffer(b'{"schema": "x"}', np.uint8))
    with pytest.raises(DamagedError, match="not a ticket"):
        tfl.load_ticket(tmp_path / "schema.npz")
    (tmp_path / "file").write_text("")
    with pytest.raises(ResourceError):
        ticket.save(tmp_path / "file" / "ticket.npz")


def test_a_flipped_bit_is_never_another_ticket(ticket, tmp_path):
    path = ticket.save(tmp_path / "ticket.npz")
    original = path.read_bytes()
    refused = 0
    generator = np.random.default_rng(1)
    for _ in range(80):
        content = bytearray(original)
        content[generator.integers(len(content))] ^= 1 << generator.integers(8)
        path.write_bytes(content)
        try:
            loaded = tfl.load_ticket(path)
        except DamagedError:
            refused += 1
        else:  # a bit that says nothing, such as a member's date
            assert_same(loaded.masks, ticket.masks)
            assert_same(loaded.rewind_weights, ticket.rewind_weights)
    assert refused > 50


def test_a_ticket_file_holds_no_pickle(ticket, tmp_path):
    with zipfile.ZipFile(ticket.save(tmp_path / "ticket.npz")) as archive:
        assert archive.testzip() is None
        assert all(name.endswith(".npy") for name in archive.namelist())
    with np.load(tmp_path / "ticket.npz", allow_pickle=False) as arrays:
        assert all(arrays[key].dtype.kind in "bfui" for key in arrays.files)


def test_a_model_of_unregistered_classes_needs_a_way_out():
    class Own(keras.layers.Dense):
        pass

    model = keras.Sequential([keras.Input((4,)), Own(3)])
    wrapped = tfl.wrap(model)
    weights = tfl.get_weights(wrapped)
    ticket = tfl.Ticket(tfl.get_masks(wrapped), weights, weights, {"architecture": model.to_json()})
    with pytest.raises(UnfitError, match="strip"):
        ticket.model()
    assert tfl.strip(ticket.apply(model, trained=True)).count_params() == 15
    assert repr(ticket) == "<Ticket: 12 of 12 weights (100 %)>"


def test_its_model_normalizes_by_the_statistics_among_its_weights():
    norm = L.Normalization()
    norm.adapt(3 * X + 5)
    model = keras.Sequential([keras.Input((6,)), norm, L.Dense(3)])
    weights, mask = tfl.get_weights(model), RNG.random((6, 3)) < 0.5
    ticket = Ticket({"dense/kernel": mask}, weights, weights, {"architecture": architecture(model)})
    expected = (X - 3 * X.mean(0) - 5) / (3 * X.std(0)) @ np.where(mask, model.layers[1].kernel, 0)
    np.testing.assert_allclose(ticket.model()(X), expected, rtol=1e-4, atol=1e-4)
