"""`RunReader`: the one place that reads a run directory; all other views of a run are made from it."""

import os
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tf_lottery.errors import DamagedError
from tf_lottery.experiment.directory import manifest, run_lock
from tf_lottery.experiment.directory.job import Job
from tf_lottery.experiment.directory.manifest import Manifest
from tf_lottery.experiment.directory.metrics_document import check_metrics, check_progress
from tf_lottery.experiment.directory.run_identity import RunIdentity
from tf_lottery.pruning.masks import Masks
from tf_lottery.utils.array_archive import check_numbers
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import RESTORE, damaged, load_arrays, load_json, load_text

if TYPE_CHECKING:
    from tf_lottery.training.state import State

# The files of the run as a whole of which every training holds the SHA-256.
PINNED = ("environment.json", "model.json")
_DELETE_PARTIAL = "Delete that file: the training then starts again from its rewind point. All that is committed stays."
# The key, beside the progress of a training, of whose its saved state is and what that was made from.
ORIGIN = "origin"


class RunReader(RunIdentity):
    """A run directory, read only. Reading needs no lock: what is committed never changes.

    Arrays and metrics are checked against the SHA-256 in the manifest of their training when they are read, and the
    manifest to be that of the training, of this run, with all that it was made from.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__(path)
        self._metrics: dict[Job, tuple[Manifest, dict[str, Any]]] = {}
        self._digests: dict[str, tuple[tuple[int, ...], str]] = {}

    def in_use(self) -> bool:
        """Whether a process holds the run directory for writing now."""
        return run_lock.is_held(self.path)

    # The run as a whole.

    def architecture(self) -> str:
        """The plain model's architecture, as JSON for `keras.models.model_from_json`.

        Raises:
            DamagedError: it is missing or altered.
        """
        self.check_pinned("model.json")
        if not isinstance(load_json(self.path / "model.json"), dict):
            raise damaged(self.path / "model.json", "it is not a table of keys")
        return load_text(self.path / "model.json")

    def environment(self) -> dict[str, Any]:
        """What the run was made with: versions, processor, threads, XLA, precision; {} before the first training.

        Raises:
            DamagedError: it is missing or altered.
        """
        if self.complete_jobs():
            self.check_pinned("environment.json")
        path = self.path / "environment.json"
        if not path.exists():
            return {}
        document = load_json(path)
        if not isinstance(document, dict):
            raise damaged(path, "it is not a table of keys")
        return document

    def data_fingerprint(self) -> str:
        """The fingerprint of the data of the run; "" where it is not known, e.g. of a stream."""
        return str(self.environment().get("data_fingerprint") or "")

    def check_pinned(self, name: str) -> None:
        """Check a file of the run as a whole against the SHA-256 in the metrics of every committed training.

        Raises:
            DamagedError: it is missing or altered.
        """
        actual = manifest.digest(self.path / name)
        for job in self.complete_jobs():
            self._require_pinned(name, actual, self.metrics(job).get("pinned", {}).get(name))

    def _require_pinned(self, name: str, actual: str, pinned: str | None) -> None:
        if actual != pinned:
            raise DamagedError(f"{self.path / name} is not the file that the run began with.", RESTORE)

    def _pinned_digest(self, name: str) -> str:
        """The SHA-256 of a file of the run as a whole, computed again where the file has changed."""
        path = self.path / name
        status = path.stat()
        stamp = status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
        if self._digests.get(name, ((), ""))[0] != stamp:
            self._digests[name] = stamp, manifest.digest(path)
        return self._digests[name][1]

    # One training.

    def masks(self, job: Job) -> Masks:
        """The masks of a committed training, by weight path.

        Raises:
            DamagedError: they are missing or altered.
        """
        return self._arrays(job, "masks")

    def weights(self, job: Job) -> dict[str, np.ndarray]:
        """Every variable of the model at the end of a committed training, by path; exactly 0.0 where pruned.

        Raises:
            DamagedError: they are missing or altered.
        """
        return self._arrays(job, "weights")

    def optimizer(self, job: Job) -> dict[str, np.ndarray]:
        """The optimizer's variables at the end of a committed training, of those that others continue from."""
        return self._arrays(job, "optimizer")

    def changes(self, job: Job) -> dict[str, np.ndarray]:
        """How far each maskable weight moved in a training, summed over its steps, where a criterion scores that."""
        return self._arrays(job, "changes")

    def _arrays(self, job: Job, name: str) -> dict[str, np.ndarray]:
        self.metrics(job)  # they hold what the arrays have to fit
        folder = self.job_folder(job)
        manifest.check(folder, f"{name}.npz", self.checked_manifest(folder))
        return load_arrays(folder / f"{name}.npz", check_numbers)

    def metrics(self, job: Job) -> dict[str, Any]:
        """The metrics of a committed training; they are read once.

        Raises:
            DamagedError: they are missing, altered, or of another training, run or rewind state.
        """
        folder = self.job_folder(job)
        found = self.checked_manifest(folder)
        if job not in self._metrics or self._metrics[job][0] != found:
            manifest.check(folder, "metrics.json", found)
            metrics = check_metrics(load_json(folder / "metrics.json"), folder / "metrics.json")
            self._check_metrics(job, metrics)
            self._metrics[job] = found, metrics
        return self._metrics[job][1]

    def _check_metrics(self, job: Job, metrics: dict[str, Any]) -> None:
        """Check by what metrics say whose they are: all that there is, where an earlier version wrote the manifest."""
        row, own = metrics.get("row", {}), {"replicate": job.replicate, "round": job.round, "variant": job.variant}
        if any(row.get(key, value) != value for key, value in own.items()):
            raise DamagedError(f"{self.job_folder(job)} holds the results of another training.", RESTORE)
        for name, pinned in metrics.get("pinned", {}).items():
            if name in PINNED and (self.path / name).is_file():
                self._require_pinned(name, self._pinned_digest(name), pinned)
        digest, rewind = metrics.get("rewind_manifest"), self.rewind_folder(job.replicate)
        if digest and manifest.exists(rewind) and self.rewind_digest(job.replicate) != digest:
            raise DamagedError(
                f"{rewind} is not the rewind state that round 0 wrote, which {job} names.",
                RESTORE,
            )

    def verify(self, job: Job) -> None:
        """Check every file of a committed training against its SHA-256.

        Raises:
            DamagedError: one is missing or altered.
        """
        manifest.verify(self.job_folder(job))

    def load_partial(
        self, job: Job, made_from: Callable[[], Mapping[str, str]] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """State and progress of a training that was stopped in its middle, or None.

        Args:
            job: the training.
            made_from: returns what it would be made from now, for a state to be resumed; None to read it only.

        Raises:
            DamagedError: the file is damaged, of another training or run, or of other trainings before it.
        """
        content = self._read_partial(job)
        return content and (content[0], self._checked_progress(job, content[1], made_from))

    def partial_progress(self, job: Job) -> dict[str, Any] | None:
        """The progress of a training that was stopped in its middle, or None; the arrays of its state are not read.

        Raises:
            DamagedError: the file is damaged, or of another training or run.
        """
        content = self._read_partial(job, only=("progress",))
        return content and self._checked_progress(job, content[1], None)

    def _read_partial(
        self, job: Job, *, only: Collection[str] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """State and progress of a saved state; None if there is none, or none any more: its training is committed."""
        path = self.partial_path(job)
        try:
            state = load_arrays(path, check_numbers, only=only)
            return state, check_progress(parse_json(state.pop("progress").tobytes()))
        except (DamagedError, KeyError, ValueError) as error:
            if not path.exists():
                return None
            raise DamagedError(
                f"{path}, the saved state of a running training, is damaged.", _DELETE_PARTIAL
            ) from error

    def _checked_progress(
        self, job: Job, progress: dict[str, Any], made_from: Callable[[], Mapping[str, str]] | None
    ) -> dict[str, Any]:
        """The progress of a saved state without its origin, once that is checked."""
        path = self.partial_path(job)
        origin = progress.pop(ORIGIN, {"owner": {}, "made_from": {}})
        try:
            self.check_owner(path, origin["owner"], self.owner(job.replicate, job))
        except DamagedError as error:
            raise DamagedError(error.cause, _DELETE_PARTIAL) from error
        before, now = origin["made_from"], made_from() if made_from and origin["made_from"] else origin["made_from"]
        changed = [name for name in before if now.get(name) != before[name]]
        if changed:
            raise DamagedError(f"{path} was not made from {', '.join(changed)} as it is now.", _DELETE_PARTIAL)
        return progress

    # The rewind state of a replicate. These load TensorFlow.

    def rewind_state(self, replicate: int) -> "State":
        """Every variable of model and optimizer at the rewind step, by key.

        Raises:
            DamagedError: it is missing, altered, or not the one that round 0 wrote.
        """
        from tf_lottery.experiment.directory.rewind_checkpoint import load_rewind_state

        folder = self.rewind_folder(replicate)
        self.checked_manifest(folder)
        if self.is_complete(Job(replicate, 0)):
            self.metrics(Job(replicate, 0))  # round 0 names its rewind state
        return load_rewind_state(folder)

    def rewind_weights(self, replicate: int) -> dict[str, np.ndarray]:
        """Every variable of the model at the rewind step, by path; not masked.

        Raises:
            DamagedError: they are missing or altered.
        """
        from tf_lottery.training.state import model_variables

        return model_variables(self.rewind_state(replicate))

    def rewind_digest(self, replicate: int) -> str:
        """The SHA-256 of the manifest of a replicate's rewind state, which every round pins.

        Raises:
            DamagedError: it can't be read.
        """
        return manifest.digest(self.rewind_folder(replicate) / manifest.NAME)

    # All trainings.

    def rows(self) -> list[dict[str, Any]]:
        """The result rows: one per committed training.

        Raises:
            DamagedError: a file of metrics is damaged.
        """
        try:
            return [dict(self.metrics(job)["row"]) for job in self.complete_jobs()]
        except DamagedError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedError(
                f"A metrics.json of {self.path} is damaged: it has no row of results.",
                "Find it with `tf_lottery.experiment.run_verification.verify_run(...)`, restore it, or start over with "
                "`fresh=True`.",
            ) from error

    def curves(self) -> list[dict[str, Any]]:
        """The learning curves: one record per evaluation of every committed training."""
        return [
            {"replicate": job.replicate, "round": job.round, "variant": job.variant, **record}
            for job in self.complete_jobs()
            for record in self.metrics(job)["history"]
        ]

    def layers(self) -> list[dict[str, Any]]:
        """Weights kept and total, for each weight array of every committed training."""
        return [
            {"replicate": job.replicate, "round": job.round, "variant": job.variant, "layer": layer, **counts}
            for job in self.complete_jobs()
            for layer, counts in self.metrics(job)["layers"].items()
        ]
