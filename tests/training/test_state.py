"""Rewinding: the whole state of a step, put back exactly; and fresh weights for the control."""

import os

import keras
import numpy as np
import pytest

from kernel_settings import skip_without_kernels, with_kernels
from tf_lottery.data import Arrays
from tf_lottery.errors import DamagedError, ResourceError, UnfitError
from tf_lottery.layers import get_masks, get_weights, named_variables, set_masks, wrap
from tf_lottery.training.batches import on_device
from tf_lottery.training.checkpoint import load_checkpoint, save_checkpoint
from tf_lottery.training.engine import Engine
from tf_lottery.training.order import Order
from tf_lottery.training.reinitialize import fresh_weights
from tf_lottery.training.state import (
    apply_masks_to_state,
    capture_state,
    restore_state,
    slots_of,
    was_ordered_otherwise,
)

L = keras.layers
K = keras.optimizers


def cosine(optimizer, **options):
    return optimizer(keras.optimizers.schedules.CosineDecay(0.05, 30), **options)


OPTIMIZERS = {
    "sgd": lambda: cosine(K.SGD, momentum=0.9),
    "adam": lambda: cosine(K.Adam, amsgrad=True),
    "adamw": lambda: cosine(K.AdamW, weight_decay=0.05),
    "lion": lambda: cosine(K.Lion),
    "rmsprop": lambda: cosine(K.RMSprop, momentum=0.5, centered=True),
    "nadam": lambda: K.Nadam(0.01),
    "averages": lambda: cosine(K.SGD, momentum=0.9, use_ema=True),
    "accumulation": lambda: K.Adam(0.01, gradient_accumulation_steps=3),
    "loss scale": lambda: K.LossScaleOptimizer(cosine(K.Adam), dynamic_growth_steps=3),
}


def engine_with(name, *, dtype="float32", sparse="off"):
    keras.utils.set_random_seed(5)
    layers = [L.Dense(8, dtype=dtype), L.BatchNormalization(momentum=0.5), L.ReLU(), L.Dropout(0.4), L.Dense(3)]
    model = wrap(keras.Sequential([keras.Input((5,)), *layers]))
    generator = np.random.default_rng(0)
    batch = on_device(Arrays(generator.normal(size=(48, 5)).astype("float32"), generator.integers(0, 3, 48)))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    settings = {"metrics": ["accuracy"], "xla": "off", "sparse": sparse}
    engine = Engine(model, optimizer=OPTIMIZERS[name](), loss=loss, **settings)
    engine.prepare(batch)
    return engine, batch, Order(48, 10, seed=0)


def state_of(engine):
    return {k: v for k, v in capture_state(engine.variables()).items() if not k.startswith("metrics/")}


def assert_same_bits(first, second):
    assert first.keys() == second.keys()
    assert [key for key in first if first[key].tobytes() != second[key].tobytes()] == []


