"""Manifests: whose a directory is, what it was made from, the SHA-256 of its files; written last, it means complete."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tf_lottery.errors import DamagedError
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.files import RESTORE, damaged, dump_json, file_digest, reading, write_bytes
from tf_lottery.utils.regular_files import is_inside, read_regular

NAME = "manifest.json"
SCHEMA = "tf-lottery.manifest/2"
# What earlier versions wrote: the files alone.
SCHEMA_WITHOUT_OWNER = "tf-lottery.manifest/1"
# It holds times, so it differs where a training is repeated to the same bits.
TIMED = "metrics.json"


@dataclass(frozen=True)
class Manifest:
    """What a manifest says of its directory.

    Attributes:
        files: SHA-256 by file name.
        owner: whose it is: the hash of the run's configuration, the replicate, and of a training the round and the
            variant; {} in one of an earlier version.
        made_from: the digests of what it was made from, by the directory's path in the run directory.
    """

    files: Mapping[str, str]
    owner: Mapping[str, Any] = field(default_factory=dict)
    made_from: Mapping[str, str] = field(default_factory=dict)

    def content(self) -> bytes:
        """Return the bytes of its file; equal manifests have equal bytes."""
        return dump_json(self._document() | ({"digest": self.digest()} if self.owner else {}))

    def digest(self) -> str:
        """Return the SHA-256 that stands for all of it but the times: a repeated training has the same."""
        lasting = {name: digest for name, digest in self.files.items() if name != TIMED}
        return hashlib.sha256(dump_json(Manifest(lasting, self.owner, self.made_from)._document())).hexdigest()

    def _document(self) -> dict[str, Any]:
        files = {"files": dict(sorted(self.files.items()))}
        if not self.owner:
            return {"schema": SCHEMA_WITHOUT_OWNER, **files}
        return {"schema": SCHEMA, "owner": self.owner, "made_from": dict(sorted(self.made_from.items())), **files}


def write(directory: Path, manifest: Manifest) -> str:
    """Write the manifest of a directory.

    Args:
        directory: where the files are.
        manifest: what it says.

    Returns:
        The SHA-256 of the manifest itself, which stands for all of the files.
    """
    return write_bytes(directory / NAME, manifest.content())


def exists(directory: Path) -> bool:
    """Whether a directory is complete."""
    with reading(directory / NAME):
        return (directory / NAME).is_file()


def read(directory: Path) -> Manifest:
    """What the manifest of a directory says.

    Raises:
        DamagedError: the manifest can't be read, or names files elsewhere.
    """
    path = directory / NAME
    try:
        return _parse(path, read_regular(path))
    except OSError as error:
        raise damaged(path, error) from error


@functools.lru_cache(maxsize=1024)
def _parse(path: Path, content: bytes) -> Manifest:
    try:
        document = parse_json(content)
    except ValueError as error:
        raise damaged(path, error) from error
    parts = [document.get(key, {}) for key in ("files", "owner", "made_from")] if isinstance(document, dict) else [{}]
    if not parts[0] or not all(isinstance(part, dict) for part in parts) or Manifest(*parts).content() != content:
        raise DamagedError(f"{path} is not a manifest.", RESTORE)
    for name in parts[0]:
        if Path(name).name != name or name == ".." or "\\" in name or not name.isprintable():
            raise DamagedError(f"{path} names {name!r}, which is no plain name of a file.", RESTORE)
    return Manifest(*parts)


def verify(directory: Path) -> int:
    """Check every file of a directory against its manifest.

    Returns:
        How many files were checked.

    Raises:
        DamagedError: a file is missing or altered.
    """
    manifest = read(directory)
    for name in manifest.files:
        check(directory, name, manifest)
    return len(manifest.files)


def check(directory: Path, name: str, manifest: Manifest) -> None:
    """Check one file of a directory against its manifest.

    Args:
        directory: where the file is.
        name: the name of the file.
        manifest: the manifest of the directory.

    Raises:
        DamagedError: it is missing, altered, a link that leads out, or not in the manifest.
    """
    if not is_inside(directory / name, directory):
        raise DamagedError(f"{directory / name} leads out of its folder.", "Put the file itself there, and no link.")
    expected, actual = manifest.files.get(name, "none"), digest(directory / name)
    if actual != expected:
        raise DamagedError(
            f"{directory / name} is damaged: SHA-256 {actual[:12]} instead of {expected[:12]}.",
            RESTORE,
        )


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        DamagedError: it is missing, or no regular file.
        ResourceError: it may not be read, or its file system does not answer.
    """
    try:
        return file_digest(path)
    except OSError as error:
        raise damaged(path, error) from error
