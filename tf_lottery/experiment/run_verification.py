"""Check a whole run directory: every file, mask, weight and result, and whether it is finished. No TensorFlow."""

from tf_lottery.experiment import plan
from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.directory import SEARCH, RunReader
from tf_lottery.experiment.directory.extra_files import note_extra_files
from tf_lottery.experiment.directory.outcome_folder import check_outcomes
from tf_lottery.experiment.directory.run_checks import Verification, verify_store


def verify_run(store: RunReader) -> Verification:
    """Check a run directory; that it is unfinished is no problem, but remarked on.

    Raises:
        UsageError: it is not a run directory.
        DamagedError: its configuration can't be read, so nothing else can be checked.
    """
    config = store.config()  # that it has its hash is checked whenever it is read
    jobs = plan.jobs(config)
    own_masks = {name for name, control in CONTROLS.items() if control.own_masks} | {SEARCH}
    # Whether a user's own control has the ticket's masks is not known without its module.
    own_masks |= set(config.own_functions)
    nested = config.pruning == "iterative" and not config.tickets_from
    verification = verify_store(store, jobs, own_masks=own_masks, nested=nested)
    verification.count("the configuration has its hash")
    check_outcomes(store, verification)
    note_extra_files(store, verification)
    if store.in_use():
        verification.remarks.append("The run is in use: what changed while it was checked may be reported wrongly.")
    missing = sum(not store.is_complete(job) for job in jobs)
    if missing:
        verification.remarks.append(f"The run is not finished: {missing} of {len(jobs)} trainings are missing.")
    return verification
