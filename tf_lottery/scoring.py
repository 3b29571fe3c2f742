"""Scores: how much each weight matters. Higher is kept.

A criterion is one pure function from weights to scores of the same shapes. To add one, write the function and put it in
`CRITERIA`; the keyword arguments that it names are what it gets (`seed`, ...).
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_lottery import seeds
from tf_lottery.errors import NonFiniteError, UsageError
from tf_lottery.text import suggestion

Scores = dict[str, np.ndarray]


def magnitude(weights: Mapping[str, np.ndarray]) -> Scores:
    """|w|: the criterion of Han et al. (2015, arXiv 1506.02626) and Frankle & Carbin (2018, arXiv 1803.03635)."""
    return {key: np.abs(weight) for key, weight in weights.items()}


def random(weights: Mapping[str, np.ndarray], *, seed: int) -> Scores:
    """Uniform scores in [0, 1), a pure function of seed, path and shape: the floor that other criteria must beat."""
    return {
        key: seeds.generator(seed, "random score", key).random(np.shape(weight), dtype=np.float32)
        for key, weight in weights.items()
    }


CRITERIA: dict[str, Callable[..., Scores]] = {"magnitude": magnitude, "random": random}


def scores(weights: Mapping[str, np.ndarray], criterion: str = "magnitude", **kwargs: Any) -> Scores:
    """Score `weights` by a named criterion.

    Args:
        weights: float arrays keyed by weight path.
        criterion: a name in `CRITERIA`.
        **kwargs: what the criterion needs, e.g. `seed` for "random"; what it does not name is an error.

    Returns:
        One array of scores per weight, same keys and shapes; higher is kept.

    Raises:
        UsageError: the criterion is unknown, or an argument is missing or not known to it.
        NonFiniteError: a weight is NaN or infinite.

    Example:
        >>> scores({"dense/kernel": np.array([-2.0, 0.5])})
        {'dense/kernel': array([2. , 0.5])}
    """
    function = get(criterion)
    for key, weight in weights.items():
        bad = np.size(weight) - int(np.count_nonzero(np.isfinite(weight)))
        if bad:
            raise NonFiniteError(
                f"The weights of {key!r} must be finite. Received: {bad} NaN or infinite.",
                "The training diverged: lower the learning rate, or look at the data.",
            )
    try:
        inspect.signature(function).bind(weights, **kwargs)
    except TypeError as error:
        raise UsageError(
            f"Criterion {criterion!r}: {error}.", f"Its signature: {inspect.signature(function)}."
        ) from None
    return function(weights, **kwargs)


def get(criterion: str) -> Callable[..., Scores]:
    """The function of a named criterion.

    Raises:
        UsageError: there is none of that name.
    """
    if criterion not in CRITERIA:
        raise UsageError(f"Unknown criterion {criterion!r}.", suggestion(criterion, CRITERIA))
    return CRITERIA[criterion]


def needs(criterion: str) -> set[str]:
    """The keyword arguments that a criterion names, besides the weights."""
    return set(inspect.signature(get(criterion)).parameters) - {"weights"}
