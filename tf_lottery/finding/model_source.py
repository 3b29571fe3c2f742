"""The models of the replicates: the caller's own model, or those that the caller's function makes."""

import functools
from collections.abc import Callable
from typing import Any

import keras

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.problem import replicate_seed
from tf_lottery.layers.acceptance import check_model, check_trained_as_keras_trains, check_weights_finite
from tf_lottery.utils import seeds


def model_maker(model: Any, *, replicates: int, seed: int) -> Callable[[int], keras.Model]:
    """Return a function from the number of a replicate to its plain model, with its initial weights.

    Args:
        model: a built model, or a function that makes one.
        replicates: how many replicates there are.
        seed: the seed that the initial weights of a function's models come from.

    Raises:
        UsageError: `model` is neither, has its own methods of training, or several replicates are asked of a built
            model.
        UnfitError: the model is not built.
    """
    if isinstance(model, keras.Model):
        if replicates != 1:
            raise UsageError(
                f"A built model has one set of initial weights, so `replicates` must be 1. Received: {replicates}.",
                "Pass a function that makes the model.",
            )
        check_model(model)
        check_trained_as_keras_trains(model)
        check_weights_finite(model)
        return lambda replicate: model
    if not callable(model):
        raise UsageError(
            f"`model` must be a keras.Model or a function that makes one. Received: {type(model).__name__}."
        )
    config = Config(seed=seed)

    @functools.lru_cache(maxsize=1)
    def make(replicate: int) -> keras.Model:
        with seeds.seeded(replicate_seed(config, replicate, "initial weights")):
            made = check_model(model(), source="the function `model`")
        check_trained_as_keras_trains(made, source="the function `model`")
        check_weights_finite(made, source="the function `model`")
        return made

    return make
