"""The options of `run`: each sets the key of the configuration that has its name."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click import Choice, FloatRange, IntRange

from tf_lottery.experiment.config import LR_SCHEDULES, NORMALIZATIONS, OPTIMIZERS, PRECISIONS, PRUNINGS, variants
from tf_lottery.pruning.criteria import CRITERIA
from tf_lottery.pruning.select import SCOPES
from tf_lottery.pruning.units import GRANULARITIES, INDIVISIBLE

from .command import ListOf, OptionWithAliases
from .names import DATASET, MODEL

F = TypeVar("F", bound=Callable[..., Any])
RATE = FloatRange(0, 1, max_open=True)
DENSITY = FloatRange(0, 1, min_open=True)


def _variant(text: str) -> str:
    if text not in variants():
        raise ValueError(text)
    return text


_OPTIONS = (
    (["--dataset"], {"type": DATASET, "help": "Data set: see `tf-lottery data list`."}),
    (["--data-dir"], {"type": click.Path(), "help": "Folder of prepared data sets or raw files."}),
    (
        ["--normalization"],
        {
            "type": Choice(NORMALIZATIONS),
            "help": "How inputs are scaled.",
            "cls": OptionWithAliases,
            "aliases": ["--normalisation"],
        },
    ),
    (["--validation"], {"type": FloatRange(0, min_open=True), "help": "Validation part: a count, or a fraction."}),
    (["--classes"], {"type": ListOf("class numbers", int), "help": "Only these classes, e.g. 0,1,2,3,4; relabelled."}),
    (["--pad-crop"], {"type": IntRange(0), "help": "Augment by random crops after padding by so many pixels."}),
    (["--flip/--no-flip"], {"default": None, "help": "Augment by random horizontal flips."}),
    (["--model"], {"type": MODEL, "help": "Architecture, package.module:function, or a .keras file."}),
    (["--include"], {"multiple": True, "metavar": "PATTERN", "help": "Prune only these layers. Repeatable."}),
    (["--exclude"], {"multiple": True, "metavar": "PATTERN", "help": "Do not prune these layers. Repeatable."}),
    (["--rounds"], {"type": IntRange(0), "help": "Rounds of pruning after the dense round 0."}),
    (["--rate"], {"type": RATE, "help": "Fraction of the surviving weights pruned per round."}),
    (["--output-rate"], {"type": RATE, "help": "Rate of the output layer; half of --rate by default."}),
    (["--conv-rate"], {"type": RATE, "help": "Rate of convolutions; --rate by default."}),
    (["--final-density"], {"type": DENSITY, "help": "Density to reach in the last round, by equal rates."}),
    (["--densities"], {"type": ListOf("densities", float), "help": "A ladder such as 1,0.5,0.2 instead of a rate."}),
    (["--scope"], {"type": Choice(SCOPES), "help": "What is ranked together."}),
    (["--criterion"], {"type": Choice(list(CRITERIA)), "help": "Score that ranks weights; see `methods`."}),
    (["--score-examples"], {"type": IntRange(1), "help": "Training examples that snip and grasp look at."}),
    (["--pruning"], {"type": Choice(PRUNINGS), "help": "Where the masks of a round come from."}),
    (["--search-steps"], {"type": IntRange(1), "help": "Steps of trainings that only find masks; the last is full."}),
    (["--mask-distance"], {"type": RATE, "help": "How far masks may still move where an early-bird search stops."}),
    (["--tickets-from"], {"metavar": "RUN", "help": "Train the tickets of another run, on other data or classes."}),
    (["--granularity"], {"type": Choice(GRANULARITIES), "help": "In what units weights are pruned."}),
    (
        ["--indivisible"],
        {
            "type": Choice(INDIVISIBLE),
            "help": "What is done with weights that do not divide so; skip keeps them whole.",
        },
    ),
    (
        ["--rewind"],
        {"metavar": "MODE", "help": "init, step:K, epoch:K, lr, lr:step:K, lr:epoch:K, finetune, finetune:step:N."},
    ),
    (["--steps"], {"type": IntRange(1), "help": "Training steps per round."}),
    (["--epochs"], {"type": FloatRange(0, min_open=True), "help": "Epochs per round, instead of --steps."}),
    (["--batch-size"], {"type": IntRange(1), "help": "Examples per step."}),
    (["--optimizer"], {"type": Choice(OPTIMIZERS), "help": "Optimizer."}),
    (["--learning-rate"], {"type": FloatRange(0), "help": "Learning rate."}),
    (["--lr-schedule"], {"type": Choice(LR_SCHEDULES), "help": "How the learning rate falls over a full training."}),
    (["--lr-milestones"], {"type": ListOf("steps", int), "help": "Steps where the schedule `step` drops it."}),
    (["--lr-drop"], {"type": FloatRange(0, 1), "help": "Factor of each such drop."}),
    (["--warmup"], {"type": IntRange(0), "help": "Steps of linear warm-up before the schedule."}),
    (["--momentum"], {"type": RATE, "help": "Momentum of sgd and rmsprop."}),
    (["--weight-decay"], {"type": FloatRange(0), "help": "Decoupled weight decay."}),
    (["--eval-every"], {"type": IntRange(1), "help": "Steps between evaluations."}),
    (["--seed"], {"type": IntRange(0), "help": "Seed of everything that is random."}),
    (["--replicates"], {"type": IntRange(1), "help": "Chains of rounds, each with other initial weights."}),
    (
        ["--variants"],
        {
            "type": ListOf(f"of {', '.join(variants())}", _variant),
            "help": "Ticket and controls; see `tf-lottery methods`.",
        },
    ),
    (["--jobs"], {"type": IntRange(0), "help": "Processes at once; 0: as many as the cores hold."}),
    (["--threads"], {"type": IntRange(1), "help": "Threads of one training."}),
    (["--xla"], {"type": Choice(["auto", "on", "off"]), "help": "Compile with XLA; auto: where it pays."}),
    (["--precision"], {"type": Choice(PRECISIONS), "help": "Precision of the computation."}),
    (["--device"], {"type": Choice(["auto", "cpu", "gpu"]), "help": "Where to compute."}),
)


def configuration_options(function: F) -> F:
    """Decorate a command with an option for each key of the configuration; one that is not given is None."""
    for names, attributes in reversed(_OPTIONS):
        function = click.option(*names, **attributes)(function)
    return function


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Those configuration keys that were given on the command line.

    A validation size of 1 or more is a count.
    """
    found = {key: value for key, value in options.items() if value not in (None, ())}
    size = found.get("validation")
    if size is not None and size >= 1 and size == int(size):
        found["validation"] = int(size)
    return found
