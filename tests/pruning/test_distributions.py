"""Distributions: counts by hand, exact totals, bounds, monotone rounds, and comparison with other implementations."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_lottery as tfl
from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning import masks as masking
from tf_lottery.pruning.distributions import apportion, erk_shares, lamp_counts, lamp_scores
from tf_lottery.pruning.units import divide


def kept(masks):
    return {key: int(mask.sum()) for key, mask in masks.items()}


def ranked(shapes):
    """Scores that rise with the flat index."""
    return {key: np.arange(1.0, np.prod(shape) + 1).reshape(shape) for key, shape in shapes.items()}


@pytest.mark.parametrize(
    ("shapes", "density", "counts"),
    [
        # Shares 8 and 4, ten weights: 6 2/3 and 3 1/3.
        ({"a": (4, 4), "b": (2, 2)}, 0.5, {"a": 7, "b": 3}),
        # Fifteen weights: 10 and 5, of which `b` has four.
        ({"a": (4, 4), "b": (2, 2)}, 0.75, {"a": 11, "b": 4}),
        # Shares 3 + 3 + 2 + 4 and 8 + 2, of 88 weights 22: exactly as many.
        ({"conv": (3, 3, 2, 4), "dense": (8, 2)}, 0.25, {"conv": 12, "dense": 10}),
        # 44 weights: 24 and 20, of which `dense` has 16.
        ({"conv": (3, 3, 2, 4), "dense": (8, 2)}, 0.5, {"conv": 28, "dense": 16}),
        # Equal remainders: the first by name is rounded up.
        ({"b": (3, 3), "a": (3, 3)}, 0.5, {"a": 5, "b": 4}),  # 9 of 18
        # LeNet-300-100: shares 1084, 400 and 110 of 13,310 weights: 9051.47, 3340.03 and 918.51.
        ({"d0": (784, 300), "d1": (300, 100), "d2": (100, 10)}, 0.05, {"d0": 9051, "d1": 3340, "d2": 919}),
        # 26,620 weights: 18103, 6680.1 and 1837.0; the last has 1000, the others share 25,620: 18714.7 and 6905.7.
        ({"d0": (784, 300), "d1": (300, 100), "d2": (100, 10)}, 0.1, {"d0": 18714, "d1": 6906, "d2": 1000}),
        ({"a": (4, 4), "b": (2, 2)}, 1.0, {"a": 16, "b": 4}),
    ],
)
def test_counts_of_erk_by_hand(shapes, density, counts):
    scores = ranked(shapes)
    masks = tfl.prune_to(scores, masking.ones(scores), density=density, distribution="erk")
    assert kept(masks) == counts
    for key, mask in masks.items():  # those of the highest scores
        assert mask.ravel()[mask.size - counts[key] :].all()


def test_erk_gives_each_array_one_weight_at_least():
    shapes = {"big": (100, 100), "small": (1, 2)}  # shares 200 and 3 of 20 weights: 19.7 and 0.3
    scores = ranked(shapes)
    masks = tfl.prune_to(scores, masking.ones(scores), density=0.002, distribution="erk")
    assert kept(masks) == {"big": 19, "small": 1}
    allowed = tfl.prune_to(scores, masking.ones(scores), density=0.002, distribution="erk", allow_empty=True)
    assert kept(allowed) == {"big": 20, "small": 0}


def test_shares_of_larger_units_are_those_of_weights():
    shapes = {"dense": (8, 6), "conv": (3, 3, 4, 2)}
    units = divide(shapes, granularity="channel")
    assert erk_shares(shapes, units) == {"dense": Fraction(14, 8), "conv": Fraction(12, 36)}
    scores = ranked(shapes)
    masks = tfl.prune_to(scores, masking.ones(scores), density=0.5, distribution="erk", granularity="channel")
    assert kept(masks) == {"dense": 3 * 8, "conv": 36}  # four units: 3.36 and 0.64


def test_erk_under_a_pattern_keeps_the_floor():
    shapes = {"big": (8, 8), "small": (4, 1)}  # shares 16 and 5 of 38 weights: 29 and 9, of which `small` has 4
    scores = ranked(shapes)
    masks = tfl.prune_to(scores, masking.ones(scores), density=38 / 68, distribution="erk", granularity="2:4")
    assert kept(masks) == {"big": 34, "small": 4}
    masks = tfl.prune_to(scores, masking.ones(scores), density=0.5, distribution="erk", granularity="2:4")
    assert kept(masks) == {"big": 32, "small": 2}


SCORES = {"a": np.array([3.0, 1.0, 2.0]), "b": np.array([10.0, 10.0])}
# Squares 1, 4, 9: LAMP 1/14, 4/13 and 1. Squares 100 and 100: 1/2 for the first of the tie, and 1.


@pytest.mark.parametrize(
    ("density", "expected"),
    [
        (0.8, {"a": [1, 0, 1], "b": [1, 1]}),
        (0.6, {"a": [1, 0, 0], "b": [1, 1]}),
        (0.4, {"a": [1, 0, 0], "b": [0, 1]}),
        (1.0, {"a": [1, 1, 1], "b": [1, 1]}),
        (0.2, {"a": [1, 0, 0], "b": [0, 1]}),  # one weight of five; each array keeps one
    ],
)
@pytest.mark.parametrize("scale", [1.0, 1e-30, 1e30])
def test_lamp_by_hand(density, expected, scale):
    scores = {"a": SCORES["a"] * scale, "b": SCORES["b"]}  # the scale of an array does not matter
    masks = tfl.prune_to(scores, masking.ones(scores), density=density, distribution="lamp")
    assert {key: mask.astype(int).tolist() for key, mask in masks.items()} == expected


def test_lamp_counts_survivors_only():
    scores = {"a": np.array([1.0, 100.0, 3.0]), "b": np.array([2.0, 3.0])}
    masks = {"a": np.array([True, False, True]), "b": np.ones(2, bool)}
    # Of survivors: 1/10 and 1; 4/13 and 1.
    after = tfl.prune(scores, masks, rate=0.25, distribution="lamp")
    assert {key: mask.tolist() for key, mask in after.items()} == {"a": [False, False, True], "b": [True, True]}


def test_lamp_scores_by_hand():
    assert lamp_scores(np.array([1.0, 2.0, 3.0])).tolist() == pytest.approx([1 / 14, 4 / 13, 1])
    assert lamp_scores(np.array([0.0, 0.0, 5.0])).tolist() == [0, 0, 1]
    assert lamp_scores(np.zeros(2)).tolist() == [0, 0]
    assert lamp_scores(np.zeros(0)).tolist() == []
    assert np.isfinite(lamp_scores(np.array([0.0, 1e-300, 1e300]))).all()


def test_lamp_with_zeros_keeps_a_weight_of_each_array():
    scores = {"a": np.zeros(4), "b": np.array([1.0, 2.0, 3.0, 4.0])}
    masks = tfl.prune_to(scores, masking.ones(scores), density=0.5, distribution="lamp")
    assert kept(masks) == {"a": 1, "b": 3}


def test_lamp_refuses_scores_that_it_can_not_square():
    scores = {"a": np.array([1.0, -2.0]), "b": np.array([1.0, 2.0])}
    with pytest.raises(UnfitError, match=r"must not be negative. Received: -2 in 'a'"):
        tfl.prune(scores, masking.ones(scores), rate=0.5, distribution="lamp")
    scores["a"] = np.array([1.0, np.nan])
    with pytest.raises(NonFiniteError):
        tfl.prune(scores, masking.ones(scores), rate=0.5, distribution="lamp")
    hidden = {"a": np.array([True, False]), "b": np.ones(2, bool)}
    assert kept(tfl.prune(scores, hidden, rate=1 / 3, distribution="lamp")) == {"a": 1, "b": 1}


@pytest.mark.parametrize("distribution", ["erk", "lamp"])
def test_a_rate_is_of_all_arrays_together(distribution):
    scores = ranked({"a": (5, 5), "b": (3, 3), "c": (2,)})
    masks = masking.ones(scores)
    for total in (29, 23, 18):  # 36 - round(7.2), 29 - round(5.8), 23 - round(4.6)
        masks = tfl.prune(scores, masks, rate=0.2, distribution=distribution)
        assert masking.kept(masks) == total


def test_uniform_is_the_default():
    scores = ranked({"a": (5, 5), "b": (3, 3)})
    for scope in ("layerwise", "global"):
        default = tfl.prune(scores, masking.ones(scores), rate=0.3, scope=scope)
        named = tfl.prune(scores, masking.ones(scores), rate=0.3, scope=scope, distribution="uniform")
        assert all(np.array_equal(default[key], named[key]) for key in scores)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 0.5, "distribution": "ekr"}, r"Unknown distribution 'ekr'.*erk"),
        ({"rate": 0.5, "distribution": "erk", "scope": "global"}, "decides how many weights each array keeps"),
        ({"rate": {"a": 0.5, "b": 0.2}, "distribution": "lamp"}, r"one number of weights .*: the rates 0.2, 0.5"),
    ],
)
def test_what_distributions_exclude(options, message):
    scores = ranked({"a": (2, 2), "b": (2, 2)})
    with pytest.raises(UsageError, match=message):
        tfl.prune(scores, masking.ones(scores), **options)


def test_one_array_takes_it_all():
    scores = ranked({"a": (4, 5)})
    for distribution in ("erk", "lamp"):
        assert kept(tfl.prune(scores, masking.ones(scores), rate=0.25, distribution=distribution)) == {"a": 15}


def test_apportion_between_bounds_by_hand():
    shares = {"a": Fraction(1), "b": Fraction(1), "c": Fraction(2)}
    free = dict.fromkeys("abc", 0)
    many = dict.fromkeys("abc", 100)
    assert apportion(shares, 40, least=free, most=many) == {"a": 10, "b": 10, "c": 20}
    assert apportion(shares, 41, least=free, most=many) == {"a": 10, "b": 10, "c": 21}  # 10 1/4, 10 1/4, 20 1/2
    assert apportion(shares, 43, least=free, most=many) == {"a": 11, "b": 11, "c": 21}  # 10 3/4, 10 3/4, 21 1/2
    assert apportion(shares, 40, least={**free, "a": 16}, most=many) == {"a": 16, "b": 8, "c": 16}
    assert apportion(shares, 40, least=free, most={**many, "c": 10}) == {"a": 15, "b": 15, "c": 10}
    assert apportion(shares, 0, least=free, most=many) == free
    assert apportion(shares, 6, least=dict.fromkeys("abc", 2), most=many) == dict.fromkeys("abc", 2)
    assert apportion(shares, 300, least=free, most=many) == many


def reference_erk(shapes, density):
    """Densities as the authors' code has them: one factor for all, arrays that would be more than dense set apart."""
    sizes = {key: math.prod(shape) for key, shape in shapes.items()}
    dense = set()
    while True:
        sparse = [key for key in shapes if key not in dense]
        rest = density * sum(sizes.values()) - sum(sizes[key] for key in dense)
        factor = rest / sum(sum(shapes[key]) for key in sparse) if sparse else 0.0
        over = {key for key in sparse if factor * sum(shapes[key]) / sizes[key] > 1}
        if not over:
            return {key: 1.0 if key in dense else factor * sum(shapes[key]) / sizes[key] for key in shapes}
        dense |= over


