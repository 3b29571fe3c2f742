"""Rates, least and greatest densities by glob pattern: which one holds, exact counts, and what is refused."""

import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning import masks as masking
from tf_lottery.pruning.path_patterns import values_by_path

SIZES = {"conv2d/kernel": 20, "conv2d_1/kernel": 40, "dense/kernel": 10}
SCORES = {key: np.arange(1.0, size + 1) for key, size in SIZES.items()}


def kept(*, to=None, **options):
    function, how = (tfl.prune_to, {"density": to}) if to else (tfl.prune, {})
    masks = function(SCORES, masking.ones(SCORES), **how, **options)
    for key, mask in masks.items():  # within an array the highest scores stay
        assert mask[mask.size - mask.sum() :].all(), key
    return [int(masks[key].sum()) for key in SIZES]


@pytest.mark.parametrize(
    ("rate", "counts"),
    [
        ({"conv*": 0.1, "*": 0.2}, [18, 36, 8]),
        ({"*": 0.2, "conv*": 0.1}, [18, 36, 8]),  # the order does not matter
        ({"conv*": 0.1, "conv2d_1/kernel": 0.5, "dense/*": 0.3}, [18, 20, 7]),  # a path is stronger
        ({"*/kernel": 0.5}, [10, 20, 5]),
        ({"conv2d/kernel": 0.5, "*": 0.0}, [10, 40, 10]),
        ({"conv2d*": 0.1, "conv*": 0.1, "[dx]ense*": 0.4}, [18, 36, 6]),  # patterns that agree
    ],
)
def test_rates_by_pattern(rate, counts):
    assert kept(rate=rate) == counts


def test_arrays_of_equal_rate_are_ranked_together():
    # 60 weights of the convolutions at 0.1: the three lowest scores of each.
    assert kept(rate={"conv*": 0.1, "*": 0.2}, scope="global") == [17, 37, 8]


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        ({"conv*": 0.1, "*": 0.2, "lstm*": 0.3}, UsageError, r"pattern 'lstm\*' of `rate` matches no weight"),
        ({"conv*": 0.1, "*_1/kernel": 0.2, "*": 0.3}, UsageError, r"more than one value for 'conv2d_1/kernel': 0.1 by"),
        ({"conv*": 0.1}, UnfitError, "nothing that matches 'dense/kernel'"),
        ({}, UnfitError, "nothing that matches"),
        ({"conv*": 0.1, "*": 1.0}, UsageError, r"`rate` must be in \[0, 1\).*'dense/kernel'"),
        ({"*": 0.1, 3: 0.2}, UsageError, "by weight path or pattern. Received: 3"),
        ({"*": [0.1]}, UsageError, r"`rate` must be in \[0, 1\)"),
        ({"dense_1/kernel": 0.1, "*": 0.2}, UnfitError, "keys of the rates do not fit.*unexpected"),
    ],
)
def test_rates_that_do_not_fit(rate, error, message):
    with pytest.raises(error, match=message):
        kept(rate=rate)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        # Single arrays stop at the least density, and come down to the greatest one.
        ({"rate": 0.5, "min_density": 0.8}, [16, 32, 8]),
        ({"rate": 0.5, "min_density": {"dense*": 0.8}}, [10, 20, 8]),
        ({"rate": 0.1, "max_density": {"conv*": 0.5}}, [10, 20, 9]),
        ({"rate": 0.5, "min_density": 0.25}, [10, 20, 5]),
        ({"to": 0.5, "min_density": {"dense*": 0.75}}, [10, 20, 8]),  # 7.5 is rounded half to even
        # The global scope prunes 35 of 70, of scores 1 to 20, 1 to 40 and 1 to 10.
        ({"rate": 0.5, "scope": "global"}, [7, 27, 1]),
        ({"rate": 0.5, "scope": "global", "min_density": 0.5}, [10, 20, 5]),
        ({"rate": 0.5, "scope": "global", "min_density": {"dense*": 0.5}}, [5, 25, 5]),
        ({"rate": 0.5, "scope": "global", "max_density": {"*_1/*": 0.5}}, [12, 20, 3]),
        (
            {"rate": 0.5, "scope": "global", "min_density": {"dense*": 1.0}, "max_density": {"*_1/*": 0.25}},
            [15, 10, 10],
        ),
        # Shares of sizes, since the arrays have one axis: proportional counts within the bounds.
        ({"rate": 0.5, "distribution": "erk"}, [10, 20, 5]),
        ({"rate": 0.5, "distribution": "erk", "min_density": {"dense*": 0.8}}, [9, 18, 8]),
        ({"rate": 0.5, "distribution": "erk", "max_density": {"conv2d_1*": 0.25}}, [17, 10, 8]),  # 16 2/3, 8 1/3
    ],
)
def test_least_and_greatest_densities(options, counts):
    assert kept(**options) == counts


