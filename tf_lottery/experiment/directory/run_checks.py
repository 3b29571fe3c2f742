"""Check that a run directory is what a run left there: hashes, masks, zeros, rewind weights, results. No TensorFlow."""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError, LotteryError
from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.run_directory import SEARCH, TICKET, Job, RunDirectory
from tf_lottery.pruning import masks as mask_tools

REMEDY = "Restore the run directory from a copy, or start over with `fresh=True`."


@dataclass
class Verification:
    """What was checked, and what is wrong.

    Attributes:
        checked: how often each kind of check was made, by what it says.
        problems: one sentence for each thing that is wrong.
        remarks: what is not wrong, but worth knowing.
        remedies: what to do about a problem, where that is known better than `REMEDY`.
    """

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    remedies: dict[str, str] = field(default_factory=dict)

    def count(self, what: str, number: int = 1) -> None:
        """Note that a check was made, however it ended."""
        self.checked[what] = self.checked.get(what, 0) + number

    def require(self, what: str, holds: bool, problem: str) -> None:
        """Note a check and, where it does not hold, the problem."""
        self.count(what)
        if not holds:
            self.problems.append(problem)

    def attempt(self, what: str, check: Any, *arguments: Any) -> Any:
        """The result of a check that counts its items or raises; None where it raises."""
        try:
            result = check(*arguments)
        except LotteryError as error:
            self.count(what)
            if error.cause not in self.problems:  # one damaged file can make several checks fail
                self.problems.append(error.cause)
            self.remedies.setdefault(error.cause, error.remedy)
            return None
        self.count(what, result if isinstance(result, int) else 1)
        return result

    def raise_problems(self) -> None:
        """Raise what is wrong.

        Raises:
            DamagedError: there is a problem; the message tells the first one and the number of the others.
        """
        if self.problems:
            more = f" ({len(self.problems) - 1} more problems)" if len(self.problems) > 1 else ""
            raise DamagedError(f"{self.problems[0]}{more}", self.remedies.get(self.problems[0], REMEDY))


def verify_store(
    store: RunDirectory, planned: Iterable[Job], *, own_masks: Container[str] = (), nested: bool = True
) -> Verification:
    """Check all that is committed in a run directory.

    Args:
        store: the run directory; best not in use.
        planned: the trainings of its configuration, committed or not.
        own_masks: the variants whose masks are not the ticket's.
        nested: whether the masks of a round are made from those of the round before.

    Returns:
        What was checked, with all problems rather than the first.
    """
    found = Verification()
    expected = set(planned)
    jobs = store.complete_jobs()
    for job in jobs:
        found.require("trainings belong to the configuration", job in expected, f"{store.job(job)} is not of this run.")
    for replicate in sorted({job.replicate for job in jobs}):
        own = [job for job in jobs if job.replicate == replicate]
        _verify_replicate(store, replicate, own, found, own_masks, nested)
    _verify_results(store, jobs, found)
    _look_for_leftovers(store, expected, set(jobs), found)
    return found


def _verify_replicate(
    store: RunDirectory, replicate: int, jobs: list[Job], found: Verification, own_masks: Container[str], nested: bool
) -> None:
    rewind = store.rewind(replicate)
    found.attempt("rewind files have their SHA-256", manifest.verify, rewind)
    try:
        pin = manifest.digest(rewind / manifest.NAME)
    except LotteryError:
        pin = None  # told above
    tickets: dict[int, mask_tools.Masks] = {}
    for job in jobs:  # the ticket of a round comes before its controls
        if found.attempt("files of trainings have their SHA-256", manifest.verify, store.job(job)) is None:
            continue
        try:
            masks, weights, metrics = store.masks(job), store.weights(job), store.metrics(job)
            _verify_job(job, masks, weights, metrics, pin, found)
            before = tickets.get(job.round - 1)
        except (LotteryError, KeyError, TypeError, AttributeError) as error:
            cause = error.cause if isinstance(error, LotteryError) else f"{type(error).__name__}: {error}"
            found.problems.append(f"{store.job(job)} can't be read as a training: {cause}")
            continue
        if job.variant == TICKET:
            tickets[job.round] = masks
            if before is not None and nested:
                found.require(
                    "masks are subsets of the round before", _within(masks, before), _bad(job, "keeps pruned weights")
                )
        elif job.round in tickets and job.variant not in own_masks:
            same = _same(masks, tickets[job.round])
            found.require("masks of controls are the ticket's", same, _bad(job, "has other masks than the ticket"))


