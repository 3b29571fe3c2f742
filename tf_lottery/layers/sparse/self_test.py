"""Small products and convolutions by the compiled kernels, with their gradients, beside NumPy's."""

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from tf_lottery.layers.sparse.blocked import batch_norm_lanes, from_lanes, max_pool_lanes, to_lanes
from tf_lottery.layers.sparse.conv_index import conv_index_of
from tf_lottery.layers.sparse.matrix_index import index_of
from tf_lottery.layers.sparse.sparse_conv import ConvShape, sparse_conv
from tf_lottery.layers.sparse.sparse_matmul import put_values, sparse_matmul, take_values

Results: TypeAlias = dict[str, tuple[tf.Tensor, np.ndarray]]
SHAPE, BATCH = (397, 19), 83
"""No multiple of the vectors' length, more than one tile and more than one block of examples."""
CONVOLUTION, IMAGES = ConvShape((3, 2), (2, 1), "same", (9, 6), 37, 21), 21
EPSILON = 1e-3


def differences() -> dict[str, float]:
    """Returns the largest difference of each result of the kernels from NumPy's, over its largest value."""
    results = {**_products(), **_convolutions(), **_blocked()}
    return {
        name: float(np.abs(result.numpy() - right).max() / np.abs(right).max())
        for name, (result, right) in results.items()
    }


def _products() -> Results:
    generator = np.random.default_rng(0)
    mask = _mask(SHAPE, generator)
    matrix = np.where(mask, generator.normal(size=SHAPE), 0).astype(np.float32)
    inputs, weights = (generator.normal(size=(BATCH, size)).astype(np.float32) for size in SHAPE)
    index = index_of(mask, int(mask.sum()) + 3)
    results = _by_kernels(
        lambda inputs, values, index: sparse_matmul(inputs, values, index, SHAPE[1]), inputs, matrix, weights, index
    )
    x, w, dy = (array.astype(np.float64) for array in (inputs, matrix, weights))
    return _named("product", results, [x @ w, dy @ w.T, np.where(mask, x.T @ dy, 0)])


def _convolutions() -> Results:
    generator, shape = np.random.default_rng(1), CONVOLUTION
    mask = _mask(shape.kernel_shape, generator)
    kernel = np.where(mask, generator.normal(size=mask.shape), 0).astype(np.float32)
    sizes = (IMAGES, *shape.input_size, shape.inputs), (IMAGES, *shape.output_size, shape.filters)
    images, weights = (generator.normal(size=size).astype(np.float32) for size in sizes)
    index = conv_index_of(mask, int(mask.sum()) + 3, shape.strides)

    def convolve(images: tf.Tensor, values: tf.Tensor, index: Mapping[str, tf.Tensor]) -> tf.Tensor:
        return from_lanes(sparse_conv(to_lanes(images), values, index, shape, IMAGES), IMAGES)

    results = _by_kernels(convolve, images, kernel, weights, index)
    result, of_images, of_kernel = convolution_by_numpy(images, kernel, weights, shape)
    return _named("convolution", results, [result, of_images, np.where(mask, of_kernel, 0)])


