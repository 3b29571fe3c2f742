"""The trainings of a run on a Ray cluster and in Slurm's tasks, on this machine: results don't depend on where."""

import gc
import json
import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import dying_jobs
import pytest
from dying_jobs import times
from run_content import assert_same, content

from tf_lottery.errors import ResourceError, UnfinishedRunError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.launchers import presence, remote_job
from tf_lottery.experiment.launchers.launcher import launcher_options
from tf_lottery.experiment.run import run
from tf_lottery.experiment.workers import executor

# submitit leaves log files and processes open.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
RAY = pytest.param("ray", marks=pytest.mark.slow)  # a cluster starts in seconds, or in a minute on a busy machine
CONFIG = Config(rounds=2, replicates=2, jobs=2, steps=1, variants=("ticket",))
TESTS = Path(__file__).parents[1]
AGAIN = "The training is done again, from its saved state if it has one."


@pytest.fixture(scope="module")
def address():
    """A Ray cluster on this machine, of two CPUs."""
    port = 20_000 + os.getpid() % 20_000
    environment = os.environ | {
        "PYTHONPATH": str(TESTS),
        "RAY_raylet_start_wait_time_s": "120",
        "RAY_AUTH_MODE": "disabled",
    }
    ray = [sys.executable, "-c", "from ray.scripts.scripts import main; main()"]
    start = [*ray, "start", "--head", f"--port={port}", "--num-cpus=2", "--include-dashboard=false"]
    subprocess.run([*start, "--disable-usage-stats"], check=True, capture_output=True, env=environment)
    yield f"127.0.0.1:{port}"
    subprocess.run([*ray, "stop", "--force"], check=True, capture_output=True)


@pytest.fixture(autouse=True)
def leftovers_of_submitit():
    """It leaves log files and processes open: they are collected here, where their warnings are no errors."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def launcher(request, monkeypatch):
    """The options of a configuration that choose a launcher."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS))
    if request.param == "ray":
        return {"launcher": "ray", "address": request.getfixturevalue("address")}
    import submitit

    monkeypatch.setattr(
        submitit.core.core.Job, "_results_timeout_s", 1
    )  # it waits for what a dead task has not written
    return {"launcher": "slurm", "launcher_options": (f"cluster={request.param}",)}


@pytest.fixture
def go(tmp_path, monkeypatch, caplog):
    """Runs an experiment, with what the jobs do to their processes; returns the jobs done and the warnings."""
    monkeypatch.setattr(executor, "trainer_function", dying_jobs.make_job_function)

    def go(plan, config, **events):
        (tmp_path / "plan.json").write_text(json.dumps({str(job): actions for job, actions in plan.items()}))
        caplog.clear()
        done = []
        with caplog.at_level(logging.WARNING, logger="tf_lottery"):
            run(
                config,
                RunDirectory(tmp_path / "run"),
                events=Events(on_done=lambda job, row: done.append(job), **events),
            )
        return sorted(done), [one.getMessage() for one in caplog.records if one.name.startswith("tf_lottery")]

    return go


def everything(config=CONFIG):
    return [Job(replicate, number) for replicate in range(config.replicates) for number in range(config.rounds + 1)]


@pytest.mark.parametrize("launcher", [RAY, "local", "debug"], indirect=True)
def test_all_is_trained_once_and_nothing_is_left(go, launcher, tmp_path):
    progress = []
    config = CONFIG.updated(**launcher)
    done, warnings = go({}, config, on_progress=lambda job, *steps: progress.append((job, steps)))
    assert (done, warnings) == (everything(), [])
    assert [times(tmp_path, job) for job in done] == [1] * 6
    assert list((tmp_path / "run").glob(".*.tmp")) == []
    assert go({}, config) == ([], [])  # nothing is left to do
    assert set(job for job, _ in progress) <= set(done)


@pytest.mark.parametrize("launcher", [RAY, "local"], indirect=True)
def test_a_worker_that_dies_is_replaced(go, launcher, tmp_path):
    job = Job(1, 1)
    done, warnings = go({job: ["kill", "end"]}, CONFIG.updated(**launcher))
    assert done == everything()
    assert [times(tmp_path, each) for each in done] == [1, 1, 1, 1, 3, 1]
    assert [line.startswith(f"The process that trained {job} died: ") for line in warnings] == [True] * 2
    assert [line.endswith(AGAIN) for line in warnings] == [True] * 2


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["ray", "local"], indirect=True)
def test_after_the_third_death_all_else_is_done(go, launcher, tmp_path):
    with pytest.raises(UnfinishedRunError, match="2 of 6 trainings are missing"):
        go({Job(0, 1): ["kill"] * 3}, CONFIG.updated(**launcher))
    assert RunDirectory(tmp_path / "run").complete_jobs() == [Job(0, 0), Job(1, 0), Job(1, 1), Job(1, 2)]


