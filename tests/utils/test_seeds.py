"""Seeds are the same in every process, and leave no trace."""

import random
import subprocess
import sys

import numpy as np

from tf_lottery.utils import seeds


def test_seeds_are_the_same_everywhere():
    assert seeds.derive(7, "order", 0) == seeds.derive(7, "order", 0)
    code = "from tf_lottery.utils import seeds as seeds; print(seeds.derive(7, 'order', 0))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert int(out) == seeds.derive(7, "order", 0)


def test_different_purposes_give_different_seeds():
    parts = [(1,), (2,), ("1",), (1, 1), (11,), (1, "1"), ("1", 1), (1, "a"), ("a", 1), (), (-1,)]
    derived = [seeds.derive(*each) for each in parts]
    assert len(set(derived)) == len(parts)
    assert all(0 <= seed < 2**31 for seed in derived)
    assert len({seeds.derive(0, "replicate", i) for i in range(1000)}) == 1000


def test_generators_repeat():
    first, second = seeds.generator(3, "x").random(4), seeds.generator(3, "x").random(4)
    np.testing.assert_array_equal(first, second)
    assert not (seeds.generator(3, "y").random(4) == first).any()


def test_seeded_code_repeats_and_leaves_no_trace():
    random.seed(0)
    np.random.seed(0)
    expected = random.random(), np.random.random()
    random.seed(0)
    np.random.seed(0)
    draws = []
    for seed in (1, 1, 2):
        with seeds.seeded(seed):
            draws.append((random.random(), np.random.random()))
    assert draws[0] == draws[1] != draws[2]
    assert (random.random(), np.random.random()) == expected
