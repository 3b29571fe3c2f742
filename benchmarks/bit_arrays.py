"""What a run directory holds, read without the package, as arrays; their digests, and how two sets differ."""

import csv
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

ArraysByKey: TypeAlias = dict[str, npt.NDArray[Any]]
ArraysByJob: TypeAlias = dict[str, ArraysByKey]
TIMES = frozenset({"seconds", "steps_per_second"})


def read_run(run: Path) -> ArraysByJob:
    """Reads everything that training decides in a run directory: arrays, rows and history, and no time.

    Args:
        run: the run directory.

    Returns:
        Arrays by job, such as "replicate_0/round_01/variants/random_reinit", and by key, such as
        "weights.npz/dense/kernel", "results.csv/val_loss" or "history/002/val_loss". The states at the rewind point are
        jobs of their own, "replicate_0/rewind".
    """
    rows, jobs = read_rows(run / "results.csv"), {}
    for manifest in sorted(run.glob("replicate_*/**/manifest.json")):
        folder = manifest.parent
        name = folder.relative_to(run).as_posix()
        if folder.name == "rewind":
            jobs[name] = read_checkpoint(folder)
        else:
            jobs[name] = read_job(folder) | rows.pop(name, {})
    if rows or not jobs:
        raise ValueError(f"{run}: there are {len(jobs)} trainings, and rows without a training: {sorted(rows)}.")
    return jobs


def read_job(folder: Path) -> ArraysByKey:
    """Reads the arrays, the row and the history of one training.

    Args:
        folder: its folder, with `.npz` files and `metrics.json`.
    """
    arrays: ArraysByKey = {}
    for path in sorted(folder.glob("*.npz")):
        arrays |= read_npz(path)
    metrics = json.loads((folder / "metrics.json").read_text())
    arrays |= as_arrays("row", metrics["row"])
    for number, record in enumerate(metrics["history"]):
        arrays |= as_arrays(f"history/{number:03d}", record)
    return arrays


def read_npz(path: Path) -> ArraysByKey:
    """Reads a `.npz` file; its name begins the keys.

    Args:
        path: the file.
    """
    with np.load(path, allow_pickle=False) as archive:
        return {f"{path.name}/{key}": archive[key] for key in archive.files}


def read_checkpoint(folder: Path) -> ArraysByKey:
    """Reads the variables of a TensorFlow checkpoint.

    Args:
        folder: the folder that holds its index.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    (index,) = folder.glob("*.index")
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    names = (name for name in reader.get_variable_to_shape_map() if name != "_CHECKPOINTABLE_OBJECT_GRAPH")
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {f"rewind/{name.removesuffix(suffix)}": np.asarray(reader.get_tensor(name)) for name in names}


def read_rows(path: Path) -> ArraysByJob:
    """Reads the rows of `results.csv`, as text, by the name of the job's folder.

    Args:
        path: the file.
    """
    rows = {}
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            name = f"replicate_{row['replicate']}/round_{int(row['round']):02d}"
            name += "" if row["variant"] == "ticket" else f"/variants/{row['variant']}"
            rows[name] = as_arrays("results.csv", row)
    return rows


def as_arrays(prefix: str, record: Mapping[str, Any]) -> ArraysByKey:
    """Returns the values of a record as arrays: numbers in 64 bits, anything else as the text of its JSON.

    Args:
        prefix: begins the keys.
        record: values by name; times are left out.
    """
    values = {f"{prefix}/{key}": value for key, value in record.items() if key not in TIMES}
    return {
        key: np.asarray(value if type(value) in (int, float) else json.dumps(value, sort_keys=True))
        for key, value in values.items()
    }


def digest_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Returns the SHA-256 of arrays: of key, dtype, shape and bytes, in the order of the keys.

    Args:
        arrays: arrays by key.
    """
    sha = hashlib.sha256()
    for key in sorted(arrays):
        array = np.asarray(arrays[key], order="C")
        sha.update(json.dumps([key, array.dtype.str, array.shape]).encode() + b"\n" + array.tobytes())
    return sha.hexdigest()


def digest_jobs(jobs: Mapping[str, str]) -> str:
    """Returns one SHA-256 for the digests of several jobs.

    Args:
        jobs: digests by job.
    """
    return hashlib.sha256(json.dumps(sorted(jobs.items())).encode()).hexdigest()


def differences(before: ArraysByJob, after: ArraysByJob) -> Iterator[str]:
    """Yields a line for each array that is not the same, to the bit, in the order of the jobs.

    Args:
        before: arrays by job and key.
        after: the same of the other run.
    """
    for job in sorted(before.keys() | after.keys()):
        ours, theirs = before.get(job), after.get(job)
        if ours is None or theirs is None:
            yield f"{job}: only {'after' if ours is None else 'before'}"
            continue
        # Arrays first: figures follow from them.
        for key in sorted(ours.keys() | theirs.keys(), key=lambda key: (".npz/" not in key, key)):
            if (text := difference(ours.get(key), theirs.get(key))) is not None:
                yield f"{job}: {key}: {text}"


def difference(before: npt.NDArray[Any] | None, after: npt.NDArray[Any] | None) -> str | None:
    """Returns in what two arrays differ, in a few words; None where they are the same to the bit.

    Args:
        before: an array of any shape and dtype, or None where it is missing.
        after: the other one.
    """
    if before is None or after is None:
        return f"only {'after' if before is None else 'before'}"
    if before.dtype != after.dtype or before.shape != after.shape:
        if before.dtype.kind == after.dtype.kind == "U" and before.shape == after.shape == ():
            return f"{before} before, {after} after"
        return f"{before.dtype} {before.shape} before, {after.dtype} {after.shape} after"
    if before.tobytes() == after.tobytes():
        return None
    if before.shape == ():
        return f"{before} before, {after} after"
    size = before.dtype.itemsize
    pairs = (np.frombuffer(array.tobytes(), f"V{size}").tolist() for array in (before, after))
    count = sum(one != other for one, other in zip(*pairs, strict=True))
    return f"{count} of {before.size} values of {before.dtype} differ"
