"""The compiled kernels of convolutions against NumPy: random shapes, batches, densities, for each instruction set."""

import numpy as np
import pytest
import tensorflow as tf

from tf_lottery.layers.sparse import native
from tf_lottery.layers.sparse.blocked import batch_norm_lanes, from_lanes, max_pool_lanes, to_lanes
from tf_lottery.layers.sparse.conv_index import conv_index_of, conv_tile_count
from tf_lottery.layers.sparse.self_test import EPSILON, batch_norm_by_numpy, convolution_by_numpy
from tf_lottery.layers.sparse.sparse_conv import ConvShape, sparse_conv
from tf_lottery.layers.sparse.sparse_matmul import put_values, take_values

BATCHES = (1, 7, 16, 60, 61, 129)


def random_shape(rng):
    """A convolution of a few channels and pixels."""
    kernel = tuple(int(size) for size in rng.choice([1, 2, 3, 5], 2))
    strides = tuple(int(size) for size in rng.choice([1, 2, 3], 2))
    padding = str(rng.choice(["same", "valid"]))
    size = tuple(int(rng.integers(least if padding == "valid" else 1, least + 9)) for least in kernel)
    channels = (int(one) for one in rng.choice([1, 2, 3, 8, 17, 40, 70], 2))
    return ConvShape(kernel, strides, padding, size, *channels)


def random_mask(rng, shape):
    """Random weights of one density, a filter with all weights or none, a channel without."""
    mask = rng.random(shape.kernel_shape) < float(rng.choice([0, 0.02, 0.1, 0.5, 1]))
    mask[..., rng.integers(shape.filters)] = rng.random() < 0.5
    mask[:, :, rng.integers(shape.inputs)] &= rng.random() < 0.5
    return mask & (rng.random() < 0.95)  # now and then an empty layer


def by_kernels(x, kernel, dy, mask, shape, spare):
    """The convolution, the gradients of inputs and kernel, and that of the values as they are."""
    capacity = max(1, int(mask.sum()) + spare)
    index = {name: tf.constant(array) for name, array in conv_index_of(mask, capacity, shape.strides).items()}

    @tf.function(jit_compile=True, autograph=False)
    def run(x, kernel, dy):
        values = take_values(kernel, index)
        with tf.GradientTape() as tape:
            tape.watch([x, values])
            y = from_lanes(sparse_conv(to_lanes(x), values, index, shape, x.shape[0]), x.shape[0])
        of_inputs, of_values = tape.gradient(y, [x, values], dy)
        return y, of_inputs, put_values(tf.zeros_like(kernel), of_values, index), of_values

    return [result.numpy() for result in run(*map(tf.constant, (x, kernel, dy)))]


def check(seed):
    """Compare one random convolution."""
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    batch, mask, spare = int(rng.choice(BATCHES)), random_mask(rng, shape), int(rng.integers(0, 5))
    sizes = (batch, *shape.input_size, shape.inputs), mask.shape, (batch, *shape.output_size, shape.filters)
    arrays = [rng.normal(size=size).astype(np.float32) for size in sizes]
    *results, raw = by_kernels(*arrays, mask, shape, spare)
    images, kernel, weights = arrays
    *expected, of_kernel = convolution_by_numpy(images, np.where(mask, kernel, 0), weights, shape)
    expected.append(np.where(mask, of_kernel, 0))
    terms = mask.shape[0] * mask.shape[1] * (shape.inputs + shape.filters)
    summed = terms, terms, batch * sizes[2][1] * sizes[2][2]
    for result, right, count in zip(results, expected, summed, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-5, atol=1e-6 * np.sqrt(count) * 4, err_msg=f"{seed}: {shape}")
    assert not raw[int(mask.sum()) :].any()  # the places beyond the kept values


def compiled(function):
    return tf.function(function, jit_compile=True, autograph=False)


needs_kernels = pytest.mark.skipif(not native.kernels(), reason=native.kernels().reason or "there are kernels")


def test_convolutions_and_gradients_are_numpys(instruction_set):
    for seed in range(4):
        check(seed)


@pytest.mark.slow
def test_five_hundred_random_convolutions(instruction_set, capsys):
    for seed in range(500):
        check(seed)
    with capsys.disabled():
        print(f"{instruction_set}: 500 random convolutions as NumPy computes them")


