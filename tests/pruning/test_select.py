"""Pruning: exact counts, ties by (score, sorted key, flat index), and what is refused."""

import ml_dtypes
import numpy as np
import pytest

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning import masks as masking
from tf_lottery.pruning import select as pruning
from tf_lottery.pruning.criteria import scores as compute_scores


def dense(scores):
    return masking.ones(scores)


def as_lists(masks):
    return {key: mask.astype(int).tolist() for key, mask in masks.items()}


def run(scores, masks=None, **options):
    scores = {key: np.asarray(score, "float32") for key, score in scores.items()}
    masks = dense(scores) if masks is None else {key: np.asarray(mask, bool) for key, mask in masks.items()}
    return as_lists(pruning.prune(scores, masks, **options))


@pytest.mark.parametrize(
    ("scores", "masks", "options", "expected"),
    [
        # layerwise, by hand
        ({"a": [3, 1, 2, 4]}, None, {"rate": 0.5}, {"a": [1, 0, 0, 1]}),
        ({"a": [[3, 1], [2, 4]]}, None, {"rate": 0.25}, {"a": [[1, 0], [1, 1]]}),
        ({"a": [3, 1, 2, 4]}, None, {"rate": 0.0}, {"a": [1, 1, 1, 1]}),
        ({"a": [3, 1, 2, 4]}, None, {"rate": 0.99}, {"a": [0, 0, 0, 1]}),
        ({"a": [3, 1, 2, 4]}, None, {"rate": 0.99, "allow_empty": True}, {"a": [0, 0, 0, 0]}),
        ({"a": [3, 1, 2, 4]}, None, {"rate": 1, "allow_empty": True}, {"a": [0, 0, 0, 0]}),
        # of the survivors only: the low score of a pruned weight does not count
        ({"a": [0, 1, 2, 4]}, {"a": [0, 1, 1, 1]}, {"rate": 1 / 3}, {"a": [0, 0, 1, 1]}),
        ({"a": [9, 1, 2, 4]}, {"a": [0, 1, 1, 1]}, {"rate": 2 / 3}, {"a": [0, 0, 0, 1]}),
        # ties go by the flat index
        ({"a": [1, 1, 1, 1]}, None, {"rate": 0.5}, {"a": [0, 0, 1, 1]}),
        ({"a": [2, 1, 1, 1]}, None, {"rate": 0.5}, {"a": [1, 0, 0, 1]}),
        ({"a": [[1, 1], [1, 1]]}, None, {"rate": 0.75}, {"a": [[0, 0], [0, 1]]}),
        ({"a": [-0.0, 0.0, -0.0, 0.0]}, None, {"rate": 0.5}, {"a": [0, 0, 1, 1]}),
        ({"a": [-2, -1, 1, 2]}, None, {"rate": 0.5}, {"a": [0, 0, 1, 1]}),
        # half to even: 0.5 of 1, 3, 5
        ({"a": [1, 2, 3]}, None, {"rate": 0.5}, {"a": [0, 0, 1]}),
        ({"a": [1, 2, 3, 4, 5]}, None, {"rate": 0.5}, {"a": [0, 0, 1, 1, 1]}),
        ({"a": [1]}, None, {"rate": 0.5, "allow_empty": True}, {"a": [1]}),
        # never emptied: the best stays, of equal ones the last
        ({"a": [1]}, None, {"rate": 0.9}, {"a": [1]}),
        ({"a": [1, 1]}, None, {"rate": 0.9}, {"a": [0, 1]}),
        ({"a": [5, 5, 1]}, None, {"rate": 0.9}, {"a": [0, 1, 0]}),
        # all pruned already, and nothing at all
        ({"a": [1, 2]}, {"a": [0, 0]}, {"rate": 0.5}, {"a": [0, 0]}),
        ({"a": []}, None, {"rate": 0.5}, {"a": []}),
        ({}, None, {"rate": 0.5}, {}),
        # rates for each
        ({"a": [1, 2], "b": [1, 2]}, None, {"rate": {"a": 0.5, "b": 0.0}}, {"a": [0, 1], "b": [1, 1]}),
        # global
        ({"a": [1, 2], "b": [3, 4]}, None, {"rate": 0.25, "scope": "global"}, {"a": [0, 1], "b": [1, 1]}),
        ({"a": [3, 4], "b": [1, 2]}, None, {"rate": 0.25, "scope": "global"}, {"a": [1, 1], "b": [0, 1]}),
        # global ties go by the sorted key, whatever the order of the dict
        ({"b": [1, 1], "a": [1, 1]}, None, {"rate": 0.25, "scope": "global"}, {"b": [1, 1], "a": [0, 1]}),
        ({"b": [1, 1], "a": [1, 1, 1]}, None, {"rate": 0.6, "scope": "global"}, {"b": [0, 1], "a": [0, 0, 1]}),
        (
            {"b": [1, 1], "a": [1, 1]},
            None,
            {"rate": 0.75, "scope": "global", "allow_empty": True},
            {"b": [0, 1], "a": [0, 0]},
        ),
        # global never empties an array: the next lowest of another goes instead
        ({"a": [1, 2], "b": [3, 4, 5]}, None, {"rate": 0.4, "scope": "global"}, {"a": [0, 1], "b": [0, 1, 1]}),
        ({"a": [1, 2], "b": [3, 4, 5]}, None, {"rate": 0.9, "scope": "global"}, {"a": [0, 1], "b": [0, 0, 1]}),
        (
            {"a": [1, 2], "b": [3, 4, 5]},
            None,
            {"rate": 0.4, "scope": "global", "allow_empty": True},
            {"a": [0, 0], "b": [1, 1, 1]},
        ),
        (
            {"a": [1, 2], "b": [3, 4]},
            {"a": [0, 0], "b": [1, 1]},
            {"rate": 0.5, "scope": "global"},
            {"a": [0, 0], "b": [0, 1]},
        ),
        # global with rates: arrays of one rate are ranked together
        (
            {"a": [1, 9], "b": [2, 3], "o": [0, 1]},
            None,
            {"rate": {"a": 0.5, "b": 0.5, "o": 0.0}, "scope": "global"},
            {"a": [0, 1], "b": [0, 1], "o": [1, 1]},
        ),
    ],
)
def test_by_hand(scores, masks, options, expected):
    assert run(scores, masks, **options) == expected


