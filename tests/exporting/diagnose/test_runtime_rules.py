"""The rules of LiteRT's runtimes, each on operations made by hand: one that triggers it and one that does not."""

from dataclasses import replace

import numpy as np
import pytest

from tf_lottery.exporting.diagnose.clusters import find_clusters
from tf_lottery.exporting.diagnose.diagnosis_summary import count_multiplications, describe_slimming, summarize
from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.processor import Processor, describe_processor
from tf_lottery.exporting.diagnose.runtime_rules import (
    blocking_reason,
    in_percent,
    sparse_layout,
    zero_block_share,
)
from tf_lottery.exporting.diagnose.verdicts import VERDICTS, judge_operation
from tf_lottery.exporting.slim import LayerSlimming, SlimReport

ARM = Processor("ARM (aarch64)", True)
AVX = Processor("x86 with AVX", False)


# Operations by hand.
POINTWISE = Operation(0, "CONV_2D", "p", (0,), (1,), (1, 8, 8, 4), (1, 8, 8, 2), weights=np.ones((2, 1, 1, 4)))
FIRST = Operation(
    0,
    "CONV_2D",
    "f",
    input_shape=(1, 34, 34, 3),
    weights=np.ones((8, 3, 3, 3)),
    padding="valid",
    strides=(2, 2),
)
DEPTHWISE = Operation(
    0, "DEPTHWISE_CONV_2D", "d", input_shape=(1, 8, 8, 4), weights=np.ones((1, 3, 3, 4)), padding="same"
)
DENSE = Operation(0, "FULLY_CONNECTED", "h", input_shape=(1, 8), weights=np.ones((2, 8)), encoding="sparse")


@pytest.mark.parametrize(
    ("operation", "padding", "places", "reason", "advice"),
    [
        (POINTWISE, None, {"inside"}, "", ""),
        (replace(POINTWISE, padding="same"), None, {"inside"}, "", ""),
        (replace(POINTWISE, strides=(2, 2)), None, set(), "stride 2x2 in a 1x1 convolution", "depthwise"),
        (replace(POINTWISE, dilations=(2, 2)), None, set(), "dilation 2x2", "dilation_rate=1"),
        (replace(POINTWISE, weights=np.ones((2, 1, 1, 2))), None, set(), "grouped convolution", "groups=1"),
        (replace(POINTWISE, computes="int8"), None, set(), "computes in int8", "float32"),
        (POINTWISE, (1, 1, 1, 1), set(), "padding before a 1x1", "leave it out"),
        (FIRST, (1, 1, 1, 1), {"first"}, "", ""),
        (FIRST, None, set(), "no padding: a 3x3 kernel needs 1 on each side", "ZeroPadding2D(1)"),
        (FIRST, (0, 1, 0, 1), set(), "(0, 1, 0, 1)", "ZeroPadding2D(1)"),
        (replace(FIRST, padding="same"), None, set(), "stride-2 SAME padding", "ZeroPadding2D(1) and padding='valid'"),
        (replace(FIRST, strides=(1, 1)), (1, 1, 1, 1), set(), "a 3x3 convolution of stride 1x1", "depthwise"),
        (replace(FIRST, input_shape=(1, 34, 34, 1), weights=np.ones((8, 3, 3, 1))), (1,) * 4, set(), "on 1 chan", ""),
        (DEPTHWISE, None, {"inside"}, "", ""),
        (replace(DEPTHWISE, padding="valid", strides=(2, 2)), (1, 1, 1, 1), {"inside"}, "", ""),
        (replace(DEPTHWISE, strides=(2, 2)), None, set(), "stride-2 SAME padding", "ZeroPadding2D(1)"),
        (replace(DEPTHWISE, padding="valid"), None, set(), "no padding", "ZeroPadding2D(1)"),
        (replace(DEPTHWISE, weights=np.ones((1, 5, 5, 4))), None, {"inside"}, "", ""),
        (replace(DEPTHWISE, weights=np.ones((1, 5, 5, 4)), padding="valid"), (1,) * 4, set(), "needs 2", "2D(2)"),
        (replace(DEPTHWISE, weights=np.ones((1, 7, 7, 4))), None, set(), "a 7x7 depthwise kernel", "3x3 or 5x5"),
        (replace(DEPTHWISE, weights=np.ones((1, 3, 5, 4))), None, set(), "a 3x5 depthwise kernel", "3x3 or 5x5"),
        (replace(DEPTHWISE, multiplier=2), None, set(), "depth multiplier 2", "depth_multiplier=1"),
        (replace(DEPTHWISE, dilations=(2, 2)), None, set(), "dilation 2x2", "dilation_rate=1"),
        (replace(DEPTHWISE, strides=(3, 3)), None, set(), "stride 3x3", "stride 1 or 2"),
        (Operation(0, "RELU6", input_shape=(1, 4, 4, 2)), None, {"inside"}, "", ""),
        (Operation(0, "ADD", input_shape=(1, 4, 4, 2)), None, {"inside"}, "", ""),
        (Operation(0, "ADD", input_shape=(1, 4)), None, set(), "ADD on values of 2 dimensions", ""),
        (Operation(0, "SUB", input_shape=(1, 4, 4, 2)), None, set(), "know no SUB", ""),
        (Operation(0, "MAX_POOL_2D", input_shape=(1, 4, 4, 2)), None, set(), "know no MAX_POOL_2D", "stride-2 depthw"),
        (Operation(0, "MEAN", input_shape=(1, 4, 4, 2), constant=np.array([1, 2])), None, {"inside", "last"}, "", ""),
        (Operation(0, "MEAN", input_shape=(1, 4, 4, 2), constant=np.array([-3, -2])), None, {"inside", "last"}, "", ""),
        (Operation(0, "MEAN", input_shape=(1, 4, 4, 2), constant=np.array([3])), None, set(), "height and width", "Gl"),
    ],
)
def test_places_in_a_stretch_of_sparse_kernels(operation, padding, places, reason, advice):
    layout = sparse_layout(operation, padding)
    assert layout.places == places
    assert bool(layout.obstacles) is not bool(places)
    assert reason in " ".join(reason.reason for reason in layout.obstacles)
    assert advice in " ".join(reason.advice for reason in layout.obstacles)


