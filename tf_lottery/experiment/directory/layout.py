"""`RunLayout`: where each thing of a run directory is, and what is complete."""

import contextlib
import itertools
import os
from fnmatch import fnmatch
from pathlib import Path

from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.job import TICKET, Job
from tf_lottery.utils.files import not_permitted
from tf_lottery.utils.regular_files import paths_below

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
        paths = self._of_trainings(manifest.NAME)
        jobs = [job for path in paths if (job := self._job_of(path.parent)) is not None]
        return sorted(jobs, key=lambda job: (job.replicate, job.round, job.variant != TICKET, job.variant))

    def _of_trainings(self, name: str) -> list[Path]:
        """The files of a name in the folders of trainings; no deeper folder is looked into.

        Raises:
            ResourceError: one of the folders may not be looked into.
        """
        rounds = "replicate_*/round_*"
        patterns = ("replicate_*", rounds, f"{rounds}/variants")
        for folder in itertools.chain([self.path], *map(self.path.glob, patterns)):
            if not os.access(folder, os.R_OK | os.X_OK) and folder.is_dir():
                raise not_permitted(folder)  # `glob` would find nothing there
        return [*self.path.glob(f"{rounds}/{name}"), *self.path.glob(f"{rounds}/variants/*/{name}")]

    def _job_of(self, folder: Path) -> Job | None:
        """The training whose folder this is; None if it is no training's, e.g. a copy beside it."""
        job = None
        with contextlib.suppress(ValueError, IndexError):
            match folder.relative_to(self.path).parts:
                case (replicate, number):
                    job = Job(int(replicate.split("_")[1]), int(number.split("_")[1]))
                case (replicate, number, "variants", name):
                    variant = name.replace(_COLON, ":")
                    job = Job(int(replicate.split("_")[1]), int(number.split("_")[1]), variant)
        return job if job is not None and self.job_folder(job) == folder else None

    def is_place_of_a_training(self, folder: Path) -> bool:
        """Whether a folder is where a training of the run would be."""
        return self._job_of(folder) is not None

    def leftovers(self) -> list[Path]:
        """What a killed process left: half-written files, and the saved states of trainings that are committed."""
        partials = [path for path in self._of_trainings("partial.npz") if manifest.exists(path.parent)]
        temporary = [path for path in paths_below(self.path) if fnmatch(path.name, ".*.tmp")]
        return sorted([*temporary, *partials])

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
