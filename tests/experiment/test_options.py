"""Options are declared once: their documentation, checks, hash and command line all follow from that."""

import re
from dataclasses import dataclass, fields

import click
import pytest
from tf_lottery_cli.options import configuration_options, flag
from tf_lottery_cli.options import given as given_options

from tf_lottery.errors import UsageError
from tf_lottery.experiment import option as declared
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.option import Option, hashed_values, option, options
from tf_lottery.experiment.options import Options

DECLARED = options(Options)


def test_every_option_is_documented_on_a_line_of_its_own():
    text = Options.__doc__.partition("Attributes:")[2]
    assert re.findall(r"^        (\w+): ", text, re.MULTILINE) == [field.name for field in fields(Options)]


@pytest.mark.parametrize("name", DECLARED)
def test_every_option_has_a_help_sentence_and_a_valid_default(name):
    assert re.fullmatch(r"[^\n]{10,}\.", DECLARED[name].help)
    declared.check_choices(Options())
    declared.check_ranges(Options())


def test_a_configuration_has_the_options_and_nothing_else():
    assert [field.name for field in fields(Config)] == list(DECLARED) == list(Config().to_json())


@click.command()
@configuration_options
def command(**values):
    """All options."""


def test_every_option_is_on_the_command_line_with_its_type_and_bounds():
    parameters = {parameter.name: parameter for parameter in command.params}
    assert set(parameters) == {name for name, item in DECLARED.items() if item.on_command_line}
    assert set(DECLARED) - set(parameters) == {"preset", "tickets_hash"}
    assert parameters["rate"].type.max == 1
    assert parameters["rate"].type.max_open
    assert parameters["rate"].type.min == 0
    assert parameters["batch_size"].type.min == 1
    assert isinstance(parameters["batch_size"].type, click.IntRange)
    assert "user" not in parameters["optimizer"].type.choices
    assert parameters["output_rate"].help == "Rate of the output layer; half of --rate by default."
    assert parameters["flip"].opts == ["--flip"]
    assert parameters["flip"].secondary_opts == ["--no-flip"]
    assert all(flag(name) in parameters[name].opts for name in parameters)


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["--classes", "3,1", "--densities", "1,0.5"], {"classes": (3, 1), "densities": (1.0, 0.5)}),
        (["--include", "a", "--include", "b"], {"include": ("a", "b")}),
        (["--validation", "500"], {"validation": 500}),
        (["--validation", "0.5", "--no-flip"], {"validation": 0.5, "flip": False}),
        (["--variants", "random_reinit,ticket"], {"variants": ("random_reinit", "ticket")}),
    ],
    ids=str,
)
def test_values_of_the_command_line(arguments, values):
    result = given_options(command.make_context("it", arguments).params)
    assert result == values
    assert [type(value) for value in result.values()] == [type(value) for value in values.values()]


@pytest.mark.parametrize(
    "arguments", [["--rate", "1"], ["--variants", "tickt"], ["--criterion", "size"], ["--mask-distance", "0"]], ids=str
)
def test_the_command_line_refuses_what_the_configuration_refuses(arguments):
    with pytest.raises(click.BadParameter):
        command.make_context("it", arguments)


@pytest.mark.parametrize(
    ("declaration", "value", "message"),
    [
        (Option("", minimum=0), -1, "must not be negative"),
        (Option("", minimum=0, open_minimum=True), 0, "must be positive"),
        (Option("", minimum=2), 1, "must be at least 2"),
        (Option("", minimum=0, limit=9), -1, "must be at least 0"),
        (Option("", minimum=0, limit=9), 10, "must be at most 9"),
        (Option("", minimum=0, maximum=1, open_maximum=True), 1, "must be in [0, 1)"),
        (Option("", minimum=0, maximum=1, open_minimum=True), 0, "must be in (0, 1]"),
        (Option("", minimum=1, requirement="odd"), 0, "must be odd"),
    ],
    ids=str,
)
def test_bounds_in_words(declaration, value, message):
    assert not declaration.contains(value)
    assert declaration.contains(0.5 if declaration.maximum else 9)
    assert declaration.describe_bounds(value) == message


@dataclass(frozen=True)
class Small:
    """Options of a toy."""

    kept: int = option(1, "Always.")
    older: str = option("a", "Another name in the hash.", earlier_name="old")
    young: int = option(2, "If set.", hashed="if set")
    where: str = option("here", "Never.", hashed="never")
    depends: int = option(3, "Where it decides something.", hashed_when=lambda small: small.kept > 1)


def test_what_is_hashed():
    def content(**values):
        small = Small(**values)
        return hashed_values(small, {field.name: getattr(small, field.name) for field in fields(small)})

    assert content() == content(where="there", depends=4) == {"kept": 1, "old": "a"}
    assert content(kept=2, young=5) == {"kept": 2, "old": "a", "young": 5, "depends": 3}


def test_a_drop_of_the_learning_rate_is_a_factor():
    with pytest.raises(UsageError, match=r"`lr_drop` must be in \[0, 1\]"):
        Config(lr_schedule="step", lr_drop=2)