SHAPES = st.dictionaries(
    st.sampled_from("abcd"), st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple), min_size=1, max_size=4
)


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.floats(0.05, 1))
def test_erk_is_within_one_weight_of_the_reference(shapes, density):
    size = sum(map(math.prod, shapes.values()))
    total = round(density * size)
    exact = reference_erk(shapes, total / size)
    scores = ranked(shapes)
    counts = kept(tfl.prune_to(scores, masking.ones(scores), density=density, distribution="erk", allow_empty=True))
    assert sum(counts.values()) == total
    for key, shape in shapes.items():
        assert abs(counts[key] - exact[key] * math.prod(shape)) < 1 + 1e-9


@settings(max_examples=200, deadline=None)
@given(SHAPES, st.floats(0.05, 1), st.integers(0, 5))
def test_lamp_is_the_ranking_of_a_full_sort(shapes, density, seed):
    random = np.random.default_rng(seed)
    scores = {
        key: random.permutation(np.arange(1.0, np.prod(shape) + 1)).reshape(shape) for key, shape in shapes.items()
    }
    everything = []
    for key in shapes:
        ascending = sorted(scores[key].ravel().tolist())
        for position, value in enumerate(ascending):
            lamp = Fraction(int(value) ** 2, sum(int(other) ** 2 for other in ascending[position:]))
            everything.append((lamp, key, position, value))
    total = max(round(density * len(everything)), len(shapes))
    best = sorted(everything)[len(everything) - total :]
    after = tfl.prune_to(scores, masking.ones(scores), density=density, distribution="lamp")
    below = [lamp for lamp, *_ in everything if lamp < 1]
    if len(set(below)) == len(below):  # the floats may differ where fractions are equal
        for key in shapes:
            assert sorted(scores[key][after[key]]) == sorted(value for _, name, _, value in best if name == key)
    assert masking.kept(after) == total


