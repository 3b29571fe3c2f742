"""Scores: by hand, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning.select import prune

INITIAL = {"a": np.array([1.0, -3.0, 0.5, -2.0, 0.0])}
FINAL = {"a": np.array([-2.0, -1.0, 0.75, -4.0, 3.0])}


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_magnitude_is_the_absolute_value(dtype):
    weights = {"a": np.array([-2.0, 0.5, -0.0], dtype)}
    scored = scoring.scores(weights)
    np.testing.assert_array_equal(scored["a"], [2.0, 0.5, 0.0])
    assert scored["a"].dtype == dtype
    np.testing.assert_array_equal(weights["a"], [-2.0, 0.5, 0.0])


def test_random_is_a_function_of_seed_and_path():
    weights = {"a": np.zeros((40, 5)), "b": np.zeros((40, 5))}
    first = scoring.scores(weights, "random", seed=1)
    again = scoring.scores({"b": weights["b"]}, "random", seed=1)
    other = scoring.scores(weights, "random", seed=2)
    np.testing.assert_array_equal(first["b"], again["b"])
    assert not (first["a"] == first["b"]).all()
    assert not (first["a"] == other["a"]).all()
    assert ((first["a"] >= 0) & (first["a"] < 1)).all()
    assert abs(first["a"].mean() - 0.5) < 0.1


@pytest.mark.parametrize(
    ("criterion", "arguments", "expected"),
    [
        ("magnitude_increase", {}, [1, -2, 0.25, 2, 3]),
        ("weight_change", {}, [3, 2, 0.25, 2, 3]),
        # The first weight changed its sign; the last one started without a sign.
        ("large_final_same_sign", {}, [0, 1, 0.75, 4, 0]),
        ("large_initial_large_final", {}, [1, 1, 0.5, 2, 0]),
        ("large_initial_large_final", {"alpha": 0.25}, [0.5, 0.25, 0.1875, 1, 0]),
    ],
)
def test_criteria_of_initial_and_final_weights(criterion, arguments, expected):
    scored = scoring.scores(FINAL, criterion, initial=INITIAL, **arguments)
    np.testing.assert_array_equal(scored["a"], expected)
    np.testing.assert_array_equal(FINAL["a"], [-2.0, -1.0, 0.75, -4.0, 3.0])


@pytest.mark.parametrize(
    ("criterion", "name", "expected"),
    [
        ("snip", "gradients", [2, 3, 0.375, 8, 0]),
        ("grasp", "hessian_gradients", [-2, 3, 0.375, 8, 0]),
        ("synflow", "path_gradients", [2, -3, 0.375, -8, 0]),
        ("iteration_change", "changes", [1, -3, 0.5, -2, 0]),
    ],
)
def test_criteria_of_one_more_array(criterion, name, expected):
    argument = {"a": INITIAL["a"].copy()}  # any numbers: |g w|, g w and g |w| have different signs
    scored = scoring.scores(FINAL, criterion, **{name: argument})
    np.testing.assert_array_equal(scored["a"], expected)
    scored["a"][0] = 99  # a score is no view of what it was made from
    np.testing.assert_array_equal(argument["a"], INITIAL["a"])


def test_weights_that_hardly_changed_during_training_are_pruned():
    changes = {"a": np.array([0.4, 0.01, 3.0, 0.02, 5.0])}
    masks = prune(scoring.scores(FINAL, "iteration_change", changes=changes), {"a": np.ones(5, bool)}, rate=0.4)
    np.testing.assert_array_equal(masks["a"], [True, False, True, False, True])


def test_what_a_criterion_needs():
    wanted = {name: scoring.needs(name) for name in scoring.CRITERIA}
    assert wanted == {
        "magnitude_increase": {"initial"},
        "weight_change": {"initial"},
        "large_final_same_sign": {"initial"},
        "large_initial_large_final": {"initial"},
        "magnitude": set(),
        "random": {"seed"},
        "snip": {"gradients"},
        "grasp": {"hessian_gradients"},
        "synflow": {"path_gradients"},
        "iteration_change": {"changes"},
    }
    assert set().union(*wanted.values()) == set(scoring.SOURCES)


def test_iterations_and_scopes_are_of_known_criteria():
    assert scoring.iterations("synflow") == 100
    assert scoring.iterations("magnitude") == 1
    assert {*scoring.ITERATIONS, *scoring.GLOBAL} <= set(scoring.CRITERIA)
    with pytest.raises(UsageError, match="Did you mean 'synflow'"):
        scoring.iterations("sinflow")


@given(st.sampled_from(sorted(scoring.CRITERIA)), st.integers(0, 2**31 - 1), st.integers(1, 6))
def test_every_criterion_scores_all_and_changes_no_argument(criterion, seed, size):
    draw = np.random.default_rng(seed)
    weights = {"a": draw.normal(size=(size, 2)), "b": draw.normal(size=3)}
    arguments = {
        name: seed if name == "seed" else {key: draw.normal(size=weight.shape) for key, weight in weights.items()}
        for name in scoring.needs(criterion)
    }
    dicts = [weights, *(argument for argument in arguments.values() if argument != seed)]
    before = [{key: array.copy() for key, array in arrays.items()} for arrays in dicts]
    scored = scoring.scores(weights, criterion, **arguments)
    assert {key: score.shape for key, score in scored.items()} == {key: weight.shape for key, weight in weights.items()}
    for old, new in zip(before, dicts, strict=True):
        for key in old:
            np.testing.assert_array_equal(old[key], new[key])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_weights_are_refused(value):
    with pytest.raises(NonFiniteError, match=r"weights of 'a' must be finite. Received: 1 NaN"):
        scoring.scores({"a": np.array([1.0, value])})
    with pytest.raises(NonFiniteError, match=r"gradients of 'a' must be finite. Received: 1 NaN"):
        scoring.scores({"a": np.ones(2)}, "snip", gradients={"a": np.array([1.0, value])})


@pytest.mark.parametrize(
    ("criterion", "arguments", "message"),
    [
        ("magnitud", {}, "Did you mean 'magnitude'. Valid: magnitude, random, magnitude_increase"),
        ("random", {}, "'random' needs `seed`. Pass `seed=`"),
        ("magnitude", {"seed": 1}, "unexpected keyword argument 'seed'"),
        ("weight_change", {}, "needs `initial`. .*weights before training.*tfl.get_weights"),
        (
            "snip",
            {},
            r"'snip' needs `gradients`. Pass `gradients=tfl.gradients\(model, x, y, loss=...\)`: it needs data",
        ),
        ("snip", {"gradients": None}, "'snip' needs `gradients`"),
        ("grasp", {}, r"needs `hessian_gradients`. .*tfl.hessian_gradients\(model, x, y, loss=...\)`: it needs data"),
        ("synflow", {}, r"needs `path_gradients`. .*tfl.path_gradients\(model\)"),
        ("iteration_change", {}, "needs `changes`. .*sum over training steps"),
        ("snip", {"gradients": np.ones(2)}, "`gradients` must be a dictionary of arrays by weight path. .*ndarray"),
    ],
)
def test_wrong_arguments_are_refused(criterion, arguments, message):
    with pytest.raises(UsageError, match=message):
        scoring.scores({"a": np.ones(2)}, criterion, **arguments)


@pytest.mark.parametrize("criterion", [name for name in scoring.CRITERIA if scoring.needs(name) - {"seed"}])
def test_arrays_that_do_not_fit_are_refused(criterion):
    (name,) = scoring.needs(criterion)
    with pytest.raises(UnfitError, match=f"{name} lack b/kernel. They have: a"):
        scoring.scores({"a": np.ones(2), "b/kernel": np.ones(2)}, criterion, **{name: {"a": np.ones(2)}})
    # Shapes that NumPy would broadcast without a word.
    with pytest.raises(UnfitError, match=rf"{name} of 'a' must have shape \(3, 2\). Received: \(2,\)"):
        scoring.scores({"a": np.ones((3, 2))}, criterion, **{name: {"a": np.ones(2)}})


def test_a_new_criterion_is_checked_like_the_others(monkeypatch):
    def second_moment(weights, *, moments):
        return {key: moments[key] * weight**2 for key, weight in weights.items()}

    monkeypatch.setitem(scoring.CRITERIA, "second_moment", second_moment)
    with pytest.raises(UsageError, match="'second_moment' needs `moments`"):
        scoring.scores(FINAL, "second_moment")
    with pytest.raises(UnfitError, match="moments of 'a' must have shape"):
        scoring.scores(FINAL, "second_moment", moments={"a": np.ones(1)})
    np.testing.assert_array_equal(
        scoring.scores(FINAL, "second_moment", moments=INITIAL)["a"], [4.0, -3.0, 0.28125, -32.0, 0.0]
    )
