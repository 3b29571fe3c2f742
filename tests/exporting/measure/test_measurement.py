"""Measuring model files in processes of their own, their rulers, and what is said of them."""

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.exporting.checks.checksums import MANIFEST, digest, entries
from tf_lottery.exporting.formats import saved_model
from tf_lottery.exporting.measure import bench as benchmark
from tf_lottery.exporting.measure import measuring, run_benchmark
from tf_lottery.exporting.measure.bench import Benchmark, bench
from tf_lottery.exporting.measure.bench_remarks import findings, short_names
from tf_lottery.exporting.measure.measuring import Failure, Measurement, kind_of, measure
from tf_lottery.exporting.measure.rulers import Identity, identify, make_ruler, networks
from tf_lottery.exporting.tflite.tflite_writer import convert


def network(width=48):
    return keras.Sequential([keras.Input((width,)), layers.Dense(256, activation="relu"), layers.Dense(10)])


def pruned(model):
    generator = np.random.default_rng(0)
    model.set_weights([weight * (generator.random(weight.shape) < 0.05) for weight in model.get_weights()])
    return model


def sparse(source):
    converter = tf.lite.TFLiteConverter.from_saved_model(str(source))
    converter.optimizations = [tf.lite.Optimize.EXPERIMENTAL_SPARSITY]
    return converter.convert()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One model in every kind of file; no report lies beside them."""
    folder = tmp_path_factory.mktemp("files")
    saved_model.save(network(), folder / "fixed", batch=1)
    saved_model.save(pruned(network()), folder / "zeros", batch=1)
    calibration = {"input": np.random.default_rng(0).standard_normal((8, 48)).astype("float32")}
    content = {
        "float32.tflite": convert(folder / "fixed"),
        "int8.tflite": convert(folder / "fixed", precision="int8", calibration=calibration),
        "dynamic.tflite": convert(folder / "fixed", precision="dynamic"),
        "sparse.tflite": sparse(folder / "zeros"),
    }
    for name, data in content.items():
        (folder / name).write_bytes(data)
    (folder / "half.tflite").write_bytes(content["float32.tflite"][:20_000])
    (folder / "text.tflite").write_text("This is no model.\n" * 100)
    network().save(folder / "whole.keras")
    (folder / "half.keras").write_bytes((folder / "whole.keras").read_bytes()[:5000])
    return folder


def test_kinds(files, tmp_path):
    names = {path.name: kind_of(path) for path in files.iterdir()}
    assert names["float32.tflite"] == "tflite"
    assert names["whole.keras"] == "keras"
    assert names["fixed"] == "saved_model"
    assert kind_of(tmp_path) is None
    assert kind_of(Path(__file__)) is None


@pytest.fixture(scope="module")
def measured(files):
    names = ("float32.tflite", "fixed", "whole.keras", "half.tflite", "text.tflite", "half.keras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(measuring, "_SECONDS", 900.0)  # all runs, on a busy machine too
        return measure([files / name for name in names], threads=1, runs=90), files


def test_every_kind_of_file_is_measured(measured):
    found, files = measured
    for name in ("float32.tflite", "fixed", "whole.keras"):
        one = found[files / name]
        assert isinstance(one, Measurement), one
        assert len(one.latency_us) == 90
        assert one.threads == 1
        assert 0 < one.percentile(5) <= one.percentile(50) <= one.percentile(95)
        assert one.load_ms > 0
        assert 10 < one.peak_memory_mb < 4000
        assert 0 <= one.model_memory_mb < one.peak_memory_mb
    # TensorFlow alone takes hundreds of megabytes; the model's share tells the files apart from their runtimes.
    assert found[files / "fixed"].peak_memory_mb > 3 * found[files / "float32.tflite"].peak_memory_mb
    assert found[files / "fixed"].model_memory_mb < 100


@pytest.mark.parametrize("name", ["half.tflite", "text.tflite", "half.keras"])
def test_a_damaged_file_is_told_and_the_others_are_measured(measured, name):
    found, files = measured
    failure = found[files / name]
    assert isinstance(failure, Failure)
    assert failure.damaged
    assert "\n" not in failure.reason


def test_measured_in_turn_and_not_again_after_a_failure(monkeypatch):
    calls = []

    def child(kind, file, threads, runs):
        calls.append((kind, file and file.name, threads, runs))
        if file and file.name == "b.tflite":
            return Failure("broken", damaged=True)
        return {"load_ms": len(calls), "latency_us": [1.0, 9.0], "peak_memory_mb": 50.0 if file else 40.0}

    monkeypatch.setattr(measuring, "_measure_once", child)
    found = measure([Path("a.tflite"), Path("b.tflite"), Path("c.keras")], threads=2, runs=10, rounds=3)
    assert [name for _, name, _, _ in calls if name] == [
        *("a.tflite", "b.tflite", "c.keras"),
        *("a.tflite", "c.keras"),
        *("a.tflite", "c.keras"),
    ]
    assert sorted(kind for kind, name, _, _ in calls if name is None) == ["keras", "tflite"]
    assert {(threads, runs) for _, name, threads, runs in calls if name} == {(2, 4)}
    assert found[Path("a.tflite")] == Measurement(6.0, (1.0, 9.0) * 3, 50.0, 10.0, 2)
    assert found[Path("b.tflite")] == Failure("broken", damaged=True)


@pytest.mark.parametrize(("name", "damaged"), [("SIGSEGV", True), ("SIGKILL", False)])
def test_a_crash_is_a_reason(files, monkeypatch, name, damaged):
    monkeypatch.setattr(measuring, "_PROGRAM", f"import os, signal; os.kill(os.getpid(), signal.{name})")
    found = measuring._measure_once("tflite", files / "float32.tflite", 1, 1)
    assert found == Failure(f"its process crashed with {name}", damaged=damaged)


def test_a_process_that_does_not_end_is_ended(files, monkeypatch):
    monkeypatch.setattr(measuring, "_PROGRAM", "import time; time.sleep(60)")
    monkeypatch.setattr(measuring, "_TIMEOUT", 0.5)
    assert "did not finish" in measuring._measure_once("tflite", files / "float32.tflite", 1, 1).reason


def test_what_cannot_be_fed_is_unfit_and_not_damaged(tmp_path):
    text = keras.Input((None, 4), name="text")
    saved_model.save(keras.Model(text, layers.LSTM(3)(text)), tmp_path / "dynamic [1]", batch=None)
    module = tf.Module()
    module.one = tf.function(lambda x: {"y": x + 1}).get_concrete_function(tf.TensorSpec([1, 2], name="x"))
    module.two = tf.function(lambda x: {"y": x + 2}).get_concrete_function(tf.TensorSpec([1, 2], name="x"))
    tf.saved_model.save(module, str(tmp_path / "many"), signatures={"one": module.one, "two": module.two})
    found = measure([tmp_path / "dynamic [1]", tmp_path / "many"], rounds=1, runs=1)
    reasons = {path.name: failure for path, failure in found.items()}
    assert "dynamic shape [-1, -1, 4]" in reasons["dynamic [1]"].reason
    assert "the signatures one, two" in reasons["many"].reason
    assert not any(failure.damaged for failure in found.values())


def test_several_inputs_and_a_dynamic_flatbuffer(tmp_path):
    one, ids = keras.Input((3,), name="one"), keras.Input((2,), dtype="int32", name="ids")
    both = layers.Concatenate()([layers.Dense(4)(one), layers.Flatten()(layers.Embedding(7, 2)(ids))])
    saved_model.save(keras.Model([one, ids], both), tmp_path / "two", batch=1)
    (tmp_path / "two.tflite").write_bytes(convert(tmp_path / "two"))
    text = keras.Input((None, 4), name="text")
    saved_model.save(keras.Model(text, layers.Dense(3)(text)), tmp_path / "open", batch=1)
    (tmp_path / "open.tflite").write_bytes(convert(tmp_path / "open"))
    found = measure([tmp_path / "two.tflite", tmp_path / "two", tmp_path / "open.tflite"], rounds=1, runs=5)
    assert isinstance(found[tmp_path / "two.tflite"], Measurement)
    assert isinstance(found[tmp_path / "two"], Measurement)
    assert "dynamic shape [1, -1, 4]" in found[tmp_path / "open.tflite"].reason


def test_drawing_inputs_counts_neither_as_time_nor_as_memory(files):
    """NumPy loads its generators when they are first used: most of what loading a small file took."""
    code = f"""
