"""Each hostile case in a process of its own: what it executes, and the memory and time that it takes."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import hostile_reader
import pytest
from hostile_files import BENIGN, CASES, MODULE

READER = Path(hostile_reader.__file__)
MOST_BYTES = 500 << 20
MOST_SECONDS = 10.0
PATIENCE = 300.0


def read(folder, case):
    """Let a process read a case; its exit code, output, peak memory in bytes, and seconds of processor time."""
    folder.mkdir()
    arguments = [str(argument) for argument in case(folder)]
    (folder / "evil_model.py").write_text(MODULE)
    with open(folder.with_suffix(".log"), "wb") as log:
        process = subprocess.Popen(
            [sys.executable, READER, *arguments], cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        killer = threading.Timer(PATIENCE, process.kill)
        killer.start()
        _, status, usage = os.wait4(process.pid, 0)
        killer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    output = folder.with_suffix(".log").read_text(errors="replace")
    peak = re.findall(r"^PEAK (\d+)$", output, re.MULTILINE)
    return process.returncode, output, int(peak[-1]) * 1024 if peak else 0, usage.ru_utime + usage.ru_stime


@pytest.fixture(scope="module")
def baseline(tmp_path_factory):
    """The least memory and time of reading what is whole."""
    folder = tmp_path_factory.mktemp("benign")
    results = {name: read(folder / name, case) for name, case in BENIGN.items()}
    for name, (code, output, *_) in results.items():
        assert code == 0, (name, output)
    return min(memory for *_, memory, _ in results.values()), min(seconds for *_, seconds in results.values())


def faults(folder, name, baseline):
    """What is wrong in how a case was read: any of executed, memory, time, traceback, accepted."""
    code, output, memory, seconds = read(folder, CASES[name])
    outside = [path for path in (*folder.parent.iterdir(), *folder.iterdir()) if path.name == "executed"]
    return (
        {
            "executed": code == hostile_reader.EXECUTED or bool(outside) or Path("/tmp/tf_lottery_executed").exists(),
            "memory": memory - baseline[0] > MOST_BYTES or memory == 0,
            "time": seconds - baseline[1] > MOST_SECONDS or code == -9,
            "traceback": "Traceback" in output or "This is a bug" in output or code not in (0, 2, 3, 4, 5, 6, 99),
        },
        f"{name}: exit {code}, {(memory - baseline[0]) >> 20} MiB, {seconds - baseline[1]:.1f} s more. {output[-300:]}",
    )


@pytest.mark.slow
def test_hostile_inputs(tmp_path, baseline, capsys):
    counts = dict.fromkeys(("executed", "memory", "time", "traceback"), 0)
    lines = []
    for number, name in enumerate(CASES):
        wrong, line = faults(tmp_path / str(number), name, baseline)
        for fault, is_wrong in wrong.items():
            counts[fault] += is_wrong
        if any(wrong.values()):
            lines.append(f"{[fault for fault in wrong if wrong[fault]]} {line}")
    with capsys.disabled():
        print(
            f"\n{len(CASES)} hostile inputs: {counts['executed']} executed, {counts['memory']} over 500 MB of memory, "
            f"{counts['time']} over 10 s, {counts['traceback']} raw tracebacks."
        )
    assert not lines, "\n".join(lines)
