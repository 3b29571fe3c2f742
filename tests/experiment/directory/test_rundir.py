"""The run directory: what is committed is whole; what is not whole is not committed; what is damaged is said."""

import csv
import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from tf_lottery.errors import DamagedError, ResourceError, RunInUseError, UsageError
from tf_lottery.experiment.config import Config
from tf_lottery.experiment.directory import COLUMNS, Job, RunDirectory, manifest
from tf_lottery.utils import files as atomic


def row(job, **values):
    return {**dict.fromkeys(COLUMNS), "replicate": job.replicate, "round": job.round, "variant": job.variant, **values}


def commit(store, job, *, seed=0, **values):
    generator = np.random.default_rng(seed)
    masks, weights = {"dense/kernel": generator.random((3, 2)) < 0.5}, {"dense/kernel": generator.normal(size=(3, 2))}
    metrics = {"row": row(job, **values), "history": [{"step": 1, "val_loss": 0.5}], "layers": {}}
    store.commit(job, {"masks": masks, "weights": weights}, metrics)
    return masks, weights


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)], capture_output=True, text=True, timeout=900
    )


def test_a_commit_is_read_back_and_leaves_nothing_else(tmp_path):
    store, job = RunDirectory(tmp_path / "run"), Job(0, 3, "random_reinit")
    assert not store.is_complete(job)
    masks, weights = commit(store, job)
    directory = tmp_path / "run/replicate_0/round_03/variants/random_reinit"
    assert sorted(os.listdir(directory)) == ["manifest.json", "masks.npz", "metrics.json", "weights.npz"]
    assert store.is_complete(job)
    assert manifest.verify(directory) == 3
    np.testing.assert_array_equal(store.masks(job)["dense/kernel"], masks["dense/kernel"])
    np.testing.assert_array_equal(store.weights(job)["dense/kernel"], weights["dense/kernel"])
    assert store.masks(job)["dense/kernel"].dtype == bool


def test_killed_between_any_two_files_a_job_is_not_complete(tmp_path):
    names = ["masks.npz", "weights.npz", "metrics.json", "manifest.json"]
    for count in range(len(names)):
        result = run_python(
            """
            import os, signal, sys
            import numpy as np
            from tf_lottery.experiment.directory import Job, RunDirectory
            count, left, rename = 0, int(sys.argv[2]), os.replace
            def replace(*names):
                global left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                rename(*names)
            os.replace = replace
            arrays = {"masks": {"a": np.ones(2, bool)}, "weights": {"a": np.ones(2)}}
            RunDirectory(sys.argv[1]).commit(Job(0, 0), arrays, {"row": {}})
            """,
            tmp_path / str(count),
            count,
        )
        assert result.returncode == -signal.SIGKILL, result.stderr
        store = RunDirectory(tmp_path / str(count))
        assert not store.is_complete(Job(0, 0))
        assert store.complete_jobs() == []
        there = sorted(name for name in os.listdir(store.job_folder(Job(0, 0))) if not name.endswith(".tmp"))
        assert there == sorted(names[:count])
        store.clean()
        assert not list(store.path.rglob("*.tmp"))
        commit(store, Job(0, 0))
        assert manifest.verify(store.job_folder(Job(0, 0))) == 3


def test_jobs_are_sorted_with_the_ticket_first(tmp_path):
    store = RunDirectory(tmp_path)
    jobs = [Job(0, 0), Job(0, 1), Job(0, 1, "random_reinit"), Job(0, 2), Job(0, 10), Job(1, 0), Job(10, 0)]
    for job in reversed(jobs):
        commit(store, job)
    assert store.complete_jobs() == jobs
    (tmp_path / "replicate_x/round_00").mkdir(parents=True)
    (tmp_path / "replicate_x/round_00/manifest.json").write_text("{}")
    (tmp_path / "replicate_0/round_01/other").mkdir()
    (tmp_path / "replicate_0/round_01/other/manifest.json").write_text("{}")
    assert store.complete_jobs() == jobs