import json, sys, types
from tf_lottery.exporting.measure import run_benchmark as program
shift, real, draw = [0.0], program.time, program._inputs
def slow(*arguments):
    shift[0] += 1000.0
    return draw(*arguments)
program._inputs = slow
program.time = types.SimpleNamespace(
    perf_counter=lambda: real.perf_counter() + shift[0], perf_counter_ns=real.perf_counter_ns
)
assert 'numpy.random' in sys.modules  # before anything is measured, and so in the process without a model too
files = [("tflite", "float32.tflite"), ("saved_model", "fixed"), ("keras", "whole.keras")]
arguments = dict(threads=1, runs=1, seconds=0.1)
print(json.dumps([program.run(kind, {str(files)!r} + "/" + name, **arguments)["load_ms"] for kind, name in files]))
assert shift[0] == 3000.0
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    times = json.loads(done.stdout.splitlines()[-1])
    assert len(times) == 3 and all(0 < time < 5e5 for time in times)


def test_what_needs_code_is_not_called_damaged(tmp_path):
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Lambda(lambda x: x)])
    plain.save(tmp_path / "lambda.keras")
    (tmp_path / "empty.tflite").write_bytes(b"")
    found = bench([tmp_path / "lambda.keras"], runs=1, rounds=1)
    with pytest.raises(UnfitError, match="Lambda") as raised:
        found.raise_failures()
    assert "needs no code" in raised.value.remedy and "fixed shapes" not in raised.value.remedy
    assert "other files" not in raised.value.remedy
    alone = bench([tmp_path / "empty.tflite"], runs=1, rounds=1)
    with pytest.raises(DamagedError, match="it is empty") as raised:
        alone.raise_failures()
    assert raised.value.remedy == "Export it again, or copy it again."
    record = {"path": "b", "reason": "broken", "damaged": True, "remedy": ""}
    with pytest.raises(DamagedError, match=r"The other files were measured\."):
        Benchmark(({"path": "a"},), (record,), {}, (), (), 1).raise_failures()


