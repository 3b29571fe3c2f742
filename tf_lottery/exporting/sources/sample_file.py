"""A caller's own data: a `.npz` file with the arrays `x`, `y` and `calibration`. Loads no TensorFlow."""

from pathlib import Path
from typing import Any

import numpy.typing as npt

from tf_lottery.errors import DamagedError, LotteryError, UnfitError, UsageError
from tf_lottery.utils.array_archive import ObjectArrayError, read_arrays
from tf_lottery.utils.regular_files import open_regular
from tf_lottery.utils.text import one_line

ARGUMENTS = {"x": "samples", "y": "labels", "calibration": "calibration"}
"""The argument of `export` by the name of the array in the file."""

_KEYS = "Expected: x, and if you have them y (labels) and calibration; of several inputs x/NAME for each."


def read_sample_file(path: Path) -> dict[str, Any]:
    """Return the arrays of a file as arguments of `export`: samples, labels, calibration; None where there are none.

    Each is one array `(samples, ...)`, or a dict of such by the name of the input or output. The arrays of the file are
    named `x`, `y` and `calibration`; of several inputs or outputs `x/<input>`, `y/<output>` and `calibration/<input>`.
    Whether shapes and dtypes fit the model is checked by `export`.

    Raises:
        UsageError: there is no such file, it is no `.npz` file by its name, or an array is missing or has an unknown
            name.
        UnfitError: an array holds no numbers, or has no axis of samples; or x and y have different lengths.
        DamagedError: the file can't be read.

    Example:
        `export(model, "app", **read_sample_file(Path("data.npz")))`
    """
    if path.suffix != ".npz" or not path.is_file():
        problem = "There is no file" if path.suffix == ".npz" else "Expected a .npz file with samples; received"
        raise UsageError(f"{problem} {path}.", "Write one: np.savez('data.npz', x=x, y=y, calibration=x_train[:500]).")
    arrays = _read(path)
    by_part: dict[str, dict[str, npt.NDArray[Any]]] = {part: {} for part in ARGUMENTS}
    for key, array in arrays.items():
        part, separator, name = key.partition("/")
        if part not in ARGUMENTS or bool(separator) != bool(name):
            others = ", ".join(sorted(set(arrays) - {key})) or "no other"
            raise UsageError(f"{path} has the unknown array {key!r} beside {others}.", _KEYS)
        if array.dtype.kind not in "biuf" or not array.ndim:
            raise UnfitError(
                f"{path}: the array {key!r} has dtype {array.dtype} and shape {array.shape}.",
                "Expected numbers of shape (samples, ...).",
            )
        by_part[part][name] = array
    for part, named in by_part.items():
        if "" in named and len(named) > 1:
            raise UsageError(
                f"{path} has both {part!r} and {', '.join(f'{part}/{name}' for name in named if name)}.",
                f"Give {part!r} of a model with one of them, {part}/NAME for each of several.",
            )
    if not by_part["x"]:
        raise UsageError(f"{path} has no array 'x'; it has {', '.join(sorted(arrays)) or 'none'}.", _KEYS)
    counts = {f"{part}/{name}".strip("/"): len(array) for part in "xy" for name, array in by_part[part].items()}
    if len(set(counts.values())) > 1:
        raise UnfitError(
            f"{path}: {', '.join(f'{key} has {count:,} samples' for key, count in counts.items())}.",
            "Give one label per sample, and the same samples for each input.",
        )
    return {ARGUMENTS[part]: named.get("", named) if named else None for part, named in by_part.items()}


def _read(path: Path) -> dict[str, npt.NDArray[Any]]:
    try:
        with open_regular(path) as file:
            return read_arrays(file)
    except LotteryError:
        raise
    except ObjectArrayError as error:
        raise UnfitError(
            f"{path} holds arrays of Python objects or records, which are not read.",
            "Save numbers: x.astype('float32').",
        ) from error
    except Exception as error:  # zlib.error and struct.error of a damaged archive have no common base
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DamagedError:
    return DamagedError(f"{path} can't be read: {one_line(error)}.", "Write it again with `np.savez`, or copy it.")
