"""`RunLayout`: where each thing of a run directory is, and what is complete."""

import contextlib
import os
from pathlib import Path

from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.job import TICKET, Job

# What stands in the names of folders for the colon of an import path, which some file systems do not allow.
_COLON = "@"


class RunLayout:
    """The paths in a run directory.

    Attributes:
        path: the run directory.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    # Where things are.

    def replicate_folder(self, replicate: int) -> Path:
        """The folder of a replicate."""
        return self.path / f"replicate_{replicate}"

    def rewind_folder(self, replicate: int) -> Path:
        """The folder of a replicate's rewind state."""
        return self.replicate_folder(replicate) / "rewind"

    def job_folder(self, job: Job) -> Path:
        """The folder of a training."""
        folder = self.replicate_folder(job.replicate) / f"round_{job.round:02d}"
        return folder if job.variant == TICKET else folder / "variants" / job.variant.replace(":", _COLON)

    def partial_path(self, job: Job) -> Path:
        """The file that holds the state of a training that was stopped in its middle."""
        return self.job_folder(job) / "partial.npz"

    # What is there.

    def is_complete(self, job: Job) -> bool:
        """Whether a training is committed."""
        return manifest.exists(self.job_folder(job))

    def complete_jobs(self) -> list[Job]:
        """The trainings that are committed, by replicate, round and variant, the ticket first."""
        jobs = []
        for path in self.path.glob(f"replicate_*/round_*/**/{manifest.NAME}"):
            parts = path.relative_to(self.path).parts
            variant = parts[3] if len(parts) == 5 and parts[2] == "variants" else TICKET if len(parts) == 3 else None
            variant = variant and variant.replace(_COLON, ":")
            with contextlib.suppress(ValueError, IndexError):
                if variant is not None:
                    jobs.append(Job(int(parts[0].split("_")[1]), int(parts[1].split("_")[1]), variant))
        return sorted(jobs, key=lambda job: (job.replicate, job.round, job.variant != TICKET, job.variant))

    def leftovers(self) -> list[Path]:
        """What a killed process left: half-written files, and the saved states of trainings that are committed."""
        partials = self.path.glob("replicate_*/round_*/**/partial.npz")
        return sorted([*self.path.rglob(".*.tmp"), *(path for path in partials if manifest.exists(path.parent))])

    def has_rewind_state(self, replicate: int) -> bool:
        """Whether the rewind state of a replicate is there."""
        return manifest.exists(self.rewind_folder(replicate))

    def has_arrays(self, job: Job, name: str) -> bool:
        """Whether a training committed the arrays `<name>.npz`.

        Args:
            job: a committed training.
            name: e.g. "optimizer".
        """
        return (self.job_folder(job) / f"{name}.npz").is_file()