def test_peak_memory_is_of_this_program_alone():
    code = (
        "from tf_lottery.exporting.measure.run_benchmark import peak_memory_mb\n"
        "before = peak_memory_mb(); block = bytearray(80_000_000); block[::4096] = b'1' * len(block[::4096])\n"
        "del block; print(before, peak_memory_mb())"
    )
    block = np.ones(50_000_000)  # 400 MB here, which the new process must not count
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(float, done.stdout.split())
    assert before < block.nbytes / 1e6
    assert 76 < after - before < 100  # some of the block may lie in pages that were there before


def test_random_inputs_are_the_same_every_time_and_fit_the_type():
    wanted = [("a", (1, 4), np.float32), ("b", (1, 900), np.int8), ("c", (1, 50), np.int32), ("d", (2,), np.bool_)]
    one, two = run_benchmark._inputs(wanted), run_benchmark._inputs(wanted)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert [array.dtype for array in one.values()] == [np.dtype(kind) for _, _, kind in wanted]
    assert one["b"].min() < -100
    assert one["b"].max() > 100
    assert set(one["c"].ravel()) == {0, 1}
    with pytest.raises(run_benchmark.Unfit, match="only numbers"):
        run_benchmark._inputs([("s", (1,), np.object_)])


@pytest.mark.parametrize(
    ("name", "identity", "ruler"),
    [
        ("float32.tflite", Identity("float32", "dense"), "float32"),
        ("int8.tflite", Identity("int8", "dense"), "int8"),
        ("dynamic.tflite", Identity("dynamic", "dense"), None),
        ("sparse.tflite", Identity("float32", "sparse"), None),
        ("text.tflite", Identity(), None),
        ("half.tflite", Identity(), None),
        ("whole.keras", Identity(), None),
    ],
)
def test_files_are_known_by_their_tensors(files, name, identity, ruler):
    assert identify(files / name) == identity
    assert identify(files / name).ruler == ruler


