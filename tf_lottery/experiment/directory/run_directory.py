"""`RunDirectory`: how a run directory is written, and how a finished training is committed."""

import contextlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_lottery.errors import ResourceError
from tf_lottery.experiment.config_file import RUN_SCHEMA, run_document
from tf_lottery.experiment.directory import manifest, run_lock
from tf_lottery.experiment.directory.job import Job
from tf_lottery.experiment.directory.manifest import Manifest
from tf_lottery.experiment.directory.result_files import result_files
from tf_lottery.experiment.directory.run_reader import ORIGIN, RunReader
from tf_lottery.utils.files import dump_arrays, dump_json, json_text, resources, write_bytes
from tf_lottery.utils.regular_files import read_regular
from tf_lottery.utils.signals import deferred_signals

log = logging.getLogger(__name__)


class RunDirectory(RunReader):
    """The directory of one experiment. Reading needs no lock; writing is done under `lock()`."""

    _lock: run_lock.RunLock | None = None

    @contextlib.contextmanager
    def lock(self, *, timeout: float = run_lock.SECONDS) -> Iterator[None]:
        """Hold the run directory for writing.

        Args:
            timeout: seconds to wait for another process that holds it.

        Raises:
            RunInUseError: another process holds it.
            ResourceError: it can't be written.
        """
        with run_lock.hold(self.path, timeout=timeout) as self._lock:
            try:
                yield
            finally:
                self._lock = None

    # The run as a whole.

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the directory and write its `config.json`, unless it is there.

        Raises:
            ResourceError: it can't be written.
        """
        if not (self.path / "config.json").exists():
            write_bytes(self.path / "config.json", dump_json(run_document(config, RUN_SCHEMA)))

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Replace `config.json`, where a run is extended; what an earlier version began keeps its schema."""
        document = dump_json(run_document(config, self.schema()))
        if document != read_regular(self.path / "config.json"):
            write_bytes(self.path / "config.json", document)

    def write_pinned(self, name: str, content: bytes) -> str:
        """Write a file of the run as a whole, once: every committed training holds its SHA-256.

        Args:
            name: its name, e.g. "model.json".
            content: what to write, where no training is committed yet.

        Returns:
            Its SHA-256, to be committed in the metrics.

        Raises:
            DamagedError: it is not the file that the committed trainings name.
        """
        if not self.complete_jobs():
            return write_bytes(self.path / name, content)
        self.check_pinned(name)
        return manifest.digest(self.path / name)

    def clean(self) -> None:
        """Remove what a killed process left. Only to be called under the lock.

        Raises:
            ResourceError: a file can't be removed.
        """
        for path in self.leftovers():
            with resources(path, done="removed"):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def write_results(self) -> None:
        """Write `results.csv` and `metrics.jsonl` from the committed trainings, in an order that no timing changes.

        Raises:
            RunInUseError: another process took the lock, as from one that gave no sign of life.
            ResourceError: they can't be written.
        """
        if self._lock is not None:
            self._lock.check()
        for name, content in result_files(self.rows(), self.curves()).items():
            write_bytes(self.path / name, content)

    # One training.

    def commit(
        self,
        job: Job,
        arrays: Mapping[str, Mapping[str, np.ndarray]],
        metrics: Mapping[str, Any],
        *,
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        """Commit a finished training: its arrays, then `metrics.json`, and the manifest last.

        Args:
            job: the training.
            arrays: for each file `<name>.npz` its arrays: "masks" (boolean), "weights", and what others need of it.
            metrics: JSON values: its row of results, its learning curve, and what it pins.
            made_from: the manifests that it was made from, as `made_from` gives them.

        Raises:
            ResourceError: they can't be written; nothing is committed then.
        """
        folder = self.job_folder(job)
        hashes = {
            f"{name}.npz": write_bytes(
                folder / f"{name}.npz", dump_arrays(content, compressed=name == "masks"), sync=False
            )
            for name, content in arrays.items()
        }
        # This makes the names of all of them durable, so that none is missing where the manifest is there.
        hashes["metrics.json"] = write_bytes(folder / "metrics.json", dump_json(metrics))
        whole = Manifest(hashes, self.owner(job.replicate, job), made_from or {})
        with deferred_signals():
            manifest.write(folder, whole)
            try:
                with resources(self.partial_path(job), done="removed"):
                    self.partial_path(job).unlink(missing_ok=True)
            except ResourceError as error:  # the training is committed all the same
                log.warning("%s The next run tries it again.", error.cause)

    def save_partial(
        self,
        job: Job,
        state: Mapping[str, np.ndarray],
        progress: Mapping[str, Any],
        *,
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        """Save the state of a running training with its progress, in one atomic file.

        Args:
            job: the training.
            state: the values of model and optimizer by key.
            progress: JSON values.
            made_from: the digests of what it was made from; it is resumed only where they are the same.

        Raises:
            ResourceError: it can't be written.
        """
        origin = {"owner": self.owner(job.replicate, job), "made_from": made_from or {}}
        text = np.frombuffer(json_text({**progress, ORIGIN: origin}).encode(), np.uint8)
        write_bytes(self.partial_path(job), dump_arrays({**state, "progress": text}))

    # The rewind state of a replicate. This loads TensorFlow.

    def save_rewind_state(self, replicate: int, state: Mapping[str, np.ndarray]) -> None:
        """Write the rewind state of a replicate, in round 0.

        Args:
            replicate: the replicate.
            state: the values of model and optimizer by key.

        Raises:
            DamagedError: round 0 is committed and pins another state.
        """
        from tf_lottery.experiment.directory.rewind_checkpoint import save_rewind_state

        save_rewind_state(
            self.rewind_folder(replicate),
            state,
            owner=self.owner(replicate),
            pinned=self.is_complete(Job(replicate, 0)),
        )
