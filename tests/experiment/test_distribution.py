"""Distributions and patterns N:M in experiments: counts of each round by hand, in every way, and what is refused."""

import numpy as np
import pytest

from tf_lottery.errors import UsageError
from tf_lottery.experiment import round_masks, weights_per_round
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import CONTROLS, TicketStart
from tf_lottery.pruning.granularities import Axes
from tf_lottery.pruning.masks import kept
from tf_lottery.pruning.units import divide, single_weights

SHAPES = {"dense/kernel": (12, 8), "output/kernel": (8, 3)}  # shares of erk 20 and 11, sizes 96 and 24
ROLES = {"dense/kernel": "dense", "output/kernel": "output"}
AXES = {"dense/kernel": Axes(0, (1,)), "output/kernel": Axes(0, (1,), output=True)}
WAYS = ["iterative", "one_shot", "before_training", "early_bird"]


def normal(seed=1):
    random = np.random.default_rng(seed)
    return {key: random.normal(size=shape).astype("float32") for key, shape in SHAPES.items()}


def rounds_of(config, weights):
    """The masks of each round after the dense one."""
    units = round_masks.units_of_config(config, AXES, SHAPES)
    weights_per_round.check_patterns(config, ROLES, SHAPES, units)
    dense = masks = {key: np.ones(shape, bool) for key, shape in SHAPES.items()}
    every = []
    for number in range(1, config.rounds + 1):
        before = masks if config.pruning == "iterative" else dense
        masks = round_masks.next_masks(
            config, round_number=number, replicate=0, roles=ROLES, weights=weights, masks=before, units=units
        )
        assert not any((masks[key] & ~before[key]).any() for key in masks)
        every.append(masks)
    return every


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "counts"),
    [
        # 60, 30 and 15 of 120 weights: 38.7 and 21.3; 19.4 and 10.6; 9.7 and 5.3. No layer has a rate of its own.
        ({"rate": 0.5, "rounds": 3}, [(39, 21), (19, 11), (10, 5)]),
        ({"densities": (1.0, 0.5, 0.25, 0.125)}, [(39, 21), (19, 11), (10, 5)]),
        ({"final_density": 0.125, "rounds": 3}, [(39, 21), (19, 11), (10, 5)]),
        # 96: 61.9 and 34.1, of which the output layer has 24.
        ({"rate": 0.2, "rounds": 1}, [(72, 24)]),
    ],
)
def test_counts_of_erk_in_every_schedule_and_way(options, counts, way):
    config = Config(**options, distribution="erk", pruning=way)
    masks = rounds_of(config, normal())
    assert [tuple(int(mask.sum()) for mask in each.values()) for each in masks] == counts
    assert weights_per_round.kept_per_round(config, ROLES, SHAPES) == [120, *map(sum, counts)]


@pytest.mark.parametrize("way", WAYS)
def test_lamp_goes_by_the_weights_and_keeps_the_total(way):
    config = Config(rate=0.5, rounds=3, distribution="lamp", pruning=way)
    weights = normal()
    masks = rounds_of(config, weights)
    assert [kept(each) for each in masks] == [60, 30, 15]
    assert weights_per_round.kept_per_round(config, ROLES, SHAPES) == [120, 60, 30, 15]
    ranked = []  # the first round by hand
    for key, weight in weights.items():
        squares = np.sort(weight.ravel().astype("float64") ** 2)
        ranked += [(squares[i] / squares[i:].sum(), key, squares[i]) for i in range(squares.size)]
    best = sorted(ranked)[-60:]
    for key, mask in masks[0].items():
        expected = sorted(square for _, name, square in best if name == key)
        assert sorted(weights[key][mask].astype("float64") ** 2) == pytest.approx(expected)
    other = rounds_of(config, normal(2) | {"output/kernel": np.ones((8, 3), "float32")})
    assert [kept(each) for each in other] == [60, 30, 15]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("options", "counts"),
    [
        ({"densities": (1.0, 0.75, 0.5)}, [(72, 18), (48, 12)]),
        # 96, 76, 60 and 24, 19, 15 by the rate; the last round takes the density at its word.
        ({"final_density": 0.5, "rounds": 3}, [(76, 19), (60, 15), (48, 12)]),
        ({"rate": 0.5, "output_rate": 0.25, "rounds": 1}, [(48, 18)]),
        # 2.4, 2.2 and 2.0 of the output layer go.
        ({"final_density": 0.5, "rounds": 3, "output_rate": 0.1}, [(76, 22), (60, 20), (48, 18)]),
    ],
)
def test_counts_under_a_pattern(options, counts, way):
    config = Config(**options, granularity="2:4", pruning=way)
    units = round_masks.units_of_config(config, AXES, SHAPES)
    masks = rounds_of(config, normal())
    assert [tuple(int(mask.sum()) for mask in each.values()) for each in masks] == counts
    assert weights_per_round.kept_per_round(config, ROLES, SHAPES, units) == [120, *map(sum, counts)]
    groups = masks[-1]["dense/kernel"].reshape(3, 4, 8).sum(axis=1)
    assert (groups == 2).all()
    for each in masks:
        assert all((mask.reshape(-1, 4, mask.shape[1]).sum(axis=1) >= 2).all() for mask in each.values())