@needs_kernels
@pytest.mark.parametrize(("padding", "strides"), [("same", 1), ("same", 2), ("valid", 2)])
def test_convolutions_are_tensorflows(padding, strides):
    rng = np.random.default_rng(0)
    shape = ConvShape((3, 3), (strides, strides), padding, (9, 8), 6, 5)
    x, kernel = rng.normal(size=(7, 9, 8, 6)).astype("f4"), rng.normal(size=shape.kernel_shape).astype("f4")
    mask = rng.random(kernel.shape) < 0.4
    right = tf.nn.conv2d(x, kernel * mask, strides, padding.upper()).numpy()
    result, *_ = by_kernels(x, kernel, np.zeros_like(right), mask, shape, 2)
    np.testing.assert_allclose(result, right, rtol=1e-5, atol=1e-5)


@needs_kernels
@pytest.mark.parametrize("threads", [2, 3, 8])
def test_threads_change_no_bit_of_a_convolution(threads, one_thread_after):
    rng = np.random.default_rng(0)
    shape = ConvShape((3, 3), (1, 1), "same", (15, 15), 40, 33)
    sizes = (50, 15, 15, 40), shape.kernel_shape, (50, 15, 15, 33)
    arrays = [rng.normal(size=size).astype("f4") for size in sizes]
    mask = rng.random(shape.kernel_shape) < 0.2
    one = by_kernels(*arrays, mask, shape, 3)
    native.use_threads(threads)
    several = by_kernels(*arrays, mask, shape, 3)
    assert all(np.array_equal(a, b) for a, b in zip(one, several, strict=True))


@needs_kernels
@pytest.mark.parametrize("batch", [1, 16, 23])
@pytest.mark.parametrize("threads", [1, 2])
def test_batch_normalization_is_numpys(batch, threads, one_thread_after):
    native.use_threads(threads)
    rng = np.random.default_rng(batch)
    x, dy = (rng.normal(3, 2, size=(batch, 5, 7, 4)).astype("f4") for _ in range(2))
    gamma, beta = (rng.normal(size=4).astype("f4") for _ in range(2))

    @compiled
    def run(x, gamma, beta, dy):
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            normalized, mean, variance = batch_norm_lanes(to_lanes(x), gamma, beta, EPSILON, batch, relu=True)
            y = from_lanes(normalized, batch)
        return [y, mean, variance, *tape.gradient(y, [x, gamma, beta], dy)]

    expected = batch_norm_by_numpy(x, gamma, beta, dy)
    for result, right in zip(run(x, gamma, beta, dy), expected, strict=True):
        np.testing.assert_allclose(result, right, rtol=2e-5, atol=2e-5)


@needs_kernels
def test_lanes_beyond_the_batch_reach_no_result(instruction_set):
    """They may hold anything: here NaN."""
    rng = np.random.default_rng(0)
    shape = ConvShape((3, 3), (1, 1), "same", (5, 6), 3, 4)
    index = {name: tf.constant(one) for name, one in conv_index_of(np.ones((3, 3, 3, 4), bool), 108, (1, 1)).items()}
    values, gamma = tf.constant(rng.normal(size=108), tf.float32), tf.ones(4)
    x, dy = (tf.constant(rng.normal(size=(5, 5, 6, channels)), tf.float32) for channels in (3, 4))
    beyond = tf.constant([0.0] * 5 + [np.nan] * 11, tf.float32)

    @compiled
    def run(x, dy, extra):
        blocked, came_back = to_lanes(x) + extra, to_lanes(dy) + extra
        with tf.GradientTape() as tape:
            tape.watch([blocked, values])
            y = sparse_conv(blocked, values, index, shape, 5)
        of_x, of_values = tape.gradient(y, [blocked, values], came_back)
        with tf.GradientTape() as tape:
            tape.watch([came_back, gamma])
            normalized, mean, variance = batch_norm_lanes(came_back, gamma, gamma, EPSILON, 5)
        of_inputs, of_gamma = tape.gradient(normalized, [came_back, gamma], came_back)
        return [from_lanes(one, 5) for one in (y, of_x, normalized, of_inputs)], of_values, mean, variance, of_gamma

    for clean, result in zip(*(tf.nest.flatten(run(x, dy, extra)) for extra in (0 * tf.ones(16), beyond)), strict=True):
        assert np.isfinite(result).all()
        assert np.array_equal(clean, result)


