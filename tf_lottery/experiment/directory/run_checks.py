"""Checks of a run directory: hashes, masks, pruned weights, rewind weights, results. No TensorFlow."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError, LotteryError, ResourceError
from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.job import SEARCH, TICKET, Job
from tf_lottery.experiment.directory.result_files import RESULT_FILES, result_files
from tf_lottery.experiment.directory.run_reader import RunReader
from tf_lottery.pruning import masks as mask_tools
from tf_lottery.pruning.masks import Masks
from tf_lottery.utils.regular_files import read_regular

REMEDY = "Restore the run directory from a copy, or start over with `fresh=True`."
_Weights = Mapping[str, np.ndarray]


@dataclass
class Verification:
    """What was checked, and what is wrong.

    Attributes:
        checked: how often each kind of check was made, by the sentence that names it.
        problems: one sentence for each thing that is wrong.
        remarks: what is not wrong, but worth knowing.
        remedies: what to do about a problem, where that is known better than `REMEDY`.
    """

    checked: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    remedies: dict[str, str] = field(default_factory=dict)

    def count(self, check: str, number: int = 1) -> None:
        """Note that a check was made, however it ended.

        Args:
            check: the sentence that names it.
            number: how many items were checked.
        """
        self.checked[check] = self.checked.get(check, 0) + number

    def require(self, check: str, holds: bool, problem: str) -> None:
        """Note a check and, where it does not hold, the problem.

        Args:
            check: the sentence that names it.
            holds: whether it holds.
            problem: what is wrong where it does not.
        """
        self.count(check)
        if not holds:
            self.problems.append(problem)

    def attempt(self, check: str, function: Callable[..., Any], *arguments: Any) -> bool:
        """Call a function that counts its items or raises, and note the problem where it raises.

        What can't be read, since it is not permitted or its disk does not answer, is no damage: that is raised.

        Args:
            check: the sentence that names the check.
            function: returns how many items it checked; what is no integer counts as one.
            *arguments: of the function.

        Returns:
            Whether it raised nothing.
        """
        try:
            result = function(*arguments)
        except ResourceError:
            raise
        except LotteryError as error:
            self.count(check)
            if error.cause not in self.problems:  # one damaged file can make several checks fail
                self.problems.append(error.cause)
            self.remedies.setdefault(error.cause, error.remedy)
            return False
        self.count(check, result if isinstance(result, int) else 1)
        return True

    def raise_problems(self) -> None:
        """Raise what is wrong.

        Raises:
            DamagedError: there is a problem; the message names the first one and the number of the others.
        """
        if self.problems:
            more = f" ({len(self.problems) - 1} more problems)" if len(self.problems) > 1 else ""
            raise DamagedError(f"{self.problems[0]}{more}", self.remedies.get(self.problems[0], REMEDY))


def verify_store(
    run: RunReader, planned: Iterable[Job], *, own_masks: Container[str] = (), nested: bool = True
) -> Verification:
    """Check all that is committed in a run directory.

    Args:
        run: the run directory; best not in use.
        planned: the trainings of its configuration, committed or not.
        own_masks: the variants whose masks are not the ticket's.
        nested: whether the masks of a round are made from those of the round before.

    Returns:
        What was checked, with all problems rather than the first.
    """
    checks = Verification()
    expected = set(planned)
    jobs = run.complete_jobs()
    for job in jobs:
        checks.require(
            "trainings belong to the configuration", job in expected, f"{run.job_folder(job)} is not of this run."
        )
    for replicate in sorted({job.replicate for job in jobs}):
        own = [job for job in jobs if job.replicate == replicate]
        _verify_replicate(run, replicate, own, checks, own_masks, nested)
    _verify_results(run, jobs, checks)
    _look_for_leftovers(run, expected, set(jobs), checks)
    return checks


def _verify_replicate(
    run: RunReader, replicate: int, jobs: list[Job], checks: Verification, own_masks: Container[str], nested: bool
) -> None:
    # A search of round 0 is committed before there is a rewind state.
    if run.has_rewind_state(replicate) or any(job.variant != SEARCH for job in jobs):
        checks.attempt("rewind files have their SHA-256", manifest.verify, run.rewind_folder(replicate))
        checks.attempt("rewind states are of this run", run.checked_manifest, run.rewind_folder(replicate))
    try:
        pin = run.rewind_digest(replicate)
    except DamagedError:
        pin = None  # the check above has noted it
    tickets: dict[int, Masks] = {}
    for job in jobs:  # the ticket of a round comes before its controls
        if not checks.attempt("files of trainings have their SHA-256", manifest.verify, run.job_folder(job)):
            continue
        checks.attempt(
            "trainings are of this run, and made from what it holds", run.checked_manifest, run.job_folder(job)
        )
        try:
            masks = run.masks(job)
            _verify_job(job, masks, run.weights(job), run.metrics(job), pin, checks)
        except ResourceError:
            raise
        except (LotteryError, KeyError, TypeError, AttributeError) as error:
            cause = error.cause if isinstance(error, LotteryError) else f"{type(error).__name__}: {error}"
            if cause not in checks.problems:
                checks.problems.append(f"{run.job_folder(job)} can't be read as a training: {cause}")
            continue
        if job.variant == TICKET:
            tickets[job.round] = masks
            before = tickets.get(job.round - 1)
            if before is not None and nested:
                checks.require(
                    "masks are subsets of the round before", _within(masks, before), _bad(job, "keeps pruned weights")
                )
        elif job.round in tickets and job.variant not in own_masks:
            same = _same(masks, tickets[job.round])
            checks.require("masks of controls are the ticket's", same, _bad(job, "has other masks than the ticket"))


def _verify_job(
    job: Job, masks: Masks, weights: _Weights, metrics: dict[str, Any], pin: str | None, checks: Verification
) -> None:
    boolean = bool(masks) and all(mask.dtype == bool for mask in masks.values())
    checks.require("masks are boolean", boolean, _bad(job, "has masks that are not boolean"))
    fits = _fit(masks, weights)
    checks.require("masks fit the weights", fits, _bad(job, "has masks that do not fit its weights"))
    if fits and boolean:
        zeros = _zero_where_pruned(masks, weights)
        checks.require("pruned weights are exactly 0.0", zeros, _bad(job, "has pruned weights that are not 0.0"))
    checks.require("weights are finite", _finite(weights), _bad(job, "has weights that are not finite"))
    row = metrics["row"]
    own = (row["replicate"], row["round"], row["variant"]) == (job.replicate, job.round, job.variant)
    checks.require("results are of their training", own, _bad(job, "has the results of another training"))
    counts = (row["weights_kept"], row["weights_total"]) == (mask_tools.kept(masks), mask_tools.total(masks))
    checks.require("results count the weights of the masks", counts, _bad(job, "has results that count other weights"))
    pinned = pin is None or metrics["rewind_manifest"] == pin or (job.variant == SEARCH and not metrics["start_step"])
    checks.require(
        "rewind weights are those that were pinned", pinned, _bad(job, "was trained from other rewind weights")
    )


def _verify_results(run: RunReader, jobs: list[Job], checks: Verification) -> None:
    """Check the files that are derived from the metrics of the trainings, line by line."""
    # Read before the metrics: the next training of a run in progress may be committed meanwhile, and written there.
    written = {name: _content(run.path / name) for name in RESULT_FILES}
    try:
        contents = result_files(run.rows(), run.curves())
    except ResourceError:
        raise
    except (LotteryError, KeyError, TypeError, AttributeError) as error:
        if not checks.problems:  # a damaged file of metrics has been noted already
            checks.problems.append(f"The metrics of a training can't be read: {error}")
        return
    for name, expected in contents.items():
        path, actual = run.path / name, written[name]
        if isinstance(actual, FileNotFoundError):
            if jobs:
                checks.remarks.append(f"{name} is not written yet; the next `run` writes it.")
            continue
        if isinstance(actual, OSError):
            checks.problems.append(f"{path} can't be read: {actual.strerror or actual}.")
            continue
        checks.count(f"lines of {name} are what the metrics say", actual.count(b"\n"))
        if actual == expected:
            continue
        # A process that was killed between committing a training and writing the file leaves it one training behind.
        lines, known = actual.splitlines(keepends=True), set(expected.splitlines(keepends=True))
        if lines and all(line in known for line in lines):
            lacking = len(expected.splitlines()) - len(lines)
            unit = "trainings" if name.endswith(".csv") else "evaluations"
            checks.remarks.append(f"{name} lacks {lacking} committed {unit}; the next `run` writes them.")
        else:
            checks.problems.append(f"{path} is not what the metrics of the trainings say.")


def _content(path: Path) -> bytes | OSError:
    """The content of a file, or the reason for which it can't be read."""
    try:
        return read_regular(path)
    except OSError as error:
        return error