@pytest.mark.parametrize(
    ("operation", "reason"),
    [
        (Operation(0, "WHILE"), "control flow"),
        (Operation(0, "CUSTOM:FlexErf"), "Erf is a TensorFlow operation"),
        (Operation(0, "CUSTOM:Mine"), "Mine is a custom operation"),
        (Operation(0, "RESHAPE", dynamic=True), "known at run time only"),
        (Operation(0, "RESHAPE"), None),
        (POINTWISE, None),
    ],
)
def test_what_no_delegate_takes(operation, reason):
    blocking = blocking_reason(operation)
    assert (blocking is None) if reason is None else reason in blocking.reason
    assert (judge_operation(operation, (), AVX).kind == "blocks") is (reason is not None)


@pytest.mark.parametrize(
    ("changes", "kind", "reason", "advice"),
    [
        ({"encoding": "dense"}, "dense", "it has no zeros", ""),
        ({"encoding": "dense", "weights": np.array([[0.0, 1, 1, 1]])}, "dense", "25 % zeros of 4 weights", ""),
        ({"encoding": "1x4", "weights": np.eye(16)[:1]}, "sparse", "75 % of the weights are in zero 1x4 blocks", ""),
        ({"encoding": "1x4", "weights": np.repeat([[0.0, 1]], 4, 1)}, "sparse", "50 % of the weights", "prune further"),
        (
            {"encoding": "1x4", "weights": np.eye(8)[:1]},
            "sparse",
            "50 % of the weights are in zero",
            "`granularity='1x4'`",
        ),
        ({"weights": np.eye(8)}, "densified", "zeros are not in blocks: 88 % of the weights", "`granularity='1x4'`"),
        ({"weights": np.eye(30)}, "densified", "input size 30 is no multiple of 4", "multiple of 4 units"),
        ({"weights": np.eye(8), "precision": "float16"}, "densified", "NaN", "float32 with 1x4"),
        ({"weights": np.eye(8), "precision": "int8", "computes": "int8"}, "densified", "int8", "1x1 convolution"),
    ],
)
def test_dense_layers(changes, kind, reason, advice):
    verdict = judge_operation(replace(DENSE, **changes), (), AVX)
    assert verdict.kind == kind
    assert verdict.kind in VERDICTS
    assert reason in verdict.findings[0].reason
    assert advice in verdict.findings[0].advice
    assert bool(advice) is bool(verdict.findings[0].advice)


