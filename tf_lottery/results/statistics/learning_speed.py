"""Whose early-stop step measures how fast it learns: of networks that start with untrained weights."""

from collections.abc import Sequence

from tf_lottery.experiment.controls import CONTROLS
from tf_lottery.experiment.rewind_point import starts_trained

EARLY_STOP = "early_stop_step"
# These continue another training.
CONTINUING = tuple(name for name, control in CONTROLS.items() if control.continues_previous_round)
# These do, or have their last masks late, so their early-stop step is no measure of how fast they learn.
NO_MEASURE = (*CONTINUING, *(name for name, control in CONTROLS.items() if control.prunes_gradually))
# These start at step 0 with untrained weights, whatever the ticket starts from.
FROM_STEP_ZERO = ("random_reinit", "same_sign_reinit", "constant_sign_reinit", "reshuffled_weights", "small_dense")


def started_trained(rewind: str, variants: Sequence[str]) -> list[str]:
    """The variants that start from trained weights, so that their early-stop step does not show how fast they learn.

    Args:
        rewind: the rewind point of the run.
        variants: names of variants.

    Example:
        >>> started_trained("lr", ["ticket", "random_reinit", "dense_longer"])
        ['ticket', 'dense_longer']
        >>> started_trained("init", ["ticket", "dense_longer"])
        ['dense_longer']
    """
    trained = starts_trained(rewind)
    return [name for name in variants if name in NO_MEASURE or (trained and name not in FROM_STEP_ZERO)]
