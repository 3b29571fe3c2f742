"""What every contender trains: one net, one set of masks, one data set, one order of batches, kept as plain files."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ORDER_SEED = 0


@dataclass(frozen=True)
class Kind:
    """A net to measure: its data set, the shape of an example, and the paper's learning rate for it."""

    dataset: str
    input_shape: tuple[int, int, int]
    learning_rate: float
    convolutional: bool
    validation: int


KINDS = {
    "fc1": Kind("mnist", (28, 28, 1), 1.2e-3, convolutional=False, validation=5000),
    "lenet5": Kind("mnist", (28, 28, 1), 1.2e-3, convolutional=True, validation=600),
    "conv2": Kind("cifar10_subset", (32, 32, 3), 2e-4, convolutional=True, validation=600),
}
"""Evaluating a convolutional net takes long, and is not what is measured: fewer validation examples do."""


@dataclass(frozen=True, eq=False)
class Workload:
    """One measurement's training.

    Attributes:
        model: a key of `KINDS`.
        steps, batch, learning_rate: of the training with Adam.
        x, y: training examples, float32 (examples, height, width, channels) and int32 (examples,).
        order: int32 (steps, batch): which examples make up each step.
        val_x, val_y: validation examples, likewise.
        weights: initial value of each variable by its path, in the order of the layers.
        masks: boolean mask of each kernel by its path.
    """

    model: str
    steps: int
    batch: int
    learning_rate: float
    x: np.ndarray
    y: np.ndarray
    order: np.ndarray
    val_x: np.ndarray
    val_y: np.ndarray
    weights: dict[str, np.ndarray]
    masks: dict[str, np.ndarray]

    def ordered(self) -> tuple[np.ndarray, np.ndarray]:
        """The examples one step after the other, so that `fit(shuffle=False)` trains on the same batches."""
        index = self.order.ravel()
        return self.x[index], self.y[index]

    def write(self, folder: Path) -> None:
        """Write all of it as `.npy` files and `workload.json`."""
        for name in ("x", "y", "order", "val_x", "val_y"):
            np.save(folder / f"{name}.npy", getattr(self, name))
        for group in ("weights", "masks"):
            for number, value in enumerate(getattr(self, group).values()):
                np.save(folder / f"{group}_{number}.npy", value)
        numbers = {name: getattr(self, name) for name in ("model", "steps", "batch", "learning_rate")}
        document = {**numbers, "weights": list(self.weights), "masks": list(self.masks)}
        (folder / "workload.json").write_text(json.dumps(document))

    @classmethod
    def read(cls, folder: Path) -> "Workload":
        """Read what `write` wrote; the arrays are mapped, so that processes share them."""
        document = json.loads((folder / "workload.json").read_text())
        for group in ("weights", "masks"):
            document[group] = {
                path: np.load(folder / f"{group}_{number}.npy") for number, path in enumerate(document[group])
            }
        arrays = {
            name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("x", "y", "order", "val_x", "val_y")
        }
        return cls(**document, **arrays)


def make(model: str, *, steps: int, batch: int, density: float, synthetic: bool, data_dir: str | None) -> Workload:
    """Build the net, prune it by the magnitude of its initial weights, load the data and lay down the order of it.

    Args:
        model: a key of `KINDS`.
        steps: steps of one training.
        batch: examples per step.
        density: what is kept of each kernel.
        synthetic: noise around a picture per class, instead of a data set from disk.
        data_dir: the data folder, as for `tf_lottery.data.load`.
    """
    # Here, not above: the other contenders' processes read a workload without loading Keras 3.
    from tf_lottery import data
    from tf_lottery.layers import discover, named_variables
    from tf_lottery.models.building import build
    from tf_lottery.pruning import criteria as scoring
    from tf_lottery.pruning import select as pruning
    from tf_lottery.training.order import Order
    from tf_lottery.utils import seeds

    kind = KINDS[model]
    with seeds.seeded(0):
        net = build(model, input_shape=kind.input_shape, classes=10)
    weights = {path: np.asarray(variable.value) for path, variable in named_variables(net).items()}
    kernels = {path: weights[path] for path in discover(net).roles}
    ones = {path: np.ones(kernel.shape, bool) for path, kernel in kernels.items()}
    kept = pruning.prune_to(scoring.scores(kernels), ones, density=density)
    if synthetic:
        (x, y), (val_x, val_y) = (_synthetic(kind.input_shape, size, part) for part, size in enumerate((6000, 600)))
    else:
        loaded = data.load(kind.dataset, data_dir=data_dir, validation=5000 if kind.dataset == "mnist" else 1000)
        x, y, val_x, val_y = loaded.train.x, loaded.train.y, loaded.validation.x, loaded.validation.y
    return Workload(
        model=model,
        steps=steps,
        batch=batch,
        learning_rate=kind.learning_rate,
        x=x,
        y=y,
        order=Order(len(x), batch, ORDER_SEED).steps(0, steps),
        val_x=val_x[: kind.validation],
        val_y=val_y[: kind.validation],
        weights=weights,
        masks=kept,
    )


def _synthetic(shape: tuple[int, ...], size: int, part: int) -> tuple[np.ndarray, np.ndarray]:
    pictures = np.random.default_rng(0).random((10, *shape), dtype=np.float32)
    rng = np.random.default_rng(1 + part)
    y = rng.integers(0, 10, size, dtype=np.int32)
    return 0.3 * pictures[y] + 0.7 * rng.random((size, *shape), dtype=np.float32), y


if __name__ == "__main__":
    options = json.loads(sys.argv[2])
    keys = ("model", "steps", "batch", "density", "synthetic", "data_dir")
    make(**{key: options[key] for key in keys}).write(Path(sys.argv[1]))
