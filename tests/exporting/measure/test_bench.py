"""`bench`: files measured beside their dense baselines, and what can't be measured."""

import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from kernel_settings import skip_without_kernels
from tf_lottery.errors import DamagedError, UnfitError, UsageError
from tf_lottery.exporting.checks.checksums import MANIFEST, entries
from tf_lottery.exporting.measure import bench as benchmark
from tf_lottery.exporting.measure.bench import Benchmark, bench
from tf_lottery.exporting.measure.measurement import Measurement


@pytest.mark.slow
def test_a_benchmark_of_all_kinds_of_files(files):
    names = ("sparse.tflite", "float32.tflite", "int8.tflite", "half.tflite")
    outcome = bench([files / name for name in names], runs=60)
    document = json.loads(json.dumps(outcome.to_json(), allow_nan=False))
    assert document["schema"] == "tf-lottery.bench/1"
    by_name = {Path(record["path"]).name: record for record in document["files"]}
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
    assert [record["path"] for record in document["failed"]] == [str(files / "half.tflite")]
    with pytest.raises(DamagedError, match=r"half\.tflite"):
        outcome.raise_failures()


def test_each_network_has_its_own_baselines(two_networks, monkeypatch):
    def measured(paths, **options):  # in the folder b everything takes ten times as long
        times = {path: 40.0 if path.parent.name == "b" else 4.0 for path in paths}
        return {path: Measurement(1.0, (time,), 50.0, 5.0, 1) for path, time in times.items()}

    monkeypatch.setattr(benchmark, "measure", measured)
    names = [two_networks / folder / f"{kind}.tflite" for folder in "ab" for kind in ("sparse", "float32", "int8")]
    outcome = bench(names)
    assert [(record["network"], record["ruler"]) for record in outcome.files] == [
        (number, ruler) for number in (1, 2) for ruler in (None, "float32", "int8")
    ]
    assert [record["latency_ratio"] for record in outcome.files] == [1.0] * 6
    second = outcome.files[3]
    assert second["size_ratio"] == names[3].stat().st_size / names[4].stat().st_size
    assert second["rulers"] == {"float32": str(names[4]), "int8": str(names[5])}
    assert outcome.baselines == {"float32": None, "int8": None}
    assert "2 networks" in outcome.notes[0]
    assert len(outcome.notes) == 1
    assert any(text.startswith("Network 2: ") and "b/sparse.tflite" in text for text in outcome.findings)
    assert not [text for text in outcome.findings if "Network 1" in text and "b/" in text]


def test_a_pruned_keras_file_is_measured_by_the_sparse_kernels_too(files, network, tmp_path, monkeypatch):
    skip_without_kernels("on")
    monkeypatch.setattr(
        benchmark, "measure", lambda paths, **_: {path: Measurement(1.0, (2.0,), 50.0, 5.0, 1) for path in paths}
    )
    model = network()
    model.layers[0].kernel.assign(model.layers[0].kernel * (np.arange(256) < 20))
    model.save(tmp_path / "net.keras")
    (tmp_path / "float32.tflite").write_bytes((files / "float32.tflite").read_bytes())
    outcome = bench([tmp_path])
    names = ["float32.tflite", "net.keras", f"(by the sparse kernels) {tmp_path / 'net.keras'}"]
    assert [record["path"].removeprefix(f"{tmp_path}/") for record in outcome.files] == names
    assert [record["network"] for record in outcome.files] == [1, 1, 1]
    assert [record["latency_ratio"] for record in outcome.files] == [1.0, 1.0, 1.0]
    monkeypatch.setenv("TF_LOTTERY_KERNELS", "off")
    outcome = bench([tmp_path])
    assert len(outcome.files) == 2
    reason = "net.keras was not measured by the sparse kernels: there are no kernels: TF_LOTTERY_KERNELS is off."
    assert any(note.endswith(reason) for note in outcome.notes)


