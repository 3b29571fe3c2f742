"""Scores: how much each weight matters. Higher is kept.

A criterion is one pure function from weights to scores of the same shapes. To add one, write the function and put it in
`CRITERIA`; the keyword arguments that it names are what it gets, and `SOURCES` says where a user gets them from.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.utils import seeds
from tf_lottery.utils.text import suggestion

Arrays = Mapping[str, np.ndarray]
Scores = dict[str, np.ndarray]


def magnitude(weights: Arrays) -> Scores:
    """|w|: the criterion of Han et al. (2015, arXiv 1506.02626) and Frankle & Carbin (2018, arXiv 1803.03635)."""
    return {key: np.abs(weight) for key, weight in weights.items()}


def random(weights: Arrays, *, seed: int) -> Scores:
    """Uniform scores in [0, 1), a pure function of seed, path and shape: the floor that other criteria must beat."""
    return {
        key: seeds.generator(seed, "random score", key).random(np.shape(weight), dtype=np.float32)
        for key, weight in weights.items()
    }


def magnitude_increase(weights: Arrays, *, initial: Arrays) -> Scores:
    """|w| - |w_i|: how much training made the weight larger (Zhou et al. 2019, arXiv 1905.01067)."""
    return {key: np.abs(weight) - np.abs(initial[key]) for key, weight in weights.items()}


def weight_change(weights: Arrays, *, initial: Arrays) -> Scores:
    """|w - w_i|: how far training moved the weight; "movement" in Zhou et al. (2019, arXiv 1905.01067)."""
    return {key: np.abs(weight - initial[key]) for key, weight in weights.items()}


def large_final_same_sign(weights: Arrays, *, initial: Arrays) -> Scores:
    """max(0, sign(w_i) w): magnitude of the weights that kept their sign (Zhou et al. 2019, arXiv 1905.01067)."""
    return {key: np.maximum(0, np.sign(initial[key]) * weight) for key, weight in weights.items()}


def large_initial_large_final(weights: Arrays, *, initial: Arrays, alpha: float = 1.0) -> Scores:
    """min(alpha |w|, |w_i|): large before and after training (Zhou et al. 2019, arXiv 1905.01067).

    `alpha` weighs the two against each other where training changes the scale of the weights: the authors choose it for
    each layer so that both magnitudes are cut at the same percentile; 1 takes them as they are.
    """
    return {key: np.minimum(alpha * np.abs(weight), np.abs(initial[key])) for key, weight in weights.items()}


def snip(weights: Arrays, *, gradients: Arrays) -> Scores:
    """|g w|: the change of the loss, to first order, when the weight goes (Lee et al. 2018, arXiv 1810.02340).

    The same as |dL/dm| for a mask m on the weight, at m = 1. The paper divides by the sum, which changes no rank.
    """
    return {key: np.abs(gradients[key] * weight) for key, weight in weights.items()}


def grasp(weights: Arrays, *, hessian_gradients: Arrays) -> Scores:
    """w (H g), signed: what the gradient flow loses when the weight goes (Wang et al. 2020, arXiv 2002.07376).

    A change d of the weights changes the squared norm of the gradient by 2 d'Hg to first order, and to prune a weight
    is d = -w: a weight with positive w (H g) takes gradient flow with it, and is kept. The paper states the score with
    the other sign, -w (H g), and prunes the highest.
    """
    return {key: weight * hessian_gradients[key] for key, weight in weights.items()}


def synflow(weights: Arrays, *, path_gradients: Arrays) -> Scores:
    """|w| dR/d|w|: the flow through the weight (Tanaka et al. 2020, arXiv 2006.05467).

    R is the sum over all paths from input to output of the product of the |w| on the path.

    The sum of the scores is the same in every layer, so in the global scope no layer is emptied before the others, if
    the scores are taken anew after each of `ITERATIONS["synflow"]` small prunings.
    """
    return {key: np.abs(weight) * path_gradients[key] for key, weight in weights.items()}


def iteration_change(weights: Arrays, *, changes: Arrays) -> Scores:
    """Sum over steps of |w_{t+1} - w_t|: what changes too slowly during training goes."""
    return {key: np.array(changes[key]) for key in weights}


CRITERIA: dict[str, Callable[..., Scores]] = {
    "magnitude": magnitude,
    "random": random,
    "magnitude_increase": magnitude_increase,
    "weight_change": weight_change,
    "large_final_same_sign": large_final_same_sign,
    "large_initial_large_final": large_initial_large_final,
    "snip": snip,
    "grasp": grasp,
    "synflow": synflow,
    "iteration_change": iteration_change,
}
ITERATIONS: dict[str, int] = {"synflow": 100}
"""How many times a criterion prunes and scores again, to get from one density to the next; once, unless listed."""
GLOBAL: tuple[str, ...] = ("synflow",)
"""Criteria whose scores only mean something when all layers are ranked together."""

SOURCES: dict[str, str] = {
    "seed": "Pass `seed=`, an integer.",
    "initial": "Pass `initial=`: the weights before training by path, as from `tfl.get_weights(model)`.",
    "gradients": "Pass `gradients=tfl.gradients(model, x, y, loss=...)`: it needs data.",
    "hessian_gradients": "Pass `hessian_gradients=tfl.hessian_gradients(model, x, y, loss=...)`: it needs data.",
    "path_gradients": "Pass `path_gradients=tfl.path_gradients(model)`: it needs no data.",
    "changes": "Pass `changes=`: for each weight the sum over training steps of |w_{t+1} - w_t|, by path.",
}
"""Where what a criterion needs comes from, for messages."""
ARRAYS = ("initial", "gradients", "hessian_gradients", "path_gradients", "changes")
"""Arguments that are arrays by weight path."""


def scores(weights: Arrays, criterion: str = "magnitude", **kwargs: Any) -> Scores:
    """Score `weights` by a named criterion.

    Args:
        weights: float arrays keyed by weight path.
        criterion: a name in `CRITERIA`.
        **kwargs: what the criterion needs, e.g. `seed` for "random", `gradients` for "snip"; what it does not name is
            an error. Arrays come as dicts with at least the keys of `weights`, in the same shapes.

    Returns:
        One array of scores per weight, same keys and shapes; higher is kept.

    Raises:
        UsageError: the criterion is unknown, or an argument is missing or not known to it.
        UnfitError: the keys or shapes of an argument do not fit the weights.
        NonFiniteError: a weight or a value of an argument is NaN or infinite.

    Example:
        >>> scores({"dense/kernel": np.array([-2.0, 0.5])})
        {'dense/kernel': array([2. , 0.5])}
        >>> scores({"kernel": np.array([-2.0, 0.5])}, "snip", gradients={"kernel": np.array([0.1, 4.0])})
        {'kernel': array([0.2, 2. ])}
    """
    function = get(criterion)
    missing = sorted(name for name in needs(criterion) if kwargs.get(name) is None)
    if missing:
        raise UsageError(
            f"Criterion {criterion!r} needs {' and '.join(f'`{name}`' for name in missing)}.",
            " ".join(SOURCES.get(name, f"Its signature: {inspect.signature(function)}.") for name in missing),
        )
    try:
        inspect.signature(function).bind(weights, **kwargs)
    except TypeError as error:
        raise UsageError(
            f"Criterion {criterion!r}: {error}.", f"Its signature: {inspect.signature(function)}."
        ) from None
    _check_finite(weights, "weights", "The training diverged: lower the learning rate, or look at the data.")
    for name, value in kwargs.items():
        if name in ARRAYS or isinstance(value, Mapping):
            _check_fit(value, weights, name)
            _check_finite({key: value[key] for key in weights}, name, "Look at the weights, the loss and the data.")
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
    """The keyword arguments that a criterion can't do without, besides the weights."""
    parameters = inspect.signature(get(criterion)).parameters.values()
    return {each.name for each in parameters if each.default is each.empty} - {"weights"}


