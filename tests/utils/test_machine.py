"""Memory that is free, within the limits of control groups, and memory that this process has held."""

from pathlib import Path

import numpy as np
import pytest

from tf_lottery.utils import machine


def groups(folder, text):
    path = folder / "cgroup"
    path.write_text(text)
    return path


def test_limits_of_control_groups_and_of_those_above(tmp_path):
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, limit, used, unused_pages in ((inner, "max", 300, 0), (inner.parent, "1000", 700, 200)):
        (folder / "memory.max").write_text(f"{limit}\n")
        (folder / "memory.current").write_text(f"{used}\n")
        (folder / "memory.stat").write_text(f"anon 5\ninactive_file {unused_pages}\n")
    assert machine._free_in_control_groups(tmp_path, groups(tmp_path, "0::/outer/inner\n")) == [500]


def test_limits_of_the_first_version(tmp_path):
    inner = tmp_path / "memory" / "box"
    inner.mkdir(parents=True)
    (inner / "memory.limit_in_bytes").write_text("5000")
    (inner / "memory.usage_in_bytes").write_text("1000")
    (inner / "memory.stat").write_text("inactive_file 10\n")
    lines = "3:cpu:/box\n2:memory:/box\n1:name=systemd:/box\n"
    assert machine._free_in_control_groups(tmp_path, groups(tmp_path, lines)) == [4010]


def test_groups_that_can_not_be_read_limit_nothing(tmp_path):
    assert machine._free_in_control_groups(tmp_path, tmp_path / "missing") == []
    assert machine._free_in_control_groups(tmp_path, groups(tmp_path, "0::/../gone\n")) == []


def test_a_peak_stays_when_memory_is_given_back():
    before = machine.process_memory()
    array = np.ones(60_000_000, np.uint8)
    del array
    after = machine.process_memory()
    assert after.private >= before.private
    assert after.private - machine.process_memory().private == 0
    assert after.private + after.shared > 60e6


@pytest.mark.parametrize(
    ("line", "widest"),
    [
        ("flags\t\t: fpu sse2 avx avx2 avx512f", "avx512f"),
        ("flags\t\t: fpu sse2 avx avx2 fma", "avx2"),
        ("Features\t: fp asimd crc32", "asimd"),
        ("vendor_id\t: unknown", ""),
    ],
)
def test_the_widest_vector_instructions(monkeypatch, line, widest):
    monkeypatch.setattr(Path, "read_text", lambda path, **options: f"processor\t: 0\n{line}\n")
    assert machine.vector_instructions() == widest
