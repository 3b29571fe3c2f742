"""Names that the shell can complete: runs, presets, data sets, models."""

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

DEFAULT_OUT = "runs"


class _Name(click.ParamType):
    """Any text, completed from a list."""

    def names(self, ctx: click.Context) -> list[str]:
        raise TypeError  # each kind of name has its own list

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return str(value)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = [CompletionItem(name) for name in self.names(ctx) if name.startswith(incomplete)]
        return found or [CompletionItem(incomplete, type="file")]


class PresetName(_Name):
    """A named experiment."""

    name = "preset"

    def names(self, ctx: click.Context) -> list[str]:
        from tf_lottery.experiment.presets import PRESETS

        return list(PRESETS)


class DatasetName(_Name):
    """A data set."""

    name = "name"

    def names(self, ctx: click.Context) -> list[str]:
        from tf_lottery import data

        return data.names(data_dir=ctx.params.get("data_dir"))


class ModelName(_Name):
    """An architecture, a function or a file."""

    name = "model"

    def names(self, ctx: click.Context) -> list[str]:
        from tf_lottery.models.catalogue import CATALOGUE

        return list(CATALOGUE)


class RunName(_Name):
    """A run: a path, a name below `--out`, or the beginning of one."""

    name = "run"

    def names(self, ctx: click.Context) -> list[str]:
        out = Path(ctx.params.get("out") or DEFAULT_OUT)
        return sorted(path.parent.name for path in out.glob("*/config.json"))
