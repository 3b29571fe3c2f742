"""Runs below `--out`, by path, by name or by the beginning of a name."""

from pathlib import Path

import click

from tf_lottery.errors import UsageError
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.results.statistics.selection import MAX_DROP
from tf_lottery.utils.text import suggestion

from .names import DEFAULT_OUT

out_option = click.option(
    "--out", type=click.Path(path_type=Path), default=DEFAULT_OUT, show_default=True, help="Folder of the runs."
)
max_drop_option = click.option(
    "--max-drop",
    type=click.FloatRange(0, 1),
    default=MAX_DROP,
    show_default=True,
    help="Validation accuracy a ticket may lose.",
)


def directories(out: Path) -> list[Path]:
    """The run directories below a folder, the one that changed last first; damaged ones are among them."""
    if not out.is_dir():
        return []
    found = [path for path in out.iterdir() if path.is_dir() and _looks_like_run(path)]
    return sorted(found, key=lambda path: (-changed(path), path.name))


def changed(run: Path) -> float:
    """When a run was last written to, in seconds since 1970."""
    files = [run, *(run / name for name in ("config.json", "results.csv")), *run.glob("replicate_*/round_*")]
    return max(path.stat().st_mtime for path in files if path.exists())


def find(name: str | None, out: Path) -> RunDirectory:
    """The run that a user means.

    Args:
        name: a path, a name below `out`, or the beginning of one, for the newest of those; None: the newest of all.
        out: the folder of the runs.

    Raises:
        UsageError: there is no such run.
    """
    if name is not None:
        for path in (Path(name), out / name):
            if path.is_dir() and _looks_like_run(path):
                return RunDirectory(path)
    found = [path for path in directories(out) if name is None or path.name.startswith(name)]
    if found:
        return RunDirectory(found[0])
    if name is None:
        raise UsageError(
            f"There is no run below {out}.", "Start one with `tf-lottery run`, or give the folder with --out."
        )
    names = [path.name for path in directories(out)]
    remedy = suggestion(name, names) if names else "Start one with `tf-lottery run`, or give the folder with --out."
    raise UsageError(f"There is no run {name!r}, neither at that path nor below {out}.", remedy)


def _looks_like_run(path: Path) -> bool:
    return (path / "config.json").is_file() or any(path.glob("replicate_*/round_*"))