@pytest.mark.parametrize("distribution", ["uniform", "erk", "lamp"])
def test_bounds_hold_for_the_total_in_every_distribution(distribution):
    scope = "global" if distribution == "uniform" else "layerwise"
    bounds = {"min_density": {"dense*": 0.9}, "max_density": {"conv2d/*": 0.3}}
    counts = kept(to=0.5, distribution=distribution, scope=scope, **bounds)
    assert sum(counts) == 35
    assert counts[0] <= 6
    assert counts[2] >= 9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_density": 0.8, "scope": "global"}, r"would keep 35 .*`min_density` keeps at least 56"),
        ({"max_density": 0.25, "distribution": "erk"}, r"would keep 35 .*`max_density` keeps at most 17"),
        ({"min_density": 0.8, "max_density": 0.5}, "must not be above `max_density`"),
        ({"min_density": 1.5}, r"`min_density` must be in \[0, 1\]"),
        ({"min_density": "much"}, r"`min_density` must be in \[0, 1\]"),
        ({"max_density": {"dense*": -0.1}}, r"`max_density` must be in \[0, 1\]"),
        ({"max_density": {"dense*": 0.01}}, r"would keep 0 of the 10 .*'dense/kernel', which keeps at least 1"),
        ({"min_density": {"lstm*": 0.1}}, r"pattern 'lstm\*' of `min_density` matches no weight"),
        ({"min_density": {"conv*": 0.1, "*_1/*": 0.2}}, "`min_density` has more than one value"),
    ],
)
def test_densities_that_do_not_fit(options, message):
    with pytest.raises(UsageError, match=message):
        kept(rate=0.5, **options)


def test_a_greatest_density_below_a_pattern_is_refused():
    scores = {"a": np.arange(8.0).reshape(8, 1)}
    with pytest.raises(UsageError, match="keeps at least 4 in the pattern 2:4"):
        tfl.prune(scores, masking.ones(scores), rate=0.5, granularity="2:4", max_density=0.25)
    masks = tfl.prune(scores, masking.ones(scores), rate=0.5, granularity="2:4", min_density=0.75)
    assert masks["a"].ravel().astype(int).tolist() == [0, 0, 1, 1, 1, 1, 1, 1]


def test_an_array_that_is_below_the_least_density_stays_as_it_is():
    masks = {"a": np.array([True, True, False, False, False])}
    after = tfl.prune({"a": np.arange(5.0)}, masks, rate=0.5, min_density=0.8)
    assert after["a"].tolist() == masks["a"].tolist()


def test_values_with_a_default():
    assert values_by_path(0.5, ["a", "b"], what="rate") == {"a": 0.5, "b": 0.5}
    assert values_by_path({"a": 1.0}, ["a", "b"], what="rate", default=0.0) == {"a": 1.0, "b": 0.0}
    with pytest.raises(UsageError, match=r"Did you mean 'dense/kernel'"):
        values_by_path({"dens?/kernal": 1.0}, ["dense/kernel"], what="rate", default=0.0)
