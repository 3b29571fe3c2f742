"""A MobileNet whose pruned 1x1 convolutions run on XNNPACK's sparse kernels: prune, diagnose, write the TFLite files.

python examples/mobile.py               (about a minute; writes to saved_models/mobile)
python examples/mobile.py --steps 2000  (longer trainings, better accuracy)
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from sklearn.datasets import load_digits

import tf_lottery as tfl
from tf_lottery import data
from tf_lottery.exporting.diagnose.diagnosis import diagnose
from tf_lottery.models.mobile import mobilenet

Arrays = tuple[np.ndarray, np.ndarray]
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def make_data() -> tuple[str, Arrays, Arrays, Arrays]:
    """Training, validation and test arrays of 32x32 color images: CIFAR-10 where it is prepared, else large digits."""
    try:
        dataset = data.load("cifar10_subset")
    except tfl.LotteryError:
        digits = load_digits()
        x = np.kron(digits.images[..., None] / 16, np.ones((1, 4, 4, 3))).astype("float32")
        y = digits.target.astype("int32")
        return "digits", (x[:1200], y[:1200]), (x[1200:1400], y[1200:1400]), (x[1400:], y[1400:])
    parts = [(part.x, part.y) for part in (dataset.train, dataset.validation, dataset.test)]
    return "cifar10_subset", parts[0], parts[1], parts[2]


def make_model() -> keras.Model:
    """The network of the catalog. `tf_lottery/models/mobile.py` shows what makes it fit for sparse kernels."""
    return mobilenet((32, 32, 3), 10)


def main(arguments: list[str] | None = None) -> None:
    """Find a ticket of the 1x1 convolutions at a fifth of their weights, say how it will run, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200, help="training steps of each round")
    parser.add_argument("--to", type=Path, default=Path("saved_models/mobile"), help="where the files go")
    options = parser.parse_args(arguments)
    name, train, validation, test = make_data()
    print(f"{name}: {len(train[0])} training images")

    result = tfl.find_ticket(
        make_model,
        *train,
        validation_data=validation,
        test_data=test,
        loss=LOSS,
        metrics=["accuracy"],
        optimizer=keras.optimizers.Adam(2e-3),
        # Only the 1x1 convolutions: nine tenths of the weights, and the ones that XNNPACK has sparse kernels for.
        include="*_pointwise",
        scope="global",
        densities=(0.45, 0.2),
        rounds=2,
        rewind=f"step:{options.steps // 10}",
        steps=options.steps,
        batch_size=64,
    )
    for row in result.rows:
        print(
            f"round {row['round']}: {row['density']:6.1%} of the 1x1 weights, test accuracy {row['test_accuracy']:.1%}"
        )

    model = result.ticket(2).model()
    diagnosis = diagnose(model)
    for operation, verdict in zip(diagnosis.operations, diagnosis.verdicts, strict=True):
        if operation.weights is not None:
            print(f"{operation.kind:>17} {operation.name:18} {verdict.kind}")
    print(*diagnosis.summary, sep="\n")

    report = tfl.export(model, options.to, format="tflite", samples=test[0], labels=test[1], force=True)
    for file in report.files:
        print(f"{file['path']}: {file['bytes']} bytes, largest difference from Keras {file['max_abs_error']:.1e}")
    print(f"to ship: {report.best}")


if __name__ == "__main__":
    main()
