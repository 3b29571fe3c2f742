"""Each hostile case in a process of its own: what it executes, and the memory and time that it takes."""

import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import hostile_reader
import pytest
from hostile_files import BENIGN, CASES, MODULE

MOST_BYTES = 500 << 20
MOST_SECONDS = 10.0
PATIENCE = 300.0
FAULTS = ("executed", "memory", "time", "traceback")


@pytest.fixture(scope="module")
def reader():
    """A process that forks one for each case."""
    process = subprocess.Popen(
        [sys.executable, hostile_reader.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    yield process
    process.stdin.close()
    process.wait()
    process.stdout.close()


def read(reader, folder, case):
    """Let a process read a case; its exit code, output, peak memory in bytes, and seconds of processor time."""
    folder.mkdir()
    log = folder.with_suffix(".log")
    arguments = [str(argument) for argument in case(folder)]
    (folder / "evil_model.py").write_text(MODULE)
    reader.stdin.write(json.dumps([str(folder), str(log), arguments, PATIENCE]) + "\n")
    reader.stdin.flush()
    code, seconds = json.loads(reader.stdout.readline())
    output = log.read_text(errors="replace")
    peak = re.findall(r"^PEAK (\d+)$", output, re.MULTILINE)
    return code, output, int(peak[-1]) * 1024 if peak else None, seconds


def read_hostile(reader, folder, name, case, baseline):
    """Read a case; which faults it has, and a line on it."""
    code, output, memory, seconds = read(reader, folder, case)
    marks = (folder / "executed", folder.parent / "executed", Path("/tmp/tf_lottery_executed"))
    more, longer = (memory or 0) - baseline[0], seconds - baseline[1]
    faults = {
        "executed": code == hostile_reader.EXECUTED or any(mark.exists() for mark in marks),
        "memory": memory is None or more > MOST_BYTES,
        "time": longer > MOST_SECONDS or code == -9,
        "traceback": "Traceback" in output or "This is a bug" in output or code not in (0, 2, 3, 4, 5, 6),
    }
    found = [fault for fault in FAULTS if faults[fault]]
    return found, f"{found} {name}: exit {code}, {more >> 20} MiB, {longer:.1f} s more. {output[-300:]}"


@pytest.fixture(scope="module")
def baseline(reader, tmp_path_factory):
    """The least memory and time of reading what is whole."""
    folder = tmp_path_factory.mktemp("benign")
    benign = {name: read(reader, folder / name, case) for name, case in BENIGN.items()}
    assert {name: result[0] for name, result in benign.items()} == dict.fromkeys(BENIGN, 0), benign
    return min(result[2] for result in benign.values()), min(result[3] for result in benign.values())


@pytest.mark.slow
def test_faults_are_seen(tmp_path, reader, baseline):
    expected = {"execute": "executed", "allocate": "memory", "calculate": "time", "fail": "traceback"}
    for name, fault in expected.items():
        case = functools.partial(lambda folder, name: ("python", name, folder), name=name)
        assert fault in read_hostile(reader, tmp_path / name, name, case, baseline)[0]


@pytest.mark.slow
def test_hostile_inputs(tmp_path, reader, baseline, capsys):
    results = [
        read_hostile(reader, tmp_path / str(number), name, case, baseline)
        for number, (name, case) in enumerate(CASES.items())
    ]
    counts = [sum(fault in faults for faults, _ in results) for fault in FAULTS]
    with capsys.disabled():
        print(
            f"\n{len(CASES)} hostile inputs: {counts[0]} executed, {counts[1]} over 500 MB of memory, {counts[2]} over "
            f"10 s, {counts[3]} raw tracebacks."
        )
    assert not sum(counts), "\n".join(line for faults, line in results if faults)
