"""The options of `run`: one for each option of an experiment, made from its declaration."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar, get_args, get_origin

import click

from tf_lottery.errors import NamedArgument, NamedCall, split_message
from tf_lottery.experiment.option import Option, options
from tf_lottery.experiment.options import Options
from tf_lottery.utils.references import is_import_path

from .command import CommandOption, ListOf, NumberRange, OpenChoice
from .names import DATASET, MODEL, REWIND
from .wording import command_line

F = TypeVar("F", bound=Callable[..., Any])
# Values that the shell completes.
COMPLETED = {"dataset": DATASET, "model": MODEL, "data_dir": click.Path(), "rewind": REWIND}
# The first option of each section of the help page: they are declared in the order of their topics.
SECTIONS = {
    "dataset": "Data",
    "model": "Model",
    "rounds": "Pruning",
    "rewind": "Rewinding and training",
    "seed": "Replicates and controls",
    "jobs": "Where and how it computes",
}
DECLARED = {name: option for name, option in options(Options).items() if option.on_command_line}


def flag(name: str) -> str:
    """Return the spelling of an option on the command line."""
    return f"--{name.replace('_', '-')}"


def options_named(names: Sequence[str]) -> Callable[[F], F]:
    """Return the decorator that gives a command options of the configuration; one that is not given is None."""
    kinds, section, decorators = {field.name: field.type for field in fields(Options)}, "", []
    for name, declared in DECLARED.items():
        section = SECTIONS.get(name, section)
        if name in names:
            decorators.append(_click_option(name, kinds[name], declared, section))

    def decorate(function: F) -> F:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return decorate


def configuration_options(function: F) -> F:
    """Decorate a command with an option for each key of the configuration; one that is not given is None."""
    return options_named(list(DECLARED))(function)


def _click_option(name: str, kind: Any, declared: Option, section: str) -> Callable[[F], F]:
    """Return the decorator of one option.

    Args:
        name: the option's name in the configuration.
        kind: its type there.
        declared: its declaration.
        section: the heading that the help page lists it under.
    """
    text = "".join(map(_help_words, split_message(declared.help)))
    in_section: dict[str, Any] = {"cls": CommandOption, "section": section, "help": text}
    if kind is bool:
        return click.option(f"{flag(name)}/{flag(f'no_{name}')}", default=None, **in_section)
    several = get_origin(kind) is tuple
    if several and get_args(kind)[0] is str and declared.choices is None:
        return click.option(flag(name), multiple=True, metavar=declared.metavar, **in_section)
    return click.option(
        flag(name),
        **in_section,
        aliases=[flag(declared.earlier_name)] if declared.earlier_name else [],
        type=_list_type(kind, declared) if several else COMPLETED.get(name) or _type(kind, declared),
        metavar=None if several else declared.metavar or None,
    )


def _help_words(part: str | NamedArgument | NamedCall) -> str:
    """Return a part of an option's help in the words of the command line."""
    if isinstance(part, str):
        return part
    if isinstance(part, NamedCall):
        return f"`{command_line(part) or part.code}`"
    return flag(part.name) if part.name in DECLARED else f"`{part.code}`"


def _list_type(kind: Any, declared: Option) -> ListOf:
    names = declared.valid_names()
    if names is None:
        return ListOf(declared.metavar, get_args(kind)[0])

    def one_of(text: str) -> str:
        if text not in names and not (declared.importable and is_import_path(text)):
            raise ValueError(text)
        return text

    return ListOf(f"of {', '.join(names)}", one_of, completions=lambda: names)


def _type(kind: Any, declared: Option) -> "click.ParamType[Any] | None":
    names = declared.valid_names()
    if names is not None:
        accepts = is_import_path if declared.importable else declared.accepts
        return click.Choice(names) if accepts is None else OpenChoice(names, accepts)
    # The configuration checks limits, which only catch slips: help pages leave them out.
    if int in (kind, *get_args(kind)):
        return click.IntRange(_integer(declared.minimum), _integer(declared.maximum))
    if float in (kind, *get_args(kind)):
        return NumberRange(
            declared.minimum, declared.maximum, min_open=declared.open_minimum, max_open=declared.open_maximum
        )
    return None


def _integer(bound: float | None) -> int | None:
    return None if bound is None else int(bound)


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Return those configuration keys that were given on the command line.

    An integer that an option takes for a count, such as a validation size of 1 or more, is made one.
    """
    values = {key: value for key, value in options.items() if value not in (None, ())}
    for key, value in values.items():
        if key in DECLARED and DECLARED[key].count_or_fraction and value >= 1 and value == int(value):
            values[key] = int(value)
    return values
