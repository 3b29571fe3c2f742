"""Rates of single layers, least and greatest densities: in configurations, in counts by hand, in runs, and refused."""

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.errors import LotteryError, UsageError
from tf_lottery.experiment import weights_per_round
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.effective_config import effective_config
from tf_lottery.pruning.units import single_weights

SHAPES = {"conv/kernel": (3, 3, 1, 10), "dense/kernel": (10, 20), "output/kernel": (20, 5)}  # 90, 200 and 100 weights
ROLES = {"conv/kernel": "conv", "dense/kernel": "dense", "output/kernel": "output"}
UNITS = single_weights(SHAPES)
VARIANTS = ("ticket", "random_masks", "gradual", "random_reinit")


def counts(**options):
    """The weights that each round keeps."""
    return weights_per_round.kept_per_round(Config(**options), ROLES, SHAPES)


def test_rates_of_layers_are_stronger_than_those_of_roles():
    config = Config(rate=0.2, conv_rate=0.15, layer_rates={"conv*": 0.5, "output/kernel": 0.0})
    expected = {"conv/kernel": 0.5, "dense/kernel": 0.2, "output/kernel": 0.0}
    assert weights_per_round.rates_of_config(config, ROLES) == expected


def test_counts_of_each_round_by_hand():
    # 90 -> 45 -> 22 (half to even), 200 -> 160 -> 128, 100 stays.
    assert counts(rounds=2, rate=0.2, layer_rates={"conv*": 0.5, "output*": 0.0}) == [
        390,
        45 + 160 + 100,
        23 + 128 + 100,
    ]
    # No array below a half: 90 -> 45, 200 -> 100, 100 -> 70 -> 50 (49 without).
    assert counts(rounds=2, rate=0.6, output_rate=0.3, min_density=0.5) == [390, 45 + 100 + 70, 45 + 100 + 50]
    # The dense layer comes down to a tenth at once, and goes on from there.
    assert counts(rounds=2, rate=0.5, output_rate=0.5, max_density={"dense*": 0.1}) == [390, 45 + 20 + 50, 23 + 10 + 25]

    config = Config(rounds=1, rate=0.5, output_rate=0.5, scope="global", min_density={"output*": 1.0})
    dense = {key: np.ones(shape, bool) for key, shape in SHAPES.items()}
    rule = weights_per_round.rule_of_config(config, UNITS, SHAPES)
    ((_, kept),) = weights_per_round.units_to_keep(config, 1, ROLES, dense, rule)
    assert kept == 195  # of which 100 are of the output

    config = Config(densities=(1.0, 0.004))
    with pytest.raises(UsageError, match="would keep 0 weights of conv/kernel"):
        weights_per_round.check_rounds(config, ROLES, SHAPES, UNITS)
    config = config.updated(min_density={"conv*": 0.1, "output*": 0.02})
    weights_per_round.check_rounds(config, ROLES, SHAPES, UNITS)
    assert weights_per_round.kept_per_round(config, ROLES, SHAPES) == [390, 9 + 1 + 2]


@pytest.mark.parametrize("given", [{"conv*": 0.1, "*": 0.5}, ("*=0.5", "conv*=0.1"), ["conv*=0.10", "0.5"]])
def test_one_configuration_however_it_is_written(given):
    config = Config(layer_rates=given)
    assert config.layer_rates == ("*=0.5", "conv*=0.1")
    assert Config.from_json(config.to_json()) == config
    assert config.hash() == Config(layer_rates={"conv*": 0.1, "*": 0.5}).hash() != Config().hash()


def test_without_values_the_hash_is_that_of_earlier_versions():
    assert Config(layer_rates={}, min_density=None, max_density=()).hash() == Config().hash()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_rates": {"conv*": 1.0}}, r"`layer_rates` must be in \[0, 1\)"),
        ({"layer_rates": {"conv*": "a"}}, "Received: 'a'"),
        ({"layer_rates": {3: 0.1}}, "Received: 3"),
        ({"layer_rates": True}, "Received: True"),
        ({"layer_rates": "conv*=nan"}, "Received: nan"),
        ({"layer_rates": ["a=0.1", "a=0.2"]}, "the pattern 'a' twice"),
        ({"min_density": 1.5}, r"`min_density` must be in \[0, 1\]"),
        ({"max_density": {"conv*": -1}}, r"`max_density` must be in \[0, 1\]"),
        ({"layer_rates": {"conv*": 0.1}, "densities": (1, 0.5)}, "excludes other rates"),
        ({"layer_rates": {"conv*": 0.1}, "distribution": "erk"}, "Drop `layer_rates`"),
        ({"layer_rates": {"c*": 0.1}, "criterion": "synflow", "scope": "global"}, "one rate.*Drop `layer_rates`"),
    ],
)
def test_what_a_configuration_refuses(options, message):
    with pytest.raises(UsageError, match=message):
        Config(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer_rates": {"cnov*": 0.1}}, "matches no weight"),
        ({"min_density": {"cnov/kernel": 0.1}}, "unexpected: cnov/kernel"),
        ({"layer_rates": {"c*": 0.1, "*kernel": 0.2}}, "more than one value for 'conv/kernel'"),
        ({"min_density": 0.5, "max_density": {"dense*": 0.1}}, "`min_density` must not be above `max_density`"),
        ({"rate": 0.5, "output_rate": 0.5, "scope": "global", "min_density": 0.4, "rounds": 2}, "`min_density` keeps"),
    ],
)
def test_what_is_refused_before_training(options, message):
    with pytest.raises(LotteryError, match=message):
        weights_per_round.check_rounds(Config(**options), ROLES, SHAPES, UNITS)


def test_densities_of_the_command_line_replace_rates_of_a_preset(tmp_path):
    file = tmp_path / "run.toml"
    file.write_text('rate = 0.3\n[layer_rates]\n"dense*" = 0.1\n')
    assert effective_config(None, file, {}).layer_rates == ("dense*=0.1",)
    assert effective_config(None, file, {"densities": (1.0, 0.5)}).layer_rates == ()
    assert effective_config(None, file, {"distribution": "erk"}).layer_rates == ()
    with pytest.raises(UsageError, match="`densities` and `layer_rates`"):
        effective_config(None, file, {"densities": (1.0, 0.5), "layer_rates": ("a*=0.1",)})


def test_tickets_and_controls_keep_to_the_values():
    random = np.random.default_rng(0)
    model = keras.Sequential(
        [keras.Input((10,)), keras.layers.Dense(20, "relu", name="hidden"), keras.layers.Dense(3, name="output")]
    )
    result = tfl.find_ticket(
        model,
        random.normal(size=(60, 10)).astype("float32"),
        np.arange(60) % 3,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        rounds=2,
        rate=0.5,
        layer_rates={"hidden/*": 0.8},
        min_density={"output/*": 0.75},
        steps=4,
        variants=VARIANTS,
        verbose=0,
    )
    masks = result.ticket(2).masks
    # 200 -> 40 -> 8; 60 -> 45 (30 by the rate of outputs), where it stays.
    assert {key: int(mask.sum()) for key, mask in masks.items()} == {"hidden/kernel": 8, "output/kernel": 45}
    kept = {row["variant"]: row["weights_kept"] for row in result.rows if row["round"] == 2}
    assert kept == dict.fromkeys(VARIANTS, 53)
