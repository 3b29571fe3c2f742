"""Names that the shell can complete: runs, presets, data sets, models."""

from collections.abc import Callable, Iterable
from typing import Any

import click
from click.shell_completion import CompletionItem

DEFAULT_OUT = "runs"


class Name(click.ParamType[str]):
    """Any text, completed from a list of names, else from files.

    Args:
        name: the name of the value on the help page.
        names: returns the names to complete from.
    """

    def __init__(self, name: str, names: Callable[[click.Context], Iterable[str]]) -> None:
        self.name, self.names = name, names

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
        matching = [CompletionItem(name) for name in self.names(ctx) if name.startswith(incomplete)]
        return matching or [CompletionItem(incomplete, type="file")]


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


PRESET = Name("preset", _presets)
DATASET = Name("name", _datasets)
MODEL = Name("model", _models)
RUN = Name("run", _runs)
