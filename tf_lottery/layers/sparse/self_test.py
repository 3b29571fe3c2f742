"""A small product by the compiled kernels, with its gradients, beside NumPy's."""

import numpy as np
import tensorflow as tf

from tf_lottery.layers.sparse.matrix_index import index_of
from tf_lottery.layers.sparse.sparse_matmul import put_values, sparse_matmul, take_values

SHAPE, BATCH = (397, 19), 83
"""No multiple of the vectors' length, more than one tile and more than one block of examples."""


def differences() -> dict[str, float]:
    """Returns the largest difference of each result of the kernels from NumPy's, over its largest value."""
    generator = np.random.default_rng(0)
    mask = generator.random(SHAPE) < 0.3
    mask[:, 3] = mask[5] = False
    mask[:, 4] = True
    matrix = np.where(mask, generator.normal(size=SHAPE), 0).astype(np.float32)
    inputs, weights = (generator.normal(size=(BATCH, size)).astype(np.float32) for size in SHAPE)
    index = index_of(mask, int(mask.sum()) + 3)

    @tf.function(jit_compile=True, autograph=False)  # type: ignore[untyped-decorator]
    def compute(
        inputs: tf.Tensor, matrix: tf.Tensor, weights: tf.Tensor, index: dict[str, tf.Tensor]
    ) -> list[tf.Tensor]:
        values = take_values(matrix, index)
        with tf.GradientTape() as tape:
            tape.watch([inputs, values])
            product = sparse_matmul(inputs, values, index, SHAPE[1])
        of_inputs, of_values = tape.gradient(product, [inputs, values], weights)
        return [product, of_inputs, put_values(tf.zeros_like(matrix), of_values, index)]

    names = ("product", "gradient of the inputs", "gradient of the values")
    results = compute(*tf.nest.map_structure(tf.constant, [inputs, matrix, weights, index]))
    x, w, dy = (array.astype(np.float64) for array in (inputs, matrix, weights))
    expected = [x @ w, dy @ w.T, np.where(mask, x.T @ dy, 0)]
    return {
        name: float(np.abs(result.numpy() - right).max() / np.abs(right).max())
        for name, result, right in zip(names, results, expected, strict=True)
    }
