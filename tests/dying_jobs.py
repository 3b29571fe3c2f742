"""Jobs for worker processes that take no time and no TensorFlow, and end their process as a plan says.

The plan is the file `plan.json` beside the run directory: for each job, by its name, what it does each time that it is
begun. Later, and where nothing is planned, it is committed.

- "kill": ends by SIGKILL; "commit, kill": after its commit; "fork, kill": and leaves a process behind.
- "half a message": ends by SIGKILL in the middle of a message.
- "memory": ends by SIGKILL as if by the kernel, for memory; "allocate": asks for more memory than there is.
- "end": ends with an exit code; "exit": by an exception that asks for that; "raise": raises an error.
- "wait": waits to be killed.
"""

import json
import os
import signal
import sys
import time

import numpy as np

from tf_lottery.experiment.directory import RunDirectory
from tf_lottery.experiment.directory.result_files import COLUMNS


def make_job_function(config, run_dir, checkpoint_every, *, place=None):
    """The same arguments as those of `executor.trainer_function`."""
    folder, store = run_dir.parent, RunDirectory(run_dir)
    with open(folder / "places", "a", encoding="utf-8") as places:
        places.write(f"{place}\n")
    plan = json.loads((folder / "plan.json").read_text())

    def run_job(job, on_progress):
        with open(folder / f"{job}.times", "ab") as times:
            times.write(b".")
        number = (folder / f"{job}.times").stat().st_size - 1
        actions = plan.get(str(job), [])
        on_progress(job, 0, 1)
        act(actions[number] if number < len(actions) else "", folder, lambda: commit(store, job))
        return commit(store, job)

    return run_job


def act(action, folder, commit_now):
    if action == "commit, kill":
        commit_now()
    elif action == "memory":
        (folder / "vmstat").write_text("oom_kill 8\n")
    elif action == "allocate":
        bytearray(1 << 60)
    elif action == "end":
        os._exit(3)
    elif action == "exit":
        sys.exit("the model function gave up")
    elif action == "raise":
        raise ValueError("no such layer")
    elif action == "half a message":
        for descriptor in map(int, os.listdir("/proc/self/fd")):
            if is_socket(descriptor):
                os.write(descriptor, (100).to_bytes(4, "big") + b"x")
    elif action == "fork, kill":
        if os.fork() == 0:
            (folder / "forked").write_text(str(os.getpid()))
            time.sleep(600)
        while not (folder / "forked").exists():
            time.sleep(0.01)
    elif action == "wait":
        time.sleep(600)
    if action in ("kill", "commit, kill", "fork, kill", "memory", "half a message"):
        os.kill(os.getpid(), signal.SIGKILL)


def is_socket(descriptor):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}").startswith("socket")
    except OSError:
        return False


def commit(store, job):
    row = dict.fromkeys(COLUMNS) | {"replicate": job.replicate, "round": job.round, "variant": job.variant}
    arrays = {"masks": {"kernel": np.ones(2, bool)}, "weights": {"kernel": np.full(2, job.round, "float32")}}
    store.commit(job, arrays, {"row": row, "history": [], "layers": {}})
    return row


def times(folder, job):
    """How often a job was begun."""
    path = folder / f"{job}.times"
    return path.stat().st_size if path.exists() else 0
