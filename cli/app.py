"""The command group: commands are loaded when they are called, and every failure becomes an exit code and two lines."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from . import failures
from .command import Group
from .stopping import Interrupted

# Name, module and line of help: the list is shown without importing the commands.
COMMANDS = {
    "run": ("run", "Find lottery tickets: train, prune, rewind, repeat."),
    "sweep": ("sweep", "Run many experiments that one file describes, and compare them."),
    "status": ("status", "Show how far a run is."),
    "ls": ("ls", "List the runs and their states."),
    "report": ("report", "Write the plots and the HTML page of a run."),
    "analyze": ("analyze", "Study a run: stability, barriers, masks, robustness."),
    "reproduce": ("reproduce", "Rerun claims of the literature, and judge them."),
    "compare": ("compare", "Compare runs: scores, matching densities, cost."),
    "export": ("export", "Write a ticket as .keras, SavedModel and TFLite, verified."),
    "bench": ("bench", "Measure model files: size, load time, latency, memory."),
    "verify": ("verify", "Check a run directory, a ticket or an exported file."),
    "presets": ("presets", "List the named experiments."),
    "methods": ("methods", "List criteria, controls and rewind modes."),
    "data": ("data", "List, prepare and check data sets."),
    "doctor": ("doctor", "Check this installation, or what the zeros of a model are worth."),
    "completion": ("completion", "Print the script for shell completion."),
}
# Names of earlier versions, which work but are not listed.
ALIASES = {"analyse": "analyze"}
EXAMPLES = {
    "tf-lottery run": "Find tickets in the embedded digits, with a random control beside them: about one minute.",
    "tf-lottery presets": "The experiments of the papers.",
    "tf-lottery report digits-mlp": "Plots, table and verdict of the newest run of that name, as an HTML page.",
}


class App(Group):
    """The `tf-lottery` command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, whose module is imported now; None where there is none of that name.

        Args:
            ctx: the context of this group.
            cmd_name: the name of the command.
        """
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f".{COMMANDS[cmd_name][0]}", __package__).command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the name of a command, the command, and its arguments.

        Args:
            ctx: the context of this group.
            args: a name, perhaps one of an earlier version, and the arguments behind it.
        """
        return super().resolve_command(ctx, [ALIASES.get(args[0], args[0]), *args[1:]])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them.

        Args:
            ctx: the context of this group.
            formatter: what to write to.
        """
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        """Return the context of the words behind the program's name; a pipe that breaks is an exception, not an exit.

        Args:
            *args: as for `click.Group.make_context`.
            **extra: likewise.
        """
        try:
            return super().make_context(*args, **extra)
        except BrokenPipeError as error:
            raise failures.PipeBroke(error) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; Ctrl-C and a pipe that breaks become exceptions that click does not answer."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None
        except BrokenPipeError as error:
            raise failures.PipeBroke(error) from None

    def main(self, args: Sequence[str] | None = None, **extra: Any) -> Any:  # type: ignore[override]
        """Run a command and exit with the code of the contract, whatever happens.

        Args:
            args: the words behind the program's name; by default those of this process.
            extra: further arguments of `click.Group.main`.
        """
        words = list(sys.argv[1:] if args is None else args)
        extra.pop("standalone_mode", None)
        name = next((word for word in words if not word.startswith("-")), "")
        code = failures.guarded(
            lambda: super(App, self).main(words, standalone_mode=False, **extra),
            debug="--debug" in words,
            command=ALIASES.get(name, name),
            words=words,
        )
        sys.exit(code)


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        import tf_lottery

        click.echo(f"tf-lottery {tf_lottery.__version__}")
        ctx.exit()


@click.group(
    cls=App, examples=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.option("--debug", is_flag=True, expose_value=False, help="Show the traceback of an error.")
def app() -> None:
    """Find, train, study and ship lottery tickets.

    A ticket is a sparse subnetwork of a Keras model that, rewound to its early weights, trains to the accuracy of the
    dense network.
    """
