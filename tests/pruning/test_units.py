"""Units of pruning: which weights belong together, exact counts of units, and what does not divide."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tf_lottery.errors import NonFiniteError, UnfitError, UsageError
from tf_lottery.pruning import masks as masking
from tf_lottery.pruning import select as pruning
from tf_lottery.pruning.granularities import BLOCK_SIZES, CHANNEL, UNSTRUCTURED, Axes
from tf_lottery.pruning.unit_arrays import collapse, collapse_masks, expand
from tf_lottery.pruning.units import Units, divide

DENSE = Axes(inputs=0, channels=(1,))
DEPTHWISE = Axes(kind="a depthwise convolution", follows=True)
OUTPUT = Axes(inputs=0, channels=(1,), output=True)
EMBEDDING = Axes(kind="an embedding")


def ones(shapes):
    return {key: np.ones(shape, bool) for key, shape in shapes.items()}


def pruned(scores, *, to=None, masks=None, **options):
    """Masks as lists of 0 and 1."""
    scores = {key: np.asarray(score) for key, score in scores.items()}
    function, how = (pruning.prune_to, {"density": to}) if to else (pruning.prune, {})
    after = function(scores, masks or masking.ones(scores), **how, **options)
    return {key: mask.astype(int).tolist() for key, mask in after.items()}


@pytest.mark.parametrize(
    ("shape", "axes", "granularity", "block"),
    [
        # Dense (inputs, units)
        ((784, 300), None, "unstructured", (1, 1)),
        ((784, 300), None, "1x4", (4, 1)),
        ((784, 300), None, "1x16", (16, 1)),
        ((784, 300), None, "channel", (784, 1)),
        # Conv2D (height, width, inputs, filters)
        ((3, 3, 16, 8), None, "1x4", (1, 1, 4, 1)),
        ((3, 3, 16, 8), None, "1x16", (1, 1, 16, 1)),
        ((3, 3, 16, 8), None, "channel", (3, 3, 16, 1)),
        # Conv2DTranspose (height, width, filters, inputs)
        ((3, 3, 8, 16), Axes(-1, (-2,)), "1x4", (1, 1, 1, 4)),
        ((3, 3, 8, 16), Axes(-1, (-2,)), "channel", (3, 3, 1, 16)),
        # channels that two axes number
        ((3, 3, 16, 2), Axes(None, (-2, -1)), "channel", (3, 3, 1, 1)),
        # an output layer may have blocks
        ((8, 10), OUTPUT, "1x4", (4, 1)),
        ((0, 3), DENSE, "channel", (1, 1)),
    ],
)
def test_the_block_of_each_kind_of_weight(shape, axes, granularity, block):
    units = divide({"a": shape}, granularity=granularity, axes=axes and {"a": axes})
    assert units.blocks == {"a": block}
    assert not units.remarks


def test_blocks_of_a_dense_kernel_by_hand():
    # Means of four inputs: 1.0 and 2.0 of unit 0; 1.5 and 0.25 of unit 1.
    kernel = np.array([[1, 3], [1, 1], [1, 1], [1, 1], [0, 1], [0, 0], [8, 0], [0, 0]], "float32")
    assert collapse({"a": kernel}, Units({"a": (4, 1)}))["a"].tolist() == [[1.0, 1.5], [2.0, 0.25]]
    high = [[1, 1]] * 4
    assert pruned({"a": kernel}, rate=0.25, granularity="1x4") == {"a": high + [[1, 0]] * 4}
    assert pruned({"a": kernel}, rate=0.5, granularity="1x4") == {"a": [[0, 1]] * 4 + [[1, 0]] * 4}
    assert pruned({"a": kernel}, to=0.25, granularity="1x4") == {"a": [[0, 0]] * 4 + [[1, 0]] * 4}
    # Weight by weight the lone 8 and the 3 stay instead.
    single = np.array(pruned({"a": kernel}, to=2 / 16)["a"])
    assert np.argwhere(single).tolist() == [[0, 1], [6, 0]]


def test_units_of_a_dense_layer_are_columns():
    kernel = np.array([[9, 1, 4], [0, 1, 4]], "float32")  # means 4.5, 1, 4
    assert pruned({"a": kernel}, rate=1 / 3, granularity="channel") == {"a": [[1, 0, 1], [1, 0, 1]]}
    assert pruned({"a": kernel}, rate=2 / 3, granularity="channel") == {"a": [[1, 0, 0], [1, 0, 0]]}


def test_filters_of_a_convolution_and_blocks_of_its_inputs():
    kernel = np.zeros((1, 2, 4, 2), "float32")
    kernel[0, :, :, 0] = [[1, 2, 3, 4], [5, 6, 7, 8]]  # mean 4.5; blocks 2.5 and 6.5
    kernel[0, :, :, 1] = [[9, 9, 9, 9], [0, 0, 0, 1]]  # mean 4.625; blocks 9 and 0.25
    filters = np.array(pruned({"a": kernel}, rate=0.5, granularity="channel")["a"])
    assert filters[..., 1].all()
    assert not filters[..., 0].any()
    blocks = np.array(pruned({"a": kernel}, rate=0.5, granularity="1x4")["a"])
    assert blocks[0, :, :, 0].tolist() == [[0] * 4, [1] * 4]
    assert blocks[0, :, :, 1].tolist() == [[1] * 4, [0] * 4]


def test_channels_that_two_axes_number():
    kernel = np.arange(2 * 1 * 2 * 2, dtype="float32").reshape(2, 1, 2, 2)  # channels {0,4} {1,5} {2,6} {3,7}
    kernel[1, 0, 0, 0] = 40
    axes = {"a": Axes(channels=(2, 3))}
    after = np.array(pruned({"a": kernel}, rate=0.5, granularity="channel", axes=axes)["a"])
    assert after[0, 0].tolist() == after[1, 0].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("indivisible", ["error", "skip", "unstructured"])
@pytest.mark.parametrize("output", [False, True])
def test_depthwise_kernels_follow_the_layer_before(indivisible, output):
    shapes = {"conv": (3, 3, 3, 4), "depthwise": (3, 3, 4, 1)}
    axes = {"conv": Axes(-2, (-1,)), "depthwise": replace(DEPTHWISE, output=output)}
    units = divide(shapes, granularity="channel", indivisible=indivisible, axes=axes)
    assert units.blocks == {"conv": (3, 3, 3, 1)}
    reason = "the channels of a depthwise convolution follow those of its input"
    assert units.remarks == {"depthwise": f"kept whole: {reason}"}
    with pytest.raises(UnfitError, match=f"Nothing is left to prune.*{reason}"):
        divide({"depthwise": (3, 3, 4, 1)}, granularity="channel", indivisible=indivisible, axes=axes)


def test_ties_go_by_key_and_flat_index_of_the_unit():
    same = {"b": np.ones((4, 2)), "a": np.ones((8, 1))}
    assert pruned(same, rate=0.5, scope="global", granularity="1x4") == {"b": [[0, 1]] * 4, "a": [[0]] * 4 + [[1]] * 4}
    assert pruned({"a": np.ones((2, 4))}, rate=0.5, granularity="channel") == {"a": [[0, 0, 1, 1]] * 2}


def test_global_ranks_units_of_any_size_by_their_mean():
    scores = {"a": np.full((2, 2), 3.0), "b": np.full((100, 2), 2.0)}
    scores["a"][:, 0], scores["b"][:, 1] = 1.0, 4.0  # sums would rank both units of `b` above those of `a`
    assert pruned(scores, rate=0.25, scope="global", granularity="channel") == {"a": [[0, 1]] * 2, "b": [[1, 1]] * 100}
    assert pruned(scores, rate=0.5, scope="global", granularity="channel") == {"a": [[0, 1]] * 2, "b": [[0, 1]] * 100}


def test_rates_by_key_are_of_units():
    scores = {"a": np.ones((4, 10)), "o": np.ones((4, 10))}
    after = pruned(scores, rate={"a": 0.2, "o": 0.5}, granularity="channel", axes={"a": DENSE, "o": OUTPUT})
    assert after["a"] == [[0, 0] + [1] * 8] * 4
    assert after["o"] == [[1] * 10] * 4


@pytest.mark.parametrize("granularity", ["1x4", "channel"])
def test_the_last_unit_stays_unless_it_may_go(granularity):
    scores = {"a": np.arange(8.0).reshape(4, 2)}
    assert pruned(scores, rate=0.9, granularity=granularity) == {"a": [[0, 1]] * 4}
    assert pruned(scores, rate=1, granularity=granularity, allow_empty=True) == {"a": [[0, 0]] * 4}


def test_counts_of_units_round_half_to_even():
    for units, gone in ((5, 2), (7, 4), (25, 12)):
        after = pruned({"a": np.random.default_rng(0).random((8, units))}, rate=0.5, granularity="channel")
        assert np.sum(after["a"]) == 8 * (units - gone)


def test_pruning_again_goes_on_with_the_surviving_units():
    scores = {"a": np.repeat([[5.0, 1.0, 3.0, 2.0]], 4, axis=0)}
    once = pruning.prune(scores, masking.ones(scores), rate=0.25, granularity="channel")
    twice = pruning.prune(scores, once, rate=1 / 3, granularity="channel")
    assert twice["a"].tolist() == [[True, False, True, False]] * 4
    to = pruning.prune_to(scores, once, density=0.25, granularity="channel")
    assert to["a"].tolist() == [[True, False, False, False]] * 4
    with pytest.raises(UsageError, match="3 units survive"):
        pruning.prune_to(scores, once, density=1.0, granularity="channel")


def test_masks_that_keep_a_part_of_a_unit_are_refused():
    masks = {"a": np.array([[True], [True], [False], [True]])}
    with pytest.raises(UnfitError, match=r"unit of shape \(4, 1\) as a whole. Received: 1 units that are kept in part"):
        pruning.prune({"a": np.ones((4, 1))}, masks, rate=0.5, granularity="1x4")


SHAPES = {"stem": (3, 3, 3, 8), "depthwise": (3, 3, 8, 1), "words": (50, 8), "dense": (8, 6), "output": (6, 3)}
AXES = {"stem": Axes(2, (3,)), "depthwise": DEPTHWISE, "words": EMBEDDING, "dense": DENSE, "output": OUTPUT}


def test_an_error_names_all_arrays_that_do_not_divide():
    with pytest.raises(UnfitError) as error:
        divide(SHAPES, granularity="1x4", axes=AXES)
    for part in (
        "stem (3, 3, 3, 8): its 3 inputs are no multiple of 4",
        "depthwise (3, 3, 8, 1): a depthwise convolution has no axis of inputs",
        "words (50, 8): an embedding has no axis of inputs",
        "output (6, 3): its 6 inputs are no multiple of 4",
        "indivisible='skip'",
    ):
        assert part in str(error.value)
    assert "dense" not in str(error.value)


def test_indivisible_arrays_are_kept_or_pruned_with_a_remark():
    skipped = divide(SHAPES, granularity="1x4", indivisible="skip", axes=AXES)
    assert skipped.blocks == {"dense": (4, 1)}
    assert set(skipped.whole) == set(SHAPES) - {"dense"}
    assert skipped.remarks["words"] == "kept whole: an embedding has no axis of inputs"
    single = divide(SHAPES, granularity="1x4", indivisible="unstructured", axes=AXES)
    assert single.blocks["dense"] == (4, 1)
    assert single.blocks["stem"] == (1, 1, 1, 1)
    assert not single.whole
    assert single.remarks["stem"] == "pruned weight by weight: its 3 inputs are no multiple of 4"
    scores = {key: np.ones(shape) for key, shape in SHAPES.items()}
    after = pruning.prune(scores, ones(SHAPES), rate=0.5, granularity="1x4", indivisible="skip", axes=AXES)
    assert {key: int(mask.sum()) for key, mask in after.items()} == {
        **{key: int(np.prod(shape)) for key, shape in SHAPES.items()},
        "dense": 24,
    }
    after = pruning.prune(scores, ones(SHAPES), rate=0.5, granularity="1x4", indivisible="unstructured", axes=AXES)
    assert all(int(mask.sum()) == mask.size / 2 for mask in after.values())


@pytest.mark.parametrize("indivisible", ["error", "skip", "unstructured"])
def test_the_output_layer_keeps_its_channels(indivisible):
    shapes = {"dense": (8, 6), "output": (6, 3)}
    units = divide(shapes, granularity="channel", indivisible=indivisible, axes=AXES)
    assert units.blocks == {"dense": (8, 1)}
    assert units.remarks == {"output": "kept whole: its channels are outputs of the model"}
    with pytest.raises(UnfitError, match="Nothing is left to prune"):
        divide({"output": (6, 3)}, granularity="channel", indivisible=indivisible, axes=AXES)


def test_names_and_axes_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match=r"Unknown granularity '1x5'.*1x4"):
        divide({"a": (8, 3)}, granularity="1x5")
    with pytest.raises(UsageError, match=r"Unknown choice for indivisible arrays 'drop'.*skip"):
        divide({"a": (8, 3)}, granularity="1x4", indivisible="drop")
    with pytest.raises(UnfitError, match="axes of 'a' are missing"):
        divide({"a": (8, 3)}, granularity="1x4", axes={})
    with pytest.raises(UnfitError, match=r"must be of an array of shape \(8,\)"):
        divide({"a": (8,)}, granularity="1x4", axes={"a": DENSE})
    with pytest.raises(UnfitError, match="unknown layout"):
        divide({"a": (8,)}, granularity="channel")


@pytest.mark.parametrize("dtype", ["float16", "float32", "int32", "bool", "bfloat16"])
def test_scores_of_any_real_dtype(dtype):
    kind = ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype
    scores = np.array([[1, 0, 1], [1, 1, 0]]).astype(kind)
    assert pruned({"a": scores}, rate=2 / 3, granularity="channel") == {"a": [[1, 0, 0]] * 2}


def test_sums_that_overflow_float16_are_taken_in_float64():
    scores = np.full((4, 2), 60000, "float16")
    scores[0, 1] = 50000
    assert pruned({"a": scores}, rate=0.5, granularity="1x4") == {"a": [[1, 0]] * 4}


def test_scores_that_are_no_finite_real_numbers_are_refused():
    masks = {"a": np.array([[True, False]] * 4)}
    for bad in (np.nan, np.inf):
        scores = np.ones((4, 2))
        scores[2, 1] = bad
        assert pruned({"a": scores}, masks=masks, rate=0.0, granularity="1x4") == {"a": [[1, 0]] * 4}
        with pytest.raises(NonFiniteError, match="1 NaN or infinite"):
            pruned({"a": scores}, rate=0.5, granularity="1x4")
    opposed = np.array([[np.inf], [-np.inf], [0], [0]])
    with pytest.raises(NonFiniteError):
        pruned({"a": opposed}, rate=0.5, granularity="1x4")
    with pytest.raises(UnfitError, match="real numbers"):
        pruned({"a": np.ones((4, 2), complex)}, rate=0.5, granularity="1x4")


ARRAYS = st.dictionaries(
    st.sampled_from("abc"), st.lists(st.integers(1, 5), min_size=2, max_size=4).map(tuple), min_size=1, max_size=3
)


@settings(max_examples=200, deadline=None)
@given(
    ARRAYS,
    st.sampled_from([UNSTRUCTURED, *BLOCK_SIZES, CHANNEL]),
    st.sampled_from(["layerwise", "global"]),
    st.lists(st.floats(0, 0.95), min_size=1, max_size=3),
    st.integers(0, 3),
)
def test_counts_are_exact_masks_are_subsets_and_units_whole(shapes, granularity, scope, rates, seed):
    size = BLOCK_SIZES.get(granularity, 1)
    shapes = {key: (*shape[:-2], shape[-2] * size, shape[-1]) for key, shape in shapes.items()}
    division = divide(shapes, granularity=granularity)
    random = np.random.default_rng(seed)
    masks = ones(shapes)
    for rate in rates:
        scores = {key: random.integers(0, 4, shape).astype("float32") for key, shape in shapes.items()}
        before, after = masks, pruning.prune(scores, masks, rate=rate, scope=scope, granularity=granularity)
        assert not any((after[key] & ~before[key]).any() for key in shapes)
        old, new = collapse_masks(before, division), collapse_masks(after, division)  # raises if a unit is in parts
        assert all(np.array_equal(expand(new, after, division)[key], after[key]) for key in shapes)
        units = collapse(scores, division)
        for keys in [[key] for key in shapes] if scope == "layerwise" else [list(shapes)]:
            alive = sum(old[key].sum() for key in keys)
            # Each array keeps one unit at least.
            gone = min(round(rate * int(alive)), int(alive) - len(keys))
            assert sum(new[key].sum() for key in keys) == alive - gone
            for key in keys:
                lost, left = old[key] & ~new[key], new[key]
                if lost.any():
                    assert units[key][lost].max() <= units[key][left].max()
                    if left.sum() > 1:  # the best of an array may stay though others of the group score more
                        assert units[key][lost].max() <= np.sort(units[key][left])[0]
        masks = after