@pytest.mark.parametrize(("name", "sparse"), with_kernels(OPTIMIZERS, dense_only=["loss scale"]))
def test_training_from_a_restored_state_equals_the_uninterrupted_one(name, tmp_path, sparse):
    skip_without_kernels(sparse)
    engine, batch, order = engine_with(name, sparse=sparse)
    engine.run(batch, order, start=0, stop=7)
    save_checkpoint(tmp_path / "state", state_of(engine))
    engine.run(batch, order, start=7, stop=20)
    expected = state_of(engine)
    assert any("seed_generator" in key for key in expected)

    again, batch, order = engine_with(name, sparse=sparse)
    state = load_checkpoint(tmp_path / "state")
    ones = get_masks(again.model)
    slots = slots_of(again.optimizer, again.model)
    variables = {key: v for key, v in again.variables().items() if not key.startswith("metrics/")}
    restore_state(variables, apply_masks_to_state(state, ones, slots))
    again.run(batch, order, start=7, stop=20)
    assert_same_bits(state_of(again), expected)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_restored_state_is_the_rewind_state_times_the_mask(name):
    engine, batch, order = engine_with(name)
    engine.run(batch, order, start=0, stop=7)
    state = state_of(engine)
    masks = {key: np.random.default_rng(2).random(mask.shape) < 0.5 for key, mask in get_masks(engine.model).items()}
    slots = slots_of(engine.optimizer, engine.model)
    for key, path in slots.items():
        assert state[key].shape == state[f"model/{path}"].shape
    result = apply_masks_to_state(state, masks, slots)
    for key, value in result.items():
        owner = key.removeprefix("model/") if key.startswith("model/") else slots.get(key)
        expected = state[key] * masks[owner] if owner in masks else state[key]
        np.testing.assert_array_equal(value, expected, err_msg=key)
        assert value.dtype == state[key].dtype
    assert any(state[key].any() for key in slots), "the slots were filled"


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_slot_is_found_under_the_weight_that_it_is_for(name):
    engine, _batch, _order = engine_with(name)
    slots = slots_of(engine.optimizer, engine.model)
    variables = named_variables(engine.model)
    per_weight = {"sgd": 1, "adam": 3, "adamw": 2, "lion": 1, "rmsprop": 3, "nadam": 2, "averages": 2}
    counts = per_weight | {"accumulation": 3, "loss scale": 2}
    trainable = [path for path, variable in variables.items() if variable.trainable]
    assert sorted(slots.values()) == sorted(trainable * counts[name])
    for key, path in slots.items():
        slot = engine.optimizer.variables[int(key.removeprefix("optimizer/"))]
        assert variables[path].path.replace("/", "_") in slot.path.replace("/", "_")


def test_a_captured_state_is_not_aliased_by_training():
    engine, batch, order = engine_with("sgd")
    state = state_of(engine)
    copies = {key: value.copy() for key, value in state.items()}
    engine.run(batch, order, start=0, stop=3)
    assert_same_bits(state, copies)


def test_a_state_with_other_keys_is_refused_and_nothing_is_assigned():
    engine, _, _ = engine_with("sgd")
    state = state_of(engine)
    variables = {key: v for key, v in engine.variables().items() if not key.startswith("metrics/")}
    changed = {key: value + 1 for key, value in state.items() if key != "model/dense/bias"} | {
        "model/other": np.ones(1)
    }
    with pytest.raises(UnfitError, match=r"missing: model/dense/bias; unexpected: model/other"):
        restore_state(variables, changed)
    assert_same_bits(state_of(engine), state)


# Checkpoints.


def arrays():
    return {
        "model/a.b/kernel_1": np.arange(600, dtype=np.float32).reshape(20, 30),
        "model/drop/seed": np.array([1, 4294967295], np.uint32),
        "optimizer/0": np.array(2**40, np.int64),
        "model/flag": np.array([True, False]),
        "model/half": np.array([0.5, -0.0], np.float16),
    }


def test_a_checkpoint_gives_back_every_bit(tmp_path):
    save_checkpoint(tmp_path / "state", arrays())
    loaded = load_checkpoint(tmp_path / "state")
    assert_same_bits(dict(sorted(loaded.items())), dict(sorted(arrays().items())))
    assert all(loaded[key].dtype == value.dtype and loaded[key].shape == value.shape for key, value in arrays().items())


def test_a_flipped_bit_in_a_checkpoint_is_never_a_wrong_value(tmp_path):
    save_checkpoint(tmp_path / "state", arrays())
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert len(files) == 2
    generator = np.random.default_rng(0)
    actual = 0
    for _ in range(40):
        path = files[generator.integers(2)]
        content = bytearray(path.read_bytes())
        position = generator.integers(len(content))
        content[position] ^= 1 << generator.integers(8)
        original = path.read_bytes()
        path.write_bytes(content)
        try:
            loaded = load_checkpoint(tmp_path / "state")
        except DamagedError:
            actual += 1
        else:
            assert_same_bits(dict(sorted(loaded.items())), dict(sorted(arrays().items())))
        path.write_bytes(original)
    assert actual > 30