@pytest.mark.parametrize(
    ("size", "rate", "gone"),
    [(5, 0.5, 2), (7, 0.5, 4), (25, 0.1, 2), (35, 0.1, 4), (45, 0.1, 4), (185, 0.1, 18), (10, 0.05, 0)],
)
def test_counts_round_half_to_even(size, rate, gone):
    scores = {"a": np.arange(float(size))}
    assert masking.kept(pruning.prune(scores, dense(scores), rate=rate)) == size - gone


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32", "uint8", "bool"])
def test_scores_of_any_real_dtype(dtype):
    scores = {"a": np.array([1, 0, 1, 0], dtype), "b": np.array([1, 1], dtype)}
    expected = {"a": [1, 0, 1, 0], "b": [1, 1]}
    assert as_lists(pruning.prune(scores, dense(scores), rate=1 / 3, scope="global")) == expected


def test_bfloat16_scores():
    scores = {"a": np.array([3, 1, 2, -0.0], ml_dtypes.bfloat16)}
    assert as_lists(pruning.prune(scores, dense(scores), rate=0.5)) == {"a": [1, 0, 1, 0]}
    scores["a"][2] = np.nan
    with pytest.raises(NonFiniteError):
        pruning.prune(scores, dense(scores), rate=0.5)


def test_float16_and_float64_are_ranked_together_exactly():
    scores = {"a": np.array([1.0, 2.0], "float16"), "b": np.array([1.0 + 1e-12, 1.0 - 1e-12], "float64")}
    masks = dense(scores)
    order = []
    for _ in range(2):
        after = pruning.prune_to(scores, masks, density=(masking.kept(masks) - 1) / 4, scope="global", allow_empty=True)
        order += [(k, int(i)) for k in masks for i in np.flatnonzero(masks[k] & ~after[k])]
        masks = after
    assert order == [("b", 1), ("a", 0)]


def test_nothing_given_is_changed():
    scores, masks = {"a": np.array([3.0, 1.0, 2.0])}, {"a": np.ones(3, bool)}
    after = pruning.prune(scores, masks, rate=0.4)
    assert scores["a"].tolist() == [3, 1, 2]
    assert masks["a"].all()
    same = pruning.prune(scores, masks, rate=0.0)
    same["a"][:] = False
    assert masks["a"].all()
    assert after["a"].tolist() == [True, False, True]


def test_scores_that_are_not_contiguous():
    scores = {"a": np.arange(6.0).reshape(2, 3).T}
    assert as_lists(pruning.prune(scores, dense(scores), rate=0.5)) == {"a": [[0, 1], [0, 1], [0, 1]]}


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("scope", ["layerwise", "global"])
@pytest.mark.parametrize("rate", [0.0, 0.5])
@pytest.mark.parametrize("where", [0, 1, 2])
def test_non_finite_scores_are_refused(value, scope, rate, where):
    score = np.array([1.0, 2.0, 3.0])
    score[where] = value
    with pytest.raises(NonFiniteError, match="scores of 'a' must be finite"):
        run({"a": score, "b": [1.0, 2.0]}, rate=rate, scope=scope)


def test_a_non_finite_score_of_a_pruned_weight_does_not_count():
    assert run({"a": [np.nan, 1, 2, -np.inf]}, {"a": [0, 1, 1, 0]}, rate=0.5) == {"a": [0, 0, 1, 0]}


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan"), float("inf"), True, "half", None, [0.2], {"a": "x"}])
def test_rates_out_of_range(rate):
    with pytest.raises(UsageError, match="`rate` must be"):
        run({"a": [1, 2, 3]}, rate=rate)