def iterations(criterion: str) -> int:
    """How many times a criterion prunes and scores again per pruning.

    Raises:
        UsageError: there is no criterion of that name.
    """
    get(criterion)
    return ITERATIONS.get(criterion, 1)


def _check_fit(given: Any, weights: Arrays, what: str) -> None:
    """Raise unless `given` has an array for each weight, of its shape."""
    if not isinstance(given, Mapping):
        raise UsageError(
            f"`{what}` must be a dictionary of arrays by weight path. Received: {type(given).__name__}.",
            SOURCES.get(what, ""),
        )
    if missing := sorted(set(weights) - set(given)):
        raise UnfitError(
            f"The {what} lack {', '.join(missing)}. They have: {', '.join(given) or 'nothing'}.",
            "Take both from one model; `weights` should hold the maskable weights only, those of `tfl.get_masks`.",
        )
    for key, weight in weights.items():
        if np.shape(given[key]) != np.shape(weight):
            raise UnfitError(
                f"The {what} of {key!r} must have shape {np.shape(weight)}. Received: {np.shape(given[key])}.",
                "Take both from one model.",
            )


def _check_finite(arrays: Arrays, what: str, remedy: str) -> None:
    """Raise if a value is NaN or infinite."""
    for key, array in arrays.items():
        bad = np.size(array) - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise NonFiniteError(f"The {what} of {key!r} must be finite. Received: {bad} NaN or infinite.", remedy)
