"""Patterns N:M: which weights go by hand, floors in every scope, exact counts, and what is refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning import masks as masking
from tf_lottery.pruning.granularities import Axes, group_pattern
from tf_lottery.pruning.group_floors import GroupFloor, best_of_groups, grouped, ungrouped
from tf_lottery.pruning.units import divide


def column(*scores):
    """A kernel of one output."""
    return np.array(scores, "float32").reshape(-1, 1)


def pruned(scores, *, to=None, masks=None, **options):
    """Masks as flat lists of 0 and 1."""
    function, how = (tfl.prune_to, {"density": to}) if to else (tfl.prune, {})
    after = function(scores, masks or masking.ones(scores), **{"granularity": "2:4", **how, **options})
    return {key: mask.astype(int).ravel().tolist() for key, mask in after.items()}


EIGHT = {"a": column(1, 2, 3, 4, 8, 7, 6, 5)}


@pytest.mark.parametrize(
    ("how", "kept"),
    [
        ({"rate": 0.25}, [0, 0, 1, 1, 1, 1, 1, 1]),  # 1 and 2 are the lowest of all
        ({"rate": 3 / 8}, [0, 0, 1, 1, 1, 1, 1, 0]),  # 3 and 4 stay, so 5 goes
        ({"rate": 0.5}, [0, 0, 1, 1, 1, 1, 0, 0]),
        ({"to": 0.5}, [0, 0, 1, 1, 1, 1, 0, 0]),
        ({"to": 0.25, "granularity": "1:4"}, [0, 0, 0, 1, 1, 0, 0, 0]),
        ({"to": 0.5, "granularity": "1:2"}, [0, 1, 0, 1, 1, 0, 1, 0]),
        ({"to": 0.5, "granularity": "4:8"}, [0, 0, 0, 0, 1, 1, 1, 1]),
        ({"to": 0.5, "granularity": "unstructured"}, [0, 0, 0, 0, 1, 1, 1, 1]),
        ({"rate": 0.0}, [1] * 8),
    ],
)
def test_which_weights_a_pattern_keeps(how, kept):
    assert pruned(EIGHT, **how) == {"a": kept}


def test_rounds_come_down_to_the_exact_pattern():
    once = tfl.prune(EIGHT, masking.ones(EIGHT), rate=0.25, granularity="2:4")
    twice = tfl.prune(EIGHT, once, rate=1 / 3, granularity="2:4")
    assert twice["a"].ravel().astype(int).tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    assert not (twice["a"] & ~once["a"]).any()


def test_of_equal_scores_the_first_go():
    assert pruned({"a": np.ones((8, 1))}, rate=0.5) == {"a": [0, 0, 1, 1] * 2}
    assert pruned({"a": np.ones((8, 1))}, rate=0.25) == {"a": [0, 0, 1, 1, 1, 1, 1, 1]}


def test_groups_lie_along_the_inputs():
    kernel = np.array([[1, 8], [2, 7], [3, 6], [4, 5]], "float32")
    assert pruned({"a": kernel}, rate=0.5) == {"a": [0, 1, 0, 1, 1, 0, 1, 0]}
    convolution = kernel.reshape(1, 1, 4, 2)
    assert pruned({"a": convolution}, rate=0.5) == {"a": [0, 1, 0, 1, 1, 0, 1, 0]}
    transposed = {"a": kernel.T.reshape(1, 1, 2, 4)}  # (..., filters, inputs)
    assert pruned(transposed, rate=0.5, axes={"a": Axes(-1, (-2,))}) == {"a": [0, 0, 1, 1, 1, 1, 0, 0]}


def test_the_global_scope_keeps_the_floor_of_each_group():
    scores = {"a": column(1, 2, 3, 4), "b": column(10, 20, 30, 40)}
    assert pruned(scores, rate=0.25, scope="global") == {"a": [0, 0, 1, 1], "b": [1, 1, 1, 1]}
    assert pruned(scores, rate=3 / 8, scope="global") == {"a": [0, 0, 1, 1], "b": [0, 1, 1, 1]}
    assert pruned(scores, rate=0.5, scope="global") == {"a": [0, 0, 1, 1], "b": [0, 0, 1, 1]}


def test_scores_of_pruned_weights_do_not_count():
    masks = {"a": np.array([[True], [True], [False], [True]])}
    assert pruned({"a": column(3, 2, np.nan, 1)}, masks=masks, rate=1 / 3) == {"a": [1, 1, 0, 0]}


@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_less_than_the_pattern_is_refused(scope):
    with pytest.raises(UsageError, match=r"density of 0.25 would keep 2 .* the pattern 2:4 keeps at least 4 of 8"):
        pruned(EIGHT, to=0.25, scope=scope)
    with pytest.raises(UsageError, match=r"rate of 0.7 would keep 2 weights of a"):
        pruned(EIGHT, rate=0.7, scope=scope)
    exact = tfl.prune(EIGHT, masking.ones(EIGHT), rate=0.5, granularity="2:4", scope=scope)
    with pytest.raises(UsageError, match="pattern 2:4"):
        tfl.prune(EIGHT, exact, rate=0.5, granularity="2:4", scope=scope)


def test_less_than_one_weight_below_counts_as_the_pattern():
    scores = {"a": np.arange(100.0).reshape(100, 1)}
    masks, rate = masking.ones(scores), 1 - 0.5 ** (1 / 3)
    for kept in (79, 63, 50):  # 100 - round(20.63), 79 - round(16.3), 63 - round(13.0)
        masks = tfl.prune(scores, masks, rate=rate, granularity="2:4")
        assert masking.kept(masks) == kept
    scores = {"a": np.arange(12.0).reshape(12, 1)}
    once = tfl.prune(scores, masking.ones(scores), rate=0.4, granularity="2:4")  # 12 - round(4.8)
    assert masking.kept(once) == 7
    assert masking.kept(tfl.prune(scores, once, rate=0.25, granularity="2:4")) == 6  # 7 - round(1.75) is 5; 5.25 > 5


def test_masks_below_the_pattern_are_refused():
    masks = {"a": column(1, 0, 0, 0, 1, 1, 0, 0).astype(bool)}
    with pytest.raises(
        UnfitError, match=r"at least 2 of each 4 consecutive inputs. Received: 1 groups that keep fewer"
    ):
        pruned(EIGHT, masks=masks, rate=0.1)


def test_inputs_that_do_not_divide():
    shapes = {"a": (6, 2), "b": (8, 1)}
    scores = {key: np.arange(np.prod(shape), dtype=float).reshape(shape) for key, shape in shapes.items()}
    with pytest.raises(UnfitError, match=r"granularity 2:4: a \(6, 2\): its 6 inputs are no multiple of 4"):
        pruned(scores, rate=0.5)
    skipped = pruned(scores, rate=0.5, indivisible="skip")
    assert skipped == {"a": [1] * 12, "b": [0, 0, 1, 1] * 2}
    single = pruned(scores, rate=0.5, indivisible="unstructured")
    assert single == {"a": [0] * 6 + [1] * 6, "b": [0, 0, 1, 1] * 2}
    axes = {"a": Axes(kind="an embedding"), "b": Axes(0, (1,))}
    with pytest.raises(UnfitError, match="an embedding has no axis of inputs"):
        divide(shapes, granularity="2:4", axes=axes)


@pytest.mark.parametrize("name", ["4:2", "0:4", "4:4", "00:2"])
def test_patterns_that_keep_nothing_or_everything(name):
    with pytest.raises(UsageError, match=rf"0 < N < M. Received: '{name}'"):
        divide({"a": (8, 3)}, granularity=name)


@pytest.mark.parametrize("name", ["2:", ":4", "a:4", "2:4:8", "-2:4", "2 : 4", "²:4", None, 24])
def test_what_is_no_pattern(name):
    with pytest.raises(UsageError, match=r"Unknown granularity .*N:M"):
        divide({"a": (8, 3)}, granularity=name)


def test_any_pattern_is_read():
    assert group_pattern("2:4") == (2, 4)
    assert group_pattern("10:16") == (10, 16)
    assert group_pattern("unstructured") is None
    assert divide({"a": (3, 8, 2)}, granularity="3:8").floors == {"a": GroupFloor(3, 8, axis=1)}


def test_an_array_may_not_be_emptied_under_a_pattern():
    assert pruned(EIGHT, rate=0.5, allow_empty=True) == pruned(EIGHT, rate=0.5)
    with pytest.raises(UsageError, match="pattern 2:4"):
        pruned(EIGHT, rate=1, allow_empty=True)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from("abc"), st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)), min_size=1
    ),
    st.sampled_from([(1, 2), (2, 4), (1, 4), (3, 4), (4, 8)]),
    st.sampled_from(["layerwise", "global"]),
    st.lists(st.floats(0, 1), min_size=1, max_size=3),
    st.integers(0, 3),
)
def test_counts_are_exact_and_groups_keep_their_best(shapes, pattern, scope, depths, seed):
    kept, size = pattern
    shapes = {key: (first, groups * size, last) for key, (first, groups, last) in shapes.items()}
    random = np.random.default_rng(seed)
    masks = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    for depth in sorted(depths):
        density = 1 - depth * (1 - kept / size)
        scores = {key: random.integers(0, 4, shape).astype("float32") for key, shape in shapes.items()}
        before, masks = masks, tfl.prune_to(scores, masks, density=density, scope=scope, granularity=f"{kept}:{size}")
        assert not any((masks[key] & ~before[key]).any() for key in shapes)
        for keys in [[key] for key in shapes] if scope == "layerwise" else [list(shapes)]:
            assert sum(masks[key].sum() for key in keys) == round(density * sum(masks[key].size for key in keys))
        for key in shapes:
            rows = np.swapaxes(masks[key], 1, 2).reshape(-1, size)
            assert (rows.sum(axis=1) >= kept).all()
            values = np.swapaxes(scores[key], 1, 2).reshape(-1, size)
            lost = np.swapaxes(before[key] & ~masks[key], 1, 2).reshape(-1, size)
            for row, gone, value in zip(rows, lost, values, strict=True):
                assert not gone.any() or value[gone].max() <= value[row].min()
    exact = tfl.prune_to(scores, masks, density=kept / size, scope=scope, granularity=f"{kept}:{size}")
    for mask in exact.values():
        assert (np.swapaxes(mask, 1, 2).reshape(-1, size).sum(axis=1) == kept).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_groups_are_taken_apart_and_put_together(axis):
    array = np.arange(4 * 4 * 4).reshape(4, 4, 4)
    floor = GroupFloor(1, 2, axis)
    rows = grouped(array, floor)
    assert rows.shape == (32, 2)
    assert (np.diff(rows, axis=1) == 4 ** (2 - axis)).all()
    assert np.array_equal(ungrouped(rows, array.shape, floor), array)
    best = best_of_groups(-array, array % 3 > 0, floor)
    assert (grouped(best, floor).sum(axis=1) == (grouped(array % 3 > 0, floor)).any(axis=1)).all()
