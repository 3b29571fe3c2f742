"""Names that the shell can complete: runs, presets, data sets, models."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from tf_lottery.utils.text import printable

DEFAULT_OUT = "runs"


class Name(click.ParamType[str]):
    """Any text, completed from a list of names, else from files.

    Args:
        name: the name of the value on the help page.
        names: returns the names to complete from.
        or_file: whether files are completed where no name fits.
    """

    def __init__(self, name: str, names: Callable[[click.Context], Iterable[str]], *, or_file: bool = True) -> None:
        self.name, self.names, self.or_file = name, names, or_file

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text as it is.

        Args:
            value: the text.
            param: the argument or option.
            ctx: the context of the command.
        """
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the names that begin with a text, else a completion from files.

        Args:
            ctx: the context of the command.
            param: the argument or option.
            incomplete: what is typed so far.
        """
        # A shell would obey what a name holds for it.
        names = [name for name in self.names(ctx) if name.startswith(incomplete) and name == printable(name)]
        matching = [CompletionItem(name) for name in names]
        return matching or ([CompletionItem(incomplete, type="file")] if self.or_file else [])


class CountOrFile(click.ParamType[int | Path]):
    """A number of samples, or a `.npz` file that holds some."""

    name = "samples"

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Return how the help page shows the value.

        Args:
            param: the option.
            ctx: the context of the command.
        """
        return "N|FILE.npz"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Path:
        """Return the number, or the path of the file.

        Args:
            value: as typed.
            param: the option, for the error.
            ctx: the context of the command, for the error.
        """
        if str(value).endswith(".npz"):
            return Path(value)
        try:
            return click.IntRange(1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"expected a whole number from 1, or a .npz file; received {str(value)!r}.", param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """Return the completion from files.

        Args:
            ctx: the context of the command.
            param: the option.
            incomplete: what is typed so far.
        """
        return [CompletionItem(incomplete, type="file")]


def _presets(ctx: click.Context) -> Iterable[str]:
    from tf_lottery.experiment.presets import PRESETS

    return PRESETS


def _datasets(ctx: click.Context) -> Iterable[str]:
    from tf_lottery import data

    return data.names(data_dir=ctx.params.get("data_dir"))


def _models(ctx: click.Context) -> Iterable[str]:
    from tf_lottery.models.catalog import CATALOG

    return CATALOG


def _runs(ctx: click.Context) -> Iterable[str]:
    from tf_lottery.results.run_lookup import list_runs

    return sorted(path.name for path in list_runs(ctx.params.get("out") or DEFAULT_OUT))


def _rewind_modes(ctx: click.Context) -> Iterable[str]:
    """Return the forms of rewind points up to their number: `step:K` as `step:`."""
    from tf_lottery.experiment.rewind_point import REWINDS

    return [form.rstrip("KN") for forms in REWINDS for form in forms.split(", ")]


PRESET = Name("preset", _presets)
DATASET = Name("name", _datasets)
MODEL = Name("model", _models)
REWIND = Name("mode", _rewind_modes, or_file=False)
RUN = Name("run", _runs)
