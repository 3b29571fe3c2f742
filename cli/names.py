"""Names that the shell can complete: runs, presets, data sets, models."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

DEFAULT_OUT = "runs"


class Name(click.ParamType):
    """Any text, completed from a list of names, else from files.

    Args:
        name: how the help page shows it.
        names: the names to complete from.
    """

    def __init__(self, name: str, names: Callable[[click.Context], Iterable[str]]) -> None:
        self.name, self.names = name, names

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in self.names(ctx) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


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
    out = Path(ctx.params.get("out") or DEFAULT_OUT)
    return sorted(path.parent.name for path in out.glob("*/config.json"))


PRESET = Name("preset", _presets)
DATASET = Name("name", _datasets)
MODEL = Name("model", _models)
RUN = Name("run", _runs)