def test_a_dense_file_of_another_network_is_no_baseline(network, two_networks, monkeypatch):
    monkeypatch.setattr(
        benchmark, "measure", lambda paths, **_: {path: Measurement(1.0, (2.0,), 50.0, 5.0, 1) for path in paths}
    )
    mixed = [two_networks / name for name in ("a/float32.tflite", "b/int8.tflite", "b/sparse.tflite")]
    dense, int8, other = bench(mixed).files
    assert (dense["network"], int8["network"], other["network"]) == (1, 2, 2)
    assert dense["rulers"] == {"float32": str(mixed[0]), "int8": None}
    assert int8["rulers"] == other["rulers"] == {"float32": None, "int8": str(mixed[1])}
    assert int8["size_ratio"] is other["latency_ratio"] is None
    notes = bench(mixed).notes
    assert any("No dense int8 TFLite file of network 1" in note for note in notes)
    assert any("No dense float32 TFLite file of network 2" in note for note in notes)
    # The network given as `model` is the baseline of its own kind only.
    made = bench(mixed, model=network(64))
    assert [record["size_ratio"] is None for record in made.files] == [False, False, False, False]
    assert made.files[2]["rulers"]["float32"].startswith("(made of the model)")
    assert made.files[0]["rulers"]["int8"] is None
    assert any("`model` has other inputs" in note for note in made.notes)


def test_missing_baselines_are_made_of_the_model(network, files, monkeypatch):
    def measured(paths, **options):
        return {path: Measurement(1.0, (2.0, 3.0), 50.0, 5.0, 1) for path in paths}

    monkeypatch.setattr(benchmark, "measure", measured)
    alone = bench([files / "sparse.tflite"])
    assert alone.baselines == {"float32": None, "int8": None}
    assert alone.files[0]["size_ratio"] is None
    assert "`model`" in alone.notes[0]
    made = bench([files / "sparse.tflite"], model=network())
    assert made.baselines == {name: f"(made of the model) baseline_{name}_dense.tflite" for name in ("float32", "int8")}
    assert made.files[0]["size_ratio"] < 0.4
    assert "random samples" in made.notes[0]
    made.raise_failures()


def test_a_file_that_its_manifest_does_not_know_is_not_measured(files, tmp_path):
    copy = tmp_path / "a.tflite"
    copy.write_bytes((files / "float32.tflite").read_bytes())
    (tmp_path / MANIFEST).write_text(json.dumps({"files": entries(copy)}))
    assert benchmark._alteration(copy) == ""
    content = bytearray(copy.read_bytes())
    content[-3000] ^= 1
    copy.write_bytes(content)
    outcome = bench([copy])
    assert outcome.files == ()
    with pytest.raises(DamagedError, match=r"a\.tflite.*manifest"):
        outcome.raise_failures()


@pytest.mark.slow
def test_what_needs_code_is_not_called_damaged(tmp_path):
    plain = keras.Sequential([keras.Input((4,)), layers.Dense(2), layers.Lambda(lambda x: x)])
    plain.save(tmp_path / "lambda.keras")
    (tmp_path / "empty.tflite").write_bytes(b"")
    outcome = bench([tmp_path / "lambda.keras"], runs=1, rounds=1)
    with pytest.raises(UnfitError, match="Lambda") as raised:
        outcome.raise_failures()
    assert "needs no code" in raised.value.remedy
    assert "fixed shapes" not in raised.value.remedy
    assert "other files" not in raised.value.remedy
    alone = bench([tmp_path / "empty.tflite"], runs=1, rounds=1)
    with pytest.raises(DamagedError, match="it is empty") as raised:
        alone.raise_failures()
    assert raised.value.remedy == "Export it again, or copy it again."
    record = {"path": "b", "reason": "broken", "damaged": True, "remedy": "", "wrong_argument": False}
    with pytest.raises(DamagedError, match=r"The other files were measured\."):
        Benchmark(({"path": "a"},), (record,), {}, (), (), 1).raise_failures()


def test_bad_paths_are_errors_before_anything_is_measured(files, tmp_path):
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
