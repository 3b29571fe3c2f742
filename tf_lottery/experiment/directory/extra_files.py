"""Files in a run directory that are not of the run: no manifest names them, and nothing reads them."""

import os
from pathlib import Path

from tf_lottery.errors import DamagedError
from tf_lottery.experiment.directory import manifest, run_lock
from tf_lottery.experiment.directory.layout import RunLayout
from tf_lottery.experiment.directory.outcome_folder import ANALYSIS, REPORT
from tf_lottery.experiment.directory.run_checks import Verification
from tf_lottery.utils.regular_files import paths_below

_OF_THE_RUN = {"config.json", "model.json", "environment.json", "results.csv", "metrics.jsonl", run_lock.NAME}
# What has a manifest of its own, and the curves for TensorBoard.
_FOLDERS = {REPORT, ANALYSIS, "tensorboard"}
# What a training has that is not committed yet.
_OF_A_TRAINING = {"masks.npz", "weights.npz", "optimizer.npz", "changes.npz", "metrics.json"}
_MOST = 5


def note_extra_files(run: RunLayout, checks: Verification) -> None:
    """Note the files that are not of a run.

    Args:
        run: the run directory.
        checks: what is noted.
    """
    extra = [path.relative_to(run.path).as_posix() for path in extra_files(run)]
    if extra:
        more = f" and {len(extra) - _MOST} more" if len(extra) > _MOST else ""
        checks.remarks.append(f"Not of the run, and not checked: {', '.join(extra[:_MOST])}{more}.")


def extra_files(run: RunLayout) -> list[Path]:
    """Return the files in a run directory that are not of the run, sorted; what a killed process left is not listed."""
    left = set(run.leftovers())
    names: dict[Path, set[str]] = {run.path: _OF_THE_RUN}
    extra = []
    for path in sorted(paths_below(run.path)):
        if os.path.isdir(path) and not os.path.islink(path):  # where a path is too long, those of `Path` raise
            continue
        if path.relative_to(run.path).parts[0] in _FOLDERS or left & {path, *path.parents}:
            continue
        if path.parent not in names:
            names[path.parent] = _names(run, path.parent)
        if path.name not in names[path.parent]:
            extra.append(path)
    return extra


def _names(run: RunLayout, folder: Path) -> set[str]:
    """The names of the files that belong into a folder."""
    training = run.is_place_of_a_training(folder)
    if not training and not (folder.match("replicate_*/rewind") and folder.parent.parent == run.path):
        return set()
    if not manifest.exists(folder):
        return {*_OF_A_TRAINING, "partial.npz"} if training else set()
    try:
        return {*manifest.read(folder).files, manifest.NAME, *(["partial.npz"] if training else [])}
    except DamagedError:  # it is noted elsewhere
        return {path.name for path in folder.iterdir()}
