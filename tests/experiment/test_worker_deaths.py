"""A worker that dies is replaced, and its job done again; after three times the run does what does not need it."""

import json
import logging
import multiprocessing as mp
import os
import re
import signal

import dying_jobs
import pytest
from dying_jobs import times
from tf_lottery_cli import failures

from tf_lottery.errors import ResourceError, UnfinishedRunError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory
from tf_lottery.experiment.events import Events
from tf_lottery.experiment.run import run
from tf_lottery.experiment.workers import executor, worker_pool
from tf_lottery.experiment.workers.worker_death import MemoryKills, count_ended_for_memory, death_by_exit_code

CONFIG = Config(rounds=2, replicates=2, jobs=2, steps=1, variants=("ticket",))
FIRST, SECOND = Job(0, 0), Job(1, 0)


@pytest.fixture
def go(tmp_path, monkeypatch, caplog):
    """Runs the experiment, with what the jobs do to their processes; returns the jobs done and the warnings."""
    (tmp_path / "vmstat").write_text("oom_kill 7\n")
    count = lambda: count_ended_for_memory(tmp_path, tmp_path, tmp_path / "vmstat")  # noqa: E731
    monkeypatch.setattr(executor, "trainer_function", dying_jobs.make_job_function)
    monkeypatch.setattr(worker_pool, "MemoryKills", lambda: MemoryKills(count))

    def go(plan, config=CONFIG, on_progress=lambda *progress: None):
        (tmp_path / "plan.json").write_text(json.dumps({str(job): actions for job, actions in plan.items()}))
        caplog.clear()
        done = []
        events = Events(on_progress=on_progress, on_done=lambda job, row: done.append(job))
        with caplog.at_level(logging.WARNING):
            run(config, RunDirectory(tmp_path / "run"), events=events)
        return sorted(done), [record.getMessage() for record in caplog.records]

    return go


def everything(config=CONFIG):
    return [Job(replicate, number) for replicate in range(config.replicates) for number in range(config.rounds + 1)]


def test_a_worker_that_dies_is_replaced(go, tmp_path):
    job = Job(1, 1)
    done, warnings = go({job: ["kill", "end"]})
    assert done == everything()
    assert [times(tmp_path, each) for each in done] == [1, 1, 1, 1, 3, 1]
    what = "The process that trained replicate 1, round 1, ticket died:"
    then = "The training is done again, from its saved state if it has one."
    assert warnings == [f"{what} killed by SIGKILL. {then}", f"{what} ended with exit code 3. {then}"]


def test_a_worker_that_takes_the_place_of_another_has_its_number(go, tmp_path):
    go({Job(0, 0): ["kill", "kill"]})
    places = (tmp_path / "places").read_text().split()
    assert len(places) > 2
    assert set(places) == {"0", "1"}


def test_after_the_third_death_all_else_is_done(go, tmp_path):
    job = Job(0, 1)
    with pytest.raises(UnfinishedRunError) as raised:
        go({job: ["kill"] * 3})
    assert RunDirectory(tmp_path / "run").complete_jobs() == [FIRST, SECOND, Job(1, 1), Job(1, 2)]
    assert raised.value.cause == (
        "2 of 6 trainings are missing: replicate 0, round 1, ticket (its process died 3 times: killed by SIGKILL); "
        "1 that needs what is missing."
    )
    assert (tmp_path / "run" / "results.csv").read_text().count("\n") == 5
    done, warnings = go({}, CONFIG.updated(jobs=2))  # the same again
    assert (done, warnings) == ([job, Job(0, 2)], [])
    assert times(tmp_path, job) == 4


def test_out_of_memory_one_training_fewer_runs_at_once(go, tmp_path):
    with pytest.raises(UnfinishedRunError) as raised:
        go({FIRST: ["memory", "kill", "allocate"]})
    assert RunDirectory(tmp_path / "run").complete_jobs() == [SECOND, Job(1, 1), Job(1, 2)]
    assert "3 of 6 trainings are missing" in raised.value.cause
    assert "died 3 times: ran out of memory" in raised.value.cause
    assert raised.value.jobs == 1


def test_a_death_out_of_memory_is_said(go):
    done, warnings = go({FIRST: ["memory", "kill"], Job(1, 2): ["allocate"]})
    assert done == everything()
    again = "The training is done again, from its saved state if it has one."
    assert sorted(line.partition(" died: ")[2] for line in warnings) == [  # of two jobs, side by side
        f"killed by SIGKILL, probably out of memory. {again} From now on, trainings at once: 1.",
        f"killed by SIGKILL. {again}",
        f"ran out of memory. {again} From now on, trainings at once: 1.",
    ]


def test_two_workers_killed_at_once(go, tmp_path):
    begun = []

    def kill_both(job, step, last):
        begun.append(job)
        if sorted(begun) == [FIRST, Job(0, 1), SECOND, Job(1, 1)]:
            for process in mp.active_children():
                os.kill(process.pid, signal.SIGKILL)

    done, warnings = go({Job(0, 1): ["wait"], Job(1, 1): ["wait"]}, on_progress=kill_both)
    assert done == everything()
    assert [line.partition(" died: ")[2][:18] for line in warnings] == ["killed by SIGKILL."] * 2
    assert times(tmp_path, Job(0, 1)) == times(tmp_path, Job(1, 1)) == 2