@pytest.mark.parametrize("distribution", ["erk", "lamp"])
def test_distributions_under_a_pattern(distribution):
    config = Config(densities=(1.0, 0.75, 0.5), granularity="2:4", distribution=distribution)
    first, last = rounds_of(config, normal())
    assert kept(first) == 90
    assert kept(last) == 60
    assert [int(mask.sum()) for mask in last.values()] == [48, 12]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"rate": 0.2, "rounds": 4},
            r"Round 4 would keep 40 of the 96 weights of dense/kernel.*2:4 keeps at least 48",
        ),
        ({"final_density": 0.25, "rounds": 2}, r"Round 2 would keep 24 of the 96"),
        ({"densities": (1.0, 0.6, 0.4)}, r"Round 2 would keep 38 of the 96"),
        ({"densities": (1.0, 0.4), "scope": "global"}, r"Round 1 would keep 48 of the 120 .*at least 60"),
        ({"rate": 0.7, "rounds": 1, "distribution": "erk"}, r"Round 1 would keep 36 of the 120 .*at least 60"),
    ],
)
def test_less_than_a_pattern_is_refused_before_training(options, message):
    config = Config(**options, granularity="2:4")
    units = round_masks.units_of_config(config, AXES, SHAPES)
    with pytest.raises(UsageError, match=message):
        weights_per_round.check_patterns(config, ROLES, SHAPES, units)


def test_a_density_of_all_arrays_together_is_reachable():
    """0.02 of 24 weights is none, but the arrays share two weights."""
    units = single_weights(SHAPES)
    with pytest.raises(UsageError, match="would keep 0 weights of output/kernel"):
        weights_per_round.check_reachable(Config(densities=(1.0, 0.02)), units, SHAPES)
    for distribution in ("erk", "lamp"):
        config = Config(densities=(1.0, 0.02), distribution=distribution)
        weights_per_round.check_reachable(config, units, SHAPES)
        (masks,) = rounds_of(config, normal())
        assert [int(mask.sum()) for mask in masks.values()] == [1, 1]
        with pytest.raises(UsageError, match="would keep 1 weights of dense/kernel, output/kernel"):
            weights_per_round.check_reachable(config.updated(densities=(1.0, 0.01)), units, SHAPES)


@pytest.mark.parametrize("name", ["shuffled_masks", "random_masks"])
def test_controls_draw_masks_of_the_same_pattern(name):
    units = divide(SHAPES, granularity="2:4", axes=AXES)
    (_, ticket) = rounds_of(Config(densities=(1.0, 0.9, 0.7), granularity="2:4"), normal())
    seen = set()
    for seed in range(5):
        start = TicketStart(ticket, {}, {}, dict, lambda count: ({}, {}), seed, units)
        drawn = CONTROLS[name].start(start).masks
        assert kept(drawn) == kept(ticket)
        assert all((mask.reshape(-1, 4, mask.shape[1]).sum(axis=1) >= 2).all() for mask in drawn.values())
        if name == "shuffled_masks":
            assert all(drawn[key].sum() == ticket[key].sum() for key in ticket)
        seen.add(drawn["dense/kernel"].tobytes())
    assert len(seen) == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"distribution": "ekr"}, r"Unknown distribution 'ekr'.*erk"),
        ({"distribution": "erk", "scope": "global"}, "decides how many weights each layer keeps"),
        ({"distribution": "erk", "output_rate": 0.1}, "they have one rate"),
        ({"distribution": "lamp", "conv_rate": 0.1}, "they have one rate"),
        ({"distribution": "lamp", "criterion": "magnitude_increase"}, "scores may be negative"),
        ({"distribution": "lamp", "criterion": "grasp"}, "scores may be negative"),
        ({"distribution": "erk", "criterion": "synflow", "scope": "global"}, "ranks them all together"),
        ({"granularity": "4:2"}, "0 < N < M"),
        ({"granularity": "2:x"}, "Unknown granularity '2:x'"),
    ],
)
def test_what_a_configuration_excludes(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options)


def test_only_another_distribution_changes_the_hash():
    assert Config(distribution="uniform").hash() == Config().hash()
    hashes = {Config(distribution=name).hash() for name in ("uniform", "erk", "lamp")}
    assert len(hashes) == 3
    stored = {key: value for key, value in Config(rounds=2).to_json().items() if key != "distribution"}
    assert Config.from_json(stored) == Config(rounds=2)
    assert len({Config(granularity=name).hash() for name in ("unstructured", "2:4", "1:4", "3:8")}) == 4
    assert Config.from_json(Config(granularity="3:8").to_json()).granularity == "3:8"
