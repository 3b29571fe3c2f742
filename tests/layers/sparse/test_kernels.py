"""The compiled kernels against NumPy: random shapes, batches and densities, for each instruction set."""

import re
import sysconfig
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from kernel_settings import skip_without_kernels
from tf_lottery.errors import UsageError
from tf_lottery.layers.sparse import native
from tf_lottery.layers.sparse.matrix_index import index_of, tile_count
from tf_lottery.layers.sparse.self_test import differences
from tf_lottery.layers.sparse.sparse_matmul import put_values, sparse_matmul, take_values

BATCHES = (1, 7, 16, 60, 61, 64, 129)


def loaded_again():
    """The kernels as another process would find them."""
    native._load.cache_clear()
    try:
        return native.kernels()
    finally:
        native._load.cache_clear()


def random_mask(rng, shape, density):
    mask = rng.random(shape) < density
    mask[rng.integers(shape[0])] = False  # an input without weights
    mask[:, rng.integers(shape[1])] = rng.random() < 0.5  # an output with all weights or none
    return mask


def compute(inputs, matrix, weights, mask, spare):
    index = {name: tf.constant(array) for name, array in index_of(mask, int(mask.sum()) + spare).items()}

    @tf.function(jit_compile=True, autograph=False)
    def run(inputs, matrix, weights):
        values = take_values(matrix, index)
        with tf.GradientTape() as tape:
            tape.watch([inputs, values])
            product = sparse_matmul(inputs, values, index, mask.shape[1])
        of_inputs, of_values = tape.gradient(product, [inputs, values], weights)
        return product, of_inputs, put_values(tf.zeros_like(matrix), of_values, index), of_values

    return [result.numpy() for result in run(inputs, matrix, weights)]


def check(seed):
    rng = np.random.default_rng(seed)
    batch, inputs, outputs = int(rng.choice(BATCHES)), int(rng.integers(1, 500)), int(rng.integers(1, 80))
    mask = random_mask(rng, (inputs, outputs), float(rng.choice([0, 0.02, 0.1, 0.5, 1])))
    matrix = rng.normal(size=mask.shape).astype(np.float32)
    x, dy = rng.normal(size=(batch, inputs)).astype(np.float32), rng.normal(size=(batch, outputs)).astype(np.float32)
    product, of_inputs, of_values, raw = compute(x, matrix, dy, mask, spare := int(rng.integers(1, 5)))
    kept = np.where(mask, matrix, 0).astype(np.float64)
    close = {"rtol": 1e-5, "atol": 1e-5 * np.sqrt(inputs + outputs + batch)}
    np.testing.assert_allclose(product, x.astype(np.float64) @ kept, **close)
    np.testing.assert_allclose(of_inputs, dy.astype(np.float64) @ kept.T, **close)
    np.testing.assert_allclose(of_values, np.where(mask, x.astype(np.float64).T @ dy, 0), **close)
    assert not raw[-spare:].any()  # the places beyond the kept values


@pytest.mark.parametrize("seed", range(6))
def test_products_and_gradients_are_numpys(seed, instruction_set):
    check(seed)