@needs_kernels
@pytest.mark.parametrize(("window", "stride", "padding"), [(2, 2, "valid"), (3, 2, "same"), (3, 1, "valid")])
def test_pooling_is_tensorflows_ties_too(window, stride, padding):
    rng = np.random.default_rng(0)
    shape = ConvShape((window, window), (stride, stride), padding, (11, 10), 3, 3)
    x = tf.constant(rng.integers(0, 5, (19, 11, 10, 3)), tf.float32)
    dy = tf.constant(rng.integers(-9, 9, (19, *shape.output_size, 3)), tf.float32)

    def run(pool):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = pool(x)
        return y, tape.gradient(y, x, dy)

    own = compiled(lambda: run(lambda x: from_lanes(max_pool_lanes(to_lanes(x), shape, 19), 19)))
    for a, b in zip(own(), run(lambda x: tf.nn.max_pool2d(x, window, stride, padding.upper())), strict=True):
        assert np.array_equal(a, b)


@needs_kernels
def test_a_batch_of_no_images():
    shape = ConvShape((3, 3), (1, 1), "same", (4, 4), 2, 3)
    x, dy, mask = np.zeros((0, 4, 4, 2), "f4"), np.zeros((0, 4, 4, 3), "f4"), np.ones((3, 3, 2, 3), bool)
    y, of_inputs, of_kernel, _ = by_kernels(x, mask * np.float32(2), dy, mask, shape, 1)
    assert (y.shape, of_inputs.shape) == (dy.shape, x.shape)
    assert not of_kernel.any()


def test_sizes_that_are_none_are_refused():
    with pytest.raises(ValueError, match=r"`strides` .* must be positive integers\. Received: \(0, 1\)"):
        ConvShape((3, 3), (0, 1), "same", (4, 4), 2, 3)
    with pytest.raises(ValueError, match=r"`padding` must be \"same\" or \"valid\"\. Received: 'causal'"):
        ConvShape((3, 3), (1, 1), "causal", (4, 4), 2, 3)
    with pytest.raises(ValueError, match=r"A kernel of \(5, 5\) without padding is larger than inputs of \(4, 9\)"):
        ConvShape((5, 5), (1, 1), "valid", (4, 9), 2, 3)


def test_what_does_not_fit_is_refused():
    shape = ConvShape((3, 3), (2, 2), "same", (4, 4), 2, 3)
    index = {name: tf.constant(one) for name, one in conv_index_of(np.ones((3, 3, 2, 3), bool), 54, (1, 1)).items()}
    blocked = tf.zeros((1, 2, 4, 4, 16))
    with pytest.raises(ValueError, match="The index is not one of such a convolution"):
        sparse_conv(blocked, tf.zeros(54), index, shape, 3)
    with pytest.raises(ValueError, match=r"must have the shape \(2, 2, 4, 4, 16\) here\. Received: \(1, 2, 4, 4, 16\)"):
        sparse_conv(blocked, tf.zeros(54), index, shape, 17)
    with pytest.raises(TypeError, match=r"The kernels read float32\. Received: float16"):
        to_lanes(tf.zeros((1, 4, 4, 2), tf.float16))
    with pytest.raises(ValueError, match="`gamma` must hold 2 numbers"):
        batch_norm_lanes(blocked, tf.zeros(3), tf.zeros(2), 1e-3, 3)
    with pytest.raises(ValueError, match=r"Pooling keeps its 2 channels\. Received: 3 filters"):
        max_pool_lanes(blocked, shape, 3)


def test_more_weights_than_places_are_refused():
    with pytest.raises(ValueError, match=r"`capacity` must be at least the 4 kept weights\. Received: 3"):
        conv_index_of(np.ones((1, 2, 1, 2), bool), 3, (1, 1))


def test_tiles_are_covered_by_the_random_shapes():
    assert conv_tile_count(70, 40, 9 * 70 * 40 // 2) > 1
