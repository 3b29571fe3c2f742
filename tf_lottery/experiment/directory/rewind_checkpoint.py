"""Rewind weights on disk: a model checkpoint per replicate, written once, read-only after."""

import contextlib
import os
import shutil
from collections.abc import Mapping

import numpy as np

from tf_lottery.errors import DamagedError
from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.run_directory import Job, RunDirectory
from tf_lottery.training import state as rewinding
from tf_lottery.training.state import State
from tf_lottery.utils.files import resources, sync_directory

PREFIX = "checkpoint"


def save_rewind(store: RunDirectory, replicate: int, state: Mapping[str, np.ndarray]) -> None:
    """Write the rewind state of a replicate, in round 0.

    A state that a stopped round 0 left is replaced where it differs (a stream yields other batches, an unseeded model
    has other weights): nothing depends on it yet.

    Raises:
        DamagedError: round 0 is committed and pins another state.
    """
    directory = store.rewind(replicate)
    if manifest.exists(directory):
        saved = load_rewind(store, replicate)[0]
        if saved.keys() == state.keys() and all(np.array_equal(saved[key], state[key]) for key in saved):
            return
        if store.is_complete(Job(replicate, 0)):
            raise DamagedError(
                f"{directory} holds another rewind state than the one that this run comes to.",
                "Versions, threads or data have changed since it was written: start over with `fresh=True`.",
            )
    temporary = directory.with_name(f".rewind.{os.getpid()}.tmp")
    with resources(directory):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            rewinding.save_checkpoint(temporary / PREFIX, state)
            hashes = {}
            for path in sorted(temporary.iterdir()):
                hashes[path.name] = manifest.digest(path)
                with open(path, "rb") as file:
                    os.fsync(file.fileno())
            manifest.write(temporary, hashes)
            for path in temporary.iterdir():
                path.chmod(0o444)
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(directory)
            os.rename(temporary, directory)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_directory(directory.parent)


def load_rewind(store: RunDirectory, replicate: int) -> tuple[State, str]:
    """The rewind state of a replicate, and the SHA-256 of its manifest, which every round pins.

    Raises:
        DamagedError: it is missing or altered.
    """
    directory = store.rewind(replicate)
    manifest.verify(directory)
    return rewinding.load_checkpoint(directory / PREFIX), manifest.digest(directory / manifest.NAME)
