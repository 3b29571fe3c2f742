"""`tf-lottery completion`: the script that teaches a shell to complete."""

import os
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from .command import Command

SHELLS = ("bash", "zsh", "fish")
EXAMPLES = {
    "tf-lottery completion bash": "For bash: append it to ~/.bashrc, or source it.",
    "tf-lottery completion fish": "For fish: save it as ~/.config/fish/completions/tf-lottery.fish.",
}


@click.command(cls=Command, examples=EXAMPLES)
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def command(shell: str | None) -> None:
    """Print the script that completes commands, options, runs, presets and data sets.

    SHELL is bash, zsh or fish; by default the one in $SHELL.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    kind = get_completion_class(name) if name in SHELLS else None
    if kind is None:
        raise click.UsageError(f"Unknown shell {name!r}: say which, of {', '.join(SHELLS)}.")
    from .app import app

    click.echo(kind(app, {}, "tf-lottery", "_TF_LOTTERY_COMPLETE").source())
