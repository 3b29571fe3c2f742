"""Criteria: functions that score how much every weight matters. Weights of higher scores are kept.

A criterion is one pure function from weights to scores of the same shapes. To add one, write the function and put it in
`CRITERIA`. Its keyword arguments name what it needs besides the weights; `SOURCES` says where a user gets that from.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning.masks import Scores, WeightArrays, as_array, as_real
from tf_lottery.utils import references, seeds
from tf_lottery.utils.text import suggestion

Criterion: TypeAlias = Callable[..., Scores]
CriterionLike: TypeAlias = str | Criterion
"""What stands for a criterion: a name in `CRITERIA`, an import path `package.module:name`, or the function itself."""


def magnitude(weights: WeightArrays) -> Scores:
    """Scores by |w| (Han et al. 2015, arXiv 1506.02626; Frankle & Carbin 2018, arXiv 1803.03635)."""
    return {key: np.abs(weight) for key, weight in weights.items()}


def random(weights: WeightArrays, *, seed: int) -> Scores:
    """Scores uniformly at random in [0, 1): the baseline that other criteria must beat.

    Args:
        weights: Weight arrays by path; only paths and shapes matter.
        seed: The scores are a pure function of seed, path and shape.
    """
    return {
        key: seeds.generator(seed, "random score", key).random(np.shape(weight), dtype=np.float32)
        for key, weight in weights.items()
    }


def magnitude_increase(weights: WeightArrays, *, initial: WeightArrays) -> Scores:
    """Scores by |w| - |w_i|, how much larger training made the weight (Zhou et al. 2019, arXiv 1905.01067).

    Args:
        weights: The trained weights w by path.
        initial: The weights w_i before training, with the same paths and shapes.
    """
    return {key: np.abs(weight) - np.abs(initial[key]) for key, weight in weights.items()}


def weight_change(weights: WeightArrays, *, initial: WeightArrays) -> Scores:
    """Scores by |w - w_i|, how far training moved the weight ("movement" in Zhou et al. 2019, arXiv 1905.01067).

    Args:
        weights: The trained weights w by path.
        initial: The weights w_i before training, with the same paths and shapes.
    """
    return {key: np.abs(weight - initial[key]) for key, weight in weights.items()}


def large_final_same_sign(weights: WeightArrays, *, initial: WeightArrays) -> Scores:
    """Scores by max(0, sign(w_i) w), the magnitude if the sign was kept (Zhou et al. 2019, arXiv 1905.01067).

    Args:
        weights: The trained weights w by path.
        initial: The weights w_i before training, with the same paths and shapes.
    """
    return {key: np.maximum(0, np.sign(initial[key]) * weight) for key, weight in weights.items()}


def large_initial_large_final(weights: WeightArrays, *, initial: WeightArrays, alpha: float = 1.0) -> Scores:
    """Scores by min(alpha |w|, |w_i|), large before and after training (Zhou et al. 2019, arXiv 1905.01067).

    Args:
        weights: The trained weights w by path.
        initial: The weights w_i before training, with the same paths and shapes.
        alpha: The weight of |w| where training changes the scale of the weights. The authors choose it per layer so
            that both magnitudes are cut at the same percentile.
    """
    return {key: np.minimum(alpha * np.abs(weight), np.abs(initial[key])) for key, weight in weights.items()}


def snip(weights: WeightArrays, *, gradients: WeightArrays) -> Scores:
    """Scores by |g w|, the first-order change of the loss if the weight is pruned (Lee et al. 2018, arXiv 1810.02340).

    This is |dL/dm| for a mask m on the weight, at m = 1. The paper divides by the sum, which changes no rank.

    Args:
        weights: Weight arrays by path.
        gradients: The gradients g of the loss, with the same paths and shapes.
    """
    return {key: np.abs(gradients[key] * weight) for key, weight in weights.items()}


def grasp(weights: WeightArrays, *, hessian_gradients: WeightArrays) -> Scores:
    """Scores by w (H g), what the gradient flow loses with the weight (Wang et al. 2020, arXiv 2002.07376).

    A change d of the weights changes the squared norm of the gradient by 2 d'Hg to first order, and to prune a weight
    is d = -w: without a weight of positive w (H g) the gradient flow is smaller, so it is kept. The paper states the
    score with the other sign, -w (H g), and prunes the highest.

    Args:
        weights: Weight arrays by path.
        hessian_gradients: The product H g of the Hessian and the gradient, with the same paths and shapes.
    """
    return {key: weight * hessian_gradients[key] for key, weight in weights.items()}


def synflow(weights: WeightArrays, *, path_gradients: WeightArrays) -> Scores:
    """Scores by |w| dR/d|w|, the synaptic flow through the weight (Tanaka et al. 2020, arXiv 2006.05467).

    R is the sum over all paths from input to output of the product of the |w| on the path. The sum of the scores is
    the same in every layer, so in the global scope no layer is emptied before the others, if the scores are computed
    again after each of `ITERATIONS["synflow"]` small prunings.

    Args:
        weights: Weight arrays by path.
        path_gradients: The derivatives dR/d|w|, with the same paths and shapes.
    """
    return {key: np.abs(weight) * path_gradients[key] for key, weight in weights.items()}


def iteration_change(weights: WeightArrays, *, changes: WeightArrays) -> Scores:
    """Scores by the sum over steps of |w_{t+1} - w_t|, so that weights that change slowly are pruned.

    Args:
        weights: Weight arrays by path; only paths matter.
        changes: The sums, with the same paths and shapes.
    """
    return {key: np.array(changes[key]) for key in weights}


CRITERIA: dict[str, Criterion] = {
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
"""Criteria whose scores are only meaningful if all layers are ranked together."""

SIGNED: tuple[str, ...] = ("magnitude_increase", "grasp")
"""Criteria whose scores may be negative."""

SOURCES: dict[str, str] = {
    "seed": "Pass `seed=`, an integer.",
    "initial": "Pass `initial=`: the weights before training by path, as from `tfl.get_weights(model)`.",
    "gradients": "Pass `gradients=tfl.gradients(model, x, y, loss=...)`: it needs data.",
    "hessian_gradients": "Pass `hessian_gradients=tfl.hessian_gradients(model, x, y, loss=...)`: it needs data.",
    "path_gradients": "Pass `path_gradients=tfl.path_gradients(model)`: it needs no data.",
    "changes": "Pass `changes=`: for each weight the sum over training steps of |w_{t+1} - w_t|, by path.",
}
"""Where a user gets the arguments of criteria from, for messages."""
ARRAYS = ("initial", "gradients", "hessian_gradients", "path_gradients", "changes")
"""Arguments that are arrays by weight path."""


def scores(weights: WeightArrays, criterion: CriterionLike = "magnitude", **kwargs: Any) -> Scores:
    """Scores weights by a criterion.

    Args:
        weights: Float arrays by weight path.
        criterion: A name in `CRITERIA`, a function like those, or its import path `package.module:name`.
        **kwargs: What the criterion needs besides the weights, e.g. `seed` for "random" or `gradients` for "snip".
            Arrays are passed as dicts with at least the keys of `weights`, in the same shapes.

    Returns:
        An array of scores per weight array, with the same keys and shapes; weights of higher scores are kept.

    Raises:
        UsageError: If the criterion is unknown, or an argument is missing or not known to it.
        UnfitError: If weights or an argument are no real numbers, keys or shapes of an argument, or of the scores, do
            not fit the weights, or a user's own criterion fails.
        NonFiniteError: If a weight or a value of an argument is NaN or infinite.

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
    if isinstance(criterion, str) and criterion in CRITERIA:
        return function(weights, **kwargs)
    name = criterion if isinstance(criterion, str) else getattr(criterion, "__name__", "criterion")
    return _own_scores(function, name, weights, kwargs)


