"""No wrong file, ever: random models through the whole matrix, every file that remains read again in every way."""

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from independent_reader import WAYS, read_files
from integer_layers import steps_of_layers
from random_networks import in_float64, random_inputs, random_network

from tf_lottery.errors import LotteryError
from tf_lottery.exporting import export

# What a remaining file may differ by on inputs that the export never saw: root mean square over the outputs' spread; of
# float32 the largest difference over the largest output, or four times that of Keras's own answers from float64.
BOUNDS = {"float32": 1e-5, "float16": 0.02, "dynamic": 0.2, "int16x8": 0.2, "mixed": 0.2, "int8": 0.5, "int4": 0.5}
# Their ranges are those of the calibration samples, so values beyond are cut off: on edge inputs a sparse file is
# compared with its dense twin alone, relative to the largest output. The plain kernels of sparse products do not round
# as those of dense ones do, and later layers amplify that step: there each layer alone is held to one step.
CALIBRATED = ("int8", "int16x8")
TWIN_BOUND, STEP = 0.02, 1.0
EDGES, FRESH = 4, 60
PIECES, MODELS = 10, 300


def choices(rng):
    """What is asked of one export: some precisions or all, TFLite or every format, now and then a batch."""
    options = {"format": "all" if rng.random() < 0.2 else "tflite", "batch": int(rng.choice([1, 1, 1, 4]))}
    draw = rng.random()
    if draw < 0.15:
        return {**options, "format": "tflite", "io": "int8"}
    if draw < 0.8:
        others = ["float16", "dynamic", "int8", "int16x8", "int4", "mixed"]
        options["precision"] = ["float32", *rng.choice(others, 2, replace=False, p=[0.15, 0.2, 0.25, 0.15, 0.15, 0.1])]
    return options


def with_edges(arrays, seen):
    """Inputs, and four more: zeros, and the largest, the least and the middle of the values that the export saw."""
    return [
        np.concatenate(
            [array, *(np.full_like(array[:1], value) for value in (0, old.max(), old.min(), np.median(old)))]
        )
        for array, old in zip(arrays, seen, strict=True)
    ]


def answers(record, inputs):
    """What a SavedModel or a Keras file answers in one way, loaded as a user loads it."""
    if record["format"] == "saved_model":
        loaded = tf.saved_model.load(record["path"])  # holds the variables
        outputs = loaded.signatures["serving_default"](**{name: tf.constant(array) for name, array in inputs.items()})
        return {"loaded": {name: output.numpy() for name, output in outputs.items()}}
    arrays = list(inputs.values())
    outputs = keras.models.load_model(record["path"])(arrays if len(arrays) > 1 else arrays[0])
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return {"loaded": {place: np.asarray(output) for place, output in enumerate(outputs)}}


def keras_answers(model, arrays, names):
    """What a model answers, by the names of the outputs, in float64."""
    outputs = model(arrays if len(arrays) > 1 else arrays[0])
    outputs = outputs if isinstance(outputs, list) else [outputs]
    return {name: np.asarray(output, "float64") for name, output in zip(names, outputs, strict=True)}


def tflite_answers(records, inputs, batch):
    """What TFLite files answer, whole numbers put in and taken out by the report's scales.

    In every way; a file that was made for several samples at a time, in those ways that give it so many.
    """
    if records and records[0]["quantization"]:  # then all have, each its own scales
        all_ways = [_through_whole_numbers(record, inputs) for record in records]
    else:
        all_ways = read_files([record["path"] for record in records], inputs)
    return [{way: outputs for way, outputs in ways.items() if batch in (1, WAYS[way]["batch"])} for ways in all_ways]


def _through_whole_numbers(record, inputs):
    scales, given = record["quantization"], dict(inputs)
    for name, held in scales["inputs"].items():
        limits = np.iinfo(held["dtype"])
        whole = np.round(inputs[name] / held["scale"]) + held["zero_point"]
        given[name] = np.clip(whole, limits.min, limits.max).astype(held["dtype"])
    (ways,) = read_files([record["path"]], given)
    for outputs in (outputs for outputs in ways.values() if not isinstance(outputs, str)):
        for name, held in scales["outputs"].items():
            outputs[name] = held["scale"] * (outputs[name].astype("float64") - held["zero_point"])
    return ways


