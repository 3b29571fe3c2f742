"""The arguments of `find_ticket`: those of the configuration, earlier names, and what it does not take."""

import dataclasses
import inspect

import pytest

import tf_lottery as tfl
from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config

PARAMETERS = inspect.signature(tfl.find_ticket).parameters
# Options whose default is another one in Python, where the experiment is the caller's own.
OTHER_DEFAULTS = {"model", "rounds", "steps", "batch_size", "optimizer", "eval_every", "variants", "include", "exclude"}
OTHER_DEFAULTS |= {"layer_rates", "min_density", "max_density", "strategy"}
# Options of an experiment by configuration, which here are Python objects, or what a caller's objects hold.
OBJECTS = {"preset", "dataset", "data_dir", "normalization", "validation", "classes", "pad_crop", "flip"}
OBJECTS |= {"learning_rate", "momentum", "weight_decay", "lr_schedule", "lr_milestones", "lr_drop", "warmup"}
OBJECTS |= {"tickets_from", "tickets_hash", "xla", "threads", "precision", "jobs", "device"}
OBJECTS |= {"launcher", "address", "launcher_options", "mixed_machines"}  # no other process has the caller's objects
OBJECTS |= {"image_size", "strategy_devices", "synchronized_batch_norm"}  # of data, a strategy and layers


def test_options_have_the_names_and_defaults_of_the_configuration():
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    assert set(defaults) - set(PARAMETERS) == OBJECTS
    shared = set(defaults) & set(PARAMETERS)
    assert {name for name in shared if PARAMETERS[name].default != defaults[name]} == OTHER_DEFAULTS


def test_every_argument_is_documented():
    lines = [
        line for line in (tfl.find_ticket.__doc__ or "").splitlines() if line.startswith(" " * 8) and line[8] != " "
    ]
    documented = [line.strip().partition(":")[0].lstrip("*") for line in lines if ":" in line]
    assert [name for name in documented if name in PARAMETERS] == list(PARAMETERS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": (1, 2)}, "train is now `x`, `y` and `sample_weight`"),
        ({"validation": 1, "test": 2}, "validation is now `validation_data`; test is now `test_data`"),
        ({"xla": "off"}, "xla is now `jit_compile`"),
        ({"on_progress": print}, "on_progress is now `callbacks`"),
        ({"shuffle": True}, "no argument `shuffle`: arrays are shuffled as `seed` says"),
        ({"validation_freq": 2}, "`eval_every` is the number of steps"),
        ({"validation_steps": 2}, "method take"),
        ({"initial_epoch": 2}, "`rewind`"),
        ({"jobs": 2}, "no argument `jobs`: trainings run one after the other in this process"),
        ({"criterium": "snip"}, r"Did you mean `criterion`\?"),
        ({"qqq": 1}, r"help\(tfl.find_ticket\)"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_other_arguments_are_refused_with_what_to_write(arguments, message):
    with pytest.raises(UsageError, match=message) as caught:
        tfl.find_ticket(None, rounds=1, **arguments)
    assert caught.value.argument == next(iter(arguments))
