"""Folders that are written together, e.g. the report of a run: their manifest, and the check of what is in them."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.manifest import Manifest
from tf_lottery.experiment.directory.run_checks import Verification
from tf_lottery.experiment.directory.run_reader import RunReader
from tf_lottery.utils import staging
from tf_lottery.utils.regular_files import read_regular

REPORT = "report"
ANALYSIS = "analysis"
_AGAIN = "Delete the folder, and write the report or the analysis again."
_SCHEMA = manifest.SCHEMA.partition("/")[0]


def is_outcome_folder(folder: Path) -> bool:
    """Whether a folder has a manifest of this library's that is not of an export."""
    try:
        return _SCHEMA.encode() in read_regular(folder / manifest.NAME)
    except OSError:
        return False


def outcome_manifest(
    folder: Path, contents: Mapping[str, bytes], *, owner: Mapping[str, str], made_from: Mapping[str, str]
) -> Manifest:
    """Return the manifest of a folder after files are written to it: of these, and of those that stay.

    Args:
        folder: the folder, which need not exist.
        contents: the contents of the files by name.
        owner: the run that they are of; {} if they are of none.
        made_from: digests of the manifests of the trainings that they show, by their paths in the run.

    Raises:
        UsageError: the folder has a `manifest.json` of something else.
    """
    stays: dict[str, str] = {}
    if (folder / manifest.NAME).exists():
        if not is_outcome_folder(folder):
            raise UsageError(f"{folder} has a {manifest.NAME} of something else.", "Choose another folder.")
        try:
            earlier = manifest.read(folder)
        except DamagedError:  # writing it again is what mends it
            earlier = Manifest({})
        if earlier.owner == owner:
            stays = {name: digest for name, digest in earlier.files.items() if (folder / name).is_file()}
    written = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    return Manifest(stays | written, owner, made_from)


def check_outcomes(run: RunReader, checks: Verification) -> None:
    """Check the report of a run, and its analyses.

    Args:
        run: the run directory.
        checks: what is noted.
    """
    for folder in [run.path / REPORT, *sorted((run.path / ANALYSIS).glob("*"))]:
        if folder.is_dir():
            check_outcome(folder, checks, run)


def note_unfinished(folder: Path, checks: Verification) -> None:
    """Note that a process was killed while it put files into a folder.

    Args:
        folder: the folder.
        checks: what is noted.
    """
    if staging.unfinished(folder):
        checks.remarks.append(
            f"Writing to {folder} was stopped in its middle: who writes to it next puts back what was there before."
        )


def check_outcome(folder: Path, checks: Verification, run: RunReader | None = None) -> None:
    """Check the files of a folder against its manifest, and that they are of the run as it is now.

    Args:
        folder: the folder.
        checks: what is noted.
        run: the run that it lies in; None if it lies elsewhere.
    """
    note_unfinished(folder, checks)
    if not manifest.exists(folder):
        checks.remarks.append(f"{folder} has no {manifest.NAME}, and is not checked: an earlier version wrote it.")
        return
    before = len(checks.problems)
    if checks.attempt("files of reports and analyses have their SHA-256", manifest.verify, folder):
        found = manifest.read(folder)
        if run is not None and found.owner:
            _check_origin(folder, found, run, checks)
        extra = sorted(
            path.name
            for path in folder.iterdir()
            if path.name not in {*found.files, manifest.NAME} and path not in staging.unfinished(folder)
        )
        if extra:
            checks.remarks.append(f"Not of {folder}, and not checked: {', '.join(extra)}.")
    checks.remedies.update(dict.fromkeys(checks.problems[before:], _AGAIN))


def _check_origin(folder: Path, found: Manifest, run: RunReader, checks: Verification) -> None:
    checks.require(
        "reports and analyses are of this run", found.owner == run.run_owner(), f"{folder} is of another run."
    )
    for name, digest in found.made_from.items():
        if manifest.exists(run.path / name):
            checks.require(
                "reports show trainings as they are",
                _has_digest(run.path / name, digest),
                f"{folder} does not show {name} as it is now.",
            )
    jobs = run.complete_jobs()
    if found.made_from and len(found.made_from) < len(jobs):
        checks.remarks.append(f"{folder} shows {len(found.made_from)} of {len(jobs)} trainings: write it again.")


def _has_digest(folder: Path, digest: str) -> bool:
    try:
        return manifest.read(folder).digest() == digest
    except DamagedError:
        return False