@settings(max_examples=150, deadline=None)
@given(
    SHAPES,
    st.sampled_from(["erk", "lamp"]),
    st.lists(st.floats(0.05, 0.6), min_size=1, max_size=4),
    st.floats(0, 0.1),
    st.integers(0, 3),
)
def test_rounds_are_exact_subsets_and_empty_nothing(shapes, distribution, rates, lowest, seed):
    random = np.random.default_rng(seed)
    masks = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    for rate in rates:
        scores = {key: random.integers(0, 4, shape).astype("float32") for key, shape in shapes.items()}
        alive = masking.kept(masks)
        total = alive - round(rate * alive)
        least = {key: max(1, round(lowest * mask.size)) for key, mask in masks.items()}
        if total < sum(least.values()) and sum(least.values()) > len(shapes):
            break
        before, masks = masks, tfl.prune(scores, masks, rate=rate, distribution=distribution, min_density=lowest)
        assert masking.kept(masks) == max(total, len(shapes))
        for key, mask in masks.items():
            assert not (mask & ~before[key]).any()
            assert mask.sum() >= least[key]
            lost = before[key] & ~mask
            assert not lost.any() or scores[key][lost].max() <= scores[key][mask].min()


def test_lamp_counts_within_bounds():
    scores = {"a": np.arange(1.0, 11), "b": np.arange(1.0, 11)}
    masks = masking.ones(scores)
    free = lamp_counts(scores, masks, 10, least={"a": 1, "b": 1}, most={"a": 10, "b": 10})
    assert free == {"a": 5, "b": 5}
    assert lamp_counts(scores, masks, 10, least={"a": 8, "b": 1}, most={"a": 10, "b": 10}) == {"a": 8, "b": 2}
    assert lamp_counts(scores, masks, 10, least={"a": 1, "b": 1}, most={"a": 3, "b": 10}) == {"a": 3, "b": 7}