def test_what_a_delegate_did_not_take_is_a_reason():
    plain = Operation(0, "CAST")
    assert judge_operation(plain, (), AVX, delegated=True).kind == judge_operation(plain, (), AVX).kind == "no weights"
    assert judge_operation(plain, (), AVX, delegated=False).kind == "blocks"
    blocks = replace(DENSE, encoding="1x4", weights=np.eye(8))
    assert len(judge_operation(blocks, (), AVX, delegated=False).findings) == 1
    assert (
        "split" in judge_operation(replace(DEPTHWISE, encoding="sparse"), (), AVX, delegated=False).findings[-1].reason
    )


def chain(weights, *, middle=None, extra_output=False, head=0.0):
    """First convolution, padding taken in; 1x1; `middle`; average pool; dense: as a graph by hand."""
    pad = Operation(0, "PAD", "pad", (0,), (1,), (1, 8, 8, 3), constant=np.array([[0, 0], [1, 1], [1, 1], [0, 0]]))
    first = replace(FIRST, index=1, inputs=(1,), outputs=(2,))
    point = replace(POINTWISE, index=2, inputs=(2,), outputs=(3,), weights=weights, encoding="sparse")
    middle = replace(middle or Operation(3, "RELU", input_shape=(1, 4, 4, 2)), index=3, inputs=(3,), outputs=(4,))
    pool = Operation(4, "MEAN", "pool", (4,), (5,), (1, 4, 4, 2), constant=np.array([1, 2]))
    head = replace(DENSE, index=5, inputs=(5,), outputs=(6,), weights=np.full((1, 2), head))
    return find_clusters([pad, first, point, middle, pool, head], [6, *([3] if extra_output else [])]), point


def test_two_thirds_of_zeros_are_not_enough():
    twelve = np.ones(12)
    twelve[:8] = 0  # exactly two thirds: XNNPACK wants more
    (cluster,), point = chain(twelve.reshape(3, 1, 1, 4))
    assert cluster.zeros == pytest.approx(2 / 3)
    assert cluster.members == {1, 2, 3, 4}
    assert "67 % zeros: XNNPACK's sparse path needs over 66.7 %" in cluster.obstacles[0].reason
    assert judge_operation(point, [cluster], ARM).kind == "densified"
    twelve[8] = 0
    (cluster,), point = chain(twelve.reshape(3, 1, 1, 4))
    assert cluster.obstacles == ()
    assert cluster.remarks == ()
    assert judge_operation(point, [cluster], ARM).kind == "sparse on ARM"
    assert [reason.reason for reason in judge_operation(point, [cluster], ARM).findings] == [
        "sparse on ARM: 75 % zeros in the 1x1 convolutions of its stretch"
    ]
    assert "switched off on x86 with AVX" in judge_operation(point, [cluster], AVX).findings[1].reason


def test_a_small_dense_convolution_is_part_of_its_stretch():
    clusters, point = chain(np.zeros((2, 1, 1, 4)))
    point = replace(point, encoding="dense")
    assert judge_operation(point, clusters, ARM, any_sparse=True).kind == "sparse on ARM"
    assert judge_operation(point, clusters, ARM, any_sparse=False).kind == "dense"


def test_newer_versions_count_the_dense_layer():
    eight = np.array([0.0, 0, 0, 0, 0, 0, 1, 1]).reshape(2, 1, 1, 4)
    (cluster,), point = chain(eight, head=1.0)  # 6 of 8 zeros; with the dense layer 6 of 10
    assert cluster.obstacles == ()
    assert "60 % zeros" in cluster.remarks[0].reason
    assert judge_operation(point, [cluster], ARM).findings[-1] == cluster.remarks[0]
    (cluster,), _ = chain(eight)
    assert cluster.remarks == ()


