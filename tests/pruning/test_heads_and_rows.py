"""Attention heads, which several arrays share, and rows of embeddings, as units of pruning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tf_lottery as tfl
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.pruning import masks as masking
from tf_lottery.pruning.distributions import erk_shares
from tf_lottery.pruning.granularities import Axes
from tf_lottery.pruning.unit_arrays import collapse, collapse_masks, expand
from tf_lottery.pruning.units import divide

# An attention layer of three heads of size 2, on inputs of size 4.
SHAPES = {"query": (4, 3, 2), "key": (4, 3, 2), "value": (4, 3, 2), "output": (3, 2, 4)}
AXES = {key: Axes(heads=0 if key == "output" else 1, attention="attention", kind="an einsum layer") for key in SHAPES}


def heads(**means):
    """Scores that are constant in each head of an array."""
    scores = {}
    for key, values in means.items():
        scores[key] = np.ones(SHAPES[key]) * np.reshape(values, (3, 1, 1) if key == "output" else (1, 3, 1))
    return scores


def kept_heads(masks):
    """The numbers of the heads that each array keeps; a head that is kept in part fails."""
    numbers = {}
    for key, mask in masks.items():
        rows = (mask if key == "output" else np.moveaxis(mask, 1, 0)).reshape(3, -1)
        assert (rows.all(axis=1) == rows.any(axis=1)).all()
        numbers[key] = np.flatnonzero(rows.any(axis=1)).tolist()
    return numbers


def test_a_head_goes_in_all_arrays_at_once():
    # Means over the four arrays: 2.0, 1.75 and 2.5.
    scores = heads(query=[5, 1, 1], key=[1, 2, 3], value=[1, 2, 3], output=[1, 2, 3])
    masks = tfl.prune(scores, masking.ones(scores), rate=1 / 3, granularity="head", axes=AXES)
    assert kept_heads(masks) == {key: [0, 2] for key in SHAPES}
    again = tfl.prune(scores, masks, rate=0.5, granularity="head", axes=AXES)
    assert kept_heads(again) == {key: [2] for key in SHAPES}
    last = tfl.prune(scores, again, rate=0.9, granularity="head", axes=AXES)
    assert kept_heads(last) == {key: [2] for key in SHAPES}  # the last head stays


def test_the_score_of_a_head_is_the_mean_of_its_weights():
    axes = {"query": AXES["query"], "output": AXES["output"]}
    shapes = {"query": (4, 3, 2), "output": (3, 2, 1)}  # 8 and 2 weights of a head
    units = divide(shapes, granularity="head", axes=axes)
    assert units.blocks == {"query": (4, 1, 2), "output": (1, 2, 1)}
    assert units.joined == {"query": "output"}
    assert units.sizes == {"output": 10}
    assert units.counts(shapes) == {"output": 3}
    scores = {"query": np.ones((4, 3, 2)) * [[1], [2], [3]], "output": np.ones((3, 2, 1)) * [[[6]], [[7]], [[8]]]}
    assert collapse(scores, units)["output"].ravel().tolist() == [2.0, 3.0, 4.0]  # (8 x 1 + 2 x 6) / 10, ...
    # Shares of the dimensions of both arrays, over the weights of a head: (9 + 6) / 10.
    assert erk_shares(shapes, units)["output"] == 1.5


def test_query_heads_that_share_a_key_head_are_one_unit():
    shapes = {"query": (4, 4, 2), "key": (4, 2, 2), "output": (4, 2, 4)}
    axes = {
        "query": Axes(heads=1, attention="a", heads_per_unit=2),
        "key": Axes(heads=1, attention="a"),
        "output": Axes(heads=0, attention="a", heads_per_unit=2),
    }
    scores = {key: np.ones(shape) for key, shape in shapes.items()}
    scores["key"][:, 0] = 3.0
    masks = tfl.prune(scores, masking.ones(scores), rate=0.5, granularity="head", axes=axes)
    assert masks["key"].any(axis=(0, 2)).tolist() == [True, False]
    assert masks["query"].any(axis=(0, 2)).tolist() == [True, True, False, False]
    assert masks["output"].any(axis=(1, 2)).tolist() == [True, True, False, False]
    assert all(mask.sum() == mask.size / 2 for mask in masks.values())


def test_each_attention_layer_has_heads_of_its_own():
    shapes = {f"{layer}/{key}": shape for layer in ("a", "b") for key, shape in SHAPES.items()}
    axes = {key: Axes(heads=0 if "output" in key else 1, attention=key[0]) for key in shapes}
    scores = {key: np.ones(shape) * (2 if key[0] == "a" else 1) for key, shape in shapes.items()}
    layerwise = tfl.prune(scores, masking.ones(scores), rate=1 / 3, granularity="head", axes=axes)
    assert {key: int(mask.sum()) for key, mask in layerwise.items()} == dict.fromkeys(shapes, 16)
    together = tfl.prune(scores, masking.ones(scores), rate=1 / 3, scope="global", granularity="head", axes=axes)
    assert {key: int(mask.sum()) for key, mask in together.items()} == {
        key: 24 if key[0] == "a" else 8 for key in shapes
    }


def test_arrays_of_a_layer_that_are_not_masked_are_left_alone():
    scores = heads(value=[3, 1, 2])
    masks = tfl.prune(scores, masking.ones(scores), rate=1 / 3, granularity="head", axes=AXES)
    assert kept_heads(masks) == {"value": [0, 2]}


def test_heads_have_one_rate_and_one_mask():
    scores = heads(query=[1, 2, 3], key=[1, 2, 3])
    dense = masking.ones(scores)
    with pytest.raises(UsageError, match=r"`rate` must be one for 'key' and 'query'.*Received: 0.5 and 0.2"):
        tfl.prune(scores, dense, rate={"key": 0.5, "query": 0.2}, granularity="head", axes=AXES)
    dense["query"][:, 0] = False
    with pytest.raises(UnfitError, match=r"masks of 'key', 'query' must keep or prune each unit .* Received: 1 units"):
        tfl.prune(scores, dense, rate=0.5, granularity="head", axes=AXES)


def test_arrays_with_other_numbers_of_heads_are_not_joined():
    shapes = {"a/key": (4, 2, 2), "a/query": (4, 6, 2), "a/value": (4, 2, 3), "a/odd": (4, 5, 2)}
    axes = {key: Axes(heads=1, attention="a", heads_per_unit=2 if "odd" in key else 1) for key in shapes}
    units = divide(shapes, granularity="head", indivisible="skip", axes=axes)
    assert units.joined == {"a/value": "a/key"}
    assert units.whole == {"a/odd": "its 5 heads are no multiple of 2"}
    assert units.counts(shapes) == {"a/key": 2, "a/query": 6}


def test_what_has_no_heads_follows_indivisible():
    scores = heads(query=[1, 2, 3]) | {"dense": np.arange(8.0).reshape(4, 2)}
    axes = AXES | {"dense": Axes(0, (1,), kind="Dense")}
    with pytest.raises(UnfitError, match=r"dense \(4, 2\): Dense has no attention heads"):
        tfl.prune(scores, masking.ones(scores), rate=0.5, granularity="head", axes=axes)
    skipped = tfl.prune(scores, masking.ones(scores), rate=1 / 3, granularity="head", indivisible="skip", axes=axes)
    assert skipped["dense"].all()
    assert kept_heads({"query": skipped["query"]}) == {"query": [1, 2]}
    single = tfl.prune(
        scores, masking.ones(scores), rate=0.25, granularity="head", indivisible="unstructured", axes=axes
    )
    assert single["dense"].sum() == 6
    assert single["query"].sum() == 16  # 0.75 of a head is rounded to one


def test_rows_of_an_embedding():
    table = {"words": np.array([[5.0, 1.0], [0.0, 1.0], [4.0, 4.0], [2.0, 2.0]])}  # means 3, 0.5, 4 and 2
    axes = {"words": Axes(rows=0, kind="an embedding")}
    after = tfl.prune(table, masking.ones(table), rate=0.5, granularity="row", axes=axes)
    assert after["words"].tolist() == [[True, True], [False, False], [True, True], [False, False]]
    reverse = tfl.prune(
        {"words": table["words"].T}, {"words": np.ones((2, 4), bool)}, rate=0.25, granularity="row",
        axes={"words": Axes(rows=1)},
    )  # fmt: skip
    assert reverse["words"].tolist() == [[True, False, True, True]] * 2
    units = divide({"words": (4, 2)}, granularity="row", axes=axes)
    assert units.blocks == {"words": (1, 2)}


@pytest.mark.parametrize("granularity", ["head", "row"])
def test_axes_are_needed_to_know_heads_and_rows(granularity):
    scores = {"a": np.ones((4, 2))}
    with pytest.raises(UnfitError, match=r"a kernel has no .*Pass `axes=discover\(model\).axes`"):
        tfl.prune(scores, masking.ones(scores), rate=0.5, granularity=granularity)
    with pytest.raises(UnfitError, match="Nothing is left to prune"):
        tfl.prune(scores, masking.ones(scores), rate=0.5, granularity=granularity, indivisible="skip")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0, 0.9), min_size=1, max_size=3),
    st.sampled_from(["layerwise", "global"]),
    st.sampled_from(["uniform", "erk", "lamp"]),
    st.integers(1, 5),
    st.integers(0, 5),
)
def test_heads_are_whole_and_their_counts_exact(rates, scope, distribution, count, seed):
    scope = scope if distribution == "uniform" else "layerwise"
    shapes = {"a/q": (3, count, 2), "a/o": (count, 2, 3), "b/q": (2, 2, 2), "b/v": (2, 2, 1), "dense": (4, 2)}
    axes = {key: Axes(heads=0 if key == "a/o" else 1, attention=key[0]) for key in shapes} | {"dense": Axes(0, (1,))}
    units = divide(shapes, granularity="head", indivisible="unstructured", axes=axes)
    random = np.random.default_rng(seed)
    masks = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    for rate in rates:
        scores = {key: random.random(shape) for key, shape in shapes.items()}
        before = collapse_masks(masks, units)
        masks = tfl.prune(
            scores, masks, rate=rate, scope=scope, distribution=distribution, granularity="head",
            indivisible="unstructured", axes=axes,
        )  # fmt: skip
        after = collapse_masks(masks, units)  # raises where a head is kept in part
        assert all(np.array_equal(expand(after, masks, units)[key], masks[key]) for key in shapes)
        together = scope == "global" or distribution != "uniform"
        for keys in [list(after)] if together else [[key] for key in after]:
            alive = sum(int(before[key].sum()) for key in keys)
            assert sum(after[key].sum() for key in keys) == max(alive - round(rate * alive), len(keys))
        assert not any((after[key] & ~before[key]).any() for key in after)
