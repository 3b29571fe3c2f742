"""Files that are whole or not there: temporary name, fsync, rename, fsync of the directory."""

import contextlib
import hashlib
import io
import json
import os
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tf_lottery.errors import DamagedError, LotteryError, ResourceError, UsageError
from tf_lottery.utils.array_archive import Headers, read_arrays
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.network_files import UNREACHABLE, rename
from tf_lottery.utils.regular_files import IMPOSSIBLE_NAMES, open_regular, read_regular
from tf_lottery.utils.text import one_line

RESTORE = "Restore it from a copy, or start over with `fresh=True`."
"""What to do about a damaged file of a run."""
_ENCODER = json.JSONEncoder(allow_nan=False)


def write_bytes(path: Path, content: bytes, *, sync: bool = True) -> str:
    """Write a file atomically and durably; its directory is made if need be.

    Args:
        path: the file.
        content: all of it.
        sync: whether to make its name durable too; for several files of a directory, once after the last is enough.

    Returns:
        The SHA-256 of the content, in hexadecimal.

    Raises:
        ResourceError: the disk is full, read-only or not permitted; what was there before is untouched.
    """
    with resources(path):
        make_directory(path.parent)
        replace_file(path, content)
        if sync:
            sync_to_disk(path.parent)
    return hashlib.sha256(content).hexdigest()


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically, with durable content; its name is durable after `sync_to_disk(path.parent)`.

    Args:
        path: the file, in a directory that exists.
        content: all of it.

    Raises:
        OSError: the disk is full, read-only or not permitted; what was there before is untouched.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def make_directory(path: Path) -> None:
    """Make a directory, and those above it that are missing, with durable names; one that exists is left as it is.

    Raises:
        OSError: the disk is full, read-only or not permitted, or a file is in the way.
    """
    if path.is_dir():
        return
    missing = [folder for folder in (path, *path.parents) if not folder.is_dir()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        sync_to_disk(folder.parent)


def sync_to_disk(path: Path) -> None:
    """Make the content of a file durable, or the names in a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def temporary_directory() -> Path:
    """Make a folder for what is removed again, and return its path.

    Raises:
        ResourceError: there is no place for it.
    """
    try:
        return Path(tempfile.mkdtemp(prefix="tf_lottery-"))
    except OSError as error:
        raise ResourceError(
            f"No temporary folder can be made: {error.strerror or error}.",
            "Pass `run_dir`, or set the environment variable TMPDIR to a folder that you may write to.",
        ) from error


@contextlib.contextmanager
def resources(path: Path, *, done: str = "written") -> Iterator[None]:
    """Turn an `OSError` into a `ResourceError` that names the file and what to do.

    Args:
        path: the file.
        done: what can't be done to it, e.g. "removed".
    """
    try:
        yield
    except ResourceError:
        raise
    except OSError as error:
        if error.errno in UNREACHABLE:
            raise unreachable(path, error) from error
        raise ResourceError(
            f"{path} can't be {done}: {error.strerror or error}.",
            "Free disk space, or choose another directory. A run resumes where it stopped when it is started again.",
        ) from error


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal.

    Raises:
        OSError: it can't be read.
    """
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def reading(path: Path, *, kind: str = "file") -> Iterator[None]:
    """Turn the reasons for which a file that a user named can't be opened into errors that name it.

    Args:
        path: the file.
        kind: what it should be, e.g. "model file".

    Raises:
        UsageError: it does not exist, is a folder, or has a name that no file can have.
        ResourceError: it may not be read.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UsageError(f"The {kind} {path} does not exist.", "Check the path.") from error
    except IsADirectoryError as error:
        raise UsageError(f"{path} is a folder, not a {kind}.", "Give the path of the file.") from error
    except PermissionError as error:
        raise not_permitted(path) from error
    except OSError as error:
        if error.errno not in IMPOSSIBLE_NAMES:
            raise
        raise UsageError(f"{path}: {error.strerror}.", "Give another path.") from error


def dump_json(document: Any) -> bytes:
    """The bytes of a file of strict JSON, with NaN and infinities as null; the same for the same document."""
    return f"{json_text(document, indent=1)}\n".encode()


def json_text(document: Any, *, indent: int | None = None) -> str:
    """Strict JSON, with NaN and infinities as null.

    Args:
        document: dicts, lists, tuples, strings, numbers, None, and NumPy scalars.
        indent: spaces per level; None for one line.

    Example:
        >>> json_text({"loss": float("nan")})
        '{"loss": null}'
    """
    if indent is None:
        with contextlib.suppress(TypeError, ValueError):  # no strict JSON as it is
            return _ENCODER.encode(document)
    return json.dumps(strict(document), indent=indent, allow_nan=False)


def strict(document: Any) -> Any:
    """A copy of a document with NaN and infinities as None, and NumPy scalars as Python's."""
    if isinstance(document, Mapping):
        return {str(key): strict(value) for key, value in document.items()}
    if isinstance(document, list | tuple):
        return [strict(value) for value in document]
    if isinstance(document, np.generic):
        document = document.item()
    if isinstance(document, float) and not np.isfinite(document):
        return None
    return document


def load_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        DamagedError: it is missing, no regular file, or not JSON of bounded size and depth.
    """
    try:
        return parse_json(read_regular(path))
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def load_text(path: Path) -> str:
    """Read a text file in UTF-8.

    Raises:
        DamagedError: it is missing, no regular file, too large, or no text.
    """
    try:
        return read_regular(path).decode()
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def dump_arrays(arrays: Mapping[str, np.ndarray], *, compressed: bool = False) -> bytes:
    """Return arrays as the bytes of an `.npz` file without pickle.

    Its CRC catches flipped bits, and equal arrays give equal bytes.

    Args:
        arrays: arrays by name.
        compressed: whether to compress them.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            info = zipfile.ZipInfo(f"{key}.npy")
            info.compress_type = archive.compression
            # The fastest level: every round waits for it, and the default is a quarter smaller in seven times the time.
            archive.writestr(info, member.getvalue(), compresslevel=1)
    return buffer.getvalue()


def load_arrays(
    path: Path, check: Callable[[Headers], None] | None = None, *, only: Collection[str] | None = None
) -> dict[str, np.ndarray]:
    """Read an `.npz` file.

    Args:
        path: the file.
        check: raises a `ValueError` where the headers of the arrays, by name, are not what is expected.
        only: the names of the arrays to read; all by default.

    Raises:
        DamagedError: it is missing, truncated, altered, no regular file, or holds far more than its size.
        ResourceError: its arrays do not fit in memory, or it may not be read.
    """
    try:
        with open_regular(path) as file:
            return read_arrays(file, check, only=only)
    except LotteryError:
        raise
    except Exception as error:  # zlib.error and struct.error of a damaged archive have no common base
        raise damaged(path, error) from error


def unreachable(path: Path, error: OSError) -> ResourceError:
    """Return the error for a file system or disk that does not answer: nothing is known of the file then.

    Args:
        path: the file.
        error: what was raised, of a number of `UNREACHABLE`.
    """
    return ResourceError(
        f"The file system of {path} does not answer: {error.strerror or error}.",
        "Look whether the disk or its server is reachable, mount it again if need be, and repeat the command. A run "
        "resumes where it stopped.",
    )


def not_permitted(path: Path) -> ResourceError:
    """Return the error for a file or folder that the user may not read: nothing is known of it then."""
    return ResourceError(f"{path} may not be read.", "Give yourself the right to read it.")


def damaged(path: Path, error: BaseException | str) -> DamagedError | ResourceError:
    """Return the error for a file that can't be read as what it should be.

    Args:
        path: the file.
        error: what was raised, or the reason.
    """
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        return unreachable(path, error)
    if isinstance(error, PermissionError):
        return not_permitted(path)
    return DamagedError(f"{path} is damaged or missing: {one_line(error)}.", RESTORE)
