"""`run` in real processes: what it prints, how it is stopped and resumed, and how it fails."""

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tf_lottery

QUICK = ["--rounds", "1", "--steps", "60", "--replicates", "1", "--jobs", "1"]
TIMINGS = ("seconds", "steps_per_second")


def results(run: Path) -> list[dict[str, str]]:
    with open(run / "results.csv") as file:
        return [{k: v for k, v in row.items() if k not in TIMINGS} for row in csv.DictReader(file)]


def test_json_is_one_document_of_the_contract(workplace):
    document = json.loads((workplace / "run.json").read_text())
    fields = ["schema", "run_dir", "complete", "config", "results", "verdict", "selected", "answers"]
    assert list(document) == fields
    assert document["schema"] == "tf-lottery.run/1"
    assert document["complete"] is True
    assert (workplace / document["run_dir"] / "results.csv").is_file()
    assert [row["weights_kept"] for row in document["results"] if row["variant"] == "ticket"] == [11900, 8988, 6795]
    assert {"replicate", "round", "variant", "density", "test_accuracy", "early_stop_step"} <= document["results"][
        0
    ].keys()


def test_json_concludes_as_the_library_and_the_export_do(workplace):
    document = json.loads((workplace / "run.json").read_text())
    result = tf_lottery.open_run(workplace / document["run_dir"])
    assert document["verdict"] == result.verdict
    recipe = result.best().recipe
    assert document["selected"] == {"round": recipe["round"], "replicate": recipe["replicate"]}
    questions = [answer["question"] for answer in document["answers"]]
    assert questions[:2] == ["Does a ticket match the dense network?", "How sparse may it be?"]
    for answer in document["answers"]:  # a single replicate has no interval
        assert {"question", "answer", "difference", "interval"} <= answer.keys()
        assert (answer["difference"], answer["interval"]) == (None, None)


def test_off_a_terminal_each_training_has_a_line(workplace):
    lines = (workplace / "run.stderr").read_text().splitlines()
    assert "5 trainings" in lines[0]
    assert [line.split()[0] for line in lines[1:]] == ["1/5", "2/5", "3/5", "4/5", "5/5"]
    assert "\x1b" not in "".join(lines)


