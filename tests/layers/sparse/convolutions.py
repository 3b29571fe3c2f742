"""Random convolutions, by the compiled kernels and by NumPy in float64."""

import numpy as np
import tensorflow as tf

from tf_lottery.layers.sparse.conv_index import conv_index_of
from tf_lottery.layers.sparse.sparse_conv import ConvShape, from_lanes, sparse_conv, to_lanes
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


def by_numpy(x, kernel, dy, mask, shape):
    """The convolution and the gradients of inputs and kernel, in float64."""
    (height, width), (rows, columns) = shape.input_size, shape.output_size
    (kernel_y, kernel_x), (stride_y, stride_x), (top, left) = shape.kernel_size, shape.strides, shape.padding_before
    kernel, dy = np.where(mask, kernel, 0).astype(np.float64), dy.astype(np.float64)
    padded = np.zeros((len(x), max(height, rows * stride_y) + 9, max(width, columns * stride_x) + 9, shape.inputs))
    padded[:, top : top + height, left : left + width] = x
    of_padded = np.zeros_like(padded)
    y, of_kernel = np.zeros(dy.shape), np.zeros(kernel.shape)
    for a in range(kernel_y):
        for b in range(kernel_x):
            down = slice(a, a + stride_y * rows, stride_y)
            across = slice(b, b + stride_x * columns, stride_x)
            y += padded[:, down, across] @ kernel[a, b]
            of_padded[:, down, across] += dy @ kernel[a, b].T
            of_kernel[a, b] = np.tensordot(padded[:, down, across], dy, ([0, 1, 2], [0, 1, 2]))
    return [y, of_padded[:, top : top + height, left : left + width], np.where(mask, of_kernel, 0)]


def check(seed):
    """Compare one random convolution."""
    rng = np.random.default_rng(seed)
    shape = random_shape(rng)
    batch, mask, spare = int(rng.choice(BATCHES)), random_mask(rng, shape), int(rng.integers(0, 5))
    sizes = (batch, *shape.input_size, shape.inputs), mask.shape, (batch, *shape.output_size, shape.filters)
    arrays = [rng.normal(size=size).astype(np.float32) for size in sizes]
    *results, raw = by_kernels(*arrays, mask, shape, spare)
    expected = by_numpy(*arrays, mask, shape)
    terms = mask.shape[0] * mask.shape[1] * (shape.inputs + shape.filters)
    summed = terms, terms, batch * sizes[2][1] * sizes[2][2]
    for result, right, count in zip(results, expected, summed, strict=True):
        np.testing.assert_allclose(result, right, rtol=1e-5, atol=1e-6 * np.sqrt(count) * 4, err_msg=f"{seed}: {shape}")
    assert not raw[int(mask.sum()) :].any()  # the places beyond the kept values
