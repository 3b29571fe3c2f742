"""Runs to compare: whether they can be, what differs in them, and what to call them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import RunReader
from tf_lottery.results.statistics.values import Row, select

# Where a run is done says nothing of its results.
SILENT = ("jobs", "device", "data_dir", "tickets_hash")
# What only extends a run is no name for it, unless nothing else tells two runs apart.
EXTENT = ("preset", "rounds", "replicates", "variants", "seed")
MOST_IN_LABEL = 3
NONE = "none"


@dataclass(frozen=True)
class Run:
    """A run to compare.

    Args:
        name: of its directory.
        path: of its directory.
        config: its configuration.
        rows: its result rows, with the trainings that only searched.
        model: the plain model's architecture, as JSON.
        data: the fingerprint of its data; "" where it is not known, e.g. of a stream.
    """

    name: str
    path: str
    config: Config
    rows: Sequence[Row]
    model: str
    data: str


def load(store: RunReader) -> Run:
    """A run out of its directory.

    Raises:
        UsageError: it is not a run directory.
        DamagedError: a file of it is damaged.
        UnfitError: no training of it is finished.
    """
    config, rows = store.config(), store.rows()
    if not rows:
        raise UnfitError(f"{store.path} has no finished training.", "Let it go on: the same command resumes it.")
    return Run(store.path.resolve().name, str(store.path), config, rows, store.architecture(), store.data_fingerprint())


def check(runs: Sequence[Run], *, allow_data: bool = False) -> None:
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
            raise UnfitError(f"{run.path} has no dense round 0 yet.", "Let it go on: the same command resumes it.")
    first = runs[0]
    for run in runs[1:]:
        if structure(run.model) != structure(first.model):
            raise UnfitError(
                f"Runs of different models can't be compared: {first.name} is of {first.config.model}, {run.name} of "
                f"{run.config.model}, and their architectures differ.",
                "Compare runs of one model: the same accuracy at the same density would mean different sizes.",
            )
        unknown = [each.name for each in (first, run) if not each.data]
        if unknown and not allow_data:
            raise UnfitError(
                f"Whether the runs are on the same data is not known: there is no fingerprint of what "
                f"{' and '.join(unknown)} saw, as of a stream.",
                "Pass `allow_data=True` if you know what they saw: then nothing is paired by replicate.",
            )
        if run.data != first.data and not allow_data:
            raise UnfitError(
                f"The data of the runs differ: {first.name} is on {data_words(first)}, {run.name} on "
                f"{data_words(run)}.",
                "Compare runs on the same data, or pass `allow_data=True`: then nothing is paired by replicate.",
            )


def structure(model: str) -> Any:
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

    return without_policies(json.loads(model))


def data_words(run: Run) -> str:
    """The data of a run: the data set, the classes of it, and the beginning of the fingerprint."""
    classes = f", classes {','.join(map(str, run.config.classes))}" if run.config.classes else ""
    return f"{run.config.dataset}{classes} ({run.data[:10] or 'no fingerprint'})"


def differing(runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The settings in which the runs differ, with the value of each run, in the order of the configuration."""
    found = {}
    for field in fields(Config):
        values = [getattr(run.config, field.name) for run in runs]
        if field.name not in SILENT and any(value != values[0] for value in values):
            found[field.name] = values
    return found


def labels(runs: Sequence[Run]) -> list[str]:
    """A short name for each run: what differs in it, where that is little and tells all runs apart; else its directory.

    Directories of the same name are told apart by their paths.
    """
    found = differing(runs)
    for keys in ([key for key in found if key not in EXTENT], list(found)):
        texts = [label({key: found[key][place] for key in keys}) for place in range(len(runs))]
        if 0 < len(keys) <= MOST_IN_LABEL and len(set(texts)) == len(runs):
            return texts
    names = [run.name for run in runs]
    return names if len(set(names)) == len(runs) else [run.path for run in runs]


def label(settings: Mapping[str, Any]) -> str:
    """Settings in a line; those that are not set are left out beside others."""
    texts = {key: setting(value) for key, value in settings.items()}
    there = {key: text for key, text in texts.items() if text != NONE} or texts
    return ", ".join(f"{key} {text}" for key, text in there.items())


def setting(value: Any) -> str:
    """A value of the configuration as text."""
    if isinstance(value, tuple):
        return ",".join(map(setting, value)) or NONE
    return NONE if value is None or value == "" else f"{value:g}" if isinstance(value, float) else str(value)


def unpairable(first: Run, other: Run) -> str:
    """Why replicates of two runs are no pairs; empty where they are: the same seed, and the same data."""
    if not (first.data and other.data):
        return "whether the data are the same is not known, so replicates are no pairs"
    if first.data != other.data:
        return "the data differ, so replicates are no pairs"
    if first.config.seed != other.config.seed:
        return "the seeds differ, so replicates are no pairs"
    return ""
