"""Larger units of pruning in whole experiments: layer kinds, scopes, schedules, criteria, ways, controls."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

import tf_lottery as tfl
from tf_lottery.data import from_arrays
from tf_lottery.errors import UnfitError, UsageError
from tf_lottery.experiment import presets, round_masks, weights_per_round
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.controls import CONTROLS, TicketStart
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.estimate import estimate
from tf_lottery.experiment.run_verification import verify_run
from tf_lottery.models.mobile import mobilenet
from tf_lottery.pruning import criteria as scoring
from tf_lottery.pruning.granularities import Axes
from tf_lottery.pruning.masks import kept
from tf_lottery.pruning.unit_arrays import collapse_masks
from tf_lottery.pruning.units import Units, divide
from toys import classifying_problem

L = keras.layers
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(60, 8)).astype("float32"), RNG.integers(0, 3, 60)
SHAPES = {"dense/kernel": (8, 12), "dense_1/kernel": (12, 3)}
ROLES = {"dense/kernel": "dense", "dense_1/kernel": "output"}
AXES = {"dense/kernel": Axes(0, (1,)), "dense_1/kernel": Axes(0, (1,), output=True)}


def make():
    return keras.Sequential([keras.Input((8,)), L.Dense(12, activation="relu"), L.Dense(3)])


def find(model=None, **options):
    given = {
        "x": X,
        "y": Y,
        "loss": LOSS,
        "metrics": ["accuracy"],
        "rounds": 2,
        "rate": 0.5,
        "steps": 10,
        "jit_compile": False,
    }
    return tfl.find_ticket(model or make, **{**given, "batch_size": 16, "eval_every": 1, **options})


def test_discovery_tells_what_runs_along_the_axes_of_each_layer_kind():
    images, words = keras.Input((8, 8, 3)), keras.Input((5,), dtype="int32")
    x = L.Conv2D(4, 3, name="conv")(images)
    x = L.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = L.SeparableConv2D(6, 3, padding="same", name="separable")(x)
    x = L.Conv2DTranspose(5, 3, name="transposed")(x)
    x = L.Flatten()(x)
    y = L.Embedding(10, 4, name="words")(words)
    y = L.MultiHeadAttention(2, 3, name="attention")(y, y)
    y = L.LSTM(4, name="lstm")(y)
    z = L.Dense(7, name="hidden")(L.Concatenate()([x, y]))
    model = keras.Model([images, words], L.Softmax()(L.Dense(2, name="output")(z)))
    for each in (model, tfl.wrap(model)):
        discovery = tfl.discover(each).axes
        axes = {path: (one.inputs, one.channels, one.output) for path, one in discovery.items()}
        assert axes == {
            "conv/kernel": (-2, (-1,), False),
            "depthwise/kernel": (None, (), False),
            "separable/depthwise_kernel": (None, (), False),
            "separable/pointwise_kernel": (-2, (-1,), False),
            "transposed/kernel": (-1, (-2,), False),
            "words/embeddings": (None, (), False),
            "attention/query_dense/kernel": (0, (), False),
            "attention/key_dense/kernel": (0, (), False),
            "attention/value_dense/kernel": (0, (), False),
            "attention/output_dense/kernel": (1, (), False),
            "lstm/cell/kernel": (-2, (), False),
            "lstm/cell/recurrent_kernel": (-2, (), False),
            "hidden/kernel": (-2, (-1,), False),
            "output/kernel": (-2, (-1,), True),
        }
        follows = {path for path, one in discovery.items() if one.follows}
        assert follows == {"depthwise/kernel", "separable/depthwise_kernel"}
    shapes = {path: tuple(one.variable.shape) for path, one in tfl.discover(model).found.items()}
    units = divide(shapes, granularity="channel", indivisible="skip", axes=discovery)
    assert units.blocks["transposed/kernel"] == (3, 3, 1, 6)
    for path in follows:
        assert units.remarks[path] == "kept whole: the channels of a depthwise convolution follow those of its input"
    assert units.remarks["lstm/cell/kernel"] == "kept whole: a recurrent layer has no output channels"


def test_filters_that_become_outputs_of_the_model_are_never_pruned_as_such():
    """Behind the last convolution there may be layers that keep its channels, such as a pooling over all positions."""
    images = keras.Input((8, 8, 4))
    x = L.Conv2D(8, 3, name="inner")(images)
    x = L.Conv2D(3, 1, name="classes")(x)
    x = L.DepthwiseConv2D(3, name="smooth")(L.BatchNormalization()(x))
    head = keras.Sequential([keras.Input((4, 4, 3)), L.PReLU(), L.GlobalAveragePooling2D(), L.Softmax()])
    model = keras.Model(images, head(x))
    discovery = tfl.discover(model)
    assert {path for path, axes in discovery.axes.items() if axes.output} == {"classes/kernel", "smooth/kernel"}
    assert set(discovery.roles.values()) == {"conv"}  # what decides rates is what it was


def test_depthwise_convolutions_train_without_half_of_their_channels():
    """Pruned by themselves, depthwise kernels would cut half of the channels that the layers before have kept."""
    keras.utils.set_random_seed(0)  # the signal's part is 0.15 here, and 0.05 to 0.22 with other weights
    model = mobilenet((32, 32, 3), 10)
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):  # so that the signal does not fade from layer to layer
            layer.set_weights([*layer.get_weights()[:3], np.full(layer.moving_variance.shape, 0.1)])
    discovery = tfl.discover(model)
    weights = {path: np.abs(one.variable.numpy()) for path, one in discovery.found.items()}
    dense = {path: np.ones(weight.shape, bool) for path, weight in weights.items()}
    masks = tfl.prune(weights, dense, rate=0.5, granularity="channel", axes=discovery.axes)
    filters = {path: mask.reshape(-1, mask.shape[-1]).all(axis=0).sum() for path, mask in masks.items()}
    layers = ["stem", *(f"block_{number}_pointwise" for number in range(1, 7))]
    assert [filters[f"{name}/kernel"] for name in layers] == [8, 16, 32, 32, 64, 64, 128]  # of twice as many
    assert all(mask.all() for path, mask in masks.items() if "depthwise" in path or "output" in path)
    whole = 9 * (16 + 32 + 64 + 64 + 128 + 128) + 2560  # depthwise and output kernels; the others keep half
    assert kept(masks) == (70_880 - whole) // 2 + whole
    wrapped = tfl.wrap(model)
    tfl.set_masks(wrapped, masks)
    slimmed, report = tfl.slim(wrapped)
    units = {layer.name: layer.units_after for layer in report.layers}
    images = random.normal(size=(8, 32, 32, 3)).astype("float32")
    before, after = np.asarray(model(images)), np.asarray(slimmed(images))
    np.testing.assert_allclose(after, wrapped(images), atol=1e-5 * np.abs(after).max())
    assert np.ptp(after, axis=0).min() > 0.05 * np.ptp(before, axis=0).max()
    assert [units[name] for name in layers] == [8, 16, 32, 32, 64, 64, 128]


def test_earlier_runs_keep_their_hash_and_the_choice_counts():
    known = {"digits-mlp": "27b7c9aab5", "mnist-lenet-300-100": "b02a92a21d", "cifar10-resnet20": "01c29c275e"}
    assert {name: presets.get(name).config().hash() for name in known} == known
    assert Config().hash() == Config(indivisible="skip").hash()
    assert Config(granularity="1x4").hash() != Config(granularity="1x4", indivisible="skip").hash() != Config().hash()
    with pytest.raises(UsageError, match="Unknown granularity '1x8'"):
        Config(granularity="1x8")
    with pytest.raises(UsageError, match="Unknown indivisible 'ignore'"):
        Config(indivisible="ignore")


# Of the 24 blocks of the hidden layer and the 9 of the output layer, by hand: halves, and halves of halves to even.
@pytest.mark.parametrize(
    ("options", "units"),
    [
        ({"rate": 0.5, "output_rate": 0.5}, [(24, 9), (12, 5), (6, 3), (3, 1)]),
        ({"rate": 0.5}, [(24, 9), (12, 7), (6, 5), (3, 4)]),  # 0.25 of 9, 7 and 5: 2, 2 and 1
        ({"final_density": 0.125, "rounds": 3}, [(24, 9), (12, 5), (6, 3), (3, 1)]),
        ({"densities": (1.0, 0.5, 0.25, 0.125)}, [(24, 9), (12, 4), (6, 2), (3, 1)]),
    ],
)
@pytest.mark.parametrize("way", ["iterative", "one_shot", "before_training", "early_bird"])
def test_counts_of_blocks_are_exact_in_every_schedule_and_way(options, units, way):
    config = Config(**{"rounds": 3, **options}, granularity="1x4", pruning=way)
    division = round_masks.units_of_config(config, AXES, SHAPES)
    counts = [4 * sum(each) for each in units]
    assert weights_per_round.kept_per_round(config, ROLES, SHAPES, division) == counts
    generator = np.random.default_rng(1)
    weights = {key: generator.normal(size=shape) for key, shape in SHAPES.items()}
    dense = {key: np.ones(shape, bool) for key, shape in SHAPES.items()}
    masks = dense
    for number in range(1, 4):
        before = masks if way == "iterative" else dense
        masks = round_masks.next_masks(
            config, round_number=number, replicate=0, roles=ROLES, weights=weights, masks=before, units=division
        )
        assert tuple(int(unit.sum()) for unit in collapse_masks(masks, division).values()) == units[number]
        assert not any((masks[key] & ~before[key]).any() for key in masks)


@pytest.mark.parametrize(
    ("criterion", "scope"),
    [
        (criterion, scope)
        for criterion in sorted(scoring.CRITERIA)
        for scope in ("layerwise", "global")
        if scope == "global" or criterion not in scoring.GLOBAL
    ],
)
@pytest.mark.parametrize("granularity", ["1x4", "channel"])
def test_every_criterion_prunes_whole_units_in_every_scope(criterion, scope, granularity):
    config = Config(criterion=criterion, scope=scope, granularity=granularity, densities=(1.0, 1 / 3))
    division = round_masks.units_of_config(config, AXES, SHAPES)
    random = np.random.default_rng(1)
    material = {
        name: lambda masks: {key: random.normal(size=mask.shape) for key, mask in masks.items()}
        for name in scoring.needs(criterion) - {"seed"}
    }
    masks = round_masks.next_masks(
        config,
        round_number=1,
        replicate=0,
        roles=ROLES,
        weights={key: random.normal(size=shape) for key, shape in SHAPES.items()},
        masks={key: np.ones(shape, bool) for key, shape in SHAPES.items()},
        material=material,
        units=division,
    )
    units = collapse_masks(masks, division)
    by_hand = {("1x4", "layerwise"): [8, 3], ("1x4", "global"): [11], ("channel", "layerwise"): [4]}
    counts = [int(unit.sum()) for unit in units.values()]
    assert (counts if scope == "layerwise" else [sum(counts)]) == by_hand.get((granularity, scope), [4])
    if granularity == "channel":
        assert masks["dense_1/kernel"].all()


@pytest.mark.parametrize(
    ("granularity", "weights"),
    [
        ("1x4", [132, 76, 44]),
        pytest.param("channel", [132, 84, 60], marks=pytest.mark.slow),
        ("unstructured", [132, 75, 44]),
    ],
)
def test_an_experiment_keeps_the_units_that_it_says(tmp_path, granularity, weights):
    result = find(granularity=granularity, variants=tuple(CONTROLS), rewind="step:2", run_dir=tmp_path)
    store = RunDirectory(tmp_path)
    rows = {(row["round"], row["variant"]): row for row in result.rows}
    assert [rows[number, "ticket"]["weights_kept"] for number in range(3)] == weights
    assert not verify_run(store).problems
    division = divide(SHAPES, granularity=granularity, axes=AXES)
    ticket, trained = store.masks(Job(0, 2)), store.weights(Job(0, 1))
    for key, block in division.blocks.items():  # the next masks keep the units with the greatest mean magnitude
        size = np.prod(block)
        assert kept({key: ticket[key]}) == size * collapse_masks(ticket, division)[key].sum()
        assert np.abs(trained[key][ticket[key]]).mean() > np.abs(trained[key]).mean()
    units = {key: int(unit.sum()) for key, unit in collapse_masks(ticket, division).items()}
    for name in ("random_masks", "shuffled_masks"):
        drawn = collapse_masks(store.masks(Job(0, 2, name)), division)  # raises where a unit is kept in part
        if name == "shuffled_masks":
            assert {key: int(unit.sum()) for key, unit in drawn.items()} == units
        assert rows[2, name]["weights_kept"] == weights[2]
    expected = (
        {"dense_1/kernel": "kept whole: its channels are outputs of the model"} if granularity == "channel" else {}
    )
    assert store.environment().get("indivisible", {}) == expected
    assert store.document()["granularity"] == granularity


def test_random_units_are_drawn_among_those_of_equal_size():
    division = Units({"a": (10, 1), "b": (10, 1), "c": (2, 1), "d": (1, 1)})
    shapes = {"a": (10, 6), "b": (10, 30), "c": (2, 8), "d": (4, 4), "whole": (3, 3)}
    masks = {key: np.ones(shape, bool) for key, shape in shapes.items()}
    masks["a"][:, :3], masks["b"][:, :20], masks["c"][:, :6], masks["d"][:2] = False, False, False, False
    seen = set()
    for seed in range(6):
        start = TicketStart(masks, {}, {}, dict, lambda count: ({}, {}), seed, division)
        drawn = CONTROLS["random_masks"].start(start).masks
        units = collapse_masks(drawn, division)
        assert units["a"].sum() + units["b"].sum() == 13
        assert units["c"].sum() == 2
        assert units["d"].sum() == 8
        assert drawn["whole"].all()
        assert kept(drawn) == kept(masks)
        seen.add(int(units["a"].sum()))
    assert len(seen) > 1


@pytest.mark.slow
def test_searches_and_criteria_with_data_work_in_units():
    for options in (
        {"pruning": "early_bird", "mask_distance": 0.5},
        {"pruning": "before_training", "criterion": "synflow", "scope": "global"},
        {"pruning": "before_training", "criterion": "snip", "score_examples": 20},
        {"search_steps": 4},
    ):
        result = find(granularity="1x4", densities=(1.0, 0.5, 0.25), **options)
        last = next(row for row in result.rows if row["round"] == 2 and row["variant"] == "ticket")
        assert last["weights_kept"] == 32, options  # 8 of 33 blocks, in all or 6 and 2


def uneven():
    layers = [keras.Input((8,)), L.Dense(6, activation="relu"), L.Dense(8, activation="relu"), L.Dense(3)]
    return keras.Sequential(layers)


def test_what_does_not_divide_is_told_before_anything_is_trained(tmp_path):
    started = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: pytest.fail("a training began"))
    with pytest.raises(UnfitError, match=r"dense_1/kernel \(6, 8\): its 6 inputs are no multiple of 4"):
        find(uneven, granularity="1x4", run_dir=tmp_path / "a", callbacks=[started])
    assert not RunDirectory(tmp_path / "a").complete_jobs()
    skipped = find(uneven, granularity="1x4", indivisible="skip", rounds=1, run_dir=tmp_path / "b")
    assert skipped.rows[1]["weights_kept"] == 24 + 48 + 4 * round(6 * 0.75)  # of 48, 48 and 24
    single = find(uneven, granularity="1x4", indivisible="unstructured", rounds=1, run_dir=tmp_path / "c")
    assert single.rows[1]["weights_kept"] == 24 + 24 + 4 * round(6 * 0.75)
    remarks = RunDirectory(tmp_path / "c").environment()["indivisible"]
    assert remarks == {"dense_1/kernel": "pruned weight by weight: its 6 inputs are no multiple of 4"}
    with pytest.raises(UsageError, match="would keep 0 units of dense/kernel"):
        find(granularity="1x4", densities=(1.0, 0.01))


def test_the_estimate_counts_units():
    data = from_arrays((X, Y))
    problem = classifying_problem(
        lambda replicate: uneven(),
        make_optimizer=keras.optimizers.Adam,
        train=data.train,
        validation=data.validation,
        test=None,
    )
    config = Config(granularity="1x4", indivisible="skip", rounds=2, rate=0.5, steps=10, xla="off", batch_size=16)
    actual = estimate(config, problem)
    assert actual.weights_kept == (120, 24 + 48 + 16, 12 + 48 + 12)  # 12, 6, 3 blocks; whole; 6, 4, 3 blocks
    assert json.loads(json.dumps(actual.to_json()))["indivisible"] == {
        "dense_1/kernel": "kept whole: its 6 inputs are no multiple of 4"
    }
    with pytest.raises(UnfitError, match="do not divide"):
        estimate(config.updated(indivisible="error"), problem)


def test_the_three_presets_differ_in_granularity_alone():
    names = [f"mnist-fc1-{granularity}" for granularity in ("unstructured", "1x4", "channel")]
    documents = [presets.get(name).config().to_json() for name in names]
    assert len({document["granularity"] for document in documents}) == 3
    for document in documents:
        assert {0.05, 0.012} <= set(document["densities"])
        assert {**document, "granularity": "", "preset": ""} == {**documents[0], "granularity": "", "preset": ""}


def shell(*arguments, cwd):
    """`tf-lottery run` on the embedded digits, in a process of its own."""
    command = [sys.executable, "-m", "tf_lottery_cli", "run", "--rounds", "2", "--replicates", "1", "--jobs", "1"]
    return subprocess.run([*command, *arguments], cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow
def test_the_command_line_tells_counts_of_units_and_what_is_kept_whole(tmp_path):
    """digits-mlp has kernels of 64 x 100, 100 x 50 and 50 x 10 weights."""
    whole = "output/kernel is kept whole: its channels are outputs of the model"
    done = shell("--granularity", "channel", "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    # 100 and 50 units at a rate of 0.25: 75 and 38, 56 and 28 (half to even); 500 weights of the output layer.
    assert document["weights_kept"] == [11900, 64 * 75 + 100 * 38 + 500, 64 * 56 + 100 * 28 + 500]
    assert document["indivisible"] == {"output/kernel": whole.removeprefix("output/kernel is ")}
    assert whole in done.stderr.splitlines()
    done = shell("--granularity", "channel", "--steps", "20", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["results"]
    assert [row["weights_kept"] for row in rows if row["variant"] == "ticket"] == document["weights_kept"]
    assert done.stderr.splitlines().count(whole) == 1


@pytest.mark.slow
def test_the_command_line_refuses_what_does_not_divide_and_leaves_nothing(tmp_path):
    done = shell("--granularity", "1x4", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert "output/kernel (50, 10): its 50 inputs are no multiple of 4" in done.stderr
    remedy = "Keep them whole by --indivisible skip, prune them weight by weight by --indivisible unstructured, or"
    assert remedy in done.stderr
    assert "indivisible=" not in done.stderr
    assert remedy in shell("--granularity", "1x4", "--dry-run", cwd=tmp_path).stderr
    assert not list(tmp_path.rglob("*.npz"))
    done = shell("--granularity", "1x4", "--indivisible", "unstructured", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "output/kernel is pruned weight by weight: its 50 inputs are no multiple of 4" in done.stderr
    assert not list(tmp_path.rglob("config.json"))
