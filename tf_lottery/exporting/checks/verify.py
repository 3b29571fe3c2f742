"""Check a ticket's file, an exported file, or a folder of exported files or of a report. Loads no TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment.directory.outcome_folder import check_outcome, is_outcome_folder, note_unfinished
from tf_lottery.experiment.directory.run_checks import Verification, verify_ticket_arrays
from tf_lottery.exporting.checks.checksums import MANIFEST, check_file, read_manifest
from tf_lottery.results.ticket import load_ticket
from tf_lottery.utils import staging


def verify_path(path: Path) -> Verification:
    """Check a ticket (`.npz`), an exported file or SavedModel, or a folder of exported files, a report or a study.

    Raises:
        UsageError: there is nothing there that can be checked.
        DamagedError: a ticket can't be read.
    """
    if path.suffix == ".npz" and not _is_exported(path):
        ticket = load_ticket(path)
        verification = verify_ticket_arrays(
            ticket.masks, {"rewind": ticket.rewind_weights, "trained": ticket.trained_weights}, path=path
        )
        verification.count("the ticket's file has its checksums")
        return verification
    verification = Verification()
    if path.is_dir() and is_outcome_folder(path):
        check_outcome(path, verification)
        return verification
    if path.is_dir():
        note_unfinished(path, verification)
    if path.is_dir() and not (path / "saved_model.pb").exists() and not _is_exported(path):
        names = sorted({name.split("/", 1)[0] for name in read_manifest(path)})
        exports = (
            [] if names else [child for child in sorted(path.iterdir()) if child.is_dir() and read_manifest(child)]
        )
        if exports:
            return _verify_all(exports, Verification())
        if not names:
            raise UsageError(
                f"{path} is no run directory (no config.json) and no folder of exported files (no {MANIFEST}).",
                "Give a run, a ticket's .npz file, or an exported file.",
            )
        for name in names:
            _check(path / name, verification)
        of_an_export = {*names, MANIFEST, *(left.name for left in staging.unfinished(path))}
        if extra := sorted(item.name for item in path.iterdir() if item.name not in of_an_export):
            verification.remarks.append(f"Not of an export, and not checked: {', '.join(extra)}.")
        return verification
    _check(path, verification)
    return verification


def _verify_all(folders: Sequence[Path], verification: Verification) -> Verification:
    """Check each of several folders of exported files, and return all that was found."""
    for folder in folders:
        one = verify_path(folder)
        for what, count in one.checked.items():
            verification.count(what, count)
        verification.problems += one.problems
        verification.remarks += [f"{folder}: {text}" for text in one.remarks]
    return verification


def _check(path: Path, verification: Verification) -> None:
    try:
        check_file(path)
    except UsageError as error:
        if path.exists():
            raise
        verification.problems.append(error.cause)
    except LotteryError as error:
        verification.problems.append(error.cause)
    verification.count("exported files have their SHA-256")


def _is_exported(path: Path) -> bool:
    return any(name.split("/", 1)[0] == path.name for name in read_manifest(path.absolute().parent))
