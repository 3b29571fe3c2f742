"""Rewind states on disk: a model checkpoint per replicate, written once, read-only after."""

import contextlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError
from tf_lottery.experiment.directory import manifest
from tf_lottery.experiment.directory.manifest import Manifest
from tf_lottery.training.checkpoint import load_checkpoint, save_checkpoint
from tf_lottery.training.state import State
from tf_lottery.utils.files import make_directory, resources, sync_to_disk
from tf_lottery.utils.network_files import rename

PREFIX = "checkpoint"


def save_rewind_state(folder: Path, state: Mapping[str, np.ndarray], *, owner: Mapping[str, Any], pinned: bool) -> None:
    """Write the rewind state of a replicate, in round 0.

    A state that a stopped round 0 left is replaced where it differs (a stream yields other batches, an unseeded model
    has other weights) or is of another run: nothing depends on it yet.

    Args:
        folder: where the checkpoint is; it appears whole or not at all.
        state: the values of model and optimizer by key, as `training.state.capture` gives them.
        owner: the run and the replicate, for its manifest.
        pinned: whether round 0 is committed, which names the SHA-256 of its rewind state.

    Raises:
        DamagedError: round 0 is committed and pins another state.
        ResourceError: it can't be written.
    """
    if manifest.exists(folder):
        saved = load_rewind_state(folder)
        same = saved.keys() == state.keys() and all(np.array_equal(saved[key], state[key]) for key in saved)
        if same and (pinned or manifest.read(folder).owner == owner):
            return
        if pinned:
            raise DamagedError(
                f"{folder} holds another rewind state than the one that this run comes to.",
                "Versions, threads or data have changed since it was written: start over with `fresh=True`.",
            )
    temporary, replaced = (folder.with_name(f".rewind.{os.getpid()}.{kind}.tmp") for kind in ("new", "old"))
    with resources(folder):
        make_directory(folder.parent)
        for left in (temporary, replaced):
            shutil.rmtree(left, ignore_errors=True)
        temporary.mkdir()
        try:
            save_checkpoint(temporary / PREFIX, state)
            hashes = {}
            for path in sorted(temporary.iterdir()):
                hashes[path.name] = manifest.digest(path)
                sync_to_disk(path)
            manifest.write(temporary, Manifest(hashes, owner))
            for path in temporary.iterdir():
                path.chmod(0o444)
            with contextlib.suppress(FileNotFoundError):
                rename(folder, replaced)  # to remove it in its place would leave a part of it to a killed process
            rename(temporary, folder)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        sync_to_disk(folder.parent)
        shutil.rmtree(replaced, ignore_errors=True)


def load_rewind_state(folder: Path) -> State:
    """The rewind state of a replicate: the values of model and optimizer by key.

    Raises:
        DamagedError: it is missing or altered.
    """
    manifest.verify(folder)
    return load_checkpoint(folder / PREFIX)
