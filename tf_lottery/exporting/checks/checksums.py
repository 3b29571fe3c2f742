"""SHA-256 of exported files: `manifest.json` beside them, and the check against it. No TensorFlow.

A flipped bit in a TFLite file or in a SavedModel's variables mostly still runs, with other outputs, so every export is
shipped with the hashes of its files.
"""

import hashlib
import os
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast

from tf_lottery.errors import DamagedError, UsageError
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import file_digest, json_text
from tf_lottery.utils.regular_files import paths_below, read_regular

MANIFEST = "manifest.json"
_BLOCK = 1 << 20


def files_below(path: Path) -> list[Path]:
    """Return the file itself, or all files of a folder, sorted by their relative path."""
    if not path.is_dir():
        return [path]
    return sorted(
        (item for item in paths_below(path) if os.path.isfile(item)), key=lambda item: item.relative_to(path).as_posix()
    )


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files of a folder."""
    return sum(item.stat().st_size for item in files_below(path))


def gzip_size(path: Path) -> int:
    """Return the bytes after gzip (level 6), each file of a folder on its own: what a download or a package holds."""
    total = 0
    for item in files_below(path):
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        with item.open("rb") as stream:
            while block := stream.read(_BLOCK):
                total += len(packer.compress(block))
        total += len(packer.flush())
    return total


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; of a folder, that of the lines which `sha256sum` prints for its files.

    These are `<sha256>  <relative path>`, sorted by path.
    """
    if not path.is_dir():
        return file_digest(path)
    lines = [f"{digest(item)}  {item.relative_to(path).as_posix()}\n" for item in files_below(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def entries(path: Path) -> dict[str, dict[str, Any]]:
    """Return the manifest entries of a file or folder: `{sha256, bytes}` by path, from the folder that it lies in."""
    return {
        item.relative_to(path.parent).as_posix(): {"sha256": digest(item), "bytes": item.stat().st_size}
        for item in files_below(path)
    }


def text_entry(name: str, text: str) -> dict[str, dict[str, Any]]:
    """Return the manifest entry of a text file that is yet to be written, in UTF-8.

    Args:
        name: of the file.
        text: its content.
    """
    content = text.encode()
    return {name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}}


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the entries of a folder's manifest; empty if it has none.

    Raises:
        DamagedError: if the manifest is not JSON of the expected form.
    """
    file = folder / MANIFEST
    try:
        document = parse_json(read_regular(file))
        listed = document["files"]
        well_formed = all({"sha256", "bytes"} <= set(entry) for entry in listed.values())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        well_formed = False
    if not well_formed:
        raise DamagedError(f"The manifest {file} is not readable.", "Export again into another folder, or delete it.")
    return cast(dict[str, dict[str, Any]], listed)


def merge_manifest(folder: Path, added: Mapping[str, dict[str, Any]], *, replaced: Collection[str]) -> str:
    """Return the text of a folder's manifest after an export to it.

    Args:
        folder: whose manifest is read, if it has one.
        added: the entries of the export's files.
        replaced: names of files and folders whose older entries are left out.

    Raises:
        DamagedError: the present manifest is not JSON of the expected form.
    """
    kept = {
        name: entry
        for name, entry in read_manifest(folder).items()
        if name.split("/", 1)[0] not in replaced and os.path.lexists(folder / name)
    }
    return f"{json_text({'files': dict(sorted({**kept, **added}.items()))}, indent=2)}\n"


def check_file(path: str | os.PathLike[str]) -> None:
    """Check an exported file or folder against the manifest beside it.

    Raises:
        UsageError: if there is no such file, or no manifest that lists it.
        DamagedError: if a byte differs, or if files of a folder are missing or extra.

    Example:
        `check_file("saved_models/model_float32_sparse.tflite")`
    """
    path = Path(path)
    if not path.exists():
        raise UsageError(f"There is no file {path}.", "Give the path of an exported file or SavedModel folder.")
    path = path.absolute()
    listed = {
        name: entry
        for name, entry in read_manifest(path.parent).items()
        if name == path.name or name.startswith(path.name + "/")
    }
    if not listed:
        raise UsageError(
            f"No {MANIFEST} in {path.parent} lists {path.name}.",
            "Only files written by an export, with their manifest beside them, can be checked.",
        )
    present = entries(path)
    for name in sorted(set(listed) | set(present)):
        expected, received = listed.get(name), present.get(name)
        if received is None or expected is None:
            state = "missing" if received is None else "not in the manifest"
            raise DamagedError(f"{path.parent / name} is {state}.", "Export again; do not use this copy.")
        if expected["sha256"] != received["sha256"]:
            raise DamagedError(
                f"{path.parent / name} is damaged: expected {expected['bytes']} bytes with SHA-256 "
                f"{expected['sha256']}, received {received['bytes']} bytes with {received['sha256']}.",
                "Export again, or copy the file again; do not use this copy.",
            )
