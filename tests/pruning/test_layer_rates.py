"""Schedules: by hand, and what is refused."""

import numpy as np
import pytest

from tf_lottery.errors import LotteryError
from tf_lottery.pruning import layer_rates
from tf_lottery.pruning import select as pruning


@pytest.mark.parametrize(("density", "rounds", "rate"), [(0.25, 2, 0.5), (0.1, 1, 0.9), (1.0, 5, 0.0), (0.512, 3, 0.2)])
def test_the_rate_that_reaches_a_density(density, rounds, rate):
    assert layer_rates.rate_to_reach(density, rounds) == pytest.approx(rate, abs=1e-12)


def test_the_rate_reaches_the_density_in_so_many_rounds():
    masks = {"a": np.ones(1000, bool)}
    scores = {"a": np.arange(1000.0)}
    for _ in range(3):
        masks = pruning.prune(scores, masks, rate=layer_rates.rate_to_reach(0.125, 3))
    assert masks["a"].sum() == 125


@pytest.mark.parametrize(("density", "rounds"), [(0, 1), (-0.1, 1), (1.1, 1), (float("nan"), 1), (0.5, 0), (0.5, -1)])
def test_targets_out_of_range(density, rounds):
    with pytest.raises(LotteryError):
        layer_rates.rate_to_reach(density, rounds)


@pytest.mark.parametrize(
    ("densities", "rungs"),
    [([1, 0.5, 0.2], (1.0, 0.5, 0.2)), ([0.5], (1.0, 0.5)), ([1], (1.0,)), ((0.3, 0.1), (1.0, 0.3, 0.1))],
)
def test_ladders(densities, rungs):
    assert layer_rates.ladder(densities) == rungs


@pytest.mark.parametrize(
    "densities", [[], [0.5, 0.5], [0.2, 0.5], [1, 1], [0.5, 0], [1.5], [float("nan")], [0.5, -0.1]]
)
def test_ladders_that_are_refused(densities):
    with pytest.raises(LotteryError, match="Densities must"):
        layer_rates.ladder(densities)


ROLES = {"c": "conv", "d": "dense", "e": "embedding", "o": "output"}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.2, 0.2, 0.2, 0.1]),
        ({"conv_rate": 0.15}, [0.15, 0.2, 0.2, 0.1]),
        ({"output_rate": 0.0}, [0.2, 0.2, 0.2, 0.0]),
        ({"output_rate": 0.3, "conv_rate": 0.0}, [0.0, 0.2, 0.2, 0.3]),
        ({"layer_rates": {"o": 0.5, "d": 0.0}}, [0.2, 0.0, 0.2, 0.5]),
        ({"layer_rates": {"[cd]": 0.5}}, [0.5, 0.5, 0.2, 0.1]),
    ],
)
def test_rates_by_role(options, expected):
    assert layer_rates.rates_by_path(ROLES, rate=0.2, **options) == dict(zip("cdeo", expected, strict=True))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.0}, r"must be in \[0, 1\). Received: 1.0"),
        ({"rate": -0.1}, "must be in"),
        ({"rate": float("nan")}, "must be in"),
        ({"rate": 0.2, "conv_rate": 2}, "rate of 'c'"),
        ({"rate": 0.2, "layer_rates": {"x": 0.1}}, "unexpected: x"),
        ({"rate": 0.2, "layer_rates": {"x*": 0.1}}, "matches no weight"),
    ],
)
def test_rates_that_are_refused(options, message):
    with pytest.raises(LotteryError, match=message):
        layer_rates.rates_by_path(ROLES, **options)
