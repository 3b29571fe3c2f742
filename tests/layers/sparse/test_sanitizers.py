"""The kernels under the compiler's sanitizers: memory, undefined behavior, races of threads."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tf_lottery.layers.sparse import native

HERE = Path(__file__).parent
SOURCES = Path(native.__file__).parent
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.mark.slow
@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
@pytest.mark.parametrize(
    ("flags", "threads", "callers"),
    [
        (["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"], 1, 1),
        (["-fsanitize=address,undefined", "-fno-sanitize-recover=undefined"], 3, 3),
        (["-fsanitize=thread"], 2, 1),
        (["-fsanitize=thread"], 3, 3),
        (["-DNO_THREADS"], 3, 1),
    ],
)
def test_two_hundred_random_calls(flags, threads, callers, tmp_path, capsys):
    driver = tmp_path / "driver"
    options = ["-std=c++17", "-O1", "-g", *flags, f"-I{SOURCES}"]
    libraries = ["-ldl", "-lpthread"]
    subprocess.run([COMPILER, *options, HERE / "driver.cpp", "-o", driver, *libraries], check=True)
    found = subprocess.run([driver, "200", str(threads), str(callers)], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout + found.stderr
    assert " 0 wrong" in found.stdout
    with capsys.disabled():
        print(f"{' '.join(flags)}, {threads} threads, {callers} callers: {found.stdout.strip()}")
