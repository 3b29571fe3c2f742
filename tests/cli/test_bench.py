"""`tf-lottery bench`: the table, the document, the baselines, and how it ends."""

import json
import signal
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

from tf_lottery.exporting.measure import bench as benchmark
from tf_lottery.exporting.measure.bench import bench
from tf_lottery.exporting.measure.dense_baselines import make_baseline
from tf_lottery.exporting.measure.measurement import Measurement, MeasurementFailure


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A model's dense float32 and int8 file, and a Keras file of the same network."""
    folder = tmp_path_factory.mktemp("models")
    model = keras.Sequential([keras.Input((16,)), layers.Dense(32), layers.Dense(3)])
    for precision in ("float32", "int8"):
        make_baseline(model, folder, precision)
    for path in folder.iterdir():
        if path.is_dir():
            path.rename(folder.parent / "tflite_source")
    model.save(folder / "net.keras")
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Measures nothing: the second of three files fails."""
    outcomes = [Measurement(1.5, (10.0, 20.0, 30.0), 60.0, 8.0, 1), Measurement(1.0, (2.0, 4.0, 6.0), 55.0, 3.0, 1)]

    def measured(paths, **options):
        return dict(zip(paths, [*outcomes, *[MeasurementFailure("broken", damaged=True)] * 9], strict=False))

    monkeypatch.setattr(benchmark, "measure", measured)


def test_table_findings_and_failure(models, quick, invoke, tmp_path):
    names = ("baseline_float32_dense.tflite", "baseline_int8_dense.tflite")
    (tmp_path / "other.tflite").write_bytes(b"nothing")
    result = invoke("bench", *(models / name for name in names), tmp_path / "other.tflite")
    assert result.exit_code == 5
    heading, dense, int8, *sentences = result.stdout.splitlines()
    assert heading.split()[:4] == ["File", "Precision", "Encoding", "Bytes"]
    size, small = ((models / name).stat().st_size for name in names)
    row = dense.split()
    assert row[:6] == [str(models / names[0]), "float32", "dense", "(baseline)", f"{size:,}", "1.000"]
    assert row[-7:] == ["20.0", "11.0", "to", "29.0", "1.000", "60.0", "8.0"]
    assert f"{small:,} *" in int8
    assert f"{small / size:.3f}" in int8
    assert "4.0 *" in int8
    assert sentences[0].startswith("Smallest: baseline_int8_dense.tflite")
    assert result.stderr.startswith(f"error: {tmp_path / 'other.tflite'} could not be measured: broken.")


def test_json_is_one_document_and_nothing_else(models, quick, invoke):
    result = invoke("bench", models / "net.keras", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema"] == "tf-lottery.bench/1"
    assert set(document) == {"schema", "files", "failed", "rulers", "findings", "notes", "environment"}
    (record,) = document["files"]
    wanted = "path format precision bytes gzip_bytes load_ms latency_us_median latency_us_p5 latency_us_p95 threads"
    assert set(wanted.split()) | {"peak_memory_mb", "ruler", "size_ratio", "latency_ratio"} <= set(record)
    assert (record["latency_us_median"], record["size_ratio"], record["ruler"]) == (20.0, None, None)
    assert "--model" in result.stderr


@pytest.mark.slow
def test_baselines_are_made_of_a_model_file(models, quick, invoke):
    result = invoke("bench", models / "net.keras", "--model", models / "net.keras", "--json")
    assert result.exit_code == 5  # what the fixture says of a third file
    document = json.loads(result.stdout)
    assert document["rulers"] == {"float32": "(made of the model) baseline_float32_dense.tflite", "int8": None}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["bench"], 2, "FILE"),
        (["bench", "gone.tflite"], 2, "There is no file gone.tflite."),
        (["bench", "."], 2, "holds no model"),
        (["bench", "a.txt"], 3, "a.txt is not a model."),
        (["bench", "a.txt", "--model", "a.txt"], 3, "Give a run, or a .npz or .keras file."),
        (["bench", "a.txt", "--threads", "0"], 2, "--threads"),
        (["bench", "a.txt", "--runs", "0"], 2, "--runs"),
        (["bench", "a.txt", "--model", "nothing"], 2, "There is no run 'nothing'"),
    ],
)
def test_bad_input(arguments, code, text, invoke, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("text")
    result = invoke(*arguments)
    assert result.exit_code == code
    assert text in result.stderr
    assert result.stdout == ""


@pytest.mark.slow
def test_the_files_of_a_run_with_its_network_as_the_baseline(workplace, shell):
    exported = shell("export", "digits-mlp", "--formats", "tflite", "--to", "benched", cwd=workplace)
    assert exported.returncode == 0, exported.stderr
    for path in (workplace / "benched").glob("*.json"):
        path.unlink()
    (file, *_) = sorted((workplace / "benched").glob("*.tflite"))
    done = shell("bench", str(file), "--model", "digits-mlp", "--runs", "30", "--json", cwd=workplace)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["files"][0]["runs"] == 30
    assert document["rulers"]["float32"] is not None
    assert document["rulers"]["int8"] is not None
    assert document["files"][0]["size_ratio"] > 0


@pytest.mark.usefixtures("answers_ctrl_c")
def test_ctrl_c_ends_the_measuring_processes(models, environment, start_process, wait_until, patience):
    command = [sys.executable, "-m", "tf_lottery_cli", "bench", str(models / "net.keras"), "--runs", "1000000"]
    process = start_process(command, env=environment)
    children = wait_until(lambda: _children(process.pid), process)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=patience)
    assert process.returncode == 130
    assert "stopped by Ctrl-C" in said
    assert not [child for child in children if _alive(child)]


def _children(parent):
    listed = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def _alive(process):
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


@pytest.mark.slow
def test_the_real_thing_in_short(models, shell, tmp_path):
    done = shell("bench", str(models), "--runs", "9", "--threads", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith(str(models))]) == 3
    assert done.stderr == ""
    assert bench([models / "baseline_int8_dense.tflite"], runs=3, threads=2).files[0]["threads"] == 2
    assert np.isfinite(bench([models / "baseline_int8_dense.tflite"], runs=1, rounds=1).files[0]["latency_us_p95"])
