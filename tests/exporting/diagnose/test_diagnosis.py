"""`diagnose`: each rule on an operation that triggers it and one that does not, and whole models converted for real."""

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers as L

from tf_lottery.errors import DamagedError, NonFiniteError, UnfitError, UsageError
from tf_lottery.exporting.diagnose.clusters import find_clusters
from tf_lottery.exporting.diagnose.delegation import NotLoaded, delegated
from tf_lottery.exporting.diagnose.diagnosis import diagnose
from tf_lottery.exporting.diagnose.operations import Operation
from tf_lottery.exporting.diagnose.processor import Processor, processor
from tf_lottery.exporting.diagnose.runtime_rules import blocking, in_percent, layout, zeros_in_blocks
from tf_lottery.exporting.diagnose.summary import multiplications, sentences, slimming
from tf_lottery.exporting.diagnose.verdicts import VERDICTS, judge
from tf_lottery.exporting.plain import deployable
from tf_lottery.exporting.slim import LayerSlimming, SlimReport
from tf_lottery.exporting.tflite import encoding
from tf_lottery.exporting.tflite import tflite_writer as tflite
from tf_lottery.layers import get_masks, set_masks, wrap
from tf_lottery.models.mobile import mobilenet

ARM = Processor("ARM (aarch64)", True)
AVX = Processor("x86 with AVX", False)


def sparsified(model, share=0.8, *, only="", seed=0):
    """Random zeros in every kernel whose path holds `only`."""
    rng = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        if len(variable.shape) > 1 and only in variable.path:
            variable.assign(np.where(rng.random(variable.shape) < share, 0, variable.numpy()))
    return model


