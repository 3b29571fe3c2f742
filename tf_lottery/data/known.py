"""The data sets that are listed by name. Others of TFDS work as well; these are the ones of the papers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownDataset:
    """A data set as it is listed before it is prepared.

    Attributes:
        shape: (height, width, channels).
        classes: the number of classes.
        train: the number of examples of the training split, from which the validation part is taken.
        test: the number of examples of the test split.
        validation: the size of the validation part unless the caller chooses another.
        source: who made it.
        fetchable: TFDS can download and prepare it.
    """

    shape: tuple[int, int, int]
    classes: int
    train: int
    test: int
    validation: int
    source: str
    fetchable: bool = True


KNOWN: dict[str, KnownDataset] = {
    "digits": KnownDataset((8, 8, 1), 10, 1437, 360, 237, "scikit-learn (Alpaydin & Kaynak 1998)", fetchable=False),
    "mnist": KnownDataset((28, 28, 1), 10, 60_000, 10_000, 5_000, "TFDS (LeCun et al. 1998)"),
    "fashion_mnist": KnownDataset((28, 28, 1), 10, 60_000, 10_000, 5_000, "TFDS (Xiao et al. 2017)"),
    "kmnist": KnownDataset((28, 28, 1), 10, 60_000, 10_000, 5_000, "TFDS (Clanuwat et al. 2018)"),
    "emnist/balanced": KnownDataset((28, 28, 1), 47, 112_800, 18_800, 10_000, "TFDS (Cohen et al. 2017)"),
    "cifar10": KnownDataset((32, 32, 3), 10, 50_000, 10_000, 5_000, "TFDS (Krizhevsky 2009)"),
    "cifar10_subset": KnownDataset(
        (32, 32, 3), 10, 10_000, 2_000, 1_000, "a balanced subset of cifar10", fetchable=False
    ),
    "cifar100": KnownDataset((32, 32, 3), 100, 50_000, 10_000, 5_000, "TFDS (Krizhevsky 2009)"),
    "svhn_cropped": KnownDataset((32, 32, 3), 10, 73_257, 26_032, 5_000, "TFDS (Netzer et al. 2011)"),
}
"""Data sets by name."""
