"""A model whose module ends the process that trains it by SIGKILL, at changes of the disk that a plan names.

It is imported in worker processes as `killing_disk:small`. The environment names a folder: there `plan.json` holds the
changes, by name and how-manieth time. Each change adds a byte to a file of its own, so that processes count together.
"""

import hashlib
import json
import os
import re
import signal
from pathlib import Path

from failing_disk import FailingDisk, lose_unsynced

VARIABLE = "TF_LOTTERY_TEST_KILLS"


class KillingDisk(FailingDisk):
    """Kills this process, or its whole group, at changes that a plan names."""

    def __init__(self, folder):
        self.kills = Path(folder)
        document = json.loads((self.kills / "plan.json").read_text())
        super().__init__(document["run_dir"])
        self.points = {tuple(point) for point in document["points"]}
        self.whole_group = document["whole_group"]

    def change(self, what, path):
        """Count a change, and kill if the plan says so."""
        name = f"{what} {re.sub(r'[.][0-9]+[.]tmp', '.tmp', os.path.relpath(path, self.folder))}"
        with open(_count_file(self.kills, name), "ab", buffering=0) as times:
            if times.tell() == 0:
                with open(self.kills / "names", "a") as names:
                    names.write(f"{name}\n")
            times.write(b".")
            number = times.tell()
        if (name, number) not in self.points:
            return
        if what == "os.fsync":
            lose_unsynced(path)
        with open(self.kills / "killed", "a") as killed:
            killed.write(f"{name} {number}\n")
        os.killpg(os.getpgid(0), signal.SIGKILL) if self.whole_group else os.kill(os.getpid(), signal.SIGKILL)


def small(input_shape, classes):
    """A model with the layers that a resumed training might get wrong."""
    import keras

    layers = [keras.layers.Dense(8), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Dropout(0.2)]
    return keras.Sequential([keras.Input(input_shape), keras.layers.Flatten(), *layers, keras.layers.Dense(classes)])


def plan_kills(folder, run_dir, points, *, whole_group=False):
    """Write a plan for a run, and return the environment that makes its workers follow it.

    Args:
        folder: a new folder.
        run_dir: the run directory.
        points: pairs of a change and of how many of its kind there were.
        whole_group: kill the parent and all workers, not the worker alone.
    """
    folder.mkdir(parents=True)
    plan = {"run_dir": str(run_dir), "points": sorted(points), "whole_group": whole_group}
    (folder / "plan.json").write_text(json.dumps(plan))
    return {VARIABLE: str(folder)}


def counted_changes(folder):
    """All changes that the workers made: pairs of a change and of how many of its kind there were."""
    names = set((folder / "names").read_text().splitlines())
    return [(name, number + 1) for name in sorted(names) for number in range(_count_file(folder, name).stat().st_size)]


def killed_at(folder):
    """The changes at which workers were killed."""
    lines = (folder / "killed").read_text().splitlines() if (folder / "killed").exists() else []
    return [(name, int(number)) for name, _, number in (line.rpartition(" ") for line in lines)]


def _count_file(folder, name):
    return folder / hashlib.md5(name.encode()).hexdigest()


if VARIABLE in os.environ:
    at_work = KillingDisk(os.environ[VARIABLE]).at_work()  # for as long as this process lives
    at_work.__enter__()