def blocked(shape, share, size=4):
    """A Keras kernel `(in, out)` whose zeros lie in blocks along the inputs."""
    rng = np.random.default_rng(0)
    count = shape[0] // size * shape[1]
    gone = rng.permutation(count) < round(share * count)
    keep = np.repeat(~gone.reshape(shape[0] // size, shape[1]), size, axis=0)
    return (rng.uniform(0.5, 1, shape) * keep).astype("float32")


def dense_net(kernel):
    model = keras.Sequential([keras.Input((kernel.shape[0],)), L.Dense(kernel.shape[1], name="hidden")])
    model.layers[0].kernel.assign(kernel)
    return model


def by_name(found):
    return {op.name: (op, verdict) for op, verdict in zip(found.operations, found.verdicts, strict=True)}


def reasons(found, name):
    return " | ".join(finding.reason for finding in by_name(found)[name][1].findings)


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
    found = layout(operation, padding)
    assert found.places == places
    assert bool(found.obstacles) is not bool(places)
    assert reason in " ".join(each.reason for each in found.obstacles)
    assert advice in " ".join(each.advice for each in found.obstacles)


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
    found = blocking(operation)
    assert (found is None) if reason is None else reason in found.reason
    assert (judge(operation, (), AVX).kind == "blocks") is (reason is not None)


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
    verdict = judge(replace(DENSE, **changes), (), AVX)
    assert verdict.kind == kind and verdict.kind in VERDICTS
    assert reason in verdict.findings[0].reason
    assert advice in verdict.findings[0].advice and bool(advice) is bool(verdict.findings[0].advice)


def test_what_a_delegate_did_not_take_is_said_but_not_of_litert_s_own_kernels():
    plain = Operation(0, "CAST")
    assert judge(plain, (), AVX, taken=True).kind == judge(plain, (), AVX).kind == "no weights"
    assert judge(plain, (), AVX, taken=False).kind == "blocks"
    blocks = replace(DENSE, encoding="1x4", weights=np.eye(8))
    assert len(judge(blocks, (), AVX, taken=False).findings) == 1
    assert "split" in judge(replace(DEPTHWISE, encoding="sparse"), (), AVX, taken=False).findings[-1].reason


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
    assert cluster.zeros == pytest.approx(2 / 3) and cluster.members == {1, 2, 3, 4}
    assert "67 % zeros: XNNPACK's sparse path needs over 66.7 %" in cluster.obstacles[0].reason
    assert judge(point, [cluster], ARM).kind == "densified"
    twelve[8] = 0
    (cluster,), point = chain(twelve.reshape(3, 1, 1, 4))
    assert cluster.obstacles == () and cluster.remarks == ()
    assert judge(point, [cluster], ARM).kind == "sparse on ARM"
    assert [each.reason for each in judge(point, [cluster], ARM).findings] == [
        "sparse on ARM: 75 % zeros in the 1x1 convolutions of its stretch"
    ]
    assert "switched off here: x86 with AVX" in judge(point, [cluster], AVX).findings[1].reason


def test_a_small_convolution_that_is_stored_dense_is_part_of_its_stretch():
    clusters, point = chain(np.zeros((2, 1, 1, 4)))
    point = replace(point, encoding="dense")
    assert judge(point, clusters, ARM, encoded=True).kind == "sparse on ARM"
    assert judge(point, clusters, ARM, encoded=False).kind == "dense"


def test_newer_versions_count_the_dense_layer():
    eight = np.array([0.0, 0, 0, 0, 0, 0, 1, 1]).reshape(2, 1, 1, 4)
    (cluster,), point = chain(eight, head=1.0)  # 6 of 8 zeros; with the dense layer 6 of 10
    assert cluster.obstacles == () and "60 % zeros" in cluster.remarks[0].reason
    assert judge(point, [cluster], ARM).findings[-1] == cluster.remarks[0]
    (cluster,), _ = chain(eight)
    assert cluster.remarks == ()


@pytest.mark.parametrize(
    ("changes", "culprit"),
    [
        ({"middle": Operation(3, "MAX_POOL_2D", "pool_1")}, "operation 3 (MAX_POOL_2D pool_1) stands in the way"),
        (
            {"middle": replace(DEPTHWISE, strides=(2, 2))},
            "(DEPTHWISE_CONV_2D d) stands in the way: stride-2 SAME padding",
        ),
        ({"extra_output": True}, "operation 2 (CONV_2D p) gives an output of the model"),
    ],
)
def test_what_breaks_a_stretch_is_named(changes, culprit):
    clusters, point = chain(np.zeros((2, 1, 1, 4)), **changes)
    (cluster,) = clusters
    assert culprit in " | ".join(each.reason for each in cluster.obstacles)
    assert judge(point, clusters, ARM).kind == "densified"


def test_a_stretch_that_begins_with_the_input():
    point = replace(POINTWISE, inputs=(0,), outputs=(1,), weights=np.zeros((2, 1, 1, 4)), encoding="sparse")
    pool = Operation(1, "MEAN", "pool", (1,), (2,), (1, 4, 4, 2), constant=np.array([1, 2]))
    (cluster,) = find_clusters([point, pool], [2])
    assert "reads the model's input" in cluster.obstacles[0].reason


def test_zeros_in_blocks_by_hand():
    rows = np.array([[0, 0, 0, 0, 1, 0, 0, 0, 0, 0], [0, 0, 0, 1, 0, 0, 0, 0, 0, 0]], float)
    # In blocks of four: of the first row 4 and the last 2, of the second 4 and the last 2; of 20.
    assert zeros_in_blocks(replace(DENSE, weights=rows), 4) == 12 / 20
    assert zeros_in_blocks(replace(DENSE, weights=rows), 16) == 0
    assert zeros_in_blocks(DEPTHWISE, 4) is None and zeros_in_blocks(Operation(0, "ADD"), 4) is None
    image = replace(POINTWISE, weights=rows.reshape(2, 1, 1, 10))
    assert zeros_in_blocks(image, 4) == 12 / 20


def test_multiplications_by_hand():
    assert multiplications(replace(FIRST, output_shape=(1, 16, 16, 8))) == 16 * 16 * 8 * 27
    assert multiplications(replace(DENSE, output_shape=(1, 2))) == 16
    assert multiplications(replace(DEPTHWISE, output_shape=(1, 8, 8, 4))) == 8 * 8 * 36
    assert multiplications(Operation(0, "ADD")) == 0


def test_what_slimming_would_leave():
    hidden = LayerSlimming("hidden", 300, 150, 0, 784, 784, 640)
    output = LayerSlimming("output", 10, 10, 0, 300, 150, 150)
    line = slimming(SlimReport((hidden, output), 1000, 520))
    assert line.startswith("Slimming: 150 of 310 units and channels are dead; without them 520 of 1,000 parameters")
    assert "nothing to remove" in slimming(SlimReport((output,), 1000, 1000))


def test_shares_never_round_to_a_bound():
    assert [in_percent(x) for x in (0, 1, 0.004, 0.9996, 0.00001, 0.99999)] == [
        *("0 %", "100 %", "0.4 %", "99.9 %", "0.1 %", "99.9 %")
    ]


@pytest.mark.parametrize(
    ("machine", "flags", "runs"),
    [("arm64", "", True), ("x86_64", "fpu avx avx2", False), ("AMD64", "fpu sse2", True), ("x86_64", "", False)],
)
def test_processors(machine, flags, runs):
    assert processor(machine, flags).sparse_convolutions is runs


@pytest.fixture(scope="module")
def mobile():
    return diagnose(sparsified(mobilenet((32, 32, 3), 10)), machine=AVX)


def test_the_mobile_example_runs_sparse_on_arm(mobile):
    found = by_name(mobile)
    for number in range(1, 7):
        operation, verdict = found[f"block_{number}_pointwise"]
        assert operation.encoding == "sparse" and verdict.kind == "sparse on ARM"
        assert [each.reason[:13] for each in verdict.findings] == ["sparse on ARM", "switched off "]
        assert found[f"block_{number}_depthwise"][0].kind == "DEPTHWISE_CONV_2D"
    assert found["output"][1].kind == found["stem"][1].kind == "densified"
    assert [each.kind for each in mobile.operations if each.index in (0, 16)] == ["PAD", "MEAN"]
    text = "\n".join(mobile.summary)
    assert "0 % of the multiplications are on sparse kernels here (x86 with AVX), 85 % on ARM" in text
    assert "This machine: x86 with AVX: sparse convolutions are switched off, they pay on ARM." in text
    assert "Delegate: the default one takes 18 of 18 operations here" in text


def test_the_document(mobile):
    document = json.loads(mobile.dumps())
    assert document["schema"] == "tf-lottery.doctor/1" and document["model"] == "mobilenet"
    record = document["ops"][3]
    assert record["op"] == "CONV_2D" and record["name"] == "block_1_pointwise" and record["index"] == 3
    assert record["weights_shape"] == [32, 1, 1, 16]
    kernel = mobile.operations[3].weights
    assert record["zeros"] == pytest.approx(np.mean(kernel == 0), abs=1e-6)
    assert document["ops"][2]["blocks_1x4"] is None
    assert document["ops"][0] == {
        **{"index": 0, "subgraph": 0, "op": "PAD", "name": "stem_pad", "weights_shape": None, "precision": None},
        **{"encoding": None, "zeros": None, "blocks_1x4": None, "blocks_1x16": None, "verdict": "no weights"},
        **{"reasons": [], "advice": []},
    }
    assert set(document["ops"][3]) == set(document["ops"][0])


@pytest.mark.parametrize(
    ("variant", "culprit"),
    [
        ("same", "block_2_depthwise) stands in the way: stride-2 SAME padding"),
        ("pool", "MAX_POOL_2D block_2_pool) stands in the way"),
        ("few", "61 % zeros: XNNPACK's sparse path needs over 66.7 %"),
    ],
)
def test_a_variant_that_breaks_a_rule_is_named(variant, culprit):
    image = keras.Input((16, 16, 3))
    x = L.ZeroPadding2D(1)(image)
    x = L.Conv2D(8, 3, strides=2, activation="relu", name="stem")(x)
    x = L.DepthwiseConv2D(3, padding="same", activation="relu", name="block_1_depthwise")(x)
    x = L.Conv2D(16, 1, activation="relu", name="block_1_pointwise")(x)
    if variant == "pool":
        x = L.MaxPooling2D(2, name="block_2_pool")(x)
    else:
        same = variant == "same"
        x = x if same else L.ZeroPadding2D(1)(x)
        x = L.DepthwiseConv2D(3, strides=2, padding="same" if same else "valid", name="block_2_depthwise")(x)
    x = L.Conv2D(32, 1, activation="relu", name="block_2_pointwise")(x)
    model = keras.Model(image, L.Dense(3, name="output")(L.GlobalAveragePooling2D()(x)))
    # 640 weights in the two 1x1 convolutions: 391 zeros are 61.1 %.
    kernels = [model.get_layer(f"block_{number}_pointwise").kernel for number in (1, 2)]
    count, rng = 391 if variant == "few" else 500, np.random.default_rng(0)
    keep = (rng.permutation(640) >= count).astype("float32")
    for kernel, mask in zip(kernels, np.split(keep, [128]), strict=True):
        kernel.assign(np.reshape(mask, kernel.shape))
    found = diagnose(model, machine=ARM)
    assert by_name(found)["block_2_pointwise"][1].kind == "densified"
    assert culprit in reasons(found, "block_2_pointwise")


def test_blocks_of_a_dense_layer_run_sparse_and_single_zeros_do_not():
    kernel = blocked((64, 32), 0.75)
    found = diagnose(dense_net(kernel), machine=AVX)
    operation, verdict = by_name(found)["hidden"]
    assert (operation.encoding, verdict.kind) == ("1x4", "sparse")
    np.testing.assert_array_equal(operation.weights, kernel.T)
    assert "100 % of the multiplications are on sparse kernels here" in "\n".join(found.summary)
    shuffled = np.random.default_rng(0).permutation(kernel.ravel()).reshape(kernel.shape)
    operation, verdict = by_name(diagnose(dense_net(shuffled), machine=AVX))["hidden"]
    assert (operation.encoding, verdict.kind) == ("sparse", "densified")
    np.testing.assert_array_equal(operation.weights, shuffled.T)


def test_single_zeros_that_are_stored_in_blocks_are_told_to_be_found_in_blocks():
    blocks = np.zeros((16, 4, 32), "float32")
    blocks[:5, 0] = 1
    blocks[5, 0, :16] = 1  # one value in 176 of 512 blocks: 65.6 % of the blocks are zero, 91.4 % of the weights
    kernel = blocks.reshape(64, 32)
    found = diagnose(dense_net(kernel), machine=AVX)
    operation, verdict = by_name(found)["hidden"]
    assert (operation.encoding, verdict.kind) == ("1x4", "sparse")
    assert verdict.findings[0].advice == "find the ticket with `granularity='1x4'`"
    assert found.summary[-1].startswith("Recommended: a ticket of `granularity='1x4'`")


def test_a_model_too_small_to_gain():
    found = diagnose(sparsified(keras.Sequential([keras.Input((9,)), L.Dense(5, name="hidden")])), machine=AVX)
    assert "of 45 weights: storing them sparse saves no bytes" in reasons(found, "hidden")


def test_a_wrapped_model_is_stripped_first():
    model = wrap(dense_net(np.ones((64, 32), "float32")))
    masks = {path: np.arange(mask.size).reshape(mask.shape) % 2 == 0 for path, mask in get_masks(model).items()}
    set_masks(model, masks)
    found = diagnose(model, machine=AVX)
    assert "50 % of 2,048 weights" in found.summary[0]


def test_loops_are_told_with_the_weights_inside():
    model = keras.Sequential([keras.Input((6, 4)), L.LSTM(8, name="lstm"), L.Dense(4, name="output")])
    found = diagnose(sparsified(model), machine=AVX)
    kinds = {(op.kind, verdict.kind) for op, verdict in zip(found.operations, found.verdicts, strict=True)}
    assert ("WHILE", "blocks") in kinds
    inside = [verdict for op, verdict in zip(found.operations, found.verdicts, strict=True) if op.subgraph]
    assert inside and all("inside a loop" in verdict.findings[0].reason for verdict in inside)
    assert "Delegates: " in found.summary[-1] and "WHILE" in found.summary[-1]


@pytest.mark.filterwarnings(
    r"ignore:\s*Warning. tf.lite.Interpreter is deprecated"
)  # by the converter's own calibration
@pytest.mark.parametrize("precision", ["float16", "dynamic", "int8"])
def test_files_of_other_precisions(tmp_path, precision):
    model, _ = deployable(dense_net(blocked((64, 32), 0.5)))
    samples = {"input": np.random.default_rng(0).random((8, 64)).astype("float32")}
    file = tmp_path / "model.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path, precision=precision, calibration=samples))
    found = diagnose(file, machine=AVX)
    weighty = [op for op in found.operations if op.weights is not None]
    assert [op.precision for op in weighty] == ["float16" if precision == "float16" else "int8"]
    assert "50 % of 2,048 weights" in found.summary[0]
    assert found.model == str(file)


def test_a_dense_file_is_told_to_store_its_zeros(tmp_path):
    model, _ = deployable(sparsified(mobilenet((16, 16, 3), 4, width=0.25)))
    file = tmp_path / "model.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path))
    found = diagnose(file, machine=ARM)
    assert {verdict.kind for verdict in found.verdicts} == {"no weights", "dense"}
    assert any("in a file that stores them all" in each.findings[0].reason for each in found.verdicts if each.findings)


def test_weights_that_are_used_in_every_step_are_counted_once():
    model = keras.Sequential([keras.Input((6, 4)), L.LSTM(8, unroll=True), L.Dense(4)])
    found = diagnose(sparsified(model), machine=AVX)
    assert len([op for op in found.operations if op.weights is not None]) > 6
    # By hand: (4 + 8) * 4 * 8 of the LSTM, 8 * 4 of the output.
    assert " of 416 weights" in found.summary[0]
    # What the default delegate leaves aside has no advice, so none is promised.
    (line,) = [line for line in found.summary if line.startswith("Delegates: ")] or [""]
    advice = [
        finding.advice
        for verdict in found.verdicts
        for finding in verdict.findings
        if verdict.kind == "blocks" and finding.advice
    ]
    assert ("what to change" in line) is bool(advice)


def test_advice_on_delegates_is_promised_only_where_it_is():
    operations = [Operation(0, "UNPACK"), Operation(1, "WHILE")]
    unpack, loop = judge(operations[0], (), AVX, taken=False), judge(operations[1], (), AVX)

    def last(*pairs):
        given, verdicts = zip(*pairs, strict=True)
        return sentences(given, verdicts, AVX, sizes={"as it is": 1}, taken=None)[-1]

    assert last((operations[0], unpack)) == "Delegates: UNPACK splits the graph."
    assert last((operations[1], loop)) == "Delegates: WHILE splits the graph; what to change is said there."
    assert last(*zip(operations, (unpack, loop), strict=True)) == (
        "Delegates: UNPACK, WHILE split the graph; what to change is said at WHILE."
    )


def test_rows_and_blocks_are_told_apart_by_name():
    model = keras.Sequential([keras.Input((256,)), L.Dense(256, name="hidden")])
    sparsified(model, 0.95)
    found = diagnose(model, machine=AVX)
    dense = tflite_bytes(deployable(model)[0])
    rows = len(encoding.encode(dense, precision="float32", blocks=False)[0])
    blocks = len(encoding.encode(dense, precision="float32", blocks=True)[0])
    assert rows < blocks < len(dense)
    disk, speed, recommended = found.summary[1], found.summary[2], found.summary[-1]
    assert f"rows: {rows:,} bytes" in disk and "dense layers densified (*_float32_sparse.tflite)" in disk
    assert f"1x4 blocks: {blocks:,} bytes" in disk and "sparse kernels (*_float32_sparse_1x4.tflite)" in disk
    assert speed.startswith("Speed: 100 % of the multiplications") and "in the file with 1x4 blocks" in speed
    assert "*_float32_sparse_1x4.tflite" in recommended
    # Whole blocks: rows are no smaller, and the one sparse file has no layout in its name.
    kernel = dense_net(blocked((64, 32), 0.75))
    assert "*_float32_sparse.tflite of" in diagnose(kernel, machine=AVX).summary[-1]
    assert "rows" not in diagnose(kernel, machine=AVX).summary[1]


def tflite_bytes(model):
    with tempfile.TemporaryDirectory() as folder:
        return tflite.convert_dense(model, Path(folder))


@pytest.mark.parametrize(
    ("error", "told"),
    [(UnfitError("Nothing is left.", "Prune less."), "Nothing is left."), (RuntimeError("odd"), "RuntimeError: odd")],
)
def test_a_failure_to_slim_does_not_end_the_diagnosis(monkeypatch, error, told):
    def slim(model):
        raise error

    monkeypatch.setattr("tf_lottery.exporting.slim.slim", slim)
    found = diagnose(dense_net(blocked((64, 32), 0.75)), machine=AVX)
    assert [line for line in found.summary if line.startswith("Slimming")] == [f"Slimming: not possible: {told}"]
    assert "Recommended" in found.summary[-1]


def test_the_delegate_is_asked(tmp_path):
    model, _ = deployable(dense_net(np.ones((8, 4), "float32")))
    file = tmp_path / "model.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path))
    assert delegated(file) == {0}
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(NotLoaded):
        delegated(file)


def custom_operation():
    image = keras.Input((4, 4, 2))
    return keras.Model(image, L.Lambda(lambda x: keras.ops.fft2((x, x))[0])(image))


def dynamic():
    return keras.Sequential([keras.Input((None, 4)), L.Dense(2)])


def subclassed():
    class Mine(keras.Model):
        def call(self, inputs):
            return inputs

    return Mine()


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (custom_operation, r"'tf.\w+' op is neither a custom op nor a flex op"),
        (dynamic, "only the batch may be dynamic"),
        (subclassed, "subclassed"),
    ],
)
def test_models_that_can_not_be_diagnosed(make, match):
    with pytest.raises(UnfitError, match=match):
        diagnose(make())


def test_weights_that_are_not_numbers(tmp_path):
    model = dense_net(np.full((64, 32), np.nan, "float32"))
    with pytest.raises(NonFiniteError, match="hidden"):
        diagnose(model)
    file = tmp_path / "nan.tflite"
    file.write_bytes(tflite.convert_dense(model, tmp_path))
    with pytest.raises(NonFiniteError, match="2048 NaN or infinite of 2048"):
        diagnose(file)


def test_files_that_are_none(tmp_path):
    with pytest.raises(UsageError, match="does not exist"):
        diagnose(tmp_path / "no.tflite")
    with pytest.raises(UsageError, match="by its name"):
        diagnose(tmp_path / "no.txt")
    (tmp_path / "folder.tflite").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        diagnose(tmp_path / "folder.tflite")
    file = tmp_path / "model.tflite"
    file.write_bytes(b"not a flatbuffer")
    with pytest.raises(DamagedError, match="no TFLite file"):
        diagnose(file)
    whole = tflite.convert_dense(deployable(dense_net(np.ones((64, 32), "float32")))[0], tmp_path)
    for cut in (9, 200, len(whole) // 2):
        file.write_bytes(whole[:cut])
        with pytest.raises(DamagedError, match="damaged"):
            diagnose(file)
