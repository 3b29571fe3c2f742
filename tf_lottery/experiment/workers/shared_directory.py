"""The run directory where several processes train one model: the chief writes, the others wait for it and read."""

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from tf_lottery.experiment.directory import Job, RunDirectory, run_lock
from tf_lottery.experiment.directory.manifest import NAME as MANIFEST
from tf_lottery.training.process_checks import check_shared, wait_until_visible
from tf_lottery.training.replicas import Replicas


class SharedDirectory(RunDirectory):
    """A run directory that the processes of a strategy share; all of them make the same calls in the same order.

    Args:
        path: the run directory.
        replicas: the replicas, which say which process is the chief.
    """

    def __init__(self, path: Any, replicas: Replicas) -> None:
        super().__init__(path)
        self.replicas = replicas
        self._writes = replicas.is_chief

    @contextlib.contextmanager
    def lock(self, *, timeout: float = run_lock.SECONDS) -> Iterator[None]:
        """Hold the run directory for writing, in the chief; the others write nothing."""
        with super().lock(timeout=timeout) if self._writes else contextlib.nullcontext():
            yield

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the directory and write its `config.json`, in the chief; check that all processes see it.

        Raises:
            ResourceError: one does not; or it can't be written.
        """
        if self._writes:
            super().create(config)
        check_shared(self.replicas, self.path)

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Replace `config.json`, in the chief."""
        if self._writes:
            super().update_config(config)

    def clean(self) -> None:
        """Remove what a killed process left, in the chief."""
        if self._writes:
            super().clean()

    def write_results(self) -> None:
        """Write the files of results, in the chief."""
        if self._writes:
            super().write_results()

    def write_pinned(self, name: str, content: bytes) -> str:
        """Write a file of the run as a whole, once, in the chief.

        Args:
            name: its name.
            content: what to write.

        Returns:
            Its SHA-256, which the chief commits; "" in the others.
        """
        digest = super().write_pinned(name, content) if self._writes else ""
        self._wait_for_chief()
        return digest

    def commit(
        self,
        job: Job,
        arrays: Mapping[str, Mapping[str, np.ndarray]],
        metrics: Mapping[str, Any],
        *,
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        """Commit a finished training, in the chief; the others return when it is committed.

        Args:
            job: the training.
            arrays: as for `RunDirectory.commit`.
            metrics: likewise.
            made_from: likewise.
        """
        if self._writes:
            super().commit(job, arrays, metrics, made_from=made_from)
        self._wait_for_chief()
        wait_until_visible(self.job_folder(job) / MANIFEST)

    def save_partial(
        self,
        job: Job,
        state: Mapping[str, np.ndarray],
        progress: Mapping[str, Any],
        *,
        made_from: Mapping[str, str] | None = None,
    ) -> None:
        """Save the state of a running training, in the chief.

        Args:
            job: the training.
            state: as for `RunDirectory.save_partial`.
            progress: likewise.
            made_from: likewise.
        """
        if self._writes:
            super().save_partial(job, state, progress, made_from=made_from)

    def save_rewind_state(self, replicate: int, state: Mapping[str, np.ndarray]) -> None:
        """Write the rewind state of a replicate, in the chief; the others return when it is written.

        Args:
            replicate: the replicate.
            state: the values of model and optimizer by key.
        """
        if self._writes:
            super().save_rewind_state(replicate, state)
        self._wait_for_chief()
        wait_until_visible(self.rewind_folder(replicate) / MANIFEST)

    def _wait_for_chief(self) -> None:
        self.replicas.each([0])
