"""Named, complete experiments. No TensorFlow."""

from dataclasses import dataclass
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.utils.text import suggestion

PAPER = "Frankle & Carbin 2018, arXiv 1803.03635"
LATE = "Frankle et al. 2019, arXiv 1903.01611"
REPORT = "a reproduction report of arXiv 1803.03635"
# What all experiments on a data set share.
MNIST = {"dataset": "mnist", "validation": 5000, "learning_rate": 1.2e-3, "batch_size": 60}
CIFAR10 = {"dataset": "cifar10", "validation": 5000}
# Of the papers' nets with batch normalization. Their weight decay, 1e-4, is part of the gradient, and momentum 0.9 sums
# it up ten times; the decoupled one of Keras stands beside the momentum, so ten times as much decays a weight alike.
SGD = {
    "normalization": "standard",
    "pad_crop": 4,
    "flip": True,
    "optimizer": "sgd",
    "momentum": 0.9,
    "weight_decay": 1e-3,
    "lr_schedule": "step",
    "rate": 0.2,
    "scope": "global",
    "eval_every": 500,
}
# Appendix I of arXiv 1803.03635 leaves these weights of its residual net alone: 2,560 and 640 of them.
RESIDUAL = SGD | {"model": "resnet20", "exclude": ("*_shortcut", "output")}


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
        name: of the preset.
        source: the paper and figure, or this project.
        cost: what it takes, in words.
        expect: what to expect, in words.
        values: the options that differ from the defaults, by name.
    """

    name: str
    source: str
    cost: str
    expect: str
    values: dict[str, Any]

    def config(self) -> Config:
        """Return the configuration."""
        return Config(preset=self.name, **self.values)


def _conv(depth: int, learning_rate: float, conv_rate: float, steps: int, cost: str, expect: str) -> Preset:
    return Preset(
        name=f"cifar10-conv{depth}",
        source=f"{PAPER}, figure 2: Conv-{depth}",
        cost=cost,
        expect=expect,
        values={
            **CIFAR10,
            "model": f"conv{depth}",
            "optimizer": "adam",
            "learning_rate": learning_rate,
            "batch_size": 60,
            "steps": steps,
            "rounds": 20,
            "rate": 0.2,
            "output_rate": 0.1,
            "conv_rate": conv_rate,
            "eval_every": 500,
        },
    )


def _units(granularity: str, expect: str) -> Preset:
    """LeNet-300-100 pruned to one ladder of densities in larger units or none: tickets to export side by side.

    The output layer is left alone: a channel of it is a class, and 5 % of it are 12 blocks of four for ten classes.
    """
    return Preset(
        name=f"mnist-fc1-{granularity}",
        source=f"fc1, a ladder of densities, granularity {granularity}; hyperparameters of {PAPER}",
        cost="about one minute on two CPU cores",
        expect=expect,
        values=MNIST
        | {
            "model": "fc1",
            "exclude": ("output",),
            "steps": 10_000,
            "densities": (1.0, 0.5, 0.2, 0.1, 0.05, 0.025, 0.012),
            "rounds": 6,
            "granularity": granularity,
            "eval_every": 250,
        },
    )


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="digits-mlp",
            source="scikit-learn's handwritten digits, embedded; hyperparameters of this project",
            cost="about one minute on two CPU cores",
            expect="tickets of 10 % density match the dense network; reinitialized ones fall behind",
            values={
                "dataset": "digits",
                "model": "mlp",
                "learning_rate": 2e-3,
                "batch_size": 32,
                "steps": 1500,
                "rounds": 12,
                "rate": 0.25,
                "eval_every": 50,
                "replicates": 3,
            },
        ),
        Preset(
            name="mnist-lenet-300-100",
            source=f"{PAPER}, figure 2: LeNet",
            cost="about 15 minutes a replicate on two CPU cores (3 with `steps=10000`)",
            expect="tickets of 21 % to 3.6 % density reach the dense 98.1 %, and sooner; reinitialized ones lose",
            values=MNIST
            | {
                "model": "fc1",
                "steps": 50_000,
                "rounds": 20,
                "rate": 0.2,
                "output_rate": 0.1,
                "eval_every": 250,
            },
        ),
        Preset(
            name="mnist-fc1-35",
            source=f"{REPORT}: fc1, 35 rounds of 10 %",
            cost="about 5 minutes a replicate on two CPU cores",
            expect="accuracy holds down to 10 to 15 % density",
            values=MNIST
            | {
                "model": "fc1",
                "steps": 10_000,
                "rounds": 35,
                "rate": 0.1,
                "eval_every": 250,
            },
        ),
        _units(
            "unstructured",
            "98.1 % at 5 % density, 97.4 % at 1.2 %; small files, in float32 no faster than the dense network",
        ),
        _units("1x4", "97.8 % at 5 % density, within half a point of the unstructured ticket; 96.1 % at 1.2 %"),
        _units("channel", "97.2 % at 20 % density, 93.4 % at 5 %: once slimmed, a small dense network"),
        Preset(
            name="mnist-lenet5-35",
            source=f"{REPORT}: LeNet5 with two 64-filter convolutions, 35 rounds of 10 %",
            cost="about 12 hours a replicate on two CPU cores",
            expect="accuracy holds down to 10 to 15 % density",
            values=MNIST
            | {
                "model": "lenet5",
                "steps": 10_000,
                "rounds": 35,
                "rate": 0.1,
                "eval_every": 500,
            },
        ),
        _conv(
            2, 2e-4, 0.10, 20_000, "about a day a replicate on two CPU cores", "3.5 points over dense at 9 % density"
        ),
        _conv(4, 3e-4, 0.10, 25_000, "about two days a replicate on two CPU cores", "3.5 points over dense at 9 %"),
        _conv(6, 3e-4, 0.15, 30_000, "about three days a replicate on two CPU cores", "3.3 points over dense at 15 %"),
        Preset(
            name="cifar10-resnet20",
            source=f"{PAPER}, on VGG and ResNet: Resnet-18 (20 layers, as in He et al. 2015); rewound late: {LATE}",
            cost="about 28 hours a replicate on two CPU cores",
            expect="rewound to step 500, tickets keep the dense accuracy to about a fifth of the weights; "
            "rewound to the start, they lose it far sooner",
            values=RESIDUAL
            | CIFAR10
            | {
                "learning_rate": 0.1,
                "lr_milestones": (20_000, 25_000),
                "batch_size": 128,
                "steps": 30_000,
                "rounds": 12,
                "rewind": "step:500",
            },
        ),
        Preset(
            name="cifar10-vgg16",
            source="Frankle et al. 2020, arXiv 1912.05671, table 1: VGG-16",
            cost="about three weeks a replicate on two CPU cores: for a GPU",
            expect="rewound to step 1,000, tickets keep the dense accuracy far below a tenth of the weights",
            values=SGD
            | CIFAR10
            | {
                "model": "vgg16",
                "exclude": ("output",),
                "learning_rate": 0.1,
                "lr_milestones": (32_000, 48_000),
                "batch_size": 128,
                "steps": 63_000,
                "rounds": 19,
                "rewind": "step:1000",
            },
        ),
        Preset(
            name="cifar10-subset-resnet20",
            source="cifar10-resnet20 of this list, cut down to 10,000 training images and 10,000 steps of 32",
            cost="about 2 hours a replicate on two CPU cores",
            expect="the dense network reaches 80 %; tickets should hold it further down than reinitialized ones",
            values=RESIDUAL
            | {
                "dataset": "cifar10_subset",
                "validation": 1000,
                "learning_rate": 0.03,
                "lr_milestones": (6_700, 8_300),
                "batch_size": 32,
                "steps": 10_000,
                "rounds": 10,
                "rewind": "step:300",
            },
        ),
    )
}
DEFAULT = "digits-mlp"


def get(name: str) -> Preset:
    """A preset by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in PRESETS:
        raise UsageError(f"Unknown preset {name!r}.", suggestion(name, PRESETS))
    return PRESETS[name]