def test_the_report_of_the_export_knows_better_while_the_bytes_are_its(files, tmp_path):
    copy = tmp_path / "a.tflite"
    copy.write_bytes((files / "float32.tflite").read_bytes())
    record = {"path": str(copy), "format": "tflite", "precision": "float32", "encoding": "slim", "sha256": digest(copy)}
    (tmp_path / "export.json").write_text(json.dumps({"files": [record]}))
    assert identify(copy) == Identity("float32", "slim")
    assert networks([copy])[0].rulers == {}
    copy.write_bytes((files / "int8.tflite").read_bytes())
    assert identify(copy) == Identity("int8", "dense")
    (tmp_path / "export.json").write_text("[")
    assert identify(copy) == Identity("int8", "dense")


def test_rulers_among_the_files_and_beside_them(files, tmp_path):
    given = [files / name for name in ("sparse.tflite", "float32.tflite", "int8.tflite")]
    (network,) = networks(given)
    assert network.rulers == {"float32": given[1], "int8": given[2]} and network.files == given
    assert networks(given[:1])[0].rulers == {}
    for path in given:
        (tmp_path / path.name).write_bytes(path.read_bytes())
    records = [{"path": f"/elsewhere/{path.name}", "format": "tflite", "encoding": "dense"} for path in given[1:]]
    (tmp_path / "export.json").write_text(json.dumps({"files": [*records, {"path": "gone.tflite"}]}))
    (beside,) = networks([tmp_path / "sparse.tflite"])
    assert beside.rulers == {"float32": tmp_path / "float32.tflite", "int8": tmp_path / "int8.tflite"}
    assert beside.files == [tmp_path / "sparse.tflite"]


@pytest.fixture(scope="module")
def two(files, tmp_path_factory):
    """Folders `a` and `b` of two networks: in each a dense float32, a dense int8 and a sparse file of one name."""
    folder = tmp_path_factory.mktemp("two")
    for name in ("a", "b"):
        (folder / name).mkdir()
    for name in ("float32.tflite", "int8.tflite", "sparse.tflite"):
        (folder / "a" / name).write_bytes((files / name).read_bytes())
    saved_model.save(pruned(network(64)), folder / "source", batch=1)
    (folder / "b" / "sparse.tflite").write_bytes(sparse(folder / "source"))
    for precision in ("float32", "int8"):
        (folder / "made").mkdir(exist_ok=True)
        make_ruler(network(64), folder / "made", precision).rename(folder / "b" / f"{precision}.tflite")
    return folder


def test_each_network_has_its_own_rulers(two, monkeypatch):
    def measured(paths, **options):  # in the folder b everything takes ten times as long
        times = {path: 40.0 if path.parent.name == "b" else 4.0 for path in paths}
        return {path: Measurement(1.0, (time,), 50.0, 5.0, 1) for path, time in times.items()}

    monkeypatch.setattr(benchmark, "measure", measured)
    names = [two / folder / f"{kind}.tflite" for folder in "ab" for kind in ("sparse", "float32", "int8")]
    found = bench(names)
    assert [(each["network"], each["ruler"]) for each in found.files] == [
        (number, ruler) for number in (1, 2) for ruler in (None, "float32", "int8")
    ]
    assert [each["latency_ratio"] for each in found.files] == [1.0] * 6
    second = found.files[3]
    assert second["size_ratio"] == names[3].stat().st_size / names[4].stat().st_size
    assert second["rulers"] == {"float32": str(names[4]), "int8": str(names[5])}
    assert found.rulers == {"float32": None, "int8": None}
    assert "2 networks" in found.notes[0] and len(found.notes) == 1
    assert any(text.startswith("Network 2: ") and "b/sparse.tflite" in text for text in found.findings)
    assert not [text for text in found.findings if "Network 1" in text and "b/" in text]