@pytest.mark.parametrize("name", ["plain", "a [1]", "a[", "b*", "back\\slash", "ünï", os.fsdecode(b"x\xff"), "{%s}"])
def test_a_checkpoint_is_read_from_a_folder_of_any_name(name, tmp_path):
    # TensorFlow's reader takes the name for a pattern: a run below "run [1]" ended as damaged after its first training.
    folder = tmp_path / name
    folder.mkdir()
    save_checkpoint(folder / "state", arrays())
    loaded = load_checkpoint(folder / "state")
    assert loaded.keys() == arrays().keys()
    assert all(np.array_equal(loaded[key], value) for key, value in arrays().items())


def test_a_truncated_or_missing_checkpoint_is_an_error(tmp_path):
    save_checkpoint(tmp_path / "state", arrays())
    data = next(path for path in tmp_path.iterdir() if "data" in path.name)
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(DamagedError, match="can't be read"):
        load_checkpoint(tmp_path / "state")
    with pytest.raises(DamagedError):
        load_checkpoint(tmp_path / "none")


def test_a_checkpoint_that_can_not_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ResourceError, match="can't be written"):
        save_checkpoint(tmp_path / "file" / "state", arrays())


# Fresh weights.


def big_model():
    """Seeds of all sorts: none, explicit, equal in two layers, one initializer object shared by two layers."""
    keras.utils.set_random_seed(0)
    shared = keras.initializers.GlorotNormal(seed=11)
    inputs = keras.Input((10, 40))
    x = L.LSTM(48, name="lstm")(inputs)
    x = L.Dense(48, kernel_initializer=shared, name="one")(x)
    x = L.Dense(48, kernel_initializer=shared, name="two")(x)
    x = L.Dense(48, kernel_initializer=keras.initializers.HeNormal(seed=3), name="three")(x)
    x = L.Dense(48, kernel_initializer=keras.initializers.HeNormal(seed=3), name="four")(x)
    x = L.Dense(48, kernel_initializer="orthogonal", bias_initializer="ones", name="orthogonal")(x)
    x = L.BatchNormalization(name="norm")(x)
    x = L.Dropout(0.5, seed=7, name="drop")(x)
    inner = keras.Sequential(
        [keras.Input((48,)), L.Dense(64, name="inside"), L.Dense(64, name="deeper")], name="nested"
    )
    return keras.Model(inputs, L.Dense(3, name="out")(inner(x)))


KERNELS = ("lstm/cell/kernel", "lstm/cell/recurrent_kernel", "one/kernel", "two/kernel", "three/kernel", "four/kernel")
KERNELS += ("orthogonal/kernel", "nested/inside/kernel", "nested/deeper/kernel", "out/kernel")


@pytest.mark.parametrize("wrapped", [False, True])
def test_fresh_weights_differ_in_every_layer_and_keep_the_distribution(wrapped):
    model = big_model()
    old = get_weights(model)
    new = fresh_weights(wrap(model) if wrapped else model, seed=1)
    assert new.keys() == old.keys()
    assert set(KERNELS) < set(old)
    for path in KERNELS:
        assert np.mean(old[path] != new[path]) > 0.99, path
        assert new[path].std() == pytest.approx(old[path].std(), rel=0.12), path
        assert abs(new[path].mean()) < 0.05, path
        assert np.abs(new[path]).max() <= 1.3 * np.abs(old[path]).max(), path
    for path in {path for path in old if "seed" not in path} - set(KERNELS):  # biases, batch normalisation
        np.testing.assert_array_equal(new[path], old[path], err_msg=path)
    assert new["lstm/cell/bias"][48:96].tolist() == [1.0] * 48  # unit_forget_bias
    np.testing.assert_allclose(new["orthogonal/kernel"].T @ new["orthogonal/kernel"], np.eye(48), atol=1e-5)


def test_equal_seeds_and_shared_initializers_do_not_make_equal_layers():
    new = fresh_weights(big_model(), seed=1)
    assert not np.array_equal(new["one/kernel"], new["two/kernel"])
    assert not np.array_equal(new["three/kernel"], new["four/kernel"])


