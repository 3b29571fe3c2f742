"""A ticket of your own model on your own `tf.data` pipeline: find it, train it further in `fit`, export it.

python examples/own_model.py            (under half a minute; writes to saved_models/own_model)
python examples/own_model.py --to DIR
"""

import argparse
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import tf_lottery as tfl

BATCH = 64
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_model() -> keras.Model:
    """Any Sequential or functional model will do. As a function it can be built anew for each replicate."""
    image = keras.Input((8, 8, 1), name="image")
    x = keras.layers.Conv2D(12, 3, activation="relu", name="conv")(image)
    x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Flatten(name="flatten")(x)
    x = keras.layers.Dense(48, activation="relu", name="hidden")(x)
    x = keras.layers.Dropout(0.1, name="dropout")(x)
    return keras.Model(image, keras.layers.Dense(10, name="output")(x), name="own")


def make_data() -> tuple[tf.data.Dataset, tf.data.Dataset, tf.data.Dataset, tuple[np.ndarray, np.ndarray]]:
    """Training, validation and test batches of (x, y), and the test arrays."""
    digits = load_digits()
    x = (digits.images[..., None] / 16).astype("float32")
    y = digits.target.astype("int32")
    place = np.random.default_rng(0).permutation(len(x))
    train, validation, test = place[:1200], place[1200:1400], place[1400:]

    def batches(indices: np.ndarray, *, training: bool = False) -> tf.data.Dataset:
        dataset = tf.data.Dataset.from_tensor_slices((x[indices], y[indices]))
        if training:
            dataset = dataset.shuffle(len(indices), seed=0)
        return dataset.batch(BATCH, drop_remainder=training).prefetch(1)

    return batches(train, training=True), batches(validation), batches(test), (x[test], y[test])


def main(arguments: list[str] | None = None) -> None:
    """Find a ticket with its control, train it on, write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--to", type=Path, default=Path("saved_models/own_model"), help="where the files go")
    options = parser.parse_args(arguments)
    train, validation, test, (x_test, y_test) = make_data()

    result = tfl.find_ticket(
        make_model,
        train,
        validation_data=validation,
        test_data=test,
        loss=LOSS,
        metrics=["accuracy"],
        optimizer=keras.optimizers.Adam(2e-3),
        rounds=6,
        rate=0.35,
        steps=250,
        variants=("ticket", "random_reinit"),  # the control: the same masks on other initial weights
    )
    for row in result.rows:
        print(f"round {row['round']} {row['variant']:>13}: {row['density']:6.1%} of the weights, ", end="")
        print(f"validation {row['val_accuracy']:.1%}, test {row['test_accuracy']:.1%}")

    # Validation accuracy chooses the round; the test data only measures how good the choice is.
    ticket = result.best(max_drop=0.01)
    print(f"the ticket keeps {ticket.density:.1%} of the weights")

    # The ticket in a model of your own, with its trained weights: pruned weights stay pruned in `fit`.
    model = ticket.apply(make_model(), trained=True)
    model.compile(optimizer=keras.optimizers.Adam(2e-4), loss=LOSS, metrics=["accuracy"])
    model.fit(train, validation_data=validation, epochs=3, shuffle=False, verbose=0)
    loss, accuracy = model.evaluate(test, verbose=0)
    print(f"after three more epochs in `fit`: test loss {loss:.3f}, accuracy {accuracy:.1%}")

    ranges = np.concatenate([images.numpy() for images, _ in train.take(4)])  # int8 needs some of the training data
    report = tfl.export(model, options.to, format="all", samples=x_test, labels=y_test, calibration=ranges, force=True)
    for file in report.files:
        print(f"{file['path']}: {file['bytes']} bytes, largest difference from Keras {file['max_abs_error']:.1e}")
    for line in report.refusals():
        print(f"not offered: {line}")
    print(f"to ship: {report.best}")


if __name__ == "__main__":
    main()