def test_a_dense_file_of_another_network_is_no_ruler(two, monkeypatch):
    monkeypatch.setattr(
        benchmark, "measure", lambda paths, **_: {path: Measurement(1.0, (2.0,), 50.0, 5.0, 1) for path in paths}
    )
    mixed = [two / "a" / "float32.tflite", two / "b" / "int8.tflite", two / "b" / "sparse.tflite"]
    dense, int8, other = bench(mixed).files
    assert (dense["network"], int8["network"], other["network"]) == (1, 2, 2)
    assert dense["rulers"] == {"float32": str(mixed[0]), "int8": None}
    assert int8["rulers"] == other["rulers"] == {"float32": None, "int8": str(mixed[1])}
    assert int8["size_ratio"] is other["latency_ratio"] is None
    notes = bench(mixed).notes
    assert any("No dense int8 TFLite file of network 1" in note for note in notes)
    assert any("No dense float32 TFLite file of network 2" in note for note in notes)
    # The network given as `model` is the ruler of its own kind only.
    made = bench(mixed, model=network(64))
    assert [each["size_ratio"] is None for each in made.files] == [False, False, False, False]
    assert made.files[2]["rulers"]["float32"].startswith("(made of the model)")
    assert made.files[0]["rulers"]["int8"] is None
    assert any("`model` has other inputs" in note for note in made.notes)


def test_networks_of_one_border_are_told_apart_by_their_weights(files, tmp_path):
    narrow = keras.Sequential([keras.Input((48,)), layers.Dense(64, activation="relu"), layers.Dense(10)])
    given = [files / "float32.tflite", make_ruler(narrow, tmp_path, "float32"), files / "sparse.tflite"]
    assert [each.files for each in networks(given)] == [[given[0], given[2]], [given[1]]]


def test_slim_files_and_foreign_formats_belong_to_the_network_of_their_folder(two, files, tmp_path):
    for name in ("float32.tflite", "sparse.tflite"):
        (tmp_path / name).write_bytes((files / name).read_bytes())
    slim = tmp_path / "slim.tflite"
    slim.write_bytes((two / "b" / "float32.tflite").read_bytes())  # other sizes, as a slimmed file has
    listed = [(tmp_path / "float32.tflite", "dense"), (slim, "slim")]
    records = [
        {"path": path.name, "format": "tflite", "precision": "float32", "encoding": kind, "sha256": digest(path)}
        for path, kind in listed
    ]
    (tmp_path / "export.json").write_text(json.dumps({"files": records}))
    (tmp_path / "net.keras").write_bytes((files / "whole.keras").read_bytes())
    given = [slim, tmp_path / "net.keras", two / "b" / "float32.tflite"]
    one, other = networks(given)
    assert one.files == given[:2] and one.rulers == {"float32": tmp_path / "float32.tflite"}
    assert other.files == given[2:] and other.rulers == {"float32": given[2]}


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_rulers_are_made_of_a_model(precision, tmp_path):
    made = make_ruler(network(), tmp_path, precision)
    assert identify(made) == Identity(precision, "dense")


def record(path, size, latency, *, ruler=None, gzipped=None, kind="tflite"):
    return {
        "path": f"folder/{path}",
        "format": kind,
        "bytes": size,
        "gzip_bytes": gzipped or size,
        "latency_us_median": latency,
        "ruler": ruler,
        "size_ratio": size / 1000,
        "latency_ratio": latency / 20.0,
    }


DENSE = record("dense", 1000, 20.0, ruler="float32", gzipped=150)
INT8 = record("int8", 260, 4.0, ruler="int8")


def test_findings_say_when_int8_or_gzip_win():
    said = findings(
        [DENSE, INT8, record("big", 300, 19.5), record("small", 80, 3.0), record("saved", 200, 90.0, kind="s")]
    )
    assert said == [
        "The dense int8 file (260 bytes, 4.0 us) is smaller than big.",
        "The dense int8 file (260 bytes, 4.0 us) is faster than big, saved.",
        "gzip alone makes the dense float32 file 150 bytes: smaller than big, saved as it lies on disk. "
        "Where a file is only downloaded, compress what you ship.",
        "Smaller than the dense float32 file, but not faster: big.",
        "Smallest: small, 80 bytes.",
        "Fastest: small, 3.0 us.",
    ]


def test_names_in_findings_are_the_shortest_that_are_unique():
    assert short_names(["x/a/net", "x/b/net", "y/b/net", "x/b/other"]) == {
        **{"x/a/net": "a/net", "x/b/net": "x/b/net", "y/b/net": "y/b/net", "x/b/other": "other"}
    }
    records = [record("one/net", 80, 3.0), record("two/net", 90, 2.0)]
    assert findings(records) == ["Smallest: one/net, 80 bytes.", "Fastest: two/net, 2.0 us."]