def test_fresh_weights_are_a_function_of_the_seed_and_of_nothing_else():
    model = big_model()
    before = get_weights(model)
    first = fresh_weights(model, seed=1)
    keras.utils.set_random_seed(99)
    keras.layers.Dense(3).build((None, 3))
    assert_same_bits(fresh_weights(model, seed=1), first)
    other = fresh_weights(model, seed=2)
    assert all(not np.array_equal(first[path], other[path]) for path in KERNELS)
    assert_same_bits(get_weights(model), before)  # the model is left alone


def test_fresh_weights_do_not_touch_the_global_generators():
    model = keras.Sequential([keras.Input((3,)), L.Dense(2)])
    np.random.seed(0)
    expected = np.random.random()
    np.random.seed(0)
    fresh_weights(model, seed=1)
    assert np.random.random() == expected


def test_statistics_and_random_states_start_over():
    model = big_model()
    rng = np.random.default_rng(0)
    model.compile("sgd", "mse")
    model.fit(rng.normal(size=(16, 10, 40)), rng.normal(size=(16, 3)), epochs=2, verbose=0)
    trained = get_weights(model)
    assert trained["norm/moving_mean"].any()
    new = fresh_weights(model, seed=1)
    assert not new["norm/moving_mean"].any()
    assert (new["norm/moving_variance"] == 1).all()
    seed_state = next(key for key in new if key.startswith("drop/"))
    assert not np.array_equal(new[seed_state], trained[seed_state])


def test_what_no_initializer_made_is_kept():
    normalisation = L.Normalization()
    normalisation.adapt(np.array([[1.0, 5.0], [3.0, 9.0]]))
    frozen = L.Dense(4, trainable=False)
    model = keras.Sequential([keras.Input((2,)), normalisation, frozen, L.Dense(2)])
    old, new = get_weights(model), fresh_weights(model, seed=0)
    assert new["normalization/mean"].ravel().tolist() == [2.0, 7.0]
    np.testing.assert_array_equal(new["dense/kernel"], old["dense/kernel"])
    assert not np.array_equal(new["dense_1/kernel"], old["dense_1/kernel"])


@keras.saving.register_keras_serializable("tf_lottery_tests")
class WithoutBuild(L.Layer):
    """A custom layer whose sublayers are built by calling it."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first, self.second = L.Dense(6), L.Dense(6)

    def call(self, inputs):
        return self.second(self.first(inputs))


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_custom_layer_without_build_is_made_again_by_a_call(wrapped):
    model = keras.Sequential([keras.Input((6,)), WithoutBuild(), L.Dense(2)])
    old = get_weights(model)
    new = fresh_weights(wrap(model) if wrapped else model, seed=0)
    assert new.keys() == old.keys()
    assert all(not np.array_equal(new[key], old[key]) for key in old if key.endswith("kernel"))


def test_a_fresh_start_times_the_masks_is_what_a_control_trains_from():
    model = wrap(big_model())
    masks = {key: np.random.default_rng(1).random(mask.shape) < 0.3 for key, mask in get_masks(model).items()}
    state = {f"model/{key}": value for key, value in fresh_weights(model, seed=4).items()}
    start = apply_masks_to_state(state, masks, {})
    set_masks(model, masks)
    restore_state({f"model/{key}": v for key, v in named_variables(model).items()}, start)
    for path, mask in masks.items():
        np.testing.assert_array_equal(get_weights(model)[path], state[f"model/{path}"] * mask)


@pytest.mark.parametrize(
    ("layer", "otherwise"),
    [
        (keras.layers.LSTM(3), False),
        (keras.layers.Bidirectional(keras.layers.LSTM(3)), True),  # kernels of both directions before either bias
    ],
)
def test_the_order_of_version_0_1(layer, otherwise):
    model = wrap(keras.Sequential([keras.Input((4, 2)), layer, keras.layers.Dense(2)]))
    assert was_ordered_otherwise(model) is otherwise
