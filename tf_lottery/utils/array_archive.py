"""`.npz` files from anywhere: what they hold is checked against their headers before memory is taken for it."""

import math
import os
import zipfile
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from io import BufferedReader
from typing import BinaryIO

import numpy as np

from tf_lottery.errors import ResourceError
from tf_lottery.utils.machine import available_memory

SMALL = 1 << 26
"""Bytes that any archive may hold: 64 MiB."""
MOST_EXPANSION = 256
"""How many times its own size a larger archive may hold: zeros, as this library compresses them, come to 229."""
MOST_MEMBERS = 100_000
# Both of what `numpy.savez` writes; other methods of zip files expand without bound.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_SUFFIX = ".npy"
_NUMBERS = "biuf"


class ObjectArrayError(ValueError):
    """An array is of Python objects or of records."""


@dataclass(frozen=True)
class ArrayHeader:
    """What the header of an array says.

    Attributes:
        shape: its shape.
        dtype: its dtype.
    """

    shape: tuple[int, ...]
    dtype: np.dtype


Headers = Mapping[str, ArrayHeader]


def read_arrays(
    file: BufferedReader, check: Callable[[Headers], None] | None = None, *, only: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Return the arrays of an open `.npz` file.

    Args:
        file: the file.
        check: raises a `ValueError` where the headers are not what is expected; by name, before any array is read.
        only: the names of the arrays to read; None for all.

    Raises:
        ValueError: a header promises other bytes than there are, or the file expands to far more than its size.
        zipfile.BadZipFile: it is no zip file, or a checksum differs.
        ResourceError: the arrays do not fit in memory.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        check_members(members, os.fstat(file.fileno()).st_size)
        headers = {member.filename.removesuffix(_SUFFIX): _read_header(archive, member) for member in members}
        if check is not None:
            check(headers)
        wanted = {name: member for name, member in zip(headers, members, strict=True) if only is None or name in only}
        _check_memory(sum(member.file_size for member in wanted.values()))
        arrays = {}
        for name, member in wanted.items():
            with archive.open(member) as content:
                arrays[name] = np.lib.format.read_array(content, allow_pickle=False)
                content.read()  # to the end, where the checksum is compared
        return arrays


def check_headers(file: BinaryIO, size: int) -> None:
    """Check the arrays of an `.npz` file without reading them.

    Args:
        file: the file.
        size: its bytes.

    Raises:
        ValueError: a header promises other bytes than there are, or the file expands to far more than its size.
        zipfile.BadZipFile: it is no zip file.
    """
    with zipfile.ZipFile(file) as archive:
        check_members(archive.infolist(), size)
        for member in archive.infolist():
            _read_header(archive, member)


def check_numbers(headers: Headers) -> None:
    """Check that arrays are of booleans, integers or floats.

    Raises:
        ValueError: one is of another kind.
    """
    for name, header in headers.items():
        if header.dtype.kind not in _NUMBERS:
            raise ValueError(f"the array {name!r} is of {header.dtype}, and not of numbers")


def check_members(members: Iterable[zipfile.ZipInfo], size: int) -> None:
    """Check what the directory of a zip file says of its members.

    Args:
        members: its members.
        size: the bytes of the file.

    Raises:
        ValueError: two have one name, a name leads out of the archive, a method is unknown, or they hold far more than
            the file's size.
    """
    members = list(members)
    names = [member.filename for member in members]
    if len(names) > MOST_MEMBERS or len(set(names)) < len(names):
        raise ValueError(f"it has too many members ({len(names)}), or two of one name")
    for member in members:
        if member.filename.startswith(("/", "\\")) or ".." in member.filename.replace("\\", "/").split("/"):
            raise ValueError(f"the name of its member {member.filename!r} leads out of it")
        if member.compress_type not in _METHODS:
            raise ValueError(f"its member {member.filename!r} is compressed by the method {member.compress_type}")
    held = sum(member.file_size for member in members)
    if held > max(SMALL, MOST_EXPANSION * size):
        raise ValueError(f"its {size:,} bytes would become {held:,}")


def _read_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> ArrayHeader:
    """Return the header of a member whose size is what its shape and dtype take."""
    if not member.filename.endswith(_SUFFIX):
        raise ValueError(f"its member {member.filename!r} is no array")
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise ValueError(f"the array {member.filename!r} is of the version {version}")
        shape, _, dtype = readers[version](content)
    with archive.open(member) as content:
        start = content.read(12)
    length = 10 + int.from_bytes(start[8:10], "little")
    if version == (2, 0):
        length = 12 + int.from_bytes(start[8:12], "little")
    if dtype.hasobject or dtype.names is not None:
        raise ObjectArrayError(f"the array {member.filename!r} is of objects or records")
    if min(shape, default=0) < 0:
        raise ValueError(f"the array {member.filename!r} is of a negative size")
    promised = length + math.prod(shape) * dtype.itemsize
    if promised != member.file_size:
        raise ValueError(f"the array {member.filename!r} has {member.file_size:,} bytes, its header says {promised:,}")
    return ArrayHeader(tuple(shape), dtype)


def _check_memory(size: int) -> None:
    available = available_memory()
    if available is not None and size > available:
        raise ResourceError(
            f"The arrays take {size / 1e9:,.1f} GB of memory, of which {available / 1e9:,.1f} GB are free.",
            "Free memory, or read the file on a larger machine.",
        )
