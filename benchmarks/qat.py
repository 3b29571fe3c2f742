"""What quantization-aware training gains: int8 accuracy of tickets after calibration alone, and after `quantize_aware`.

    python benchmarks/qat.py                    all three cases
    python benchmarks/qat.py --case lenet       LeNet-300-100 of 5 % on MNIST
    python benchmarks/qat.py --case resnet8     ResNet-8 of 20 % on the CIFAR-10 subset
    python benchmarks/qat.py --case depthwise   14 narrow depthwise-separable blocks on MNIST, half of the other kernels

A network is trained, pruned once by magnitude and fine-tuned: the ticket. It is quantized to int8 by calibration; then
made quantization-aware, fine-tuned and exported. Accuracies are of the files, run in LiteRT. Goals are judged on the
validation part, on which nothing is trained; those of the test part are only reported.
"""

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome import add_options, finish

MOST_LOST, WORTH = 0.3, 0.5
"""Points: what int8 may lose of float32, and the loss by calibration from which training must be better."""


PARTS = {"validation": "validation_accuracy", "test": "accuracy"}
"""The key of each part's accuracy in a report."""


@dataclass(frozen=True)
class Case:
    """A network and how it is trained.

    Attributes:
        dataset: its name.
        architecture: the name of the network.
        density: of the ticket.
        epochs: of the dense training, of the ticket's fine-tuning, and of the quantization-aware one.
        normalization: of the data.
        rate: the first learning rate of the float32 trainings.
        scope: of the pruning.
        exclude: patterns of the layers that are not pruned.
        validation: the fraction of the training images that goals are judged on.
    """

    dataset: str
    architecture: str
    density: float
    epochs: tuple[int, int, int]
    normalization: str
    rate: float = 1e-3
    scope: str = "global"
    exclude: tuple[str, ...] = ()
    validation: float = 0.1


