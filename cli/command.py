"""What all commands share: examples at the end of the help page, `--debug`, and lists separated by commas."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem

OTHER = "Options"
"""The section of the help page for options that are in no other."""


class Command(click.Command):
    """A command whose help page ends with examples.

    Args:
        *args: as for `click.Command`.
        examples: what each example does, by the command as typed; the tests run them.
        arguments: the name of the option that sets an argument of the library, by argument, where they differ.
        names: what returns the names that the command takes, by the heading that the help page lists them under.
        **options: as for `click.Command`.
    """

    def __init__(
        self,
        *args: Any,
        examples: Mapping[str, str],
        arguments: Mapping[str, str] | None = None,
        names: Mapping[str, Callable[[], Iterable[str]]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.examples = dict(examples)
        self.arguments = dict(arguments or {})
        self.names = dict(names or {})
        # Read from the arguments themselves, so that it also works when parsing fails.
        self.params.append(
            click.Option(["--debug"], is_flag=True, expose_value=False, help="Show the traceback of an error.")
        )

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, by section; those of the command itself, which have none, come last.

        Args:
            ctx: the context of this command.
            formatter: what to write to.
        """
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                sections.setdefault(getattr(parameter, "section", OTHER), []).append(record)
        for heading, records in sorted(sections.items(), key=lambda item: item[0] == OTHER):
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the names that the command takes, and the examples, at the end of the help page.

        Args:
            ctx: the context of this command.
            formatter: what to write to.
        """
        for heading, names in self.names.items():
            with formatter.section(heading):
                formatter.write_text(", ".join(names()))
        write_examples(formatter, self.examples)


class Group(click.Group):
    """A group of commands that suggests the nearest name for an unknown one, and whose help page ends with examples.

    Args:
        *args: as for `click.Group`.
        examples: what each example does, by the command as typed; the tests run them.
        **options: as for `click.Group`.
    """

    def __init__(self, *args: Any, examples: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.examples = dict(examples)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name of a command, the command, and its arguments.

        Args:
            ctx: the context of this group.
            args: the name and the arguments behind it.

        Raises:
            UsageError: there is no such command.
        """
        names = self.list_commands(ctx)
        if args[0] not in names and not args[0].startswith("-") and not ctx.resilient_parsing:
            from tf_lottery.errors import UsageError
            from tf_lottery.utils.text import suggestion

            raise UsageError(f"Unknown command {args[0]!r}.", suggestion(args[0], names))
        return super().resolve_command(ctx, args)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples at the end of the help page.

        Args:
            ctx: the context of this command.
            formatter: what to write to.
        """
        write_examples(formatter, self.examples)


def write_examples(formatter: click.HelpFormatter, examples: Mapping[str, str]) -> None:
    """Write the section with examples of a help page.

    Args:
        formatter: what to write to.
        examples: what each example does, by the command as typed.
    """
    with formatter.section("Examples"):
        for line, text in examples.items():
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
            with formatter.indentation():
                formatter.write_text(text)


class CommandOption(click.Option):
    """An option with its section of the help page, and with spellings that are not listed: names of earlier versions.

    Args:
        *args: as for `click.Option`.
        section: the heading that the help page lists it under.
        aliases: the further spellings, e.g. ("--normalisation",).
        **options: as for `click.Option`.
    """

    def __init__(self, *args: Any, section: str = OTHER, aliases: Sequence[str] = (), **options: Any) -> None:
        super().__init__(*args, **options)
        self.section, self.aliases = section, tuple(aliases)

    def add_to_parser(self, parser: Any, ctx: click.Context) -> None:
        """Let the parser know all spellings; help pages and completion read `opts`, which has the listed ones.

        Args:
            parser: click's parser.
            ctx: the context of the command.
        """
        listed = self.opts
        self.opts = [*listed, *self.aliases]
        super().add_to_parser(parser, ctx)
        self.opts = listed


class OpenChoice(click.Choice[str]):
    """A choice of names that takes other values too, e.g. the import path `package.module:name` of the user's own.

    Args:
        names: the names that help pages list.
        accepts: says of a text whether it is another valid value.
    """

    def __init__(self, names: Sequence[str], accepts: Callable[[str], bool]) -> None:
        super().__init__(names)
        self.accepts = accepts

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the value if it is accepted, else as a choice does.

        Args:
            value: as typed.
            param: the option.
            ctx: the command's context.
        """
        return value if self.accepts(str(value)) else super().convert(value, param, ctx)


class NumberRange(click.FloatRange):
    """A range of numbers that NaN is not in: click's own, which compares with the bounds, takes it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number of a text.

        Args:
            value: as typed.
            param: the option, for the error.
            ctx: the context of the command, for the error.
        """
        number: float = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is no number in the range {self._describe_range()}.", param, ctx)
        return number


class ListOf(click.ParamType[tuple[Any, ...]]):
    """A list of values separated by commas: `1,0.5,0.2`.

    Args:
        name: the name of the values on the help page.
        item: makes one value of its text; a ValueError refuses it.
        completions: returns the values that a shell completes.
    """

    def __init__(
        self, name: str, item: Callable[[str], Any] = str, *, completions: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.name, self.item, self.completions = name, item, completions

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the list with its last value completed, by those that are not in it yet.

        Args:
            ctx: the context of the command.
            param: the option.
            incomplete: what is typed so far, e.g. "ticket,rand".
        """
        before, comma, last = incomplete.rpartition(",")
        free = [value for value in self.completions() if value not in before.split(",")]
        return [CompletionItem(f"{before}{comma}{value}") for value in free if value.startswith(last)]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return how the help page shows the list.

        Args:
            param: the option.
            ctx: the context of the command.
        """
        return "A,B,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Return the values of a text.

        Args:
            value: the text, or values already.
            param: the option, for the error.
            ctx: the context of the command, for the error.
        """
        if isinstance(value, tuple):
            return value
        parts: Sequence[str] = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts:
            self.fail("expected values separated by commas, received none.", param, ctx)
        try:
            return tuple(self.item(part) for part in parts)
        except ValueError:
            self.fail(f"expected {self.name} separated by commas, received {value!r}.", param, ctx)
