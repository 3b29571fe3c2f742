"""What a worker of a cluster does before it trains: it joins the run, and keeps to the run's kind of machine."""

import contextlib
import functools
import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tf_lottery.errors import UnfitError
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.launchers.presence import join
from tf_lottery.experiment.workers.job_events import JobFunction
from tf_lottery.utils import machine
from tf_lottery.utils.files import load_json


class OtherMachineError(UnfitError):
    """A worker is on a machine of another kind than the run's."""


def joined(make_job_function: Callable[[], JobFunction], signs: Path, *, mixed: bool) -> Callable[[], JobFunction]:
    """Return a function that, in a worker, joins a run and then makes the job function.

    Args:
        make_job_function: makes the function that trains jobs.
        signs: the file of `presence`, in the run directory.
        mixed: whether machines of several kinds may train, whose results are not those of one kind bit for bit.
    """
    return functools.partial(_join, make_job_function, signs, mixed)


def _join(make_job_function: Callable[[], JobFunction], signs: Path, mixed: bool) -> JobFunction:
    join(signs)
    if not mixed:
        check_kind(signs)
    return make_job_function()


def check_kind(signs: Path) -> None:
    """Check that this machine is of the run's kind: as the run began, or as the first worker that asks.

    Args:
        signs: the file of `presence`, in the run directory.

    Raises:
        OtherMachineError: it is not.
    """
    here = kind_of_machine()
    begun = (signs.parent / "environment.json").exists()
    expected = RunDirectory(signs.parent).environment() if begun else _agreed(signs.with_suffix(".kind.tmp"), here)
    if differ := differences(here, expected):
        raise OtherMachineError(
            f"The machine {os.uname().nodename} may compute other bits than the run's: it has {differ}.",
            "Use machines of one kind, or allow others by `mixed_machines=True`.",
        )


def kind_of_machine() -> dict[str, Any]:
    """Return what this process computes with: versions, and the name of the processor."""
    about = machine.describe(machine.DECISIVE[:3])
    return {key: about[key] for key in machine.DECISIVE}


def differences(kind: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Return in which decisive ways a machine is of another kind, in words; "" if it is not.

    Args:
        kind: from `kind_of_machine`.
        expected: the same of another machine, or the environment of a run.

    Example:
        >>> differences({"keras": "3.15.0"}, {"keras": "3.14.1"})
        'keras 3.15.0 instead of 3.14.1'
    """
    keys = [key for key in machine.DECISIVE if key in expected and kind.get(key) != expected.get(key)]
    return ", ".join(f"{key} {kind.get(key)} instead of {expected.get(key)}" for key in keys)


def _agreed(path: Path, mine: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first worker put into a file, which is this one if no other was before."""
    own = path.with_name(f".{secrets.token_hex(8)}.tmp")
    own.write_text(json.dumps(mine))
    try:
        with contextlib.suppress(FileExistsError):
            os.link(own, path)  # as a whole, and once
    finally:
        own.unlink()
    return dict(load_json(path))