def _verify_job(
    job: Job,
    masks: dict[str, np.ndarray],
    weights: dict[str, np.ndarray],
    metrics: dict[str, Any],
    pin: str | None,
    found: Verification,
) -> None:
    boolean = bool(masks) and all(mask.dtype == bool for mask in masks.values())
    found.require("masks are boolean", boolean, _bad(job, "has masks that are not boolean"))
    fits = all(key in weights and weights[key].shape == mask.shape for key, mask in masks.items())
    found.require("masks fit the weights", fits, _bad(job, "has masks that do not fit its weights"))
    if fits and boolean:
        zeros = all(not np.any(weights[key][~mask]) for key, mask in masks.items())
        found.require("pruned weights are exactly 0.0", zeros, _bad(job, "has pruned weights that are not 0.0"))
    finite = all(np.isfinite(weight).all() for weight in weights.values() if weight.dtype.kind == "f")
    found.require("weights are finite", finite, _bad(job, "has weights that are not finite"))
    row = metrics["row"]
    own = (row["replicate"], row["round"], row["variant"]) == (job.replicate, job.round, job.variant)
    found.require("results are of their training", own, _bad(job, "has the results of another training"))
    counts = (row["weights_kept"], row["weights_total"]) == (mask_tools.kept(masks), mask_tools.total(masks))
    found.require("results count the weights of the masks", counts, _bad(job, "has results that count other weights"))
    pinned = pin is None or metrics["rewind_manifest"] == pin or (job.variant == SEARCH and not metrics["start_step"])
    found.require(
        "rewind weights are those that were pinned", pinned, _bad(job, "was trained from other rewind weights")
    )


def _verify_results(store: RunDirectory, jobs: list[Job], found: Verification) -> None:
    """Check the files that are derived from the metrics of the trainings, line by line."""
    try:
        derived = store.derived()
    except (LotteryError, KeyError, TypeError, AttributeError) as error:
        if not found.problems:  # a damaged file of metrics has been told already
            found.problems.append(f"The metrics of a training can't be read: {error}")
        return
    for name, content in derived.items():
        path = store.path / name
        if not path.exists():
            if jobs:
                found.remarks.append(f"{name} is not written yet; the next `run` writes it.")
            continue
        given, wanted = path.read_bytes(), content
        found.count(f"lines of {name} are what the metrics say", given.count(b"\n"))
        if given == wanted:
            continue
        # A process that was killed between committing a training and writing the file leaves it one training behind.
        lines, known = given.splitlines(keepends=True), set(wanted.splitlines(keepends=True))
        if lines and all(line in known for line in lines):
            lacking = len(wanted.splitlines()) - len(lines)
            unit = "trainings" if name.endswith(".csv") else "evaluations"
            found.remarks.append(f"{name} lacks {lacking} committed {unit}; the next `run` writes them.")
        else:
            found.problems.append(f"{path} is not what the metrics of the trainings say.")


def _look_for_leftovers(store: RunDirectory, expected: set[Job], done: set[Job], found: Verification) -> None:
    found.count("no half-written files")
    leftovers = [path for path in store.path.rglob(".*.tmp") if "report" not in path.relative_to(store.path).parts[:1]]
    if leftovers:
        found.remarks.append(f"{len(leftovers)} half-written files of a killed process; the next `run` removes them.")
    for job in sorted(expected - done):
        partial = store.partial(job)
        if partial.exists():
            found.attempt("states in the middle of a training can be read", store.load_partial, job)
    for name in ("environment.json", "model.json"):
        if done:
            found.attempt("files of the run are those that were pinned", store.check_pinned, name)


def _within(masks: dict[str, np.ndarray], before: dict[str, np.ndarray]) -> bool:
    return masks.keys() == before.keys() and not any(np.any(masks[key] & ~before[key]) for key in masks)


def _same(first: dict[str, np.ndarray], second: dict[str, np.ndarray]) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def _bad(job: Job, what: str) -> str:
    return f"The training of {job} {what}."


def verify_ticket_arrays(
    masks: dict[str, np.ndarray], groups: dict[str, dict[str, np.ndarray]], *, path: Path
) -> Verification:
    """Check a ticket: masks fit its weights, pruned ones are exactly 0.0, all are finite.

    Args:
        masks: its masks.
        groups: its weights, by what they are ("rewind", "trained"); an empty group is left out.
        path: its file, for messages.
    """
    found = Verification()
    for name, weights in groups.items():
        if not weights:
            continue
        fits = all(key in weights and weights[key].shape == mask.shape for key, mask in masks.items())
        found.require("masks fit the weights", fits, f"The masks of {path} do not fit its {name} weights.")
        if fits:
            zeros = all(not np.any(weights[key][~mask]) for key, mask in masks.items())
            found.require(
                "pruned weights are exactly 0.0", zeros, f"{path} has pruned {name} weights that are not 0.0."
            )
        finite = all(np.isfinite(weight).all() for weight in weights.values() if weight.dtype.kind == "f")
        found.require("weights are finite", finite, f"{path} has {name} weights that are not finite.")
    return found