@pytest.mark.parametrize("launcher", [RAY, "local", "debug"], indirect=True)
def test_an_exception_is_no_death(go, launcher, tmp_path):
    with pytest.raises(RuntimeError, match="ValueError: no such layer"):
        go({Job(0, 0): ["raise"]}, CONFIG.updated(**launcher))
    assert times(tmp_path, Job(0, 0)) == 1


@pytest.mark.parametrize("launcher", [RAY], indirect=True)
@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"threads": 3}, ResourceError, "A training takes 3 CPUs and 0 GPUs. The Ray cluster has 2 CPUs and 0 GPUs"),
        ({"launcher_options": ("num_gpus=1",)}, ResourceError, "takes 1 CPUs and 1 GPUs"),
        ({"launcher_options": ("num_gpus=many",)}, UsageError, "must be a number that is not negative"),
        ({"launcher_options": ("partition=gpu",)}, UsageError, "The launcher ray has no option 'partition'"),
    ],
)
def test_what_ray_does_not_have(go, launcher, changes, error, message, tmp_path):
    with pytest.raises(error, match=message):
        go({}, CONFIG.updated(**launcher | changes))
    assert times(tmp_path, Job(0, 0)) == 0


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ResourceError, "There is no Slurm here"),
        ({"launcher_options": ("cluster=there",)}, UsageError, "`cluster` must be one of slurm, local, debug"),
        ({"launcher_options": ("cluster=local", "no_such=1")}, UsageError, "submitit does not take these options"),
        ({"launcher_options": ("cluster",)}, UsageError, "must be NAME=VALUE"),
    ],
)
def test_what_slurm_does_not_have(go, options, error, message, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(error, match=message):
        go({}, CONFIG.updated(launcher="slurm", **options))


def test_a_cluster_that_is_not_there(go):
    with pytest.raises(ResourceError, match=r"Can't join the Ray cluster at 127\.0\.0\.1:9"):
        go({}, CONFIG.updated(launcher="ray", address="127.0.0.1:9"))


def test_functions_of_this_process_go_nowhere(go):
    config = CONFIG.updated(
        launcher="slurm", launcher_options=("cluster=local",), criterion=lambda weights: weights, jobs=1
    )
    with pytest.raises(UsageError, match="other processes, which can't import"):
        go({}, config)


def test_a_folder_that_is_not_shared(tmp_path):
    with pytest.raises(ResourceError, match="does not see the run directory"):
        presence.join(tmp_path / ".head-1.tmp", timeout=0)


def test_a_worker_ends_with_the_run(tmp_path, monkeypatch):
    import threading

    monkeypatch.setattr(presence, "BEAT", 0.05)
    ended = threading.Event()
    with presence.presence(tmp_path) as signs:
        presence.join(signs, on_end=lambda: pytest.fail("the process of the run itself does not watch"))
        monkeypatch.setattr(presence, "_self", lambda: b"another 1")
        presence.join(signs, on_end=ended.set)
        assert not ended.wait(0.5)
    assert ended.wait(5)


def test_a_worker_ends_when_the_run_gives_no_sign(tmp_path, monkeypatch):
    import threading

    monkeypatch.setattr(presence, "BEAT", 0.05)
    monkeypatch.setattr(presence, "STALE", 0.3)
    ended = threading.Event()
    (tmp_path / ".head-1.tmp").write_text("0")
    presence.join(tmp_path / ".head-1.tmp", on_end=ended.set)
    assert ended.wait(5)


def test_machines_of_one_kind(tmp_path, monkeypatch):
    signs = tmp_path / ".head-1.tmp"
    remote_job.check_kind(signs)
    remote_job.check_kind(signs)  # the same machine again
    there = remote_job.kind_of_machine() | {"processor": "another"}
    monkeypatch.setattr(remote_job, "kind_of_machine", lambda: there)
    with pytest.raises(remote_job.OtherMachineError, match="it has processor another instead of"):
        remote_job.check_kind(signs)


def test_options_of_a_launcher():
    config = Config(launcher="slurm", launcher_options=("slurm_partition=gpu", "timeout_min=60"))
    assert launcher_options(config) == {"slurm_partition": "gpu", "timeout_min": 60}
    assert config.hash() == Config().hash()  # where a run is trained decides nothing


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["ray", "local"], indirect=True)
def test_results_do_not_depend_on_the_launcher(launcher, tmp_path):
    config = Config(rounds=1, replicates=2, steps=60, eval_every=20, jobs=1)
    run(config, RunDirectory(tmp_path / "here"))
    run(config.updated(jobs=2, **launcher), RunDirectory(tmp_path / "there"))
    assert len(RunDirectory(tmp_path / "there").complete_jobs()) == 6
    here, there = content(tmp_path / "here"), content(tmp_path / "there")
    assert (json.loads(here.pop("config.json"))["launcher"], json.loads(there.pop("config.json"))["launcher"]) == (
        "local",
        config.updated(**launcher).launcher,
    )
    assert_same(there, here)