def test_findings_say_when_int8_does_not_win_and_nothing_without_rulers():
    assert findings([DENSE, INT8, record("small", 80, 3.0)])[0].endswith(
        "neither smaller nor faster than any of the others."
    )
    assert findings([record("one", 80, 3.0)]) == []
    # Within the noise of two runs nothing is called faster.
    assert not [text for text in findings([INT8, record("as fast", 100, 4.1)]) if "faster than as" in text]


def test_a_benchmark_of_all_kinds_of_files(files):
    names = ("sparse.tflite", "float32.tflite", "int8.tflite", "half.tflite")
    found = bench([files / name for name in names], runs=60)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["schema"] == "tf-lottery.bench/1"
    by_name = {Path(each["path"]).name: each for each in document["files"]}
    assert list(by_name) == list(names[:3])
    dense, sparse, int8 = (by_name[name] for name in ("float32.tflite", "sparse.tflite", "int8.tflite"))
    assert (dense["ruler"], int8["ruler"], sparse["ruler"]) == ("float32", "int8", None)
    assert dense["size_ratio"] == dense["latency_ratio"] == 1
    assert sparse["bytes"] == (files / "sparse.tflite").stat().st_size
    assert sparse["size_ratio"] == sparse["bytes"] / dense["bytes"] < 0.4
    assert sparse["latency_ratio"] == sparse["latency_us_median"] / dense["latency_us_median"]
    assert document["rulers"] == {"float32": dense["path"], "int8": int8["path"]}
    assert document["environment"]["cores"] >= 1
    assert document["notes"] == []
    assert [each["path"] for each in document["failed"]] == [str(files / "half.tflite")]
    with pytest.raises(DamagedError, match="half.tflite"):
        found.raise_failures()


def test_rulers_that_are_missing_are_made_or_asked_for(files, monkeypatch):
    def measured(paths, **options):
        return {path: Measurement(1.0, (2.0, 3.0), 50.0, 5.0, 1) for path in paths}

    monkeypatch.setattr(benchmark, "measure", measured)
    alone = bench([files / "sparse.tflite"])
    assert alone.rulers == {"float32": None, "int8": None}
    assert alone.files[0]["size_ratio"] is None
    assert "`model`" in alone.notes[0]
    made = bench([files / "sparse.tflite"], model=network())
    assert made.rulers == {name: f"(made of the model) ruler_{name}_dense.tflite" for name in ("float32", "int8")}
    assert made.files[0]["size_ratio"] < 0.4
    assert "random samples" in made.notes[0]
    made.raise_failures()


def test_a_file_that_its_manifest_does_not_know_is_not_measured(files, tmp_path):
    copy = tmp_path / "a.tflite"
    copy.write_bytes((files / "float32.tflite").read_bytes())
    (tmp_path / MANIFEST).write_text(json.dumps({"files": entries(copy)}))
    assert benchmark._altered(copy) == ""
    content = bytearray(copy.read_bytes())
    content[-3000] ^= 1
    copy.write_bytes(content)
    found = bench([copy])
    assert found.files == ()
    with pytest.raises(DamagedError, match=r"a\.tflite.*manifest"):
        found.raise_failures()


def test_bad_paths_are_told_before_anything_is_measured(files, tmp_path):
    with pytest.raises(UsageError, match=r"There is no file .*gone\.tflite"):
        bench([files / "float32.tflite", tmp_path / "gone.tflite"])
    with pytest.raises(UsageError, match="holds no model"):
        bench([tmp_path])
    with pytest.raises(UnfitError, match="is not a model"):
        bench([__file__])
    hdf5 = tmp_path / "model.h5"
    hdf5.write_bytes(b"any")
    with pytest.raises(UnfitError, match=r"\.tflite or \.keras files, or SavedModel folders.*save\('model\.keras'\)"):
        bench([hdf5])
    with pytest.raises(UsageError, match="`threads`"):
        bench([files / "float32.tflite"], threads=0)
    with pytest.raises(UsageError, match="No file"):
        bench([])
