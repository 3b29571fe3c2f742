"""Manifests: the SHA-256 of every file of a directory, written last; its existence means complete."""

from pathlib import Path

from tf_lottery.errors import DamagedError
from tf_lottery.utils.files import dump_json, file_digest, load_json, write_bytes
from tf_lottery.utils.regular_files import is_inside, read_regular

NAME = "manifest.json"
SCHEMA = "tf-lottery.manifest/1"


def write(directory: Path, hashes: dict[str, str]) -> str:
    """Write the manifest of a directory.

    Args:
        directory: where the files are.
        hashes: SHA-256 by file name.

    Returns:
        The SHA-256 of the manifest itself, which stands for all of the files.
    """
    return write_bytes(directory / NAME, _content(hashes))


def _content(hashes: dict[str, str]) -> bytes:
    return dump_json({"schema": SCHEMA, "files": dict(sorted(hashes.items()))})


def exists(directory: Path) -> bool:
    """Whether a directory is complete."""
    return (directory / NAME).is_file()


def read(directory: Path) -> dict[str, str]:
    """SHA-256 by file name.

    Raises:
        DamagedError: the manifest can't be read, or names files elsewhere.
    """
    document = load_json(directory / NAME)
    files = document.get("files") if isinstance(document, dict) else None
    if not isinstance(files, dict) or not files or read_regular(directory / NAME) != _content(files):
        raise DamagedError(
            f"{directory / NAME} is not a manifest.", "Restore it from a copy, or start over with `fresh=True`."
        )
    for name in files:
        if Path(name).name != name or name == ".." or "\\" in name or not name.isprintable():
            raise DamagedError(
                f"{directory / NAME} names {name!r}, which is no plain name of a file.",
                "Restore it from a copy, or start over with `fresh=True`.",
            )
    return files


def verify(directory: Path) -> int:
    """Check every file of a directory against its manifest.

    Returns:
        How many files were checked.

    Raises:
        DamagedError: a file is missing or altered.
    """
    files = read(directory)
    for name in files:
        check(directory, name)
    return len(files)


def check(directory: Path, name: str) -> None:
    """Check one file of a directory against its manifest.

    Args:
        directory: where the file and the manifest are.
        name: the name of the file.

    Raises:
        DamagedError: it is missing, altered, a link that leads out, or not in the manifest.
    """
    if not is_inside(directory / name, directory):
        raise DamagedError(f"{directory / name} leads out of its folder.", "Put the file itself there, and no link.")
    expected, actual = read(directory).get(name, "none"), digest(directory / name)
    if actual != expected:
        raise DamagedError(
            f"{directory / name} is damaged: SHA-256 {actual[:12]} instead of {expected[:12]}.",
            "Restore it from a copy, or start over with `fresh=True`.",
        )


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal.

    Raises:
        DamagedError: it can't be read.
    """
    try:
        return file_digest(path)
    except OSError as error:
        raise DamagedError(
            f"{path} can't be read: {error.strerror or error}.",
            "Restore it from a copy, or start over with `fresh=True`.",
        ) from error