def test_a_finished_run_is_not_done_again(workplace, shell, tmp_path):
    (run,) = (workplace / "runs").iterdir()
    before = {path: path.stat().st_mtime_ns for path in run.rglob("manifest.json")}
    for name in ("keras", "tensorflow"):  # it is quick because it loads neither: these stand before the real ones
        (tmp_path / f"{name}.py").write_text(f"raise AssertionError('{name} is loaded')")
    done = shell("run", "--config", str(run / "config.json"), cwd=workplace, PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == f"Run directory: runs/{run.name}"
    assert "The sparsest ticket" in done.stdout or "No winning ticket" in done.stdout
    assert "tf-lottery report" in done.stderr
    assert [path.name for path in (workplace / "runs").iterdir()] == [run.name]
    assert {path: path.stat().st_mtime_ns for path in run.rglob("manifest.json")} == before


def test_quiet_says_nothing_on_stderr(workplace, shell):
    (run,) = (workplace / "runs").iterdir()
    done = shell("run", "--config", str(run / "config.json"), "--quiet", cwd=workplace)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_stdout_is_kept_clean_of_what_the_users_model_prints(shell, tmp_path):
    (tmp_path / "mine.py").write_text(
        "import keras\n"
        "def model(input_shape, classes):\n"
        "    print('here is my model')\n"
        "    layers = [keras.Input(input_shape), keras.layers.Flatten(), keras.layers.Dense(classes)]\n"
        "    return keras.Sequential(layers)\n"
    )
    done = shell("run", "--model", "mine:model", *QUICK, "--jobs", "2", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["complete"] is True
    assert "here is my model" in done.stderr
    assert document["config"]["model_hash"]
    # The configuration runs again to the same directory: the model's own hash is part of it.
    again = shell("run", "--config", f"{document['run_dir']}/config.json", "--trust", "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["run_dir"] == document["run_dir"]


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_with_3(shell, tmp_path):
    done = shell("run", *QUICK, "--optimizer", "sgd", "--learning-rate", "1e30", cwd=tmp_path)
    assert done.returncode == 3
    assert "loss must be finite" in done.stderr.splitlines()[-2]
    assert "replicate 0, round 0" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_missing_data_ends_with_3_and_leaves_no_directory(shell, tmp_path):
    done = shell("run", "--dataset", "cifar10", *QUICK, cwd=tmp_path)
    assert done.returncode == 3
    assert "tf-lottery data prepare cifar10" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_places_that_cannot_be_written_end_with_6(shell, tmp_path, workplace):
    (tmp_path / "file").write_text("")
    done = shell("run", *QUICK, "--out", "file/runs", cwd=tmp_path)
    assert done.returncode == 6
    assert len(done.stderr.splitlines()) == 2
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "tf_lottery_cli", "presets"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 6
    assert "No space left" in done.stderr
    assert "Exception ignored" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    command = f"{sys.executable} -m tf_lottery_cli presets --json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "{", "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed", ["<&- >&- 2>&-", *(pytest.param(part, marks=pytest.mark.slow) for part in (">&-", "2>&-", ">&- 2>&-"))]
)
def test_closed_standard_streams_are_no_error(closed, environment, tmp_path, patience):
    # The next file opened took the place of the closed stream: a table crashed, and native code printed into that file.
    command = f"{sys.executable} -m tf_lottery_cli run --rounds 0 --steps 20 --replicates 1 --jobs 1 {closed}"
    done = subprocess.run(["bash", "-c", command], env=environment, cwd=tmp_path, timeout=patience)
    assert done.returncode == 0
    (run,) = (tmp_path / "runs").iterdir()
    check = [sys.executable, "-m", "tf_lottery_cli", "verify", str(run)]
    assert subprocess.run(check, env=environment, cwd=tmp_path, capture_output=True).returncode == 0
    assert (run / ".lock").read_bytes() == b""


@pytest.mark.slow
@pytest.mark.usefixtures("answers_ctrl_c")
def test_a_run_killed_and_interrupted_comes_to_the_same_results(
    shell, environment, tmp_path, invoke, start_process, wait_until, patience
):
    """SIGKILL in the middle of a training, Ctrl-C with worker processes, SIGTERM; then the end equals one go."""

    def start(*arguments):
        command = [sys.executable, "-m", "tf_lottery_cli", "run", *arguments]
        return start_process(command, cwd=tmp_path, env=environment)

    common = ["--rounds", "3", "--steps", "3000", "--replicates", "1", "--eval-every", "500", "--seed", "3"]
    whole = shell("run", *common, "--jobs", "1", "--out", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    broken = [*common, "--out", "broken", "--checkpoint-every", "0.01"]

    process = start(*broken, "--jobs", "1")
    wait_until(lambda: any(tmp_path.glob("broken/*/replicate_0/round_00/partial.npz")), process)
    process.send_signal(signal.SIGSTOP)  # it holds the lock, and does not end before the second command comes
    in_use = shell("run", *broken, cwd=tmp_path)
    assert in_use.returncode == 4
    assert "in use" in in_use.stderr
    process.kill()
    process.communicate()
    state = json.loads(invoke("status", "--out", str(tmp_path / "broken"), "--json").stdout)
    assert (state["state"], state["jobs_total"]) == ("unfinished", 7)
    assert state["partial"] == [] or state["partial"][0]["step"] > 0
    assert invoke("verify", next((tmp_path / "broken").iterdir())).exit_code == 0

    def start_and_wait(jobs):
        """Start it again, and wait for the next training to be committed, or for the end."""
        before = len(list(tmp_path.glob("broken/**/metrics.json")))
        process = start(*broken, "--jobs", jobs)
        wait_until(lambda: process.poll() is not None or len(list(tmp_path.glob("broken/**/metrics.json"))) > before)
        return process

    for number, jobs, code in ((signal.SIGINT, "2", 130), (signal.SIGTERM, "1", 143)):
        process = start_and_wait(jobs)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=patience)
        if "Next:" not in stderr:  # on a fast machine the run may have ended before
            assert process.returncode == code, stderr
            assert "Run the same command again to resume" in stderr
            assert "Traceback" not in stderr

    done = shell("run", *broken, "--jobs", "1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (first,), (second,) = (tmp_path / "whole").iterdir(), (tmp_path / "broken").iterdir()
    assert first.name == second.name
    assert results(first) == results(second)
    for path in first.rglob("*.npz"):
        ours, theirs = np.load(path), np.load(second / path.relative_to(first))
        assert ours.files == theirs.files
        assert all(np.array_equal(ours[key], theirs[key]) for key in ours.files)
    assert invoke("verify", second).exit_code == 0
    assert tf_lottery.open_run(second).ticket(2).density == pytest.approx(6795 / 11900)


@pytest.mark.slow
def test_fresh_starts_over_in_a_new_directory(shell, tmp_path):
    dense = ["--rounds", "0", "--steps", "20", "--replicates", "1", "--json"]
    first = shell("run", *dense, cwd=tmp_path)
    second = shell("run", *dense, "--fresh", cwd=tmp_path)
    one, two = json.loads(first.stdout), json.loads(second.stdout)
    assert two["run_dir"] == one["run_dir"] + "-2"
    untimed = [[{k: v for k, v in row.items() if k not in TIMINGS} for row in d["results"]] for d in (one, two)]
    assert untimed[0] == untimed[1]