CASES = {
    "lenet": Case("mnist", "fc1", 0.05, (6, 6, 2), "unit"),
    "resnet8": Case("cifar10_subset", "resnet8", 0.2, (8, 4, 2), "standard"),
    "depthwise": Case(
        "mnist", "depthwise", 0.5, (3, 2, 2), "unit", 1e-2, "layerwise", ("depthwise_conv2d*",), validation=0.7
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; with `--check` the exit code is 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", choices=list(CASES), action="append", help="which; by default all")
    parser.add_argument("--data-dir", help="folder of prepared data sets or raw files")
    parser.add_argument("--seed", type=int, default=0, help="of weights and data order")
    add_options(parser)
    options = parser.parse_args(arguments)
    document = {name: measure(CASES[name], options) for name in options.case or CASES}
    for name, figures in document.items():
        print(name)
        for key, value in figures.items():
            print(f"  {key}: {value}")
    return finish(options, document, held=all(figures["held"] for figures in document.values()))


def measure(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    """Train, quantize and export one case.

    Args:
        case: the network.
        options: those of the command.

    Returns:
        Accuracies in percent of the validation part, and of the test part, bytes, and whether the goals are held.
    """
    import keras
    import numpy as np

    import tf_lottery as tfl
    from tf_lottery import data
    from tf_lottery.models.building import build

    keras.utils.set_random_seed(options.seed)
    dataset = data.load(
        case.dataset,
        data_dir=options.data_dir,
        normalization=case.normalization,
        validation=case.validation,
        seed=options.seed,
    )
    shape = dataset.train.x.shape[1:]
    network = depthwise_network(shape) if case.architecture == "depthwise" else None
    network = network or build(case.architecture, input_shape=shape, classes=10)
    model = tfl.wrap(network, exclude=case.exclude or None)
    fit(model, dataset, case.rate, case.epochs[0])
    sizes = {path: np.abs(weight) for path, weight in tfl.get_weights(model).items()}
    masks = tfl.get_masks(model)
    sizes = {path: sizes[path] for path in masks}
    tfl.set_masks(model, tfl.prune_to(sizes, masks, density=case.density, scope=case.scope))
    fit(model, dataset, case.rate, case.epochs[1])
    quantized = tfl.quantize_aware(model, calibration=dataset.train.x[:500])
    fit(quantized, dataset, case.rate / 10, case.epochs[2])
    kept = tfl.get_masks(quantized)
    with tempfile.TemporaryDirectory() as scratch:
        after = export(model, dataset, Path(scratch) / "calibrated", precision=["float32", "int8"])
        trained = export(quantized, dataset, Path(scratch) / "trained")
        calibrated = calibrated_accuracies(model, dataset, Path(scratch))
    figures: dict[str, Any] = {
        "density": round(tfl.density(kept), 4),
        "masks kept": all(np.array_equal(kept[path], mask) for path, mask in tfl.get_masks(model).items()),
    }
    for part in PARTS:
        figures[part] = {
            "float32": accuracy(after, "float32", "dense", part),
            "int8 by calibration": calibrated[part],
            "int8 quantization-aware": accuracy(trained, "int8", "dense", part),
            "int8 quantization-aware, sparse": accuracy(trained, "int8", "sparse", part),
            "fake-quantized in Keras": round(100 * trained.keras[PARTS[part]], 2),
        }
    figures |= {
        "notes": sorted({f"{file['encoding']}: {file['note']}" for file in trained.files}),
        "bytes": {f"{file['precision']} {file['encoding']}": file["bytes"] for file in [*after.files, *trained.files]},
        "refused": [*after.refusals(), *trained.refusals()],
    }
    judged = figures["validation"]
    lost = {
        name: judged["float32"] - (judged[name] or 0.0) for name in ("int8 by calibration", "int8 quantization-aware")
    }
    better = lost["int8 by calibration"] <= WORTH or lost["int8 quantization-aware"] < lost["int8 by calibration"]
    return figures | {"held": lost["int8 quantization-aware"] <= MOST_LOST and better}


def depthwise_network(shape: tuple[int, ...]) -> Any:
    """A narrow network of fourteen depthwise-separable blocks, as MobileNet and DS-CNN are made of.

    Args:
        shape: of an image.
    """
    import keras

    layers, width = keras.layers, 4

    def normalized(tensor: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(tensor))

    image = keras.Input(shape)
    x = normalized(layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False)(image))
    for block in range(14):
        strides = 2 if block in (1, 7) else 1
        width *= strides
        x = normalized(layers.DepthwiseConv2D(3, strides=strides, padding="same", use_bias=False)(x))
        x = normalized(layers.Conv2D(width, 1, use_bias=False)(x))
    return keras.Model(image, layers.Dense(10)(layers.GlobalAveragePooling2D()(x)))


def calibrated_accuracies(model: Any, dataset: Any, folder: Path) -> dict[str, float]:
    """The accuracies in percent of the int8 file by calibration, also where `export` refuses it, by part.

    Args:
        model: a wrapped model.
        dataset: its data.
        folder: where the file goes.
    """
    import tf_lottery as tfl
    from tf_lottery.exporting.signature import signature_of
    from tf_lottery.exporting.tflite import litert
    from tf_lottery.exporting.tflite.tflite_writer import convert_dense

    plain = tfl.strip(model)
    (name,), (output,) = signature_of(plain).inputs, signature_of(plain).outputs
    file = folder / "calibrated.tflite"
    file.write_bytes(convert_dense(plain, folder, precision="int8", calibration={name: dataset.train.x[:500]}))
    accuracies = {}
    for part in PARTS:
        samples = getattr(dataset, part)
        answers = litert.run_file(file, {name: samples.x}, scratch=folder).outputs[output]
        accuracies[part] = round(100 * float((answers.argmax(-1) == samples.y).mean()), 2)
    return accuracies


def fit(model: Any, dataset: Any, rate: float, epochs: int) -> None:
    """Train a classifier of logits by Adam, whose learning rate decays to zero.

    Args:
        model: the model.
        dataset: its training part is used.
        rate: the first learning rate.
        epochs: how many.
    """
    import keras

    steps = epochs * -(-len(dataset.train.x) // 64)
    model.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    model.fit(dataset.train.x, dataset.train.y, batch_size=64, epochs=epochs, verbose=2)


def export(model: Any, dataset: Any, folder: Path, **arguments: Any) -> Any:
    """Export a model as TFLite files, dense and sparse, measured on the validation and the test part.

    Args:
        model: the model.
        dataset: its data.
        folder: where the files go.
        **arguments: of `tfl.export`.
    """
    import tf_lottery as tfl

    return tfl.export(
        model,
        folder,
        encoding=["dense", "sparse"],
        samples=dataset.test.x,
        labels=dataset.test.y,
        validation=(dataset.validation.x, dataset.validation.y),
        calibration=dataset.train.x[:500],
        task="classification",
        **arguments,
    )


def accuracy(report: Any, precision: str, encoding: str, part: str) -> float | None:
    """The accuracy in percent of a file; None if there is none.

    Args:
        report: of an export.
        precision: of the file.
        encoding: of the file.
        part: "validation" or "test".
    """
    for file in report.files:
        if (file["precision"], file["encoding"]) == (precision, encoding):
            return round(100 * file[PARTS[part]], 2)
    return None


if __name__ == "__main__":
    raise SystemExit(main())