def failures(record, ways, expected, twin, batch, rounding, within_a_step):
    """The ways in which a file answers other than Keras, or than its dense twin.

    `rounding` is what float64 answers; `within_a_step` tells whether each layer is right to a step, to be asked where
    the file is further from its twin.
    """
    precision, wrong = record["precision"], []
    for way, outputs in ways.items():
        if isinstance(outputs, str):
            if WAYS[way]["batch"] == batch or (twin is not None and not isinstance(twin[way], str)):
                wrong.append(f"{way}: {outputs}")
            continue
        for place, (name, right) in enumerate(expected.items()):
            received = outputs[place if place in outputs else name]
            if received.shape != right.shape or not np.isfinite(received).all():
                wrong.append(f"{way}, {name}: shape {received.shape}, not all finite or not {right.shape}")
                continue
            parts = [slice(0, FRESH)] if precision in CALIBRATED else [slice(0, FRESH), slice(FRESH, None)]
            errors = [difference(right, received, part, precision) for part in parts]
            own = 4 * (precision == "float32")
            bounds = [
                max(BOUNDS[precision], own * difference(right, rounding[name], part, precision)) for part in parts
            ]
            if not all(error <= bound for error, bound in zip(errors, bounds, strict=True)):
                wrong.append(f"{way}, {name}: {errors}, allowed: {bounds}")
            if precision in CALIBRATED and twin is not None:
                other = np.abs(twin[way][name] - received).max() / max(np.abs(twin[way][name]).max(), 1e-30)
                if not other <= TWIN_BOUND and not (way.startswith("no delegates") and within_a_step()):
                    wrong.append(f"{way}, {name}: {other} from its dense twin")
    if "again" in ways and not isinstance(ways["again"], str):
        again = [name for name, output in ways["again"].items() if not np.array_equal(output, ways["default"][name])]
        wrong += [f"{name} differs when it is read again" for name in again]
    return wrong


def difference(expected, received, part, precision):
    """The error of some samples, relative to their largest output, or to the spread of the ordinary ones."""
    error = received[part].astype("float64") - expected[part]
    if precision == "float32":
        return np.abs(error).max() / max(np.abs(expected[part]).max(), 1e-30)
    spread = np.sqrt(np.mean((expected[:FRESH] - expected[:FRESH].mean(0)) ** 2))
    size = np.sqrt(np.mean(expected[part] ** 2))
    varies = spread > 1e-6 * size  # and is no network that zeros made constant, up to rounding
    scale = max(spread, size) if part.start else spread if varies else size
    return np.sqrt(np.mean(error**2)) / max(scale, 1e-30)


def check(seed, folder):
    """Export one random model, read every file that remains in every way; return the numbers of files and refusals."""
    model, float32_copy = random_network(seed)
    rng = np.random.default_rng([seed, 3])
    samples, calibration, fresh = (random_inputs(model, rng, count) for count in (128, 64, FRESH))
    options = choices(rng)
    try:
        report = export(model, folder, samples=samples, calibration=calibration, name="m", **options)
    except LotteryError as error:
        print(f"seed {seed}: {options}: {error}", flush=True)
        return 0, 1
    fresh = with_edges(fresh, samples)
    names = [output["output"] for output in report.outputs]
    expected, rounding = (keras_answers(one, fresh, names) for one in (float32_copy, in_float64(seed, float32_copy)))
    inputs = {entry["input"]: array for entry, array in zip(report.inputs, fresh, strict=True)}
    files = [{**record, "path": str(folder / record["path"])} for record in report.files]
    tflite = [record for record in files if record["format"] == "tflite"]
    all_ways = tflite_answers(tflite, inputs, options["batch"])
    ways_of = {record["path"]: ways for record, ways in zip(tflite, all_ways, strict=True)}
    dense = {(record["precision"], record["encoding"]): record["path"] for record in tflite}
    for record in files:
        ways = ways_of.get(record["path"]) or answers(record, inputs)
        twin = dense.get((record["precision"], {"sparse": "dense", "slim-sparse": "slim"}.get(record["encoding"])))

        def within_a_step(record=record, twin=twin):
            if len(fresh) > 1:
                return False
            steps = steps_of_layers(Path(record["path"]).read_bytes(), Path(twin).read_bytes(), *fresh)
            print(f"seed {seed}: steps of each layer alone: {steps}", flush=True)
            return bool(steps) and max(steps.values()) <= STEP

        wrong = failures(record, ways, expected, ways_of.get(twin), options["batch"], rounding, within_a_step)
        assert not wrong, (seed, options, record["path"], wrong)
    assert all(record["reason"] for record in report.refused), seed
    left = {path.name for path in folder.iterdir()} - {"export.json", "manifest.json"}
    known = {record["path"].rsplit("/", 1)[-1] for record in report.files}
    assert {name for name in left - known if "card" not in name} == set(), seed
    return len(report.files), len(report.refused)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_random_models(seed, tmp_path):
    files, refused = check(seed, tmp_path)
    assert files + refused >= 2


@pytest.mark.slow
@pytest.mark.parametrize("piece", range(PIECES))
def test_three_hundred_random_models(piece, tmp_path, capsys):
    counts, wrong = [], []
    for seed in range(piece, MODELS, PIECES):
        (tmp_path / str(seed)).mkdir()
        try:
            counts.append(check(seed, tmp_path / str(seed)))
        except AssertionError as error:
            wrong.append(str(error)[:2000])
        keras.backend.clear_session()
    files, refused = (sum(column) for column in zip(*counts, strict=True))
    with capsys.disabled():
        print(
            f"\n{len(counts)} random models read in {len(WAYS)} ways: {files} files, all right; {refused} refusals, "
            "each with its reason"
        )
    assert wrong == []
    assert sum(count == 0 for count, _ in counts) <= 5  # a half-precision model is refused where it amplifies rounding
    assert files > 3 * len(counts)
