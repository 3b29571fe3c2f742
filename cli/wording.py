"""Messages of the library in the words of the command line: flags for arguments, commands for function calls."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

from tf_lottery.errors import LotteryError, NamedArgument, NamedCall, split_message

# The command that does what a function does.
COMMANDS_BY_FUNCTION = {
    "tf_lottery.data.describe": "data list",
    "tf_lottery.data.prepare": "data prepare",
    "tf_lottery.experiment.options.variants": "methods",
    "tf_lottery.experiment.run_verification.verify_run": "verify",
    "tf_lottery.exporting.measure.bench.bench": "bench",
    "tf_lottery.results.run_lookup.list_runs": "ls",
    "tfl.export": "export",
    "tfl.find_ticket": "run",
}


def in_flags(text: str, command_name: str | None = None) -> str:
    """Return a message of the library with flags instead of arguments, and commands instead of function calls.

    Args:
        text: a cause, a remedy or a note, in the notation of `tf_lottery.errors`.
        command_name: the command whose flags are named, e.g. "export"; by default the one at work. An argument that it
            has no option for is named by the flag of `run`: what a message recommends is often to run something.

    Example:
        >>> in_flags("Restore it from a copy, or start over with `fresh=True`.")
        'Restore it from a copy, or start over with --fresh.'
    """
    parts = split_message(text)
    if all(isinstance(part, str) for part in parts):
        return text
    name = _command_at_work() if command_name is None else command_name
    return "".join(part if isinstance(part, str) else _in_words(part, name) for part in parts)


def document_in_flags(document: Any) -> Any:
    """Return a JSON document in which `in_flags` has been applied to every text."""
    if isinstance(document, str):
        return in_flags(document)
    if isinstance(document, Mapping):
        return {key: document_in_flags(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [document_in_flags(value) for value in document]
    return document


def _command_at_work() -> str:
    context = click.get_current_context(silent=True)
    return "" if context is None else context.command_path.partition(" ")[2]


def _in_words(part: NamedArgument | NamedCall, command_name: str) -> str:
    if isinstance(part, NamedCall):
        return f"`{command_line(part) or part.code}`"
    for name in (command_name, "run"):
        option = _find_option(name, part.name)
        if option is not None:
            return _flag(option, part.value)
    return f"`{part.code}`"


def command_line(call: NamedCall) -> str:
    """Return the command line that does what a call does; "" where there is none.

    A keyword that the command has no option for is left out: the command does so anyway.
    """
    if call.function in SPECIAL_COMMANDS:
        return SPECIAL_COMMANDS[call.function](*call.positional, **call.keywords)
    name = COMMANDS_BY_FUNCTION.get(call.function)
    if name is None:
        return ""
    flags = [
        _flag(option, value)
        for keyword, value in call.keywords.items()
        if (option := _find_option(name, keyword)) is not None
    ]
    return " ".join(["tf-lottery", name, *(shlex.quote(str(value)) for value in call.positional), *flags])


def _train_missing(run_dir: str, variants: Sequence[str] = ()) -> str:
    """Return the command that trains what a run lacks, in its own directory; "" where the run can't be read."""
    from tf_lottery.experiment.directory import RunDirectory
    from tf_lottery.experiment.run import locate

    store = RunDirectory(run_dir)
    out = store.path.parent
    try:
        config, model_hash = store.config(), store.document().get("model_hash", "")
        expected, unused = (locate(config, out, fresh=fresh, model_hash=model_hash).path for fresh in (False, True))
    except (LotteryError, OSError):
        return ""
    # `run` finds a run by the name of its directory: beside a renamed one it would start a new one.
    renamed = expected != store.path
    place = unused if renamed else store.path
    words = ["tf-lottery", "run", "--config", str(place / "config.json"), "--out", str(out)]
    words += ["--variants", ",".join(variants)] if variants else []
    return (f"{shlex.join(['mv', str(store.path), str(place)])}; " if renamed else "") + shlex.join(words)


# Functions whose command needs more than the values of their arguments.
SPECIAL_COMMANDS: dict[str, Callable[..., str]] = {"tf_lottery.studies.extending.train_missing": _train_missing}


def _find_option(command_name: str, argument: str) -> click.Option | None:
    """Return the option of a command that sets an argument of the library; None where there is none."""
    from .app import app

    command: click.Command | None = app
    for word in command_name.split():
        command = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
    if command is None:
        return None
    name = getattr(command, "arguments", {}).get(argument, argument)
    options = (parameter for parameter in command.params if isinstance(parameter, click.Option))
    return next((option for option in options if option.name == name), None)


def _flag(option: click.Option, value: Any) -> str:
    if value is False and option.secondary_opts:
        return option.secondary_opts[0]
    flag = max(option.opts, key=len)
    if option.is_flag or value is ...:
        return flag
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return f"{flag} {shlex.quote(text)}"
