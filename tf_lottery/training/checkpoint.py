"""A state as a TensorFlow checkpoint on disk."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf

from tf_lottery.errors import DamagedError, ResourceError
from tf_lottery.training.state import State
from tf_lottery.utils.tensorflow_paths import openable
from tf_lottery.utils.text import one_line


def save_checkpoint(prefix: str | Path, state: Mapping[str, np.ndarray]) -> None:
    """Write a state as a TensorFlow checkpoint (`<prefix>.index` and `<prefix>.data-...`), whose reader checks a CRC.

    Args:
        prefix: path of the files, without their endings.
        state: arrays by key.

    Raises:
        ResourceError: it can't be written.
    """
    try:
        checkpoint = tf.train.Checkpoint(state={key: tf.Variable(value) for key, value in state.items()})
        with openable(prefix) as name:
            checkpoint.write(name)
    except (tf.errors.OpError, OSError) as error:
        raise ResourceError(
            f"The checkpoint {prefix} can't be written: {one_line(error)}.", "Check disk and permissions."
        ) from error


def load_checkpoint(prefix: str | Path) -> State:
    """Read a state written by `save_checkpoint`.

    Raises:
        DamagedError: it is missing, truncated or altered.
    """
    try:
        with openable(prefix) as name:
            return _read_checkpoint(name)
    except (tf.errors.OpError, ValueError, LookupError, OSError, RuntimeError) as error:
        raise DamagedError(
            f"The checkpoint {prefix} can't be read: {one_line(error)}",
            "Start the run over with `fresh=True`, or restore the files from a copy.",
        ) from error


def _read_checkpoint(prefix: str) -> State:
    reader = tf.train.load_checkpoint(prefix)
    names = reader.get_variable_to_shape_map()
    pattern = re.compile(r"state/(.*)/\.ATTRIBUTES/VARIABLE_VALUE")
    names_by_key = {match.group(1): name for name in names if (match := pattern.fullmatch(name))}
    # The names of a checkpoint's nodes escape "/" as ".S" and "." as "..".
    return {
        re.sub(r"\.(.)", lambda m: {"S": "/", ".": "."}[m.group(1)], key): np.array(reader.get_tensor(name))
        for key, name in sorted(names_by_key.items())
    }
