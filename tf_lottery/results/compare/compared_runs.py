"""Runs to compare: whether they can be, what differs in them, and how to name them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config, differing_options
from tf_lottery.experiment.directory import RunReader
from tf_lottery.results.statistics.values import Row, select
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.text import printable

# Settings of where a run is done: they do not change its results.
NOT_COMPARED = ("jobs", "device", "data_dir", "tickets_hash")
# What only extends a run does not name it, unless nothing else distinguishes two runs.
EXTENT = ("preset", "rounds", "replicates", "variants", "seed")
MOST_IN_LABEL = 3
# Of what a run was made on: what makes its times other ones. Results do not depend on it, up to rounding.
TIMED_ON = ("processor", "instructions", "cores", "devices")
NONE = "none"
RESUME = "Finish it: the same call resumes it."


@dataclass(frozen=True)
class ComparedRun:
    """A run to compare: what a comparison needs of its directory.

    Attributes:
        name: the name of its directory.
        path: the path of its directory.
        config: its configuration.
        rows: its result rows, with the trainings that only searched.
        model: the plain model's architecture, as JSON.
        data: the fingerprint of its data; "" where it is not known, e.g. of a stream.
        machine: what its times depend on: processor, cores and devices.
    """

    name: str
    path: str
    config: Config
    rows: Sequence[Row]
    model: str
    data: str
    machine: Mapping[str, Any] = field(default_factory=dict)


def read_compared_run(run: RunReader) -> ComparedRun:
    """Read what a comparison needs of a run directory.

    Raises:
        UsageError: it is not a run directory.
        DamagedError: a file of it is damaged.
        UnfitError: no training of it is finished.
    """
    config, rows = run.config(), run.rows()
    if not rows:
        raise UnfitError(f"{run.path} has no finished training.", RESUME)
    name = printable(run.path.resolve().name)  # it is the heading of tables, and in every sentence
    environment = run.environment()
    machine = {key: environment.get(key) for key in TIMED_ON}
    return ComparedRun(name, str(run.path), config, rows, run.architecture(), run.data_fingerprint(), machine)


def check_comparable(runs: Sequence[ComparedRun], *, allow_data: bool = False) -> None:
    """Check that runs can be compared: of one model, on the same data, and each with a dense round.

    Args:
        runs: two or more.
        allow_data: let the data differ, or be unknown. Then nothing is paired, and the verdict says so.

    Raises:
        UsageError: there are fewer than two runs, or one is given twice.
        UnfitError: their models or their data differ, the data of one are not known, or one has no dense round.
    """
    if len(runs) < 2:
        raise UsageError(
            f"A comparison needs at least two runs. Received: {len(runs)}.",
            "`tf_lottery.results.run_lookup.list_runs(...)` lists runs.",
        )
    paths = [Path(run.path).resolve() for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise UsageError(f"{run.path} is given twice.", "Name each run once.")
        if not select(run.rows, "ticket", 0):
            raise UnfitError(f"{run.path} has no dense round 0 yet.", RESUME)
    first = runs[0]
    for run in runs[1:]:
        if _structure(run.model) != _structure(first.model):
            raise UnfitError(
                f"Runs of different models can't be compared: {first.name} is of {first.config.model}, {run.name} of "
                f"{run.config.model}, and their architectures differ.",
                "Compare runs of one model: the same accuracy at the same density would mean different sizes.",
            )
        unknown = [known.name for known in (first, run) if not known.data]
        if unknown and not allow_data:
            raise UnfitError(
                f"Whether the runs are on the same data is not known: there is no fingerprint of what "
                f"{' and '.join(unknown)} saw, as of a stream.",
                "Pass `allow_data=True` if you know what they saw: then nothing is paired by replicate.",
            )
        if run.data != first.data and not allow_data:
            raise UnfitError(
                f"The data of the runs differ: {first.name} is on {_data_words(first)}, {run.name} on "
                f"{_data_words(run)}.",
                "Compare runs on the same data, or pass `allow_data=True`: then nothing is paired by replicate.",
            )


def comparable_groups(runs: Sequence[ComparedRun]) -> list[list[ComparedRun]]:
    """Return the runs in groups that can be compared: of one model, on the same data.

    Data that are not known are nobody else's: a run on them is a group of one.

    Args:
        runs: any number of runs.
    """
    groups: dict[tuple[str, str], list[ComparedRun]] = {}
    for run in runs:
        model = json.dumps(_structure(run.model), sort_keys=True)
        groups.setdefault((model, run.data or f"unknown: {run.path}"), []).append(run)
    return list(groups.values())


def _structure(model: str) -> Any:
    """An architecture without its precision, which is no other model."""

    def without_policies(document: Any) -> Any:
        if isinstance(document, list):
            return [without_policies(item) for item in document]
        if not isinstance(document, dict):
            return document
        return {
            key: without_policies(value)
            for key, value in document.items()
            if not (key == "dtype" and isinstance(value, dict) and value.get("class_name") == "DTypePolicy")
        }

    return without_policies(parse_json(model))


def _data_words(run: ComparedRun) -> str:
    """The data of a run: the data set, the classes of it, and the beginning of the fingerprint."""
    classes = f", classes {','.join(map(str, run.config.classes))}" if run.config.classes else ""
    return f"{run.config.dataset}{classes} ({run.data[:10] or 'no fingerprint'})"


def differing(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    """The settings in which the runs differ, with the value of each run, in the order of the configuration."""
    settings = differing_options([run.config for run in runs])
    return {name: values for name, values in settings.items() if name not in NOT_COMPARED}


def timing_differences(runs: Sequence[ComparedRun]) -> list[str]:
    """What makes the times of the runs no comparison of what they did: the machine, and trainings at the same time."""
    conditions = [{**run.machine, "jobs": run.config.jobs} for run in runs]
    names = dict.fromkeys(name for condition in conditions for name in condition)
    return [name for name in names if any(one.get(name) != conditions[0].get(name) for one in conditions)]


def labels(runs: Sequence[ComparedRun]) -> list[str]:
    """A short name for each run: the settings that differ, where they are few and distinguish all runs.

    Otherwise it is the name of its directory, or its path where the names are equal.
    """
    settings = differing(runs)
    for keys in ([key for key in settings if key not in EXTENT], list(settings)):
        texts = [_label({key: settings[key][place] for key in keys}) for place in range(len(runs))]
        if 0 < len(keys) <= MOST_IN_LABEL and len(set(texts)) == len(runs):
            return texts
    names = [run.name for run in runs]
    return names if len(set(names)) == len(runs) else [run.path for run in runs]


def _label(settings: Mapping[str, Any]) -> str:
    """Settings in a line; those that are not set are left out beside others."""
    texts = {key: setting_text(value) for key, value in settings.items()}
    there = {key: text for key, text in texts.items() if text != NONE} or texts
    return ", ".join(f"{key} {text}" for key, text in there.items())


def setting_text(value: Any) -> str:
    """A value of the configuration as text."""
    if isinstance(value, tuple):
        return ",".join(map(setting_text, value)) or NONE
    return NONE if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def unpairable(first: ComparedRun, other: ComparedRun) -> str:
    """Why replicates of two runs are no pairs; "" where they are, with the same seed and the same data.

    Args:
        first: a run.
        other: another run.
    """
    if not (first.data and other.data):
        return "whether the data are the same is not known, so replicates are no pairs"
    if first.data != other.data:
        return "the data differ, so replicates are no pairs"
    if first.config.seed != other.config.seed:
        return "the seeds differ, so replicates are no pairs"
    return ""
