"""Iterative magnitude pruning in a training loop of your own: `wrap`, train, `scores`, `prune`, rewind, `strip`.

python examples/own_loop.py             (a few seconds)
"""

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import tf_lottery as tfl

ROUNDS, EPOCHS, BATCH = 4, 8, 60


def main() -> None:
    """Prune half of the surviving weights in each of four rounds, and go back to the initial weights after each."""
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype("float32"), y.astype("int32")
    place = np.random.default_rng(0).permutation(len(x))
    train, test = place[:1440], place[1440:]
    batches = tf.data.Dataset.from_tensor_slices((x[train], y[train])).shuffle(1440, seed=0).batch(BATCH)

    keras.utils.set_random_seed(0)
    plain = keras.Sequential(
        [keras.Input((64,)), keras.layers.Dense(100, "relu", name="hidden"), keras.layers.Dense(10, name="output")]
    )
    model = tfl.wrap(plain)  # a copy: `plain` keeps its weights and its layers
    loss_function = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    optimizer.build(model.trainable_variables)

    # The rewind point: every variable, keyed by path, and the optimizer's own state.
    start = tfl.get_weights(model)
    fresh = [variable.numpy() for variable in optimizer.variables]

    @tf.function(jit_compile=True)
    def step(inputs: tf.Tensor, targets: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            loss = loss_function(targets, model(inputs, training=True))
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    masks = tfl.get_masks(model)
    for number in range(ROUNDS + 1):
        if number:
            trained = tfl.get_weights(model)
            scores = tfl.scores({path: trained[path] for path in masks})
            # A rate per weight: the output layer is pruned half as fast, as in the paper.
            masks = tfl.prune(scores, masks, rate={"hidden/kernel": 0.5, "output/kernel": 0.25})
            tfl.set_weights(model, start)
            for variable, value in zip(optimizer.variables, fresh, strict=True):
                variable.assign(value)
            tfl.set_masks(model, masks)  # masks are variables: `step` is not traced again
        for _ in range(EPOCHS):
            for inputs, targets in batches:
                step(inputs, targets)
        accuracy = np.mean(np.argmax(model(x[test]), axis=-1) == y[test])
        print(f"round {number}: {tfl.density(masks):6.1%} of the weights, test accuracy {accuracy:.1%}")
    print(f"traced {step.experimental_get_tracing_count()} time(s)")

    sparse = tfl.strip(model)  # a plain Keras model, exact zeros where pruned
    kernel = sparse.get_layer("hidden").kernel.numpy()
    print(f"{np.count_nonzero(kernel)} of {kernel.size} hidden weights are left")


if __name__ == "__main__":
    main()
