"""Prepare a TFDS data set: from upstream raw files at hand, or by downloading, when that is asked for."""

import errno
import logging
import os
import shutil
import urllib.error
import urllib.request
import zlib
from pathlib import Path
from typing import Any

import filelock

from tf_lottery.data import locations
from tf_lottery.data.tfds import quiet
from tf_lottery.errors import DamagedError, LotteryError, ResourceError, UnfitError, UsageError
from tf_lottery.utils.files import file_digest
from tf_lottery.utils.text import one_line

logger = logging.getLogger(__name__)

_REACH_SECONDS = 15


def prepare(
    name: str, *, data_dir: str | os.PathLike[str] | None = None, download: bool = False, progress: bool = False
) -> Path:
    """Find a prepared TFDS data set, or prepare it.

    Prepared data is taken first, then upstream raw files in the data folder, then, if asked for, the network. Several
    processes may ask at once: one prepares, the others wait. What is prepared appears complete or not at all.

    Args:
        name: `name` or `name/config`.
        data_dir: the data folder; by default $TF_LOTTERY_DATA, then TFDS's own.
        download: fetch what is not there.
        progress: show TFDS's progress bars on stderr.

    Returns:
        The folder of the prepared version.

    Raises:
        UsageError: TFDS has no data set of that name.
        UnfitError: the data set is not there and must not be downloaded, or raw files are missing.
        DamagedError: a raw file is not what its publisher's checksum says.
        ResourceError: network, disk or permission trouble.
    """
    prepared = locations.find_prepared(name, data_dir)
    if prepared:
        return prepared
    raw = locations.find_raw(name, data_dir)
    builder_class = _builder_class(name, data_dir)
    if raw is not None and not download:
        _check_raw(builder_class, raw, name=name)
    elif not download:
        raise missing(name, data_dir)
    root = locations.target(data_dir)
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = root / f".{name.replace('/', '-')}.lock"
        with filelock.FileLock(lock):
            return locations.find_prepared(name, data_dir) or _prepare_in(root, name, raw, download, progress)
    except LotteryError:
        raise
    except OSError as error:
        raise ResourceError(
            f"{name} cannot be prepared in {root}: {error}.",
            "Free space there, or choose another `data_dir`.",
        ) from error


def missing(name: str, data_dir: str | os.PathLike[str] | None) -> UnfitError:
    """Return the error for a data set that exists, but not here.

    Args:
        name: the data set.
        data_dir: the data folder that was searched; None for the default ones.
    """
    places = ", ".join(str(root) for root in locations.roots(data_dir))
    where = f", data_dir={str(data_dir)!r}" if data_dir else ""
    return UnfitError(
        f"The data set {name!r} is not prepared. Looked in: {places}.",
        f"Call `tf_lottery.data.prepare({name!r}{where}, download=True)`, which downloads it, or put its raw files "
        "into the data folder.",
    )


