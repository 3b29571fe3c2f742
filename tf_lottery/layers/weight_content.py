"""What a file of weights holds, checked before Keras takes memory for it: Keras's own limits begin at gigabytes."""

import io
import math
import os
import zipfile
from pathlib import Path
from typing import Any

import h5py

from tf_lottery.utils.array_archive import MOST_EXPANSION, SMALL, check_headers, check_members
from tf_lottery.utils.regular_files import open_regular

HDF5 = (".h5", ".hdf5")
WEIGHTS = {"model.weights.h5", "model.weights.npz"}


def check_weight_file(path: Path) -> None:
    """Checks that the arrays of a file of weights or of a model are in it, and are not far larger than it.

    Args:
        path: An HDF5 or `.keras` file; others are left to who reads them.

    Raises:
        ValueError: If an array lies in another file, or they would become far more than its size.
        OSError: If it is no such file.
        zipfile.BadZipFile: If it is no such file.
    """
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if path.suffix in HDF5:
            with h5py.File(file, "r") as arrays:
                _check_arrays(arrays, size)
        elif path.suffix == ".keras":
            with zipfile.ZipFile(file) as archive:
                check_members(archive.infolist(), size)
                _check_weights_in(archive)


def _check_weights_in(archive: zipfile.ZipFile) -> None:
    for member in archive.infolist():
        if member.filename not in WEIGHTS:
            continue
        with io.BytesIO(archive.read(member)) as content:
            if member.filename.endswith(".npz"):
                check_headers(content, member.file_size)
            else:
                with h5py.File(content, "r") as file:
                    _check_arrays(file, member.file_size)


def _check_arrays(file: h5py.File, size: int) -> None:
    held = 0

    def visit(name: str, item: Any) -> None:
        nonlocal held
        if isinstance(item, h5py.Group):
            for key in item:
                if not isinstance(item.get(key, getlink=True), h5py.HardLink):
                    raise ValueError(f"{name}/{key} is a link to another place")
        else:
            if item.external or item.is_virtual:
                raise ValueError(f"the array {name} lies in another file")
            held += math.prod(item.shape or ()) * item.dtype.itemsize

    visit("", file)
    file.visititems(visit)
    if held > max(SMALL, MOST_EXPANSION * size):
        raise ValueError(f"the arrays of its {size:,} bytes would become {held:,}")