def _own_scores(function: Criterion, name: str, weights: WeightArrays, kwargs: Mapping[str, Any]) -> Scores:
    """Returns the scores of a user's own criterion, if they fit the weights."""
    result = references.call_own(function, "criterion", name, weights, **kwargs)
    if not isinstance(result, Mapping):
        raise UnfitError(
            f"The criterion {name!r} must return scores by weight path. It returned: {type(result).__name__}.",
            "Return a dictionary with the keys of the weights.",
        )
    _check_fit(result, weights, f"scores of {name!r}")
    return {key: np.asarray(result[key]) for key in weights}


def get(criterion: CriterionLike) -> Criterion:
    """Returns the function of a criterion.

    Args:
        criterion: A name in `CRITERIA`, a function, or its import path `package.module:name`.

    Raises:
        UsageError: If there is no such criterion.
        UnfitError: If the module of an import path can't be imported.
    """
    if callable(criterion):
        return criterion
    if criterion in CRITERIA:
        return CRITERIA[criterion]
    if references.is_reference(criterion):
        function: Criterion = references.resolve(criterion, what="criterion")
        return function
    raise UsageError(f"Unknown criterion {criterion!r}.", suggestion(criterion, CRITERIA))


def needs(criterion: CriterionLike) -> set[str]:
    """Returns the names of the keyword arguments that a criterion requires besides its first argument, the weights."""
    parameters = list(inspect.signature(get(criterion)).parameters.values())[1:]
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return {item.name for item in parameters if item.default is item.empty and item.kind not in variable}


def iterations(criterion: CriterionLike) -> int:
    """Returns how many times a criterion prunes and scores again, to get from one density to the next.

    Raises:
        UsageError: If there is no criterion of that name.
    """
    get(criterion)
    return ITERATIONS.get(criterion, 1) if isinstance(criterion, str) else 1


def _check_fit(arrays: Any, weights: WeightArrays, what: str) -> None:
    """Raises unless `arrays` has an array of the same shape for every weight array."""
    if not isinstance(arrays, Mapping):
        raise UsageError(
            f"`{what}` must be a dictionary of arrays by weight path. Received: {type(arrays).__name__}.",
            SOURCES.get(what, ""),
        )
    if missing := sorted(set(weights) - set(arrays)):
        raise UnfitError(
            f"The {what} lack {', '.join(missing)}. They have: {', '.join(arrays) or 'nothing'}.",
            "Take both from one model; `weights` should hold the maskable weights only, those of `tfl.get_masks`.",
        )
    for key, weight in weights.items():
        if np.shape(arrays[key]) != np.shape(weight):
            raise UnfitError(
                f"The {what} of {key!r} must have shape {np.shape(weight)}. Received: {np.shape(arrays[key])}.",
                "Take both from one model.",
            )


def _check_finite(arrays: WeightArrays, what: str, remedy: str) -> None:
    """Raises if a value is no real number, NaN or infinite."""
    for key, value in arrays.items():
        array = as_real(as_array(value, what=f"{what} of {key!r}"), what=f"{what} of {key!r}")
        bad = np.size(array) - int(np.count_nonzero(np.isfinite(array)))
        if bad:
            raise NonFiniteError(f"The {what} of {key!r} must be finite. Received: {bad} NaN or infinite.", remedy)