def _builder_class(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    import difflib

    import tensorflow_datasets as tfds

    from tf_lottery.data.known import KNOWN

    root, _, config = name.partition("/")
    if name in KNOWN and not KNOWN[name].fetchable:
        raise UnfitError(
            f"The data set {name!r} is not prepared, and TFDS cannot fetch it. Looked in: "
            f"{', '.join(map(str, locations.roots(data_dir)))}.",
            "Put the prepared data set into the folder of `data_dir`.",
        )
    try:
        builder_class = tfds.builder_cls(root)
    except tfds.core.registered.DatasetNotFoundError as error:
        names = {*tfds.list_builders(with_community_datasets=False), *KNOWN}
        near = difflib.get_close_matches(name, sorted(names), n=1)
        here = f"For the folder of images write './{name}'. " if Path(name).is_dir() else ""
        raise UsageError(
            f"Unknown data set {name!r}.",
            here
            + (f"Did you mean {near[0]!r}? " if near else "")
            + f"Known: {', '.join(KNOWN)}; and every image-classification data set of TFDS.",
        ) from error
    configs = [item.name for item in builder_class.BUILDER_CONFIGS]
    if config and config not in configs:
        near = difflib.get_close_matches(config, configs, n=1)
        raise UsageError(
            f"The data set {root!r} has no configuration {config!r}.",
            (f"Did you mean {near[0]!r}? " if near else "") + f"Valid: {', '.join(configs) or 'none'}.",
        )
    return builder_class


def _check_raw(builder_class: Any, raw: Path, *, name: str) -> None:
    """Check that all raw files are there and whole, so that TFDS has no reason to go to the network."""
    files = {info.filename: info for info in (builder_class.url_infos or {}).values() if info.filename}
    if not files and not builder_class.MANUAL_DOWNLOAD_INSTRUCTIONS:
        raise UnfitError(
            f"TFDS names no raw files of {name!r} that {raw} could hold.",
            f"Call `tf_lottery.data.prepare({name!r}, download=True)`.",
        )
    absent = sorted(file for file in files if not (raw / file).is_file())
    if absent:
        raise UnfitError(
            f"Raw files of {name!r} are missing in {raw}: {', '.join(absent)}.",
            f"Put them there, or call `tf_lottery.data.prepare({name!r}, download=True)`, which downloads them.",
        )
    for file, info in sorted(files.items()):
        try:
            digest = file_digest(raw / file)
        except OSError as error:
            raise ResourceError(f"{raw / file} cannot be read: {error.strerror}.", "Check its permissions.") from error
        if digest != info.checksum:
            raise DamagedError(
                f"{raw / file} is damaged: expected {int(info.size)} bytes with SHA-256 {info.checksum[:16]}..., "
                f"received {(raw / file).stat().st_size} bytes with {digest[:16]}....",
                "Fetch the file again.",
            )


def _prepare_in(root: Path, name: str, raw: Path | None, download: bool, progress: bool) -> Path:
    import tensorflow_datasets as tfds

    # TFDS works in a folder of its own, so that a killed preparation leaves nothing that looks prepared, and its
    # unpacked files go away with the folder. The lock is held: what an earlier process left there is nobody's.
    staging = root / f".preparing-{name.replace('/', '-')}"
    shutil.rmtree(staging, ignore_errors=True)
    logger.info("Preparing %s in %s", name, root)
    try:
        with quiet(progress=progress):
            builder = tfds.builder(name, data_dir=str(staging), try_gcs=False)
            if download and raw is None:
                _check_network(builder.url_infos or {}, name=name)
            builder.download_and_prepare(
                # Downloads outlive a failed attempt: the next one continues with the files that are complete.
                download_dir=str(root / "downloads" if download else staging / "downloads"),
                download_config=tfds.download.DownloadConfig(
                    manual_dir=str(raw) if raw else None, extract_dir=str(staging / "extracted"), try_download_gcs=False
                ),
            )
        made = Path(builder.data_dir)
        final = root / made.relative_to(staging)
        final.parent.mkdir(parents=True, exist_ok=True)
        noted = staging / name.split("/")[0] / ".config"
        if noted.is_dir():
            shutil.copytree(noted, root / name.split("/")[0] / ".config", dirs_exist_ok=True)
        os.rename(made, final)
        return final
    except tfds.download.DownloadError as error:
        raise ResourceError(
            f"{name} cannot be downloaded: {one_line(error)}", "Check the network and try again."
        ) from error
    except ImportError as error:
        raise ResourceError(
            f"TFDS needs a package that is not installed to prepare {name}: {one_line(error)}", "Install it with pip."
        ) from error
    except _damage_errors() as error:
        if _is_full_disk(error):
            raise _full_disk(root, name) from error
        raise DamagedError(
            f"A file of {name} is damaged: {one_line(error)}", "Delete it and fetch it again."
        ) from error
    except (ValueError, AssertionError, RuntimeError, KeyError) as error:
        if isinstance(error, LotteryError):
            raise
        if _is_full_disk(error):
            raise _full_disk(root, name) from error
        raise UnfitError(f"TFDS cannot prepare {name}: {one_line(error)}", "Choose another data set.") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _check_network(urls: dict[str, Any], *, name: str) -> None:
    """Fail in seconds where TFDS would try in silence for minutes."""
    for url in list(urls)[:1]:
        try:
            urllib.request.urlopen(url, timeout=_REACH_SECONDS).close()
        except urllib.error.HTTPError:
            return  # It answered: what the answer means is for TFDS to say.
        except (OSError, ValueError) as error:
            host = url.split("/")[2] if url.count("/") > 2 else url
            raise ResourceError(
                f"{name} cannot be downloaded: {host} cannot be reached ({one_line(error)}).",
                "Check the network, or put the raw files into the data folder.",
            ) from error


def _damage_errors() -> tuple[type[Exception], ...]:
    import tensorflow_datasets as tfds

    download = tfds.core.download
    return (download.download_manager.NonMatchingChecksumError, download.extractor.ExtractError, EOFError, zlib.error)


def _full_disk(root: Path, name: str) -> ResourceError:
    return ResourceError(
        f"{name} cannot be prepared in {root}: {os.strerror(errno.ENOSPC)}.",
        "Free space there, or choose another `data_dir`.",
    )


def _is_full_disk(error: BaseException) -> bool:
    # TFDS reports a full disk as a failed extraction or a failed split, with the system's words inside.
    return os.strerror(errno.ENOSPC) in str(error)
