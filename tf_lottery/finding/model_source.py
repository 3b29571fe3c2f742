"""The models of the replicates: the caller's own model, or those that the caller's function makes."""

from collections.abc import Callable
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.problem import replicate_seed
from tf_lottery.layers.acceptance import check_has_no_training_loop, check_model, check_weights_finite
from tf_lottery.utils import seeds


def model_maker(model: Any, *, replicates: int, seed: int) -> Callable[[int], keras.Model]:
    """Return a function from the number of a replicate to its plain model, with its initial weights.

    Args:
        model: a built model, or a function that makes one.
        replicates: how many replicates there are.
        seed: the seed that the initial weights of a function's models come from.

    Raises:
        UsageError: `model` is neither, has a training loop of its own, or several replicates are asked of a built
            model.
        UnfitError: the model is not built.
    """
    if isinstance(model, keras.Model):
        if replicates != 1:
            raise UsageError(
                f"A built model has one set of initial weights, so `replicates` must be 1. Received: {replicates}.",
                "Pass a function that makes the model.",
            )
        check_model(model, subclassed=True)
        check_has_no_training_loop(model)
        check_weights_finite(model)
        return lambda replicate: model
    if not callable(model):
        raise UsageError(
            f"`model` must be a keras.Model or a function that makes one. Received: {type(model).__name__}."
        )
    config = Config(seed=seed)

    def make(replicate: int) -> keras.Model:
        with seeds.seeded(replicate_seed(config, replicate, "initial weights")):
            made = check_model(model(), source="the function `model`", subclassed=True)
        check_has_no_training_loop(made, source="the function `model`")
        check_weights_finite(made, source="the function `model`")
        return made

    return make