def _look_for_leftovers(run: RunReader, expected: set[Job], done: set[Job], checks: Verification) -> None:
    checks.count("no half-written files")
    leftovers = [path for path in run.leftovers() if "report" not in path.relative_to(run.path).parts[:1]]
    if leftovers:
        files, them = ("file", "it") if len(leftovers) == 1 else ("files", "them")
        checks.remarks.append(
            f"{len(leftovers)} half-written or outdated {files} of a killed process; the next `run` removes {them}."
        )
    for job in sorted(expected - done):
        if run.partial_path(job).exists():
            checks.attempt("states in the middle of a training can be read", run.load_partial, job)
    for name in ("environment.json", "model.json"):
        if done:
            checks.attempt("files of the run are those that were pinned", run.check_pinned, name)


def verify_ticket_arrays(masks: Masks, groups: Mapping[str, _Weights], *, path: Path) -> Verification:
    """Check a ticket: masks fit its weights, pruned ones are exactly 0.0, all are finite.

    Args:
        masks: its masks, by weight path.
        groups: its weights, by their kind ("rewind", "trained"); an empty group is left out.
        path: its file, for messages.
    """
    checks = Verification()
    for name, weights in groups.items():
        if not weights:
            continue
        fits = _fit(masks, weights)
        checks.require("masks fit the weights", fits, f"The masks of {path} do not fit its {name} weights.")
        if fits:
            checks.require(
                "pruned weights are exactly 0.0",
                _zero_where_pruned(masks, weights),
                f"{path} has pruned {name} weights that are not 0.0.",
            )
        checks.require("weights are finite", _finite(weights), f"{path} has {name} weights that are not finite.")
    return checks


def _fit(masks: Masks, weights: _Weights) -> bool:
    return all(key in weights and weights[key].shape == mask.shape for key, mask in masks.items())


def _zero_where_pruned(masks: Masks, weights: _Weights) -> bool:
    return all(not np.any(weights[key][~mask]) for key, mask in masks.items())


def _finite(weights: _Weights) -> bool:
    return all(bool(np.isfinite(weight).all()) for weight in weights.values() if weight.dtype.kind == "f")


def _within(masks: Masks, before: Masks) -> bool:
    return masks.keys() == before.keys() and not any(np.any(masks[key] & ~before[key]) for key in masks)


def _same(first: Masks, second: Masks) -> bool:
    return first.keys() == second.keys() and all(np.array_equal(first[key], second[key]) for key in first)


def _bad(job: Job, problem: str) -> str:
    return f"The training of {job} {problem}."