@pytest.mark.parametrize("density", [0, -0.1, 1.1, float("nan"), True, "half", None])
def test_densities_out_of_range(density):
    scores = {"a": np.array([1.0, 2.0])}
    with pytest.raises(UsageError, match="`density` must be"):
        pruning.prune_to(scores, dense(scores), density=density)


@pytest.mark.parametrize(
    ("scores", "masks", "options", "error", "message"),
    [
        ({"a": [1, 2]}, {"b": [1, 1]}, {"rate": 0.2}, UnfitError, "missing: a; unexpected: b"),
        ({"a": [1, 2]}, {"a": [1, 1, 1]}, {"rate": 0.2}, UnfitError, "shape"),
        ({"a": [1, 2]}, {"a": [1, 1]}, {"rate": {"b": 0.1}}, UnfitError, "keys of the rates"),
        ({"a": [1, 2]}, {"a": [1, 1]}, {"rate": 0.2, "scope": "locally"}, UsageError, "`scope` must be one of"),
    ],
)
def test_what_does_not_fit(scores, masks, options, error, message):
    with pytest.raises(error, match=message):
        run(scores, masks, **options)


@pytest.mark.parametrize("dtype", ["complex64", "U1", "object"])
def test_scores_that_are_no_numbers(dtype):
    scores = {"a": np.array([1, 0], dtype)}
    with pytest.raises(UnfitError, match="scores of 'a' must be real numbers"):
        pruning.prune(scores, dense(scores), rate=0.5)
    with pytest.raises(UnfitError, match="weights of 'a' must be real numbers"):
        compute_scores(scores)


def test_lists_of_different_lengths():
    ragged = {"a": [[1.0], [2.0, 3.0]]}
    with pytest.raises(UnfitError, match=r"scores of 'a' must be an array\. Received: .*inhomogeneous"):
        pruning.prune(ragged, {"a": [True, True]}, rate=0.5)
    with pytest.raises(UnfitError, match=r"masks for 'a' must be an array\. Received: .*inhomogeneous"):
        pruning.prune({"a": [1.0, 2.0]}, ragged, rate=0.5)
    with pytest.raises(UnfitError, match=r"weights of 'a' must be an array\. Received: .*inhomogeneous"):
        compute_scores(ragged)


@pytest.mark.parametrize(
    ("scores", "density", "scope", "expected"),
    [
        ({"a": [3, 1, 2, 4]}, 0.5, "layerwise", {"a": [1, 0, 0, 1]}),
        ({"a": [3, 1, 2, 4]}, 1, "layerwise", {"a": [1, 1, 1, 1]}),
        ({"a": [1, 2], "b": [3, 4]}, 0.5, "layerwise", {"a": [0, 1], "b": [0, 1]}),
        ({"a": [1, 2], "b": [3, 4]}, 0.75, "global", {"a": [0, 1], "b": [1, 1]}),
        ({"a": [1, 2], "b": [3, 4]}, 0.01, "global", {"a": [0, 1], "b": [0, 1]}),
    ],
)
def test_prune_to_a_density(scores, density, scope, expected):
    scores = {key: np.asarray(score, float) for key, score in scores.items()}
    assert as_lists(pruning.prune_to(scores, dense(scores), density=density, scope=scope)) == expected


def test_a_density_above_todays_is_refused():
    scores = {"a": np.arange(4.0)}
    masks = pruning.prune_to(scores, dense(scores), density=0.5)
    with pytest.raises(UsageError, match=r"density 0.75 is above what is left of a: 2 weights survive"):
        pruning.prune_to(scores, masks, density=0.75)


# 235200, 30000 and 1000 weights at 0.2, 0.2, 0.1 of the survivors, counted with exact fractions, half to even.
LENET = [
    *(266200, 213060, 170538, 136511, 109282, 87490, 70051, 56094, 44923, 35981, 28823),
    *(23093, 18506, 14834, 11893, 9537, 7650, 6139, 4928, 3958, 3179),
]


def test_the_ladder_of_lenet_300_100():
    sizes = {"dense/kernel": 235200, "dense_1/kernel": 30000, "dense_2/kernel": 1000}
    rates = {"dense/kernel": 0.2, "dense_1/kernel": 0.2, "dense_2/kernel": 0.1}
    random = np.random.default_rng(0)
    masks = {key: np.ones(size, bool) for key, size in sizes.items()}
    totals, output = [masking.kept(masks)], []
    for _ in range(20):
        scores = {key: random.random(size, dtype="float32") for key, size in sizes.items()}
        after = pruning.prune(scores, masks, rate=rates)
        assert all(not (after[key] & ~masks[key]).any() for key in sizes)
        masks = after
        totals.append(masking.kept(masks))
        output.append(masking.kept({"o": masks["dense_2/kernel"]}))
    assert totals == LENET
    assert output[15:17] == [185, 167]  # 185 * 0.1 = 18.5 is a tie: 18 go