@pytest.mark.parametrize(
    ("changes", "obstacle"),
    [
        ({"middle": Operation(3, "MAX_POOL_2D", "pool_1")}, "operation 3 (MAX_POOL_2D pool_1) stands in the way"),
        (
            {"middle": replace(DEPTHWISE, strides=(2, 2))},
            "(DEPTHWISE_CONV_2D d) stands in the way: stride-2 SAME padding",
        ),
        ({"extra_output": True}, "operation 2 (CONV_2D p) gives an output of the model"),
    ],
)
def test_what_breaks_a_stretch_is_named(changes, obstacle):
    clusters, point = chain(np.zeros((2, 1, 1, 4)), **changes)
    (cluster,) = clusters
    assert obstacle in " | ".join(reason.reason for reason in cluster.obstacles)
    assert judge_operation(point, clusters, ARM).kind == "densified"


def test_a_stretch_that_begins_with_the_input():
    point = replace(POINTWISE, inputs=(0,), outputs=(1,), weights=np.zeros((2, 1, 1, 4)), encoding="sparse")
    pool = Operation(1, "MEAN", "pool", (1,), (2,), (1, 4, 4, 2), constant=np.array([1, 2]))
    (cluster,) = find_clusters([point, pool], [2])
    assert "reads the model's input" in cluster.obstacles[0].reason


def test_zeros_in_blocks_by_hand():
    rows = np.array([[0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]], float)
    # In blocks of four: of the first row 4 and the last 2, of the second 4 and the last 2; of 20.
    assert zero_block_share(replace(DENSE, weights=rows), 4) == 12 / 20
    assert zero_block_share(replace(DENSE, weights=rows), 16) == 0
    assert zero_block_share(DEPTHWISE, 4) is None
    assert zero_block_share(Operation(0, "ADD"), 4) is None
    image = replace(POINTWISE, weights=rows.reshape(2, 1, 1, 10))
    assert zero_block_share(image, 4) == 12 / 20


def test_multiplications_by_hand():
    assert count_multiplications(replace(FIRST, output_shape=(1, 16, 16, 8))) == 16 * 16 * 8 * 27
    assert count_multiplications(replace(DENSE, output_shape=(1, 2))) == 16
    assert count_multiplications(replace(DEPTHWISE, output_shape=(1, 8, 8, 4))) == 8 * 8 * 36
    assert count_multiplications(Operation(0, "ADD")) == 0


def test_what_slimming_would_leave():
    hidden = LayerSlimming("hidden", 300, 150, 0, 784, 784, 640)
    output = LayerSlimming("output", 10, 10, 0, 300, 150, 150)
    line = describe_slimming(SlimReport((hidden, output), 1000, 520))
    assert line.startswith("Slimming: 150 of 310 units and channels are dead; without them 520 of 1,000 parameters")
    assert "nothing to remove" in describe_slimming(SlimReport((output,), 1000, 1000))


def test_shares_never_round_to_a_bound():
    assert [in_percent(x) for x in (0, 1, 0.004, 0.9996, 0.00001, 0.99999)] == [
        *("0 %", "100 %", "0.4 %", "99.9 %", "0.1 %", "99.9 %")
    ]


@pytest.mark.parametrize(
    ("machine", "flags", "runs"),
    [("arm64", "", True), ("x86_64", "fpu avx avx2", False), ("AMD64", "fpu sse2", True), ("x86_64", "", False)],
)
def test_processors(machine, flags, runs):
    assert describe_processor(machine, flags).sparse_convolutions is runs


def test_advice_on_delegates_is_promised_only_where_it_is():
    operations = [Operation(0, "UNPACK"), Operation(1, "WHILE")]
    unpack, loop = judge_operation(operations[0], (), AVX, delegated=False), judge_operation(operations[1], (), AVX)

    def last(*pairs):
        operations, verdicts = zip(*pairs, strict=True)
        return summarize(operations, verdicts, AVX, sizes={"as it is": 1}, delegated=None)[-1]

    assert last((operations[0], unpack)) == "Delegates: UNPACK splits the graph."
    assert last((operations[1], loop)) == "Delegates: WHILE splits the graph; what to change is listed there."
    assert last(*zip(operations, (unpack, loop), strict=True)) == (
        "Delegates: UNPACK, WHILE split the graph; what to change is listed at WHILE."
    )
