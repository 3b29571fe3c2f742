import pytest

from tf_lottery.errors import UsageError
from tf_lottery.experiment.config import Config


def test_a_strategy_is_part_of_the_hash_where_it_is_set():
    plain = Config()
    assert Config(strategy="none").hash() == plain.hash()
    others = [{"strategy": "mirrored"}, {"strategy": "multi-worker"}, {"strategy": "mirrored", "strategy_devices": 2}]
    assert len({plain.hash(), *(Config(**other).hash() for other in others)}) == 4


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"jobs": 2}, "jobs"),
        ({"launcher": "ray"}, "launcher"),
        ({"launcher": "slurm"}, "launcher"),
        ({"xla": "on"}, "xla"),
        ({"sparse": "on"}, "sparse"),
    ],
)
@pytest.mark.parametrize("strategy", ["mirrored", "multi-worker"])
def test_what_a_strategy_excludes(strategy, options, named):
    with pytest.raises(UsageError, match=named):
        Config(strategy=strategy, **options)


@pytest.mark.parametrize("options", [{"strategy_devices": 2}, {"synchronized_batch_norm": True}])
def test_what_only_a_strategy_has(options):
    with pytest.raises(UsageError, match=next(iter(options))):
        Config(**options)
    assert Config(strategy="mirrored", **options)


def test_unknown_strategies_are_refused():
    with pytest.raises(UsageError, match="mirrored"):
        Config(strategy="mirror")
