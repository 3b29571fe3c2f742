"""A training that no callback changes."""

import contextlib
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from tf_lottery.errors import UsageError
from tf_lottery.training.engine import METRICS, Engine
from tf_lottery.training.state import is_random_state


@contextlib.contextmanager
def unchanged_training(engine: Engine, actor: str) -> Iterator[None]:
    """Check that a block of code leaves a training as it was.

    What evaluating the model moves, its metrics and the states of its random generators, is put back.

    Args:
        engine: holds the model and the optimizer that are trained.
        actor: who runs in the block, for messages.

    Raises:
        UsageError: the block changed a weight or the optimizer, or asked the training to stop.
    """
    variables = engine.variables()
    # Tensors share the memory of a variable until it is assigned, so nothing is copied here.
    before = {path: tf.convert_to_tensor(variable.value) for path, variable in variables.items()}
    yield
    for path, variable in variables.items():
        if _equal(before[path], variable):
            continue
        if not (path.startswith(METRICS) or is_random_state(path)):
            raise UsageError(
                f"{actor} changed {variable.path}. Callbacks of `find_ticket` may read the model, not change it: "
                "otherwise a resumed run would differ from an uninterrupted one.",
                "Give the optimizer a `keras.optimizers.schedules.LearningRateSchedule` for its learning rate; train "
                "in a loop of your own for the rest.",
            )
        variable.assign(before[path])
    if engine.model.stop_training:
        raise UsageError(
            f"{actor} asked the training to stop. Every training runs its full length: the masks of the next round "
            "come from its last step.",
            "Drop that callback. Each row of the result has the step of least validation loss, early_stop_step.",
        )


def _equal(before: tf.Tensor, variable: keras.Variable) -> bool:
    """Whether a variable has the bits that it had."""
    old, new = before.numpy(), keras.ops.convert_to_numpy(variable.value)
    return np.asarray(old).tobytes() == np.asarray(new).tobytes()
