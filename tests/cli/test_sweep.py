"""`tf-lottery sweep`: its document, its plan, what it refuses, and how it is stopped and resumed."""

import json
import signal
import sys
from pathlib import Path

import pytest
from run_content import assert_same, content

SWEEP = """
steps = {steps}
rounds = 1
eval_every = 10
batch_size = 32
variants = ["ticket"]
xla = "off"
jobs = 1

[grid]
rewind = ["init", "step:5"]
"""


@pytest.fixture
def file(here):
    """A sweep of two runs of two trainings of 20 steps, in an empty folder, which is the current directory."""
    path = here / "sweep.toml"
    path.write_text(SWEEP.format(steps=20))
    return path


@pytest.fixture
def threads_as_they_are(monkeypatch):
    """TensorFlow may be at work in this process, with other threads than a run asks for."""
    monkeypatch.setattr("tf_lottery.training.device.configure", lambda **settings: None)


@pytest.mark.usefixtures("threads_as_they_are")
@pytest.mark.parametrize(
    ("content", "code", "words"),
    [
        ("[grid]\nsed = [1]\n", 2, "Did you mean 'seed'?"),
        ("[grid]\nrate = [0.2, 1.0]\n", 2, "rate = 1.0: --rate must be in [0, 1)"),
        ("steps = 10\n[grid]\nrewind = ['init', 'step:10']\n", 2, 'rewind = "step:10"'),
        ("[grid]\nmodel = ['mlp', 'mpl']\n", 2, "Did you mean 'mlp'?"),
        ("[grid]\nmodel = ['mine:model']\n", 2, "--trust"),
        ("[grid]\ndataset = ['digits', 'cifar10']\n", 3, "tf-lottery data prepare cifar10"),
        ("[grid\n", 5, "is not valid TOML"),
    ],
)
def test_nothing_is_written_where_one_combination_is_wrong(content, code, words, here, invoke):
    (here / "sweep.toml").write_text(content)
    result = invoke("sweep", "sweep.toml", "--data-dir", here)
    assert (result.exit_code, result.stdout) == (code, "")
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 2
    assert [path.name for path in here.iterdir()] == ["sweep.toml"]


