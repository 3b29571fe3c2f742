"""Models from files: a damaged file is one error, a whole one of which Keras makes no model another."""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import h5py
import keras

from tf_lottery.errors import DamagedError, LotteryError, UnfitError
from tf_lottery.layers.fake_quantization import PLAIN_CLASSES, FakeQuantize
from tf_lottery.layers.masked import Masked
from tf_lottery.layers.variable_limit import limited_variables
from tf_lottery.layers.weight_content import HDF5, WEIGHTS, check_weight_file
from tf_lottery.utils.array_archive import check_members
from tf_lottery.utils.files import reading
from tf_lottery.utils.regular_files import open_regular
from tf_lottery.utils.text import one_line


def load_model(path: str | os.PathLike[str], **kwargs: Any) -> keras.Model:
    """Loads a wrapped or plain model from a `.keras` (or `.h5`) file.

    Args:
        path: The path of the file.
        **kwargs: Passed to `keras.models.load_model`. Safe mode stays on unless `safe_mode=False` is passed.

    Raises:
        UsageError: If there is no such file.
        DamagedError: If the file is truncated or altered, or no model's.
        UnfitError: If the file is whole and Keras can't make its model: it needs code that is not registered, or a
            Lambda layer, which safe mode refuses. Or if it asks for far more variables than the file has weights.
        ResourceError: If it may not be read, or its variables do not fit in memory.
    """
    path = Path(path)
    with reading(path, kind="model file"):
        _check_whole(path)
    try:
        objects = {kind.__name__: kind for kind in (Masked, FakeQuantize, *PLAIN_CLASSES)}
        objects |= kwargs.pop("custom_objects", None) or {}
        with limited_variables(_weights_bytes(path)):
            return keras.models.load_model(path, custom_objects=objects, **kwargs)
    except LotteryError:
        raise
    except (KeyError, EOFError, OSError) as error:
        raise _damaged(path, f"{type(error).__name__}: {one_line(error)}") from error
    except Exception as error:
        # The file is whole. What is left is code: a class that is not registered, a Lambda, a constructor that raises.
        raise UnfitError(
            f"Keras cannot load {path}: {type(error).__name__}: {one_line(error)}",
            "Register its custom classes or give them as `custom_objects`; a Lambda needs `safe_mode=False`, which "
            "runs code of the file.",
        ) from error


def _check_whole(path: Path) -> None:
    """Raises if a file is not a whole `.keras` archive or HDF5 file."""
    try:
        if path.suffix in HDF5:
            with open_regular(path), h5py.File(path, "r") as file:
                if "model_config" not in file.attrs:
                    raise _damaged(path, "it holds weights alone, no model")
            check_weight_file(path)
            return
        with open_regular(path) as file, zipfile.ZipFile(file) as archive:
            check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
            broken, members = archive.testzip(), set(archive.namelist())
        if not broken:
            check_weight_file(path)
    except (LotteryError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, OSError, NotImplementedError) as error:
        raise _damaged(path, one_line(error)) from error
    if broken:
        raise _damaged(path, f"the checksum of {broken} inside does not match")
    if "config.json" not in members or not members & WEIGHTS:
        raise _damaged(
            path, f"it lacks the configuration or the weights, and holds {', '.join(sorted(members)) or 'nothing'}"
        )


def _weights_bytes(path: Path) -> int:
    """Returns the bytes of the weights in a whole file."""
    if path.suffix in HDF5:
        return path.stat().st_size
    with open_regular(path) as file, zipfile.ZipFile(file) as archive:
        return sum(member.file_size for member in archive.infolist() if member.filename in WEIGHTS)


def _damaged(path: Path, reason: str) -> DamagedError:
    return DamagedError(f"The model file {path} is damaged: {reason}.", "Save the model again, or take a backup.")
