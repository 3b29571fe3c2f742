"""The run directory: where each thing is, what is complete, and how a finished job is committed."""

import contextlib
import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from tf_lottery.errors import DamagedError, ResourceError, RunInUseError, UsageError
from tf_lottery.experiment.config_file import with_current_keys
from tf_lottery.experiment.directory import manifest
from tf_lottery.utils.files import dump_arrays, dump_json, load_arrays, load_json, resources, strict, write_bytes

SCHEMA = "tf-lottery.run-directory/1"
TICKET = "ticket"
SEARCH = "search"  # a training that only finds masks
LOCK_SECONDS = 1.0
COLUMNS = (
    *("replicate", "round", "variant", "density", "sparsity", "weights_kept", "weights_total", "steps"),
    *("train_loss", "val_loss", "val_accuracy", "test_loss", "test_accuracy"),
    *("early_stop_step", "early_stop_val_loss", "early_stop_test_accuracy", "seconds", "steps_per_second"),
)


@dataclass(frozen=True, order=True)
class Job:
    """One training: a variant of a round of a replicate."""

    replicate: int
    round: int
    variant: str = TICKET

    def __str__(self) -> str:
        return f"replicate {self.replicate}, round {self.round}, {self.variant}"


class RunDirectory:
    """The directory of one experiment. Reading needs no lock; writing is done under `lock()`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._metrics: dict[Job, dict[str, Any]] = {}

    # Where things are.

    def replicate(self, replicate: int) -> Path:
        return self.path / f"replicate_{replicate}"

    def rewind(self, replicate: int) -> Path:
        return self.replicate(replicate) / "rewind"

    def has_rewind(self, replicate: int) -> bool:
        """Whether the rewind state of a replicate is there."""
        return manifest.exists(self.rewind(replicate))

    def job(self, job: Job) -> Path:
        directory = self.replicate(job.replicate) / f"round_{job.round:02d}"
        return directory if job.variant == TICKET else directory / "variants" / job.variant

    def is_complete(self, job: Job) -> bool:
        return manifest.exists(self.job(job))

    def complete_jobs(self) -> list[Job]:
        """The jobs that are committed, by replicate, round and variant, the ticket first."""
        found = []
        for path in self.path.glob(f"replicate_*/round_*/**/{manifest.NAME}"):
            parts = path.relative_to(self.path).parts
            variant = parts[3] if len(parts) == 5 and parts[2] == "variants" else TICKET if len(parts) == 3 else None
            with contextlib.suppress(ValueError, IndexError):
                if variant is not None:
                    found.append(Job(int(parts[0].split("_")[1]), int(parts[1].split("_")[1]), variant))
        return sorted(found, key=lambda job: (job.replicate, job.round, job.variant != TICKET, job.variant))

    # The run as a whole.

    def create(self, config: Mapping[str, Any]) -> None:
        """Make the directory and write its `config.json`, unless it is there."""
        with resources(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "config.json").exists():
            write_bytes(self.path / "config.json", dump_json({"schema": SCHEMA, **config}))

    def update_config(self, config: Mapping[str, Any]) -> None:
        """Replace `config.json`, where a run is extended."""
        document = dump_json({"schema": SCHEMA, **config})
        if document != (self.path / "config.json").read_bytes():
            write_bytes(self.path / "config.json", document)

    def config(self) -> dict[str, Any]:
        """The effective configuration.

        Raises:
            UsageError: this is not a run directory.
            DamagedError: its configuration can't be read.
        """
        if not (self.path / "config.json").is_file():
            raise UsageError(
                f"{self.path} is not a run directory: it has no config.json.",
                "`tf_lottery.results.run_lookup.list_runs(...)` lists runs.",
            )
        document = load_json(self.path / "config.json")
        if not isinstance(document, dict) or document.pop("schema", None) != SCHEMA:
            raise DamagedError(
                f"{self.path / 'config.json'} is not a configuration of a run.", "Start over with `fresh=True`."
            )
        return with_current_keys(document)

    def pin(self, name: str, content: bytes) -> str:
        """Write a file of the run as a whole, once: every committed training tells its SHA-256.

        Args:
            name: its name, e.g. "model.json".
            content: what to write, where no training is committed yet.

        Returns:
            Its SHA-256, to be committed in the metrics.

        Raises:
            DamagedError: it is not what the committed trainings tell.
        """
        if not self.complete_jobs():
            return write_bytes(self.path / name, content)
        self.check_pinned(name)
        return manifest.digest(self.path / name)

    def check_pinned(self, name: str) -> None:
        """Check a file of the run as a whole against what every committed training tells of it.

        Raises:
            DamagedError: it is missing or altered.
        """
        actual = manifest.digest(self.path / name)
        if any(self.metrics(job).get("pinned", {}).get(name) != actual for job in self.complete_jobs()):
            raise DamagedError(
                f"{self.path / name} is not the file that the run began with.",
                "Restore it from a copy, or start over with `fresh=True`.",
            )

    def model(self) -> str:
        """The plain model's architecture, as JSON for `keras.models.model_from_json`.

        Raises:
            DamagedError: it is missing or altered.
        """
        self.check_pinned("model.json")
        return (self.path / "model.json").read_text()

    def environment(self) -> dict[str, Any]:
        """What the run was made with: versions, processor, threads, XLA, precision; {} before the first training.

        Raises:
            DamagedError: it is missing or altered.
        """
        if self.complete_jobs():
            self.check_pinned("environment.json")
        path = self.path / "environment.json"
        return load_json(path) if path.exists() else {}

    @contextlib.contextmanager
    def lock(self, *, timeout: float = LOCK_SECONDS) -> Iterator[None]:
        """Hold the run directory for writing.

        Args:
            timeout: seconds to wait for it. A moment by default: `in_use` holds it for an instant.

        Raises:
            RunInUseError: another process holds it.
        """
        with resources(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.path / ".lock", timeout=timeout)
            try:
                lock.acquire()
            except filelock.Timeout:
                raise RunInUseError(
                    f"The run {self.path} is in use by another process.",
                    "Wait for it to end, or start another run with `fresh=True` or another `run_dir`.",
                ) from None
        try:
            yield
        finally:
            lock.release()

    def in_use(self) -> bool:
        """Whether a process holds the run directory now."""
        if not (self.path / ".lock").exists():
            return False
        try:
            with self.lock(timeout=0):
                return False
        except RunInUseError:
            return True
        except ResourceError:
            return False

    def clean(self) -> None:
        """Remove what a killed process left half-written. Only to be called under the lock."""
        for path in self.path.rglob(".*.tmp"):
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    # Jobs.

    def commit(self, job: Job, arrays: Mapping[str, Mapping[str, np.ndarray]], metrics: Mapping[str, Any]) -> None:
        """Commit a finished job: `<name>.npz` for each of `arrays`, `metrics.json`, and the manifest last."""
        directory = self.job(job)
        with resources(directory):
            directory.mkdir(parents=True, exist_ok=True)
        hashes = {
            f"{name}.npz": write_bytes(
                directory / f"{name}.npz", dump_arrays(content, compressed=name == "masks"), sync=False
            )
            for name, content in arrays.items()
        }
        # This makes the names of all of them durable, so that none is missing where the manifest is there.
        hashes["metrics.json"] = write_bytes(directory / "metrics.json", dump_json(metrics))
        manifest.write(directory, hashes)
        self.partial(job).unlink(missing_ok=True)

    def masks(self, job: Job) -> dict[str, np.ndarray]:
        return load_arrays(self.job(job) / "masks.npz")

    def weights(self, job: Job) -> dict[str, np.ndarray]:
        return load_arrays(self.job(job) / "weights.npz")

    def optimizer(self, job: Job) -> dict[str, np.ndarray]:
        """The optimizer's state at the end of a job, of those jobs that others go on from."""
        return load_arrays(self.job(job) / "optimizer.npz")

    def changes(self, job: Job) -> dict[str, np.ndarray]:
        """How far each maskable weight went in the training, summed over its steps, where a criterion scores that."""
        return load_arrays(self.job(job) / "changes.npz")

    def has(self, job: Job, name: str) -> bool:
        """Whether a committed job holds the arrays `<name>.npz`."""
        return (self.job(job) / f"{name}.npz").is_file()

    def metrics(self, job: Job) -> dict[str, Any]:
        """The metrics of a committed job, read once: what is committed never changes.

        Raises:
            DamagedError: they are missing, or not what the manifest says.
        """
        if job not in self._metrics:
            manifest.check(self.job(job), "metrics.json")
            self._metrics[job] = load_json(self.job(job) / "metrics.json")
        return self._metrics[job]

    def partial(self, job: Job) -> Path:
        """The file that holds the state of a job in the middle of its training."""
        return self.job(job) / "partial.npz"

    def save_partial(self, job: Job, state: Mapping[str, np.ndarray], progress: Mapping[str, Any]) -> None:
        """Save the state of a running job, with its progress, in one atomic file."""
        with resources(self.job(job)):
            self.job(job).mkdir(parents=True, exist_ok=True)
        text = np.frombuffer(json.dumps(strict(progress)).encode(), np.uint8)
        write_bytes(self.partial(job), dump_arrays({**state, "progress": text}))

    def load_partial(self, job: Job) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """The state and progress of a job that was stopped in its middle, or None."""
        path = self.partial(job)
        if not path.exists():
            return None
        try:
            state = load_arrays(path)
            return state, json.loads(state.pop("progress").tobytes())
        except (DamagedError, KeyError, ValueError) as error:
            raise DamagedError(
                f"{path}, the saved state of a running training, is damaged.",
                "Delete that file: the training then starts again from its rewind point. All that is committed stays.",
            ) from error

    # What is derived from the committed jobs.

    def rows(self) -> list[dict[str, Any]]:
        """One row per committed job."""
        return [self.metrics(job)["row"] for job in self.complete_jobs()]

    def curves(self) -> list[dict[str, Any]]:
        """One record per evaluation of every committed job."""
        return [
            {"replicate": job.replicate, "round": job.round, "variant": job.variant, **record}
            for job in self.complete_jobs()
            for record in self.metrics(job)["history"]
        ]

    def layers(self) -> list[dict[str, Any]]:
        """Weights kept and total, for each weight array of every committed job."""
        return [
            {"replicate": job.replicate, "round": job.round, "variant": job.variant, "layer": layer, **counts}
            for job in self.complete_jobs()
            for layer, counts in self.metrics(job)["layers"].items()
        ]

    def write_results(self) -> None:
        """Write `results.csv` and `metrics.jsonl` from the committed jobs, in an order that does not depend on time."""
        for name, content in self.derived().items():
            write_bytes(self.path / name, content)

    def derived(self) -> dict[str, bytes]:
        """What `results.csv` and `metrics.jsonl` hold, by name."""
        rows = self.rows()
        columns = list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)]))
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, lineterminator="\n", restval="")
        writer.writeheader()
        writer.writerows(rows)
        lines = "".join(json.dumps(strict(record)) + "\n" for record in self.curves())
        return {"results.csv": table.getvalue().encode(), "metrics.jsonl": lines.encode()}