@pytest.mark.usefixtures("threads_as_they_are")
def test_a_dry_run_shows_each_run_and_the_sums_and_writes_nothing(file, here, invoke, monkeypatch):
    monkeypatch.setattr("tf_lottery.experiment.estimate.MEASURED_SECONDS", 0.02)
    result = invoke("sweep", file, "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "tf-lottery.sweep-dry-run/1"
    assert [run["options"] for run in document["runs"]] == [{"rewind": "init"}, {"rewind": "step:5"}]
    # Two rounds of 20 steps each, and 20 and 15 where the second is rewound to step 5.
    assert (document["trainings"], document["jobs_done"], document["training_steps"]) == (4, 0, 75)
    for name in ("disk_bytes", "seconds"):
        assert document[name] == pytest.approx(sum(run[name] for run in document["runs"])), name
    assert document["memory_bytes"] == max(run["memory_bytes"] for run in document["runs"])
    assert list(here.iterdir()) == [file]


@pytest.mark.usefixtures("threads_as_they_are")
def test_runs_are_trained_once_and_compared_and_one_that_fails_decides_the_exit_code(file, here, invoke):
    base = SWEEP.format(steps=20).partition("[grid]")[0]
    listed = ['rewind = "init"', 'optimizer = "sgd"\nlearning_rate = 1e30', 'rewind = "step:5"', "seed = 0"]
    file.write_text(base + "".join(f"[[runs]]\n{options}\n" for options in listed))
    first = invoke("sweep", file, "--json")
    assert first.exit_code == 3
    document = json.loads(first.stdout)
    assert (document["schema"], document["complete"]) == ("tf-lottery.sweep/1", False)
    assert [(run["options"]["rewind"], run["complete"], run["jobs_done"]) for run in document["runs"]] == [
        ("init", True, 2),
        ("init", False, 0),
        ("step:5", True, 2),
    ]
    assert list(document["runs"][0]["options"]) == ["rewind", "optimizer", "learning_rate"]
    done, failed, other = (run["run_dir"] for run in document["runs"])
    assert "loss must be finite" in document["runs"][1]["error"]["cause"]
    (comparison,) = document["comparisons"]
    assert [(run["run"], run["run_dir"]) for run in comparison["runs"]] == [
        ("rewind init", done),
        ("rewind step:5", other),
    ]
    lines = first.stderr.splitlines()
    assert lines[0] == f'{done} is one run for 2 combinations: rewind = "init"; seed = 0'
    assert [line for line in lines if line.startswith("run ")] == [
        'run 1/3: rewind = "init"',
        'run 2/3: optimizer = "sgd", learning_rate = 1e+30',
        'run 3/3: rewind = "step:5"',
    ]
    assert lines[-3].startswith(f"{failed} failed: ")
    assert lines[-2].startswith("error: 1 of 3 runs failed: custom-")

    before = {path: path.stat().st_mtime_ns for path in here.glob("runs/*/replicate_*/**/*")}
    file.write_text(f"{base}[[runs]]\nseed = 0\n")  # what another sweep trained is not trained again
    again = invoke("sweep", file)
    assert (again.exit_code, again.stdout) == (0, "")
    assert again.stderr.splitlines()[1:] == [
        f"{done}: 2 trainings, 2 of them done already",
        f"{done} is the only run of its model on its data: it is compared with none.",
    ]
    assert before == {path: path.stat().st_mtime_ns for path in here.glob("runs/*/replicate_*/**/*")}


@pytest.mark.slow
@pytest.mark.usefixtures("threads_as_they_are")
def test_runs_of_several_models_are_compared_within_each(file, here, invoke):
    base = SWEEP.format(steps=20).partition("[grid]")[0]
    file.write_text(f'{base}[grid]\nmodel = ["mlp", "fc1"]\nseed = [0, 1]\n')
    result = invoke("sweep", file, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["complete"] is True
    compared = [[run["run_dir"] for run in comparison["runs"]] for comparison in document["comparisons"]]
    paths = [run["run_dir"] for run in document["runs"]]
    assert compared == [paths[:2], paths[2:]]
    again = invoke("sweep", file, "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    lines = again.stdout.splitlines()
    assert [line.split()[:3] for line in (lines[0], lines[1], lines[2])] == [
        ["Run", "Directory", "Replicates"],
        *(["seed", str(seed), Path(path).name] for seed, path in enumerate(paths[:2])),
    ]
    pages = [comparison["files"]["comparison.html"] for comparison in document["comparisons"]]
    assert [line for line in lines if line.endswith("comparison.html")] == pages
    for comparison, runs in zip(document["comparisons"], compared, strict=True):
        expected = json.loads(invoke("compare", *runs, "--json").stdout)
        assert comparison == {key: value for key, value in expected.items() if key != "schema"}


@pytest.mark.slow
@pytest.mark.usefixtures("answers_ctrl_c")
def test_a_sweep_killed_and_interrupted_comes_to_the_same_bytes(
    file, here, shell, environment, start_process, wait_until, patience
):
    """In its second run, in the middle of trainings whose state is saved; the first run is not trained again."""
    file.write_text(SWEEP.format(steps=8000).replace("eval_every = 10", "eval_every = 1000"))
    options = ["sweep", "sweep.toml", "--checkpoint-every", "0.2"]
    whole = shell("sweep", "sweep.toml", "--out", "whole", "--json", cwd=here)
    assert whole.returncode == 0, whole.stderr
    first, second = (here / "runs" / Path(run["run_dir"]).name for run in json.loads(whole.stdout)["runs"])

    def stop(number, training):
        """Start the sweep, and send it a signal once the second run has saved a state of a training."""
        process = start_process([sys.executable, "-m", "tf_lottery_cli", *options], cwd=here, env=environment)
        wait_until((second / "replicate_0" / training / "partial.npz").exists, process)
        process.send_signal(number)
        _, errors = process.communicate(timeout=patience)
        return process.returncode, errors

    assert stop(signal.SIGKILL, "round_00")[0] == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in first.rglob("manifest.json")}
    assert len(before) == 3  # the rewind state and two trainings
    code, errors = stop(signal.SIGINT, "round_01")
    assert code == 130, errors
    assert "Run the same command again to resume: tf-lottery sweep sweep.toml --checkpoint-every 0.2" in errors

    done = shell(*options, cwd=here)
    assert done.returncode == 0, done.stderr
    assert f"runs/{first.name}: 2 trainings, 2 of them done already" in done.stderr
    assert f"runs/{second.name}: 2 trainings, 1 of them done already" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in first.rglob("manifest.json")}
    for run in (first, second):
        assert_same(content(run), content(here / "whole" / run.name))
