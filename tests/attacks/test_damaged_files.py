"""Bits that flip, files that are cut, zeroed, emptied, lost or swapped: none of it is silent."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from attack_runs import MORE, OWN, READERS, end_state, outcome, train

from tf_lottery.experiment.directory import RunReader
from tf_lottery.experiment.run_verification import verify_run


def damage(path, kind, generator, donors):
    """Damage a file in one of the ways in which disks, copies and hands do it."""
    content = bytearray(path.read_bytes())
    place = int(generator.integers(max(len(content), 1)))
    if kind == "flip":
        content[place] ^= 1 << int(generator.integers(8))
    elif kind == "zero":
        content[place : place + 512] = bytes(len(content[place : place + 512]))
    elif kind == "swap":
        content = bytearray(donors[int(generator.integers(len(donors)))].read_bytes())
    path.unlink()
    if kind != "missing":
        path.write_bytes({"empty": b"", "truncate": content[:place]}.get(kind, content))


@pytest.mark.slow
def test_two_thousand_cases_of_damage_are_never_silent(runs, answers, longer, tmp_path):
    """Each is seen by `verify`, and each reader refuses it or says what it said before."""
    generator = np.random.default_rng(0)
    path = Path(shutil.copytree(runs / OWN, tmp_path / OWN))
    files = sorted(file for file in path.rglob("*") if file.is_file() and file.name != ".lock")
    kinds, silent = ["flip", "truncate", "zero", "empty", "missing", "swap"], []
    for case in range(2000):
        file = files[case % len(files)]
        place, kind = file.relative_to(path), kinds[int(generator.integers(len(kinds)))]
        before = file.read_bytes()
        donors = sorted(other for other in runs.glob(f"*/**/{file.name}") if other.read_bytes() != before)
        # The configuration of this very run with one more round is that of a run which is being extended: no damage.
        donors = [other for other in donors if other != runs / "longer/config.json"]
        if kind == "swap" and not donors:
            kind = "flip"
        damage(file, kind, generator, donors)
        unfinished = kind == "missing" and file.name == "manifest.json"  # a training without one is not committed
        if not file.exists() or file.read_bytes() != before:
            verification = outcome(verify_run, RunReader(path))
            if verification is not None and not (verification.problems or verification.remarks):
                silent.append((place, kind, "verify"))
            for name in generator.choice(list(READERS), 2, replace=False):
                if not unfinished and outcome(READERS[name], path) not in (None, answers[name]):
                    silent.append((place, kind, name))
            if case % 20 == 0 and not unfinished:
                run_dir = Path(shutil.copytree(path, tmp_path / "extended"))
                if outcome(lambda run_dir=run_dir: end_state(train(run_dir, MORE))) not in (None, longer):
                    silent.append((place, kind, "run"))
                shutil.rmtree(run_dir)
        file.unlink(missing_ok=True)
        file.write_bytes(before)
    assert silent == []
