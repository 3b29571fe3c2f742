"""`tf-lottery reproduce`: lists, costs, documents and exit codes; real processes and signals too."""

import json
import os
import signal
import sys

import pytest

from tf_lottery.experiment.config import Config
from tf_lottery.studies.claims import CLAIMS, Claim, conclude, more_than

# A program whose list holds one claim of the digits beside the others.
PROGRAM = """
import os
import time

import tf_lottery_cli
from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.studies.claims import CLAIMS, Claim, at_least, conclude
from tf_lottery.experiment.config import Config

def judge(evidence):
    return conclude([at_least(evidence.difference(("digits", "ticket", 1), ("digits", "ticket", 0)), -0.9)])

def sizes(quick):
    return {"digits": Config(steps=30_000, rounds=1, rate=0.5, replicates=3, batch_size=32, variants=("ticket",))}

CLAIMS["half"] = Claim("half", "Half a network learns", "a paper", "a figure", sizes, judge)
commit = RunDirectory.commit

def commit_later(self, job, *arguments, **options):
    while "HOLD_ROUND_1" in os.environ and job.round == 1:
        time.sleep(0.1)
    commit(self, job, *arguments, **options)

RunDirectory.commit = commit_later  # in the worker processes too, which load this file
if __name__ == "__main__":
    tf_lottery_cli.main()
"""


@pytest.fixture
def worse(monkeypatch):
    """A claim that fails: a ticket of half the weights is better than dense by more than half."""

    def judge(evidence):
        return conclude([more_than(evidence.difference(("digits", "ticket", 1), ("digits", "ticket", 0)), 0.5)])

    # TensorFlow may be at work in this process, with other threads than a run asks for.
    monkeypatch.setattr("tf_lottery.training.device.configure", lambda **settings: None)
    config = Config(steps=20, rounds=1, rate=0.5, replicates=3, batch_size=32, variants=("ticket",))
    monkeypatch.setitem(
        CLAIMS, "worse", Claim("worse", "A title", "paper", "figure", lambda _: {"digits": config}, judge)
    )


def test_the_list(invoke):
    result = invoke("reproduce", "--list")
    assert result.exit_code == 0
    assert all(name in result.stdout for name in CLAIMS)
    document = json.loads(invoke("reproduce", "--list", "--json").stdout)
    assert [claim["name"] for claim in document["claims"]] == list(CLAIMS)
    assert len(document["claims"]) >= 12


def test_what_is_refused(invoke, tmp_path):
    result = invoke("reproduce", "erly-stop")
    assert result.exit_code == 2
    assert "Did you mean 'early-stop'?" in result.stderr
    assert result.stdout == ""
    assert invoke("reproduce").exit_code == 2
    result = invoke("reproduce", "early-stop", "--quick", "--replicates", "2")
    assert result.exit_code == 2
    assert "at least 3 replicates" in result.stderr
    result = invoke("reproduce", "early-stop", "--data-dir", tmp_path, "--out", tmp_path)
    assert result.exit_code == 3
    assert "mnist" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_shows_the_cost_and_writes_nothing(invoke, tmp_path, data_dir):
    arguments = ("reproduce", "all", "--quick", "--dry-run", "--out", tmp_path / "runs", "--data-dir", data_dir)
    result = invoke(*arguments)
    assert result.exit_code == 0
    assert "trainings in 15 runs, 0 of them done already" in result.stdout
    document = json.loads(invoke(*arguments, "--json").stdout)
    assert document["trainings"] == document["waiting"] == sum(run["trainings"] for run in document["runs"])
    assert 0 < document["seconds"] < 90 * 60
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_fails(invoke, worse, tmp_path):
    arguments = ("reproduce", "worse", "--quick", "--out", tmp_path, "--jobs", "1")
    result = invoke(*arguments, "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    (claim,) = document["claims"]
    assert document["schema"] == "tf-lottery.reproduce/1"
    assert claim["passed"] is False
    assert claim["published"] == "figure"
    assert len(claim["interval"]) == 2
    assert "6 trainings in 1 runs, 0 of them done already; the other 6 take about" in result.stderr
    assert "error: 1 of 1 claims failed: worse." in result.stderr
    result = invoke(*arguments)
    assert result.exit_code == 1
    assert "6 of them done already: nothing is to be trained." in result.stderr
    assert "wanted above +50.00 points: failed" in result.stdout
    assert "Written to" in result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("answers_ctrl_c")
def test_side_by_side_stopped_by_ctrl_c_and_resumed(environment, tmp_path, start_process, wait_until, patience):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    command = [sys.executable, program, "reproduce", "half", "--jobs", "2", "--json"]

    # Held, the run can't end before Ctrl-C comes, however late that is.
    process = start_process(command, cwd=tmp_path, env=environment | {"HOLD_ROUND_1": "1"})
    wait_until(lambda: list(tmp_path.glob("runs/*/replicate_*/round_00/manifest.json")), process)
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=patience)
    assert process.returncode == 130, errors
    assert output == ""
    assert "Traceback" not in errors
    assert not (tmp_path / "runs/claims").exists()

    process = start_process(command, cwd=tmp_path, env=environment)
    output, errors = process.communicate(timeout=patience)
    assert process.returncode == 0, errors
    assert "of them done already; the other" in errors
    assert "half: passed" in errors
    assert json.loads(output)["claims"][0]["passed"] is True
