"""Check a run directory, a ticket or an exported file. Loads no TensorFlow."""

from pathlib import Path

from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment import plan
from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.directory import SEARCH, RunReader
from tf_lottery.experiment.directory.run_checks import Verification, verify_store, verify_ticket_arrays
from tf_lottery.exporting.checks.checksums import MANIFEST, check_file, read_manifest
from tf_lottery.results.ticket import load_ticket


def verify_run(store: RunReader) -> Verification:
    """Check a run directory; that it is unfinished is no problem, but remarked on.

    Raises:
        UsageError: it is not a run directory.
        DamagedError: its configuration can't be read, so nothing else can be checked.
    """
    document = store.document()
    config = store.config()
    model_hash = document.get("model_hash")
    jobs = plan.jobs(config)
    own_masks = {name for name, control in CONTROLS.items() if control.own_masks} | {SEARCH}
    nested = config.pruning == "iterative" and not config.tickets_from
    found = verify_store(store, jobs, own_masks=own_masks, nested=nested)
    expected = config.hash(**({"model_hash": model_hash} if model_hash else {}))
    right = document.get("hash") == expected
    problem = f"{store.path / 'config.json'} has been changed: its hash is {expected}, not {document.get('hash')}."
    found.require("the configuration has its hash", right, problem)
    if store.in_use():
        found.remarks.append("The run is in use: what changed while it was checked may be wrongly told.")
    missing = sum(not store.is_complete(job) for job in jobs)
    if missing:
        found.remarks.append(f"The run is not finished: {missing} of {len(jobs)} trainings are missing.")
    return found


def verify_path(path: Path) -> Verification:
    """Check a ticket (`.npz`), an exported file or SavedModel, or a folder of exported files.

    Raises:
        UsageError: it is neither.
        DamagedError: a ticket can't be read.
    """
    if path.suffix == ".npz" and not _is_exported(path):
        ticket = load_ticket(path)
        found = verify_ticket_arrays(
            ticket.masks, {"rewind": ticket.rewind_weights, "trained": ticket.trained_weights}, path=path
        )
        found.count("the ticket's file has its checksums")
        return found
    found = Verification()
    if path.is_dir() and not (path / "saved_model.pb").exists() and not _is_exported(path):
        listed = sorted({name.split("/", 1)[0] for name in read_manifest(path)})
        if not listed:
            raise UsageError(
                f"{path} is no run directory (no config.json) and no folder of exported files (no {MANIFEST}).",
                "Give a run, a ticket's .npz file, or an exported file.",
            )
        for name in listed:
            _check(path / name, found)
        return found
    _check(path, found)
    return found


def _check(path: Path, found: Verification) -> None:
    try:
        check_file(path)
    except UsageError as error:
        if path.exists():
            raise
        found.problems.append(error.cause)
    except LotteryError as error:
        found.problems.append(error.cause)
    found.count("exported files have their SHA-256")


def _is_exported(path: Path) -> bool:
    return any(name.split("/", 1)[0] == path.name for name in read_manifest(path.absolute().parent))
