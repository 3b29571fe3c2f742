"""Pruning against a stable sort of the survivors, and the memory that large arrays take."""

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_lottery.pruning import masks as masking
from tf_lottery.pruning import select as pruning


def as_lists(masks):
    return {key: mask.astype(int).tolist() for key, mask in masks.items()}


def reference(scores, masks, keys, count):
    """Lists and a stable sort."""
    alive = [(key, i) for key in sorted(keys) for i in range(scores[key].size) if masks[key].flat[i]]
    gone = sorted(alive, key=lambda place: scores[place[0]].flat[place[1]])[:count]
    return {key: [int(masks[key].flat[i] and (key, i) not in gone) for i in range(scores[key].size)] for key in keys}


ARRAYS = st.lists(
    st.tuples(st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 1.5, 1e-30, 65504.0]), st.booleans()), min_size=0, max_size=9
)


@settings(max_examples=300, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "a/b", "b", "B", "c_1", "c_10", "c_2"]), ARRAYS, min_size=1, max_size=4),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from(["layerwise", "global"]),
    st.sampled_from(["float16", "float32", "float64"]),
)
def test_the_same_as_a_stable_sort(arrays, rate, scope, dtype):
    scores = {key: np.array([score for score, _ in pairs], dtype) for key, pairs in arrays.items()}
    masks = {key: np.array([keep for _, keep in pairs], bool) for key, pairs in arrays.items()}
    after = pruning.prune(scores, masks, rate=rate, scope=scope, allow_empty=True)
    groups = [[key] for key in arrays] if scope == "layerwise" else [list(arrays)]
    expected = {}
    for keys in groups:
        expected |= reference(scores, masks, keys, round(rate * sum(masking.kept({k: masks[k]}) for k in keys)))
    assert as_lists(after) == expected
    # Without `allow_empty`: no array loses its last weight, and nothing pruned comes back.
    guarded = pruning.prune(scores, masks, rate=rate, scope=scope)
    for key in arrays:
        assert guarded[key].any() == masks[key].any()
        assert not (guarded[key] & ~masks[key]).any()
        assert masking.kept(guarded) >= masking.kept(after)


def measure(code):
    """Run `code` in a process of its own, with `peak()` for the bytes by which its memory has grown at the most."""
    prelude = """
        import resource, sys, time
        import numpy as np
        from tf_lottery.pruning import select as pruning
        def peak():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        """
    script = textwrap.dedent(prelude) + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ})
    assert done.returncode == 0, done.stderr
    print(done.stdout)


def test_pruning_25_million_weights_takes_little_memory():
    measure("""
        random = np.random.default_rng(0)
        scores = {key: random.random(12_500_000, dtype="float32") for key in "ab"}
        masks = {key: np.ones(12_500_000, bool) for key in "ab"}
        before, start = peak(), time.perf_counter()
        after = pruning.prune(scores, masks, rate=0.2, scope="global")
        seconds, grown = time.perf_counter() - start, (peak() - before) / 100e6
        print(f"25 million: {seconds:.2f} s, {grown:.2f} times the weights' memory")
        assert sum(int(mask.sum()) for mask in after.values()) == 20_000_000
        assert grown <= 4, grown
        assert max(scores[k][~after[k]].max() for k in "ab") <= min(scores[k][after[k]].min() for k in "ab")
        """)


@pytest.mark.slow
def test_a_hundred_million_equal_scores_lose_exactly_the_first():
    measure("""
        scores = {"a": np.full(100_000_000, 0.25, "float32")}
        masks = {"a": np.ones(100_000_000, bool)}
        before, start = peak(), time.perf_counter()
        after = pruning.prune(scores, masks, rate=0.2)["a"]
        seconds, grown = time.perf_counter() - start, (peak() - before) / 400e6
        print(f"100 million equal: {seconds:.2f} s, {grown:.2f} times the weights' memory")
        assert not after[:20_000_000].any() and after[20_000_000:].all()
        assert grown <= 4, grown
        """)
