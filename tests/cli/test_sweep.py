"""`tf-lottery sweep`: its document, its plan, what it refuses, and how it is stopped and resumed."""

import json
import signal
import sys

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
def test_a_dry_run_shows_each_run_and_the_sums_and_writes_nothing(file, here, invoke):
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
def test_a_sweep_is_trained_once_and_compared(file, here, invoke):
    first = invoke("sweep", file, "--json")
    assert first.exit_code == 0, first.stderr
    document = json.loads(first.stdout)
    assert (document["schema"], document["complete"]) == ("tf-lottery.sweep/1", True)
    assert [(run["options"], run["complete"], run["jobs_done"], run["error"]) for run in document["runs"]] == [
        ({"rewind": "init"}, True, 2, None),
        ({"rewind": "step:5"}, True, 2, None),
    ]
    assert [line for line in first.stderr.splitlines() if line.startswith("run ")] == [
        'run 1/2: rewind = "init"',
        'run 2/2: rewind = "step:5"',
    ]
    (comparison,) = document["comparisons"]
    paths = [run["run_dir"] for run in document["runs"]]
    assert [run["run_dir"] for run in comparison["runs"]] == paths
    compared = json.loads(invoke("compare", *paths, "--json").stdout)
    assert comparison == {key: value for key, value in compared.items() if key != "schema"}

    before = {path: path.stat().st_mtime_ns for path in here.glob("runs/*/replicate_*/**/*")}
    again = invoke("sweep", file, "--quiet")
    assert (again.exit_code, again.stderr) == (0, "")
    assert again.stdout.splitlines()[0].split()[:2] == ["Run", "Directory"]
    assert again.stdout.splitlines()[-1] == comparison["files"]["comparison.html"]
    assert before == {path: path.stat().st_mtime_ns for path in here.glob("runs/*/replicate_*/**/*")}


@pytest.mark.usefixtures("threads_as_they_are")
def test_a_run_that_fails_is_listed_and_decides_the_exit_code(file, here, invoke):
    base = SWEEP.format(steps=5).partition("[grid]")[0].replace("rounds = 1", "rounds = 0")
    twice = "[[runs]]\nseed = 3\n" * 2
    file.write_text(f"{base}[[runs]]\noptimizer = 'sgd'\nlearning_rate = 1e30\n{twice}")
    result = invoke("sweep", file, "--json")
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert [(run["complete"], run["jobs_total"]) for run in document["runs"]] == [(False, 1), (True, 1)]
    assert document["complete"] is False
    assert "loss must be finite" in document["runs"][0]["error"]["cause"]
    assert document["comparisons"] == []
    lines = result.stderr.splitlines()
    assert "is one run for 2 combinations: seed = 3; seed = 3" in lines[0]
    assert any("the only run of its model on its data" in line for line in lines)
    failed = document["runs"][0]["run_dir"]
    assert lines[-3].startswith(f"{failed} failed: ")
    assert lines[-2].startswith("error: 1 of 2 runs failed: custom-")


@pytest.mark.slow
@pytest.mark.usefixtures("answers_ctrl_c")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130)])
def test_killed_in_the_middle_and_resumed_to_the_same_bytes(
    number, code, file, here, shell, environment, start_process, wait_until, patience
):
    """In its second run, in the middle of a training whose state is saved; the first run is not trained again."""
    file.write_text(SWEEP.format(steps=30_000).replace("eval_every = 10", "eval_every = 1000"))
    options = ["sweep", "sweep.toml", "--checkpoint-every", "0.01"]
    whole = shell(*options, "--out", "whole", "--json", cwd=here)
    assert whole.returncode == 0, whole.stderr

    process = start_process([sys.executable, "-m", "tf_lottery_cli", *options], cwd=here, env=environment)
    first, second = (
        here / "runs" / path.rsplit("/")[-1] for path in (run["run_dir"] for run in json.loads(whole.stdout)["runs"])
    )
    wait_until(lambda: list(second.glob("replicate_0/round_00/partial.npz")), process)
    process.send_signal(number)
    _, errors = process.communicate(timeout=patience)
    assert process.returncode == code, errors
    if number == signal.SIGINT:
        assert "the same command resumes: tf-lottery sweep sweep.toml --checkpoint-every 0.01" in errors
    before = {path: path.stat().st_mtime_ns for path in first.rglob("manifest.json")}

    done = shell(*options, cwd=here)
    assert done.returncode == 0, done.stderr
    assert f"runs/{first.name}: 2 trainings, 2 of them done already" in done.stderr
    assert before == {path: path.stat().st_mtime_ns for path in first.rglob("manifest.json")}
    for run in (first, second):
        assert_same(content(run), content(here / "whole" / run.name))
