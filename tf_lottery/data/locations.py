"""Where prepared data sets and upstream raw files are looked for. Nothing here reads their content."""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from tf_lottery.errors import ResourceError, UsageError
from tf_lottery.utils.documents import parse_json
from tf_lottery.utils.regular_files import read_regular

_NAME = re.compile(r"[a-z][a-z0-9_]*(/[A-Za-z0-9][A-Za-z0-9_.\-]*)?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def check_name(name: str) -> str:
    """The name itself, if it is of the form `name` or `name/config`, as in "mnist" or "emnist/balanced".

    Raises:
        UsageError: it is not; a name must never lead out of the data folder.
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise UsageError(
            f"A data set is named like 'mnist' or 'emnist/balanced'. Received: {name!r}.",
            "A folder of images is written with a separator, as in './images'. See `tf_lottery.data.describe()`.",
        )
    return name


def is_path(name: str) -> bool:
    """Return whether a data set is a folder of images instead of a name of TFDS.

    A path starts with "." or "~", or has a separator and is not of the form `name/config`.

    Args:
        name: what names the data set.

    Example:
        >>> [is_path(name) for name in ("mnist", "emnist/balanced", "./photos", "/data/photos", "photos/")]
        [False, False, True, True, True]
    """
    if not isinstance(name, str):
        return False
    return name.startswith((".", "~")) or ("/" in name.replace(os.sep, "/") and not _NAME.fullmatch(name))


def base(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """The data folder: the argument, else $TF_LOTTERY_DATA, else None (for TFDS's own default)."""
    chosen = data_dir or os.environ.get("TF_LOTTERY_DATA")
    return Path(chosen).expanduser() if chosen else None


def tfds_default() -> Path:
    """TFDS's own default folder: $TFDS_DATA_DIR, else ~/tensorflow_datasets."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def cache(folder: Path) -> Path:
    """The user's cache for what was prepared from raw files in a read-only `folder`.

    One cache per data folder: what was prepared from one folder's files never stands in for another's.
    """
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    key = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    return home / "tf_lottery" / "tfds" / key


def is_writable(folder: Path) -> bool:
    """Whether new files may be made in `folder`, or in the nearest folder above it that exists."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    # The superuser may write anywhere: a folder without any write bit was meant to be left alone.
    return bool(folder.stat().st_mode & 0o222) and os.access(folder, os.W_OK | os.X_OK)


def roots(data_dir: str | os.PathLike[str] | None) -> list[Path]:
    """The folders that may hold prepared data sets, in order."""
    folder = base(data_dir)
    folders = [] if folder is None else [folder, folder / "tfds", cache(folder)]
    return folders if data_dir else [*folders, tfds_default()]


def target(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder where a data set is to be prepared."""
    folder = base(data_dir)
    if folder is None:
        return tfds_default()
    return folder / "tfds" if is_writable(folder / "tfds") else cache(folder)


def find_prepared(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder of the highest prepared version of a data set, or None.

    A name without a configuration means the default one that TFDS noted when it prepared the data set.

    Args:
        name: `name` or `name/config`.
        data_dir: the data folder; None for the default ones.
    """
    check_name(name)
    for root in roots(data_dir):
        folder = root / name
        with _readable(folder):
            versions = _versions(folder)
            if not versions and "/" not in name:
                config = _default_config(folder)
                versions = _versions(folder / config) if config else []
        if versions:
            return versions[-1]
    return None


def find_raw(name: str, data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder of a data set's upstream raw files, or None.

    Args:
        name: `name` or `name/config`; the files of all configurations lie in the folder `name`.
        data_dir: the data folder; None for $TF_LOTTERY_DATA.
    """
    folder = base(data_dir)
    if folder is None:
        return None
    raw = folder / check_name(name).split("/")[0]
    with _readable(raw):
        return raw if raw.is_dir() and any(item.is_file() for item in raw.iterdir()) else None


def list_prepared(data_dir: str | os.PathLike[str] | None) -> dict[str, Path]:
    """All prepared data sets (`name` or `name/config`) and their folders."""
    folders: dict[str, Path] = {}
    for root in roots(data_dir):
        with _readable(root):
            described = [info for depth in ("*/*", "*/*/*") for info in sorted(root.glob(f"{depth}/dataset_info.json"))]
        for info in described:
            name = info.parent.parent.relative_to(root).as_posix()
            inside = name.startswith("tfds/")  # That folder is a root of its own.
            if not inside and _NAME.fullmatch(name) and _VERSION.fullmatch(info.parent.name):
                folders.setdefault(name, _versions(info.parent.parent)[-1])
    return folders


@contextlib.contextmanager
def _readable(folder: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise ResourceError(
            f"{folder} may not be read.", "Give yourself the right, or choose another folder."
        ) from error


def _versions(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    # An empty folder is no data set; one with only some of its files is a damaged one, which reading will say.
    versions = [item for item in folder.iterdir() if _VERSION.fullmatch(item.name) and item.is_dir()]
    return sorted((item for item in versions if any(item.iterdir())), key=_version_key)


def _version_key(folder: Path) -> tuple[int, ...]:
    return tuple(map(int, folder.name.split(".")))


def _default_config(folder: Path) -> str | None:
    try:
        noted = parse_json(read_regular(folder / ".config" / "metadata.json"))["default_config_name"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return noted if isinstance(noted, str) and _NAME.fullmatch(f"x/{noted}") else None