def test_results_are_the_same_bytes_in_any_order_of_jobs(tmp_path):
    jobs = [Job(0, 0), Job(0, 1), Job(0, 1, "random_reinit"), Job(1, 0)]
    contents = []
    for name, ordered in (("a", jobs), ("b", jobs[::-1])):
        store = RunDirectory(tmp_path / name)
        for job in ordered:
            extra = {"val_mae": 0.5} if job.replicate else {}
            commit(store, job, val_loss=0.1 + job.round, test_loss=float("nan"), **extra)
            store.write_results()
        contents.append([(tmp_path / name / file).read_bytes() for file in ("results.csv", "metrics.jsonl")])
    assert contents[0] == contents[1]
    with open(tmp_path / "a/results.csv") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == (*COLUMNS, "val_mae")
    assert len(rows) == 4
    assert [r["variant"] for r in rows] == ["ticket", "ticket", "random_reinit", "ticket"]
    assert rows[0]["val_loss"] == "0.1"
    assert rows[0]["test_loss"] == ""
    assert rows[0]["val_mae"] == ""
    lines = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    assert lines[0] == {"replicate": 0, "round": 0, "variant": "ticket", "step": 1, "val_loss": 0.5}


@pytest.mark.parametrize("name", ["masks.npz", "weights.npz", "metrics.json", "manifest.json"])
@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "delete"])
def test_a_damaged_file_is_found(tmp_path, name, harm):
    store, job = RunDirectory(tmp_path), Job(0, 0)
    commit(store, job)
    path = store.job_folder(job) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    changed = {"flip": content, "truncate": content[: len(content) // 2], "empty": b""}
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(changed[harm])
    if name == "manifest.json" and harm == "delete":
        assert not store.is_complete(job)
        return
    with pytest.raises(DamagedError):
        manifest.verify(store.job_folder(job))


def test_a_flipped_bit_of_an_array_file_is_never_another_array(tmp_path):
    store, job = RunDirectory(tmp_path), Job(0, 0)
    masks, weights = commit(store, job)
    generator = np.random.default_rng(0)
    refused = 0
    for name, read, expected in (("masks", store.masks, masks), ("weights", store.weights, weights)):
        path = store.job_folder(job) / f"{name}.npz"
        original = path.read_bytes()
        for _ in range(60):
            content = bytearray(original)
            content[generator.integers(len(content))] ^= 1 << generator.integers(8)
            path.write_bytes(content)
            with pytest.raises(DamagedError):
                manifest.verify(store.job_folder(job))
            try:
                arrays = read(job)
            except DamagedError:
                refused += 1
            else:
                for key in arrays.keys() & expected.keys():
                    np.testing.assert_array_equal(arrays[key], expected[key])
        path.write_bytes(original)
    assert refused > 60


def test_one_process_at_a_time(tmp_path):
    store = RunDirectory(tmp_path / "run")
    assert not store.in_use()
    assert not store.path.exists()
    with store.lock():
        assert store.in_use()
        code = """
        import sys
        from tf_lottery.errors import RunInUseError
        from tf_lottery.experiment.directory import RunDirectory
        try:
            with RunDirectory(sys.argv[1]).lock(timeout=0):
                print("got it")
        except RunInUseError as error:
            print(type(error).__name__, error.cause)
        """
        assert run_python(code, store.path).stdout.startswith("RunInUseError The run")
        with (
            pytest.raises(RunInUseError, match="in use by another process"),
            RunDirectory(store.path).lock(timeout=0.01),
        ):
            pass
    assert not store.in_use()
    assert "got it" in run_python(code, store.path).stdout


def test_a_killed_process_leaves_no_lock(tmp_path):
    code = "import os,signal,sys; from tf_lottery.experiment.directory import RunDirectory\n"
    code += "with RunDirectory(sys.argv[1]).lock(): os.kill(os.getpid(), signal.SIGKILL)"
    assert run_python(code, tmp_path).returncode == -signal.SIGKILL
    assert (tmp_path / ".lock").exists()
    assert not RunDirectory(tmp_path).in_use()


def test_a_full_disk_loses_nothing(tmp_path):
    """The size limit of files stands for the disk: a write fails half-way with an error of the system."""
    store = RunDirectory(tmp_path)
    commit(store, Job(0, 0), seed=1)
    before = store.weights(Job(0, 0))
    result = run_python(
        """
        import resource, sys
        import numpy as np
        from tf_lottery.errors import ResourceError
        from tf_lottery.experiment.directory import Job, RunDirectory
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        store = RunDirectory(sys.argv[1])
        for job in (Job(0, 1), Job(0, 0)):
            try:
                store.commit(job, {"masks": {"a": np.ones(5, bool)}, "weights": {"a": np.ones(100_000)}}, {"row": {}})
            except ResourceError as error:
                print(type(error).__name__, error.cause)
        """,
        tmp_path,
    )
    assert result.stdout.count("ResourceError ") == 2, result.stderr
    assert "weights.npz can't be written" in result.stdout
    assert not store.is_complete(Job(0, 1))
    assert not list(tmp_path.rglob("*.tmp"))
    np.testing.assert_array_equal(store.weights(Job(0, 0))["dense/kernel"], before["dense/kernel"])


def test_a_place_that_can_not_be_written_is_an_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = RunDirectory(tmp_path / "file" / "run")
    with pytest.raises(ResourceError, match="can't be written"), store.lock():
        pass
    with pytest.raises(ResourceError, match="can't be written"):
        store.create({})
    with pytest.raises(ResourceError, match="can't be written"):
        commit(store, Job(0, 0))


def test_a_partial_state_is_saved_whole_and_removed_by_a_commit(tmp_path):
    store, job = RunDirectory(tmp_path), Job(0, 2)
    assert store.load_partial(job) is None
    state = {"model/a": np.arange(3, dtype=np.float32), "model/seed": np.array([1, 2], np.uint32)}
    store.save_partial(job, state, {"step": 7, "history": [{"loss": 0.1}]})
    loaded, progress = store.load_partial(job)
    assert progress == {"step": 7, "history": [{"loss": 0.1}]}
    assert {key: value.tobytes() for key, value in loaded.items()} == {k: v.tobytes() for k, v in state.items()}
    assert not store.is_complete(job)
    assert store.complete_jobs() == []
    commit(store, job)
    assert store.load_partial(job) is None


@pytest.mark.parametrize("harm", ["truncate", "flip", "other"])
def test_a_damaged_partial_state_is_an_error_with_a_remedy(tmp_path, harm):
    store, job = RunDirectory(tmp_path), Job(0, 2)
    store.save_partial(job, {"a": np.arange(300.0)}, {"step": 7})
    content = bytearray(store.partial_path(job).read_bytes())
    if harm == "other":
        content = atomic.dump_arrays({"a": np.ones(3)})
    elif harm == "truncate":
        content = content[:500]
    else:
        content[400] ^= 4
    store.partial_path(job).write_bytes(content)
    with pytest.raises(DamagedError, match="Delete that file"):
        store.load_partial(job)


def test_the_configuration_is_written_once_and_read_back(tmp_path):
    store = RunDirectory(tmp_path / "run")
    with pytest.raises(UsageError, match="not a run directory"):
        store.document()
    document = {"seed": 1, "hash": Config(seed=1).hash()}
    store.create(document)
    store.create({"seed": 2})
    assert store.document() == document
    written = (store.path / "config.json").stat().st_mtime_ns
    store.update_config(document)
    assert (store.path / "config.json").stat().st_mtime_ns == written
    (store.path / "config.json").write_text("{")
    with pytest.raises(DamagedError):
        store.document()
    (store.path / "config.json").write_text("[]")
    with pytest.raises(DamagedError, match="not a configuration"):
        store.document()


def test_no_text_of_the_results_is_a_formula(tmp_path):
    store = RunDirectory(tmp_path / "run")
    commit(store, Job(0, 0, "=ctl"), **{"+metric": -0.5})
    store.write_results()
    header, line = (tmp_path / "run/results.csv").read_text().splitlines()
    assert header.endswith(",'+metric")
    assert line.startswith("0,0,'=ctl,")
    assert line.endswith(",-0.5")


def test_nothing_of_the_store_loads_tensorflow():
    code = "import sys, tf_lottery.experiment.directory, tf_lottery.experiment.run, tf_lottery.experiment.plan\n"
    code += "print([name for name in ('tensorflow', 'keras') if name in sys.modules])"
    assert run_python(code).stdout.strip() == "[]"
