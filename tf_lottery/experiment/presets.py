"""Named, complete experiments. No TensorFlow."""

from dataclasses import dataclass
from typing import Any

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.text import suggestion

PAPER = "Frankle & Carbin 2018, arXiv 1803.03635"
REPORT = "a reproduction report of arXiv 1803.03635"


@dataclass(frozen=True)
class Preset:
    """A named configuration, with its source, what it costs and what to expect."""

    name: str
    source: str
    cost: str
    expect: str
    values: dict[str, Any]

    def config(self) -> Config:
        return Config(preset=self.name, **self.values)


def _conv(depth: int, learning_rate: float, conv_rate: float, steps: int, cost: str, expect: str) -> Preset:
    return Preset(
        name=f"cifar10-conv{depth}",
        source=f"{PAPER}, figure 2: Conv-{depth}",
        cost=cost,
        expect=expect,
        values={
            "dataset": "cifar10",
            "model": f"conv{depth}",
            "validation": 5000,
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


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="digits-mlp",
            source="scikit-learn's handwritten digits, embedded; hyperparameters of this project",
            cost="about one minute on two CPU cores",
            expect="tickets of 10 % density match the dense network; reinitialised ones fall behind",
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
            cost="about 15 minutes a replicate on two CPU cores (3 with --steps 10000)",
            expect="tickets of 21 % to 3.6 % density reach the dense 98.1 %, and sooner; reinitialised ones lose",
            values={
                "dataset": "mnist",
                "model": "fc1",
                "validation": 5000,
                "learning_rate": 1.2e-3,
                "batch_size": 60,
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
            values={
                "dataset": "mnist",
                "model": "fc1",
                "validation": 5000,
                "learning_rate": 1.2e-3,
                "batch_size": 60,
                "steps": 10_000,
                "rounds": 35,
                "rate": 0.1,
                "eval_every": 250,
            },
        ),
        Preset(
            name="mnist-lenet5-35",
            source=f"{REPORT}: LeNet5 with two 64-filter convolutions, 35 rounds of 10 %",
            cost="about 12 hours a replicate on two CPU cores",
            expect="accuracy holds down to 10 to 15 % density",
            values={
                "dataset": "mnist",
                "model": "lenet5",
                "validation": 5000,
                "learning_rate": 1.2e-3,
                "batch_size": 60,
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