def _mask(shape: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    """A random mask with an output and an input that keep nothing, and an output that keeps all."""
    mask = generator.random(shape) < 0.3
    mask[..., 3] = mask[..., 5, :] = False
    mask[..., 4] = True
    return mask


def _by_kernels(
    multiply: Callable[[tf.Tensor, tf.Tensor, Mapping[str, tf.Tensor]], tf.Tensor],
    inputs: np.ndarray,
    matrix: np.ndarray,
    weights: np.ndarray,
    index: Mapping[str, np.ndarray],
) -> list[tf.Tensor]:
    """A product, compiled by XLA, and its gradients with respect to inputs and kept weights.

    Args:
        multiply: computes the product of inputs and kept values with their index.
        inputs: the inputs.
        matrix: the weights with zeros.
        weights: what came back: the gradient of the product.
        index: the places of the kept weights.
    """

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def compute(
        inputs: tf.Tensor, matrix: tf.Tensor, weights: tf.Tensor, index: Mapping[str, tf.Tensor]
    ) -> list[tf.Tensor]:
        values = take_values(matrix, index)
        with tf.GradientTape() as tape:
            tape.watch([inputs, values])
            product = multiply(inputs, values, index)
        of_inputs, of_values = tape.gradient(product, [inputs, values], weights)
        return [product, of_inputs, put_values(tf.zeros_like(matrix), of_values, index)]

    return list(compute(*tf.nest.map_structure(tf.constant, [inputs, matrix, weights, dict(index)])))


def convolution_by_numpy(
    images: np.ndarray, kernel: np.ndarray, weights: np.ndarray, shape: ConvShape
) -> list[np.ndarray]:
    """Returns a convolution, and the gradients of images and kernel, in float64.

    Args:
        images: Of shape (batch, height, width, inputs).
        kernel: Of shape (height, width, inputs, filters).
        weights: What came back: the gradient of the result.
        shape: Of the convolution.
    """
    (height, width), (rows, columns), (top, left) = shape.input_size, shape.output_size, shape.padding_before
    kernel, weights = kernel.astype(np.float64), weights.astype(np.float64)
    sizes = (
        n * stride + size for n, stride, size in zip((rows, columns), shape.strides, shape.kernel_size, strict=True)
    )
    padded = np.zeros((len(images), *map(max, sizes, (height + top, width + left)), shape.inputs))
    padded[:, top : top + height, left : left + width] = images
    of_padded, result, of_kernel = np.zeros_like(padded), np.zeros(weights.shape), np.zeros(kernel.shape)
    for place in np.ndindex(*shape.kernel_size):
        down, across = (
            slice(first, first + stride * count, stride)
            for first, stride, count in zip(place, shape.strides, (rows, columns), strict=True)
        )
        result += padded[:, down, across] @ kernel[place]
        of_padded[:, down, across] += weights @ kernel[place].T
        of_kernel[place] = np.tensordot(padded[:, down, across], weights, ([0, 1, 2], [0, 1, 2]))
    return [result, of_padded[:, top : top + height, left : left + width], of_kernel]


def _blocked() -> Results:
    """Batch normalization with its ReLU, and pooling."""
    generator, channels = np.random.default_rng(2), 5
    x, dy = (generator.normal(1, 2, size=(IMAGES, 4, 6, channels)).astype(np.float32) for _ in range(2))
    gamma, beta = (generator.normal(size=channels).astype(np.float32) for _ in range(2))
    pool = ConvShape((2, 2), (2, 2), "valid", (4, 6), channels, channels)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def compute(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, dy: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch([x, gamma, beta])
            normalized, mean, variance = batch_norm_lanes(to_lanes(x), gamma, beta, EPSILON, IMAGES, relu=True)
            y = from_lanes(normalized, IMAGES)
        with tf.GradientTape() as pooling:
            pooling.watch(x)
            pooled = from_lanes(max_pool_lanes(to_lanes(x), pool, IMAGES), IMAGES)
        of_pooled = pooling.gradient(pooled, x, dy[:, ::2, ::2])
        return [y, mean, variance, *tape.gradient(y, [x, gamma, beta], dy), pooled, of_pooled]

    results = compute(*map(tf.constant, (x, gamma, beta, dy)))
    right = [*batch_norm_by_numpy(x, gamma, beta, dy), *_pooled_by_numpy(x, dy[:, ::2, ::2])]
    return _named("blocked", results, right)


def batch_norm_by_numpy(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    """Returns max(0, batch normalization), mean, variance and the gradients of inputs, gamma and beta, in float64.

    Args:
        x: Of shape (batch, height, width, channels).
        gamma: The scale of each channel.
        beta: The offset of each channel.
        dy: What came back: the gradient of the result.
    """
    x, gamma, beta, dy = (array.astype(np.float64) for array in (x, gamma, beta, dy))
    axes = (0, 1, 2)
    mean, variance = x.mean(axes), x.var(axes)
    scaled = (x - mean) / np.sqrt(variance + EPSILON)
    y = np.maximum(scaled * gamma + beta, 0)
    dy = np.where(y > 0, dy, 0)
    of_x = gamma / np.sqrt(variance + EPSILON) * (dy - dy.mean(axes) - scaled * (dy * scaled).mean(axes))
    return [y, mean, variance, of_x, (dy * scaled).sum(axes), dy.sum(axes)]


def _pooled_by_numpy(x: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
    windows = np.stack([x[:, a::2, b::2] for a in range(2) for b in range(2)])
    of_x = np.zeros_like(x)
    for number, (a, b) in enumerate(np.ndindex(2, 2)):
        of_x[:, a::2, b::2] = np.where(windows.argmax(0) == number, dy, 0)
    return [windows.max(0), of_x]


def _named(name: str, results: list[tf.Tensor], expected: list[np.ndarray]) -> Results:
    return {f"{name} {number}": pair for number, pair in enumerate(zip(results, expected, strict=True))}
