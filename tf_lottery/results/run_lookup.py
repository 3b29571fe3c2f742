"""The runs below a folder: list them, or find one by its path, its name or the beginning of its name."""

import contextlib
import hashlib
import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from tf_lottery.errors import UsageError
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.run_state import read_state
from tf_lottery.utils.text import suggestion

log = logging.getLogger(__name__)
_SHOWN = 3
_START_ONE = "Start one with `tfl.find_ticket(...)`, or pass the folder of the runs as `out`."


def list_runs(out: str | Path = "runs") -> list[Path]:
    """Return the run directories in a folder, the one that changed last first; damaged ones are among them."""
    folder = Path(out)
    runs = filter(is_run, folder.iterdir()) if folder.is_dir() else ()
    return sorted(runs, key=lambda path: (-last_change(path), path.name))


def is_run(path: Path) -> bool:
    """Return whether a path is a run directory, if only a damaged one, or one that may not be looked into."""
    try:
        return path.is_dir() and ((path / "config.json").is_file() or any(path.glob("replicate_*/round_*")))
    except PermissionError:
        return True


def last_change(run_dir: Path) -> float:
    """Return when a run was last written to, in seconds since 1970; 0.0 where that is not known."""
    files = [run_dir, run_dir / "config.json", run_dir / "results.csv", *run_dir.glob("replicate_*/round_*")]
    times = [0.0]
    for path in files:
        with contextlib.suppress(OSError):  # it is not there, perhaps no longer, or may not be looked at
            times.append(path.stat().st_mtime)
    return max(times)


def find_run(name: str | None, out: str | Path = "runs", *, prefer_complete: bool = False) -> RunDirectory:
    """Return the run that a name means; where a beginning fits several, a warning says which it is.

    Args:
        name: a path, the name of a run below `out`, or the beginning of one, for the newest of those; None for the
            newest of all.
        out: the folder of the runs.
        prefer_complete: of several runs, take the newest that is complete, if there is one.

    Raises:
        UsageError: there is no such run.
    """
    if name is not None:
        for path in (Path(name), Path(out) / name):
            if is_run(path):
                return RunDirectory(path)
    runs = list_runs(out)
    matching = [path for path in runs if name is None or path.name.startswith(name)]
    if name is not None and len(matching) > 1:
        return RunDirectory(_one_of(name, matching, prefer_complete=prefer_complete))
    if matching:
        return RunDirectory(matching[0])
    if name is None:
        raise UsageError(f"There is no run below {out}.", _START_ONE)
    remedy = suggestion(name, [path.name for path in runs]) if runs else _START_ONE
    raise UsageError(f"There is no run {name!r}, neither at that path nor below {out}.", remedy)


def _one_of(name: str, matching: Sequence[Path], *, prefer_complete: bool) -> Path:
    """Return the newest of several runs, or the newest complete one; a warning names it and the others."""
    complete = (path for path in matching if prefer_complete and read_state(path).state == "complete")
    found = next(complete, None)
    taken = found or matching[0]
    others = [path.name for path in matching if path != taken]
    which = "the newest complete one" if found else "the newest"
    more = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    log.warning(
        "%r fits %d runs: took %s, %s; not %s%s.",
        *(name, len(matching), taken.name, which, ", ".join(others[:_SHOWN]), more),
    )
    return taken


def comparison_folder(run_dirs: Iterable[Path], out: Path) -> Path:
    """Return the folder below `out` where a comparison of runs is written, one for each choice of runs.

    Args:
        run_dirs: the run directories, in order. Runs of equal names in different folders are different runs.
        out: the folder of the runs.
    """
    digest = hashlib.sha256(b"\n".join(os.fsencode(path.resolve()) for path in run_dirs)).hexdigest()
    return out / f"comparison-{digest[:10]}"
