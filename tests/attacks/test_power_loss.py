"""After a loss of power, whatever was not synced may be missing: a committed training is whole or absent.

`lossy_disk` is the model of the disk. Every state that it may leave is tried in the slow set, a sample of them in the
normal one.
"""

import os
import shutil

import numpy as np
import pytest
from disk_runs import RUNS, check_unfinished, go, sample
from lossy_disk import LossyDisk, distinct_states, write_state
from run_content import assert_same, content

from tf_lottery.errors import LotteryError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import Job, RunDirectory, manifest
from tf_lottery.experiment.workers import trainer
from tf_lottery.utils import files

RUN = "runs/run"
JOBS = [Job(0, 0), Job(0, 1), Job(0, 1, "random_reinit")]


def states_of(folder, work, *, seed=0, count=2):
    """The states that losses of power during some work may leave; the work gets the disk and its folder."""
    folder.mkdir()
    disk = LossyDisk(folder)
    with disk.at_work():
        work(disk, folder)
        disk.mark("the end")
    return disk, distinct_states(disk, generator=np.random.default_rng(seed), count=count)


def commit_some(disk, folder):
    """What a run writes of three trainings, without the training."""
    store = RunDirectory(folder / RUN)
    with store.lock():
        store.create(Config().to_json())
        for job in JOBS:
            arrays = {"masks": {"kernel": np.eye(3, dtype=bool)}, "weights": {"kernel": np.full((3, 3), job.round)}}
            store.save_partial(job, arrays["weights"], {"step": 1})
            store.commit(job, arrays, {"row": {"round": job.round}})
            disk.mark(job)


def broken_promises(folder, marks):
    """The trainings that are not whole though they say so, and those that are lost though their commit had returned."""
    store, broken = RunDirectory(folder / RUN), []
    for job in store.complete_jobs():
        try:
            store.verify(job)
        except LotteryError:
            broken.append(f"{job} is torn")
    return broken + [f"{job} is lost" for job in JOBS if job in marks and not store.is_complete(job)]


def all_broken_promises(tmp_path):
    """What is broken in any state; the states are those of the commits alone."""
    _, states = states_of(tmp_path / "disk", commit_some)
    broken = set()
    for number, (state, marks) in enumerate(states):
        write_state(state, tmp_path / f"{number}")
        broken.update(broken_promises(tmp_path / f"{number}", marks))
    assert len(states) > 50
    return broken


def test_commits_are_whole_or_absent(tmp_path):
    assert all_broken_promises(tmp_path) == set()


def write_in_place(path, content):
    path.write_bytes(content)


def rename_without_sync(path, content):
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


@pytest.mark.parametrize(
    ("name", "function", "broken"),
    [
        ("replace_file", write_in_place, "torn"),
        ("replace_file", rename_without_sync, "torn"),
        ("sync_to_disk", lambda path: None, "lost"),
        ("sync_to_disk", lambda path: None, "torn"),  # the manifest is there, and a file that it names is not
    ],
)
def test_the_model_sees_what_is_not_synced(tmp_path, monkeypatch, name, function, broken):
    monkeypatch.setattr(files, name, function)
    assert any(broken in promise for promise in all_broken_promises(tmp_path))


def test_a_rewind_state_that_is_replaced_is_whole_or_absent(tmp_path):
    def save_two(disk, folder):
        store = RunDirectory(folder / RUN)
        for number in range(2):
            store.save_rewind_state(0, {"model/kernel": np.full(3, float(number))})
            disk.mark(number)

    _, states = states_of(tmp_path / "disk", save_two, count=8)
    for number, (state, marks) in enumerate(states):
        write_state(state, tmp_path / f"{number}")
        folder = RunDirectory(tmp_path / f"{number}" / RUN).rewind_folder(0)
        if manifest.exists(folder):
            manifest.verify(folder)
        assert manifest.exists(folder) or "the end" not in marks
    assert len(states) > 30


def states_of_run(folder, name, monkeypatch, *, count=2):
    """What losses of power leave of a run, and what is there without one."""
    commit = RunDirectory.commit

    def commit_with_mark(store, job, *arguments, **options):
        commit(store, job, *arguments, **options)
        disks[0].mark(job)

    def run(disk, folder):
        disks.append(disk)
        go(folder / RUN, name)

    disks = []
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "CHECKPOINT_SECONDS", 0.0)  # the state is saved at every evaluation
        patch.setattr(RunDirectory, "commit", commit_with_mark)
        disk, states = states_of(folder, run, count=count)
    return disk, states, content(folder / RUN)


def check_run(folder, marks):
    """All that is there is whole, and no training is missing whose commit had returned."""
    check_unfinished(folder)
    store = RunDirectory(folder)
    lost = [job for job in marks if isinstance(job, Job) and not store.is_complete(job)]
    assert lost == []


def test_some_losses_in_a_run(tmp_path, monkeypatch):
    _, states, whole = states_of_run(tmp_path / "disk", "rewinding", monkeypatch)
    for number in sample(len(states), 20, seed=0):
        folder = tmp_path / f"{number}"
        write_state(states[number][0], folder)
        check_run(folder / RUN, states[number][1])
        if number % 10 == 0:
            go(folder / RUN, "rewinding")
            assert_same(content(folder / RUN), whole)


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_every_loss_in_a_run(tmp_path, name, monkeypatch):
    disk, states, whole = states_of_run(tmp_path / "disk", name, monkeypatch, count=2)
    resumed = set()
    for number, (state, marks) in enumerate(states):
        folder = tmp_path / f"{number}"
        write_state(state, folder)
        check_run(folder / RUN, marks)
        # What is half-written is removed before anything else: states that differ in that alone go on in the same way.
        kept = tuple((path, content) for path, (_, content) in state.items() if ".tmp" not in path)
        if kept not in resumed:
            resumed.add(kept)
            go(folder / RUN, name)
            assert_same(content(folder / RUN), whole)
        shutil.rmtree(folder)
    counts = f"{len(disk.record)} changes, {len(states)} states after a loss of power, all whole"
    print(f"{name}: {counts}; {len(resumed)} that differ in more than half-written files, equal after each")
