"""Sixteen networks, trained, pruned and exported in every way; each file is read with none of the exporter's code.

    python benchmarks/export_zoo.py                              the table; with --check exit code 1 for a wrong file
    python benchmarks/export_zoo.py --networks LSTM --json zoo.json
    python benchmarks/export_zoo.py --write docs/export_zoo.md   puts the table into the page

Every TFLite file is run by `tests/independent_reader.py`: with and without delegates, on 1 and 4 threads, in batches of
1 and 4 where it takes them, and on edge inputs (zeros, the largest and the smallest values). Its answers are compared
with those of the Keras model before the export, by the bounds of docs/export.md; on edge inputs, which are outside of
the ranges that int8 was calibrated for, int8 files with sparse weights are compared with their dense twins.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
from export_networks import NETWORKS, Network
from outcome import add_options, finish

import tf_lottery as tfl

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from independent_reader import read  # noqa: E402

BEGIN, END = "<!-- table: written by benchmarks/export_zoo.py -->\n", "<!-- end of the table -->\n"
# Root mean square of the error over the spread of an output's values, by precision.
MOST_ERROR = {"float32": 1e-3, "float16": 0.01, "dynamic": 0.1, "int16x8": 0.1, "int8": 0.25}
MOST_TWIN_ERROR = 0.02
# What half precision alone may change of the answers of a model: its files compute in float32, and are compared with a
# float32 copy that Keras makes from the network's own function.
MOST_ROUNDED = 0.02
SPARSITY, EDGES = 0.85, 4


def main(arguments: list[str] | None = None) -> int:
    """Run the command; with `--check` the exit code is 1 where a file answers wrongly."""
    options = parse(arguments)
    records = []
    for name, network in NETWORKS.items():
        if any(part in name for part in options.networks or [""]):
            print(name, file=sys.stderr, flush=True)
            records.append({"network": name, **examine(network)})
    page = table(records)
    print(page)
    if options.write:
        old = options.write.read_text()
        before, _, rest = old.partition(BEGIN)
        options.write.write_text(f"{before}{BEGIN}\n{page}\n\n{END}{rest.partition(END)[2]}")
    wrong = [failure for record in records for failure in record["wrong"]]
    print("\n".join(wrong) or f"no wrong file among {sum(record['files'] for record in records)}")
    return finish(options, {"schema": "tf-lottery.export-zoo/1", "networks": records}, held=not wrong)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The options of the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", metavar="PART", help="only those whose names have one of these parts")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table into this page")
    add_options(parser)
    return parser.parse_args(arguments)


def examine(network: Network) -> dict[str, Any]:
    """Train, prune and export a network; read and judge its files."""
    model, x, y = trained(network)
    several = isinstance(x, list)
    inputs = dict(zip([tensor.name for tensor in model.inputs], x, strict=True)) if several else {"input": x}
    probe = {name: with_edges(array[:200]) for name, array in inputs.items()}
    exact = answers(float32_copy(network, model), probe)
    rounded = [relative_error(one, other) for one, other in zip(answers(model, probe), exact, strict=True)]
    given = [array[:200] for array in inputs.values()]
    labels = [array[:200] for array in y] if isinstance(y, list) else y[:200]
    begin = processor_seconds()
    with tempfile.TemporaryDirectory() as folder:
        report = tfl.export(
            model,
            Path(folder) / "out",
            format="all",
            precision=["all", "int16x8"],
            samples=given if several else given[0],
            labels=labels,
            calibration=[array[200:400] for array in x] if several else x[200:400],
        )
        seconds = processor_seconds() - begin
        tflite = [record for record in report.files if record["format"] == "tflite"]
        given_by = {(one["precision"], one["encoding"], one["layout"]): read(one["path"], probe) for one in tflite}
    wrong = [failure for key in given_by for failure in failures(key, given_by, exact)]
    if max(rounded) > MOST_ROUNDED:
        wrong.append(f"the model's own half precision is {max(rounded):.3g} of the spread off: no reference")
    dense = next(one for one in tflite if (one["precision"], one["encoding"]) == ("float32", "dense"))
    best = min(tflite, key=lambda record: record["bytes"])
    return {
        "files": len(report.files),
        "refused": len(report.refused),
        "wrong": wrong,
        "parameters": model.count_params(),
        "dense_bytes": dense["bytes"],
        "dense_gzip": dense["gzip_bytes"],
        "smallest": f"{best['precision']} {best['encoding']}",
        "bytes": best["bytes"],
        "gzip": best["gzip_bytes"],
        "latency_ratio": best["latency_us_median"] / dense["latency_us_median"],
        "error": best["rms_rel_error"],
        "seconds": seconds,
        "reasons": sorted({record["reason"] for record in report.refused}),
    }


def trained(network: Network) -> tuple[keras.Model, Any, Any]:
    """The network, trained, pruned by magnitude and trained on, and its data."""
    keras.config.set_dtype_policy(network.policy)
    keras.utils.set_random_seed(0)
    x, y = network.data(np.random.default_rng(0))
    model = network.make()
    keras.config.set_dtype_policy("float32")
    for layer in model._flatten_layers():
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.8  # so few steps move the statistics far enough for outputs that vary
    epochs = -(-network.steps * 64 // len(y[0] if isinstance(y, list) else y) // 2)
    wrapped = tfl.wrap(model)
    for density in (1.0, 1 - SPARSITY):
        masks, weights = tfl.get_masks(wrapped), tfl.get_weights(wrapped)
        scores = {path: np.abs(weights[path]) for path in masks}
        tfl.set_masks(wrapped, tfl.prune_to(scores, masks, density=density))
        wrapped.compile(keras.optimizers.Adam(3e-3), network.loss)
        wrapped.fit(x, y, batch_size=64, epochs=epochs, verbose=0)
    return tfl.strip(wrapped), x, y


def float32_copy(network: Network, model: keras.Model) -> keras.Model:
    """The network in float32, with the weights of the trained model; the model itself where it is in float32."""
    if network.policy == "float32":
        return model
    copy = network.make()
    copy.set_weights(model.get_weights())
    return copy


def with_edges(samples: np.ndarray) -> np.ndarray:
    """Samples, and four more: the least, the middle and the largest of all values, and zeros."""
    values = [samples.min(), np.median(samples), samples.max(), 0]
    edges = np.stack([np.full_like(samples[0], value) for value in values])
    return np.concatenate([samples, edges])


def answers(model: keras.Model, samples: dict[str, np.ndarray]) -> list[np.ndarray]:
    """What the Keras model answers, output by output."""
    outputs = model.predict(list(samples.values()) if len(samples) > 1 else next(iter(samples.values())), verbose=0)
    return [np.asarray(output, "float32") for output in (outputs if isinstance(outputs, list) else [outputs])]


def failures(
    key: tuple[str, str, str], given_by: dict[tuple[str, str, str], dict[str, Any]], exact: list[np.ndarray]
) -> list[str]:
    """The ways in which a file answers other than Keras, or than its dense twin."""
    precision, encoding, _ = key
    dense = {"sparse": "dense", "slim-sparse": "slim"}.get(encoding)
    ordinary = slice(None, -EDGES if precision in ("int8", "int16x8") else None)
    found = []
    for way, outputs in given_by[key].items():
        if isinstance(outputs, str):
            found += [] if "batch" in way else [f"{' '.join(key)}, {way}: {outputs}"]
            continue
        for expected in exact:
            given = match(outputs, expected)
            error = relative_error(given[ordinary], expected[ordinary])
            if not error <= MOST_ERROR[precision]:
                found.append(f"{' '.join(key)}, {way}, output {expected.shape[1:]}: {error:.3g} of the spread")
            twin = given_by.get((precision, dense, ""), {}).get(way) if dense and precision == "int8" else None
            if isinstance(twin, dict) and not relative_error(given, match(twin, expected)) <= MOST_TWIN_ERROR:
                found.append(f"{' '.join(key)}, {way}, output {expected.shape[1:]}: other than its dense twin")
    return found


def relative_error(given: np.ndarray, expected: np.ndarray) -> float:
    """The root mean square of the error over the spread of the expected values about their means."""
    spread = np.sqrt(np.mean(np.square(expected - expected.mean(0)))) + 1e-12
    return float(np.sqrt(np.mean(np.square(given - expected))) / spread)


def match(outputs: dict[str, np.ndarray], expected: np.ndarray) -> np.ndarray:
    """The output of the same shape, which in this zoo is one alone."""
    (only,) = [array for array in outputs.values() if array.shape == expected.shape]
    return only


def processor_seconds() -> float:
    """Seconds of the processor that this process took, and its child processes that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def table(records: list[dict[str, Any]]) -> str:
    """The records as a table of Markdown."""
    columns: dict[str, Callable[[dict[str, Any]], str]] = {
        "Network": lambda one: one["network"],
        "Parameters": lambda one: f"{one['parameters']:,}",
        "Dense float32": lambda one: f"{one['dense_bytes']:,}",
        "gzipped": lambda one: f"{one['dense_gzip']:,}",
        "Smallest": lambda one: one["smallest"],
        "Bytes": lambda one: f"{one['bytes']:,}",
        "of dense": lambda one: f"{one['bytes'] / one['dense_bytes']:.3f}",
        "gzipped, smallest": lambda one: f"{one['gzip']:,}",
        "Latency of dense": lambda one: f"{one['latency_ratio']:.2f}",
        "Error": lambda one: f"{one['error']:.2%}",
        "Files": lambda one: str(one["files"]),
        "Refused": lambda one: str(one["refused"]),
        "Wrong": lambda one: str(len(one["wrong"])),
        "CPU seconds": lambda one: f"{one['seconds']:.0f}",
    }
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[cell(record) for cell in columns.values()] for record in records]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
