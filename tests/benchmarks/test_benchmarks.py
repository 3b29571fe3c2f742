"""The benchmarks run at toy sizes, train what they say they train, and write valid JSON."""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, *arguments: str, code: int = 0, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a benchmark in a process of its own, as a user does."""
    command = [sys.executable, str(BENCHMARKS / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    assert done.returncode == code, done.stderr[-3000:]
    return done


@pytest.mark.slow
def test_throughput_of_a_dense_net(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    size = ["--steps", "7", "--repeats", "1", "--patience", "0"]
    done = run("throughput.py", "--synthetic", *size, "--json", str(report))
    document = json.loads(report.read_text())
    assert list(document["contenders"]) == ["engine", "fit", "fit-plain", "fit-xla", "tfmot", "bare"]
    for name, contender in document["contenders"].items():
        assert len(contender["runs"]) == 1
        assert contender["us"] > 0
        assert math.isfinite(contender["times_engine"])
        # All of them really train: from the same weights, masked or not, to a lower loss.
        dense = document["contenders"]["fit-plain"]["loss_before"]
        start = dense if name == "fit-plain" else document["contenders"]["engine"]["loss_before"]
        assert contender["loss_before"] == pytest.approx(start, rel=1e-5)
        assert contender["loss_after"] < contender["loss_before"]
        assert name in done.stdout
    engine, bare = (document["contenders"][name] for name in ("engine", "bare"))
    assert document["same_loss"]
    assert engine["loss_after"] == pytest.approx(bare["loss_after"], rel=1e-5)
    assert engine["runs"][0]["xla"]
    assert engine["runs"][0]["traces"]["train"] == 1
    assert document["contenders"]["tfmot"]["runs"][0]["density"] == pytest.approx(0.3, abs=1e-4)
    assert [target["what"].split(" at ")[0] for target in document["targets"]] == [
        "engine / bare",
        "fit / engine",
        "tfmot / engine",
    ]


@pytest.mark.slow
def test_gradual_pruning_beside_tfmot(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    size = ["--synthetic", "--steps", "200", "--seeds", "0"]
    done = run("vs_tfmot.py", *size, "--json", str(report))
    document = json.loads(report.read_text())
    assert [run["side"] for run in document["runs"]] == [
        "tf_lottery",
        "tfmot",
        "tf_lottery-xla",
        "tfmot-xla",
        "tf_lottery-calls",
        "keras",
        "keras-xla",
    ]
    # 0.9 of every kernel; Keras alone prunes none.
    zeros = {run["side"]: run["zeros"] for run in document["runs"]}
    assert all(zeros.pop(side) == [0, 0, 0] for side in ("keras", "keras-xla"))
    assert all(pruned == [211680, 27000, 900] for pruned in zeros.values())
    assert document["weights_apart"] == [[0, 0, 0]]
    assert document["points_apart"] == pytest.approx(0, abs=0.5)
    assert list(document["time_ratios"]) == [
        "tf_lottery / tfmot",
        "tf_lottery-xla / tfmot-xla",
        "tf_lottery-calls / tfmot",
        "keras / tfmot",
        "keras-xla / tfmot-xla",
    ]
    assert [target["held"] for target in document["targets"]][:2] == [True, True]
    assert "211680/235200" in done.stdout


@pytest.mark.slow
def test_a_network_of_the_zoo_is_read_right(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("export_zoo.py", "--networks", "logits", "--json", str(report), "--check")
    (record,) = json.loads(report.read_text())["networks"]
    assert record["wrong"] == []
    assert record["files"] > 15
    assert record["bytes"] < 0.3 * record["dense_bytes"]
    assert f"no wrong file among {record['files']}" in done.stdout


@pytest.mark.slow
def test_throughput_of_a_convolutional_net_leaves_xla_out(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    size = ["--steps", "2", "--repeats", "1", "--patience", "0", "--batch", "8"]
    run(
        "throughput.py", "--synthetic", "--model", "lenet5", "--contenders", "engine,bare", *size, "--json", str(report)
    )
    document = json.loads(report.read_text())
    engine, bare = (document["contenders"][name] for name in ("engine", "bare"))
    assert not engine["runs"][0]["xla"]
    assert not bare["runs"][0]["xla"]
    # Two steps of Adam need not improve a net, but they change it, and in the same way.
    assert engine["loss_after"] == pytest.approx(bare["loss_after"], rel=1e-4)
    assert abs(engine["loss_after"] - engine["loss_before"]) > 1e-3


def test_throughput_refuses_an_unknown_contender() -> None:
    assert "choose from engine, fit" in run("throughput.py", "--contenders", "nobody", code=2).stderr


def test_disagreeing_losses_void_a_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import summary

    def result(loss: float) -> dict[str, object]:
        run = {"seconds": 1.0, "cpu_seconds": 1.0, "return_seconds": 1.0, "others": 0.0, "loss_after": loss}
        return {"what": "", "loss_before": 2.0, "warm_up": run, "runs": [run, {**run, "seconds": 9.0, "others": 0.5}]}

    options = {"model": "fc1", "steps": 10}
    same = summary.summarize({"engine": result(0.5), "bare": result(0.50001)}, options)
    other = summary.summarize({"engine": result(0.5), "bare": result(0.501)}, options)
    assert same["same_loss"]
    assert not other["same_loss"]
    # The disturbed run of 9 seconds does not count.
    assert same["contenders"]["engine"]["us"] == pytest.approx(1e5)
    assert same["contenders"]["engine"]["quiet_runs"] == 1
    # Losses of contenders with masks of their own, or none, are not compared.
    assert summary.same_loss({"engine": result(0.5), "tfmot": result(0.4), "fit-plain": result(0.3)})


@pytest.mark.parametrize(("check", "held", "code"), [(False, False, 0), (True, True, 0), (True, False, 1)])
def test_a_missed_target_is_an_exit_code_where_it_is_checked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, check: bool, held: bool, code: int
) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from outcome import add_options, finish

    parser = argparse.ArgumentParser()
    add_options(parser)
    file = tmp_path / "report.json"
    options = parser.parse_args(["--json", str(file), *(["--check"] if check else [])])
    assert finish(options, {"measured": 2}, held=held) == code
    assert json.loads(file.read_text()) == {"measured": 2}


@pytest.mark.slow
def test_overhead_counts_compilations(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    size = ["--preset", "digits-mlp", "--rounds", "2", "--steps", "60"]
    run("overhead.py", *size, "--json", str(report))
    document = json.loads(report.read_text())
    # Round 0, then two rounds with their controls: one training loop, two evaluations, and nothing new after round 0.
    assert len(document["jobs"]) == 5
    assert {job["traces"]["train"] for job in document["jobs"]} == {1}
    assert len({job["xla_modules"] for job in document["jobs"]}) == 1
    assert document["jobs"][0]["xla_modules"] >= 2
    for job in document["jobs"]:
        assert job["outside"] == pytest.approx(job["wall"] - job["train"] - job["evaluate"] - job["compile"])
    assert document["evaluation_seconds"] > 0
    assert document["process_seconds"] > document["run_seconds"]


@pytest.mark.slow
def test_wrapping_costs_time_and_memory(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("wrap_overhead.py", "--quick", "--models", "ResNet50", "--steps", "2", "--json", str(report))
    document = json.loads(report.read_text())
    (step,), (wrap,) = document["steps"].values(), document["wrap"].values()
    assert (step["masks"], step["pairs"]) == (2, 2)
    assert step["quartiles"][0] <= step["ratio"] <= step["quartiles"][1]
    assert wrap["weights_bytes"] == 4 * (3 * 3 * 3 * 8 + 8 + 62 * 62 * 8 * 10 + 10)
    assert wrap["peak_bytes"] >= wrap["held_bytes"]
    assert [goal["goal"] for goal in document["goals"]] == [1.15, 3.0, 2.0]
    assert all(f"goal: {goal['what']}" in done.stdout for goal in document["goals"])


def test_pruning_is_exact(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("pruning.py", "--weights", "100003", "--ties", "100001", "--json", str(report))
    document = json.loads(report.read_text())
    assert document["weights"]["exact"]
    assert document["ties"]["exact"]
    assert document["weights"]["memory_ratio"] > 0
    assert "exact" in done.stdout


def test_the_cost_of_a_run_directory_is_printed(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("run_directory.py", "--rounds", "3", "--no-run", "--json", str(report))
    figures = json.loads(report.read_text())["figures"]
    assert [figure["target"] for figure in figures.values()] == [0.05, 0.3, 2.0]
    # Three rounds with a control, and the dense one.
    assert "(median of 7)" in next(iter(figures))
    assert all(figure["cpu"] > 0 and figure["clock"] > 0 for figure in figures.values())
    assert all(name in done.stdout for name in figures)


@pytest.mark.slow
def test_a_dry_run_says_the_peak_of_memory_and_rounds_keep_it(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = run("memory.py", "--only", "lenet-2,wide-1,rounds", "--json", str(report), "--check")
    document = json.loads(report.read_text())
    assert [run["processes"] > 2 for run in document["runs"].values()] == [True, False]
    assert all(run["measured"] > 1e9 for run in document["runs"].values())
    assert sorted(map(int, document["rounds"]["bytes_by_round"])) == list(range(101))
    assert "held" in done.stdout
