"""Whether an experiment fits in memory: the least that it takes, known before TensorFlow is loaded."""

import logging
import math

from tf_lottery.data.loading import describe_one
from tf_lottery.errors import ResourceError
from tf_lottery.experiment.config import Config
from tf_lottery.models.catalog import CATALOG
from tf_lottery.utils.machine import available_memory

log = logging.getLogger(__name__)
SHARED_BYTES = 400e6
"""The libraries of TensorFlow, which all processes share."""
PROCESS_BYTES = 400e6
"""What each process holds beside them, of the smallest experiment; measured: 410 MB."""
DATA_COPIES = 2
"""The data as arrays, and as tensors."""
WEIGHT_COPIES = 6
"""The model, its start, its rewind state, and what a commit makes of them; slots of an optimizer come on top."""
STATE_COPIES = 2
"""What a training holds of the state of model and optimizer, beside these: its start and its rewind state."""
_LARGER_MACHINE = "Free memory, or use a larger machine or a smaller model."


def least_bytes(config: Config) -> float:
    """Return what one process of an experiment takes at least, without what processes share.

    Activations and slots of the optimizer are left out, so an experiment may take much more (`estimate` measures it);
    one that does not get this much can't run.

    Args:
        config: the experiment.
    """
    weights = 4 * CATALOG[config.model].weights if config.model in CATALOG else 0
    return PROCESS_BYTES + WEIGHT_COPIES * weights + DATA_COPIES * _data_bytes(config)


def fitting_processes(config: Config, wanted: int) -> int:
    """Return how many processes of an experiment fit in memory, at most as many as are wanted.

    Args:
        config: the experiment.
        wanted: the number that the cores and the trainings allow, or that the configuration names.

    Raises:
        ResourceError: not even one fits, or not as many as the configuration names.
    """
    free, least = available_memory(swap=True), least_bytes(config)
    if free is None or SHARED_BYTES + wanted * least <= free:
        return wanted
    fitting = max(0, math.floor((free - SHARED_BYTES) / least))
    if fitting and not config.jobs:
        log.info("%d processes instead of %d: more do not fit in memory", fitting, wanted)
        return fitting
    raise ResourceError(
        f"Training in {'one process' if wanted == 1 else f'{wanted} processes'} takes "
        f"{(SHARED_BYTES + wanted * least) / 1e9:,.1f} GB of memory at least, of which {free / 1e9:,.1f} GB are free.",
        f"Run fewer at once (`jobs={fitting}`)." if fitting else _LARGER_MACHINE,
    )


def check_room_for_states(state: float) -> None:
    """Check that the states which a training holds beside its model fit in memory.

    Args:
        state: the bytes of all variables of model and optimizer.

    Raises:
        ResourceError: they do not fit.
    """
    free, needed = available_memory(swap=True), STATE_COPIES * state
    if free is not None and needed > free:
        raise ResourceError(
            f"The states of model and optimizer that a training holds take {needed / 1e9:,.1f} GB of memory, of which "
            f"{free / 1e9:,.1f} GB are free.",
            _LARGER_MACHINE,
        )


def _data_bytes(config: Config) -> float:
    """Return the bytes of all parts of the data as float32; 0 where that is not known."""
    about = describe_one(config.dataset, data_dir=config.data_dir, image_size=config.image_size)
    if config.classes or not about["shape"]:
        return 0
    examples = sum(about[part] or 0 for part in ("train", "validation", "test"))
    return float(4 * examples * math.prod(about["shape"]))