@pytest.mark.slow
def test_five_hundred_random_shapes(instruction_set, capsys):
    for seed in range(500):
        check(seed)
    with capsys.disabled():
        print(f"{instruction_set}: 500 random shapes as NumPy computes them")


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_no_bit(threads):
    if not native.kernels():
        pytest.skip(native.kernels().reason)
    rng = np.random.default_rng(0)
    mask = random_mask(rng, (784, 300), 0.2)
    arrays = [rng.normal(size=shape).astype(np.float32) for shape in ((200, 784), mask.shape, (200, 300))]
    one = compute(*arrays, mask, spare=3)
    native.use_threads(threads)
    try:
        several = compute(*arrays, mask, spare=3)
    finally:
        native.use_threads(1)
    for a, b in zip(one, several, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_in_different_blocks_share_no_memory(threads):
    """The last block of a batch is narrower, and one thread may reach it before another."""
    if not native.kernels():
        pytest.skip(native.kernels().reason)
    rng = np.random.default_rng(0)
    mask = rng.random((784, 300)) < 0.1
    x, dy = (tf.constant(rng.normal(size=(130, size)), tf.float32) for size in mask.shape)
    index = {name: tf.constant(array) for name, array in index_of(mask, int(mask.sum())).items()}
    values = tf.constant(rng.normal(size=int(mask.sum())), tf.float32)

    @tf.function(jit_compile=True, autograph=False)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            product = sparse_matmul(x, values, index, mask.shape[1])
        return product, tape.gradient(product, x, dy)

    one = run()
    native.use_threads(threads)
    try:
        assert all(np.array_equal(a, b) for _ in range(300) for a, b in zip(one, run(), strict=True))
    finally:
        native.use_threads(1)


def test_a_batch_of_no_examples():
    if not native.kernels():
        pytest.skip(native.kernels().reason)
    mask = np.ones((30, 20), bool)
    product, of_inputs, of_values, _ = compute(
        np.zeros((0, 30), "f4"), mask * np.float32(2), np.zeros((0, 20), "f4"), mask, 1
    )
    assert product.shape == (0, 20)
    assert of_inputs.shape == (0, 30)
    assert not of_values.any()


def test_tiles_change_no_result_but_the_order_of_sums():
    skip_without_kernels("on")
    assert tile_count(784, 300, 784 * 300) > 1  # what the self-test covers with other shapes
    assert max(differences().values()) < 1e-5


def test_kernels_can_be_switched_off(monkeypatch):
    monkeypatch.setenv(native.SETTING, "off")
    assert not native.kernels()
    assert native.kernels().reason == "TF_LOTTERY_KERNELS is off"


def test_another_setting_is_an_error(monkeypatch):
    monkeypatch.setenv(native.SETTING, "fast")
    with pytest.raises(UsageError, match=r"must be auto, off, baseline, avx2 or avx512\. Received: 'fast'"):
        native.kernels()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "no C\\+\\+ compiler"), (b"no library", "can't be loaded")],
)
def test_without_a_library_there_are_none(content, reason, tmp_path, monkeypatch):
    path = tmp_path / "_kernels.so"
    if content:
        path.write_bytes(content)
    monkeypatch.setattr(native, "library_path", lambda: path if content else None)
    found = loaded_again()
    assert not found
    assert re.search(reason, found.reason)


@pytest.mark.parametrize("wrong", ["inputs", "values"])
def test_other_numbers_than_floats_are_refused(wrong):
    index = {name: tf.constant(array) for name, array in index_of(np.ones((3, 2), bool), 6).items()}
    arrays = {"inputs": tf.ones((4, 3)), "values": tf.ones(6)}
    arrays[wrong] = tf.cast(arrays[wrong], tf.int32)
    with pytest.raises(TypeError, match=r"The kernels read float32\. Received: int32"):
        tf.function(lambda inputs, values: sparse_matmul(inputs, values, index, 2), jit_compile=True)(**arrays)


def test_a_library_without_the_functions_is_none_of_this_version(monkeypatch):
    monkeypatch.setattr(native, "library_path", lambda: Path(np._core._multiarray_umath.__file__))
    found = loaded_again()
    assert not found
    assert "their library can't be loaded" in found.reason


def test_a_library_of_another_python_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(native, "__file__", str(tmp_path / "native.py"))
    (tmp_path / "_kernels.cpython-30-x86_64-linux-gnu.so").write_bytes(b"of an installation before")
    assert native.library_path() is None
    (own := tmp_path / f"_kernels{sysconfig.get_config_var('EXT_SUFFIX')}").write_bytes(b"")
    assert native.library_path() == own


def test_kernels_that_compute_wrongly_are_not_used(monkeypatch):
    monkeypatch.setattr("tf_lottery.layers.sparse.self_test.differences", lambda: {"product": 0.1})
    found = loaded_again()
    assert not found
    assert found.reason
    if native.library_path():
        assert "self-test failed: results differ by 1.0e-01" in found.reason