def test_killed_after_its_commit_a_job_is_not_done_again(go, tmp_path):
    done, warnings = go({FIRST: ["commit, kill"]})
    assert done == everything()
    assert times(tmp_path, FIRST) == 1
    assert warnings == ["The process that trained replicate 0, round 0, ticket died: killed by SIGKILL."]


def test_killed_in_the_middle_of_a_message(go, tmp_path):
    done, _ = go({FIRST: ["half a message"]})
    assert done == everything()
    assert times(tmp_path, FIRST) == 2


def test_a_process_that_a_worker_forked_hides_no_death(go, tmp_path):
    """The death is looked for, since it does not close the connection: the run waited until that process ended."""
    config = CONFIG.updated(rounds=0)
    try:
        done, _ = go({FIRST: ["fork, kill"]}, config)
    finally:
        os.kill(int((tmp_path / "forked").read_text()), signal.SIGKILL)
    assert (done, times(tmp_path, FIRST)) == (everything(config), 2)


@pytest.mark.parametrize(
    ("action", "message"),
    [("raise", "ValueError: no such layer"), ("exit", "SystemExit: the model function gave up")],
)
def test_an_exception_is_no_death(go, tmp_path, action, message):
    with pytest.raises(RuntimeError, match=message):
        go({FIRST: [action]})
    assert times(tmp_path, FIRST) == 1


def test_no_process_can_be_started(go, monkeypatch):
    def fail(process):
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(worker_pool, "_start_unsignaled", fail)
    with pytest.raises(ResourceError, match="No further process can be started: Resource temporarily unavailable"):
        go({})


@pytest.mark.parametrize(
    ("code", "ended_for_memory", "reason", "out_of_memory"),
    [
        (-9, True, "killed by SIGKILL, probably out of memory", True),
        (-9, None, "killed by SIGKILL, probably out of memory", True),
        (-9, False, "killed by SIGKILL", False),
        (-11, True, "ended by SIGSEGV", False),
        (-50, False, "ended by signal 50", False),
        (1, False, "ended with exit code 1", False),
        (None, False, "it closed its connection", False),
    ],
)
def test_the_reason_of_a_death(code, ended_for_memory, reason, out_of_memory):
    death = death_by_exit_code(code, ended_for_memory=ended_for_memory)
    assert (death.reason, death.out_of_memory) == (reason, out_of_memory)


@pytest.mark.parametrize(
    ("groups", "files", "count"),
    [
        ("0::/a/b\n", {"cgroups/a/b/memory.events": "oom 4\noom_kill 3\noom_group_kill 0\n"}, 3),
        ("4:memory:/job\n0::/\n", {"cgroups/memory/job/memory.oom_control": "under_oom 0\noom_kill 2\n"}, 2),
        ("4:memory:/hidden\n", {"cgroups/memory/memory.oom_control": "under_oom 0\noom_kill 5\n"}, 5),
        ("1:cpu:/\n0::/\n", {"cgroups/memory/memory.oom_control": "oom_kill 5\n"}, 9),
        ("no groups\n", {}, 9),
    ],
)
def test_how_many_processes_were_ended_for_memory(tmp_path, groups, files, count):
    for name, text in {"groups": groups, "vmstat": "pgfault 1\noom_kill 9\n", **files}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    places = [tmp_path / name for name in ("groups", "cgroups", "vmstat")]
    assert count_ended_for_memory(*places) == count
    assert count_ended_for_memory(tmp_path / "none", tmp_path / "none", tmp_path / "none") is None


def test_one_kill_for_memory_explains_one_death():
    counts = iter([7, 7, 9, 9, 9, None])
    kills = MemoryKills(lambda: next(counts))
    assert [kills.explain_one() for _ in range(5)] == [False, True, True, False, None]


@pytest.mark.parametrize(
    ("command", "words", "jobs", "resumes"),
    [
        (
            "run",
            ("run", "mine", "--jobs", "4", "--fresh"),
            3,
            " without --fresh with --jobs 3 to resume: .* mine --jobs 3",
        ),
        ("run", ("run", "--jobs=4", "--seed", "1"), 1, " with --jobs 1 to resume: tf-lottery run --seed 1 --jobs 1"),
        ("run", ("run", "--jobs", "4"), None, " to resume: tf-lottery run --jobs 4"),
        ("analyze", ("analyze", "instability", "mine"), 1, " to resume: tf-lottery analyze instability mine"),
    ],
)
def test_the_command_that_resumes_is_said(command, words, jobs, resumes):
    failure = failures.describe(UnfinishedRunError("1 of 2 trainings is missing.", "", jobs=jobs), command, words)
    assert failure.code == 6
    assert failure.lines[0] == "error: 1 of 2 trainings is missing."
    pattern = rf"What was committed is kept\. Run the same command again{resumes}"
    assert re.fullmatch(pattern, failure.lines[1])
