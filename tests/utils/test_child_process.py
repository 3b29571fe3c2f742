"""Programs in processes of their own: results, and a reason for every failure."""

import contextlib
import errno
import os
import signal
import subprocess

import pytest

from tf_lottery.utils.child_process import ProgramError, program, run_program, warm_programs, wrong_usage


def test_stdout_is_returned():
    code = "import os, sys; print(sys.argv[1:], os.environ.get('MARK'))"
    assert run_program(code, ["a", "b"], name="it", environment={**os.environ, "MARK": "m"}) == "['a', 'b'] m\n"


@pytest.mark.parametrize(
    ("code", "reason", "signal_name"),
    [
        ("raise ValueError('first\\nsecond')", "failed: first second", ""),
        ("import sys; sys.exit(3)", "failed: exit code 3", ""),
        ("import sys; sys.exit('only text')", "failed: only text", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV", "SIGSEGV"),
        ("import time; time.sleep(60)", "did not finish within 1 seconds", ""),
    ],
)
def test_a_failure_has_a_reason(code, reason, signal_name):
    with pytest.raises(ProgramError) as caught:
        run_program(code, [], name="the child", timeout=1 if "sleep" in code else 60)
    assert str(caught.value) == f"the child {reason}"
    assert caught.value.reason == reason.removeprefix("failed: ")
    assert caught.value.crashed_with == signal_name


def test_trouble_with_the_disk_is_an_os_error():
    code = f"raise OSError({errno.ENOSPC}, 'No space left on device')"
    with pytest.raises(OSError, match="No space left") as caught:
        run_program(code, [], name="it")
    assert caught.value.errno == errno.ENOSPC


def test_a_module_is_run_with_arguments(tmp_path, monkeypatch):
    (tmp_path / "echo_arguments.py").write_text("def main(arguments):\n    print(*arguments)\n    return 0\n")
    code = f"import sys; sys.path.append({str(tmp_path)!r})\n{program('echo_arguments')}"
    assert run_program(code, ["x"], name="it") == "x\n"


def test_wrong_usage(capsys):
    assert wrong_usage("tf_lottery.program", "FILE") == 2
    assert capsys.readouterr().err == "Usage: python -m tf_lottery.program FILE\n"


@pytest.mark.parametrize("block", [contextlib.nullcontext, warm_programs])
def test_ctrl_c_while_the_process_starts_ends_it(monkeypatch, block):
    started = []

    class Interrupted(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with block(), pytest.raises(KeyboardInterrupt):
            run_program("import time; time.sleep(600)", [], name="it")
    finally:
        signal.signal(signal.SIGINT, before)
    assert started[0].returncode == -signal.SIGKILL


def test_a_warm_program_keeps_its_process_and_its_imports():
    code = "import os, sys; print(os.getpid(), *sys.argv[1:]); print('to stderr', file=sys.stderr)"
    with warm_programs():
        first, second, other = (run_program(code, ["x"], name="it").split() for code in (code, code, code + " "))
    assert first == second != other
    assert first[1:] == ["x"]
    assert int(first[0]) != os.getpid()
    with pytest.raises(ProcessLookupError):
        os.kill(int(first[0]), 0)
    assert run_program(code, [], name="it").split() != first  # after the block, a process of its own


def test_a_warm_program_runs_in_the_current_directory(tmp_path, monkeypatch):
    code = "import os; print(os.getcwd())"
    with warm_programs():
        run_program(code, [], name="it")
        monkeypatch.chdir(tmp_path)
        assert run_program(code, [], name="it") == f"{tmp_path}\n"


@pytest.mark.parametrize(
    ("code", "reason", "stays"),
    [
        ("raise ValueError('first\\nsecond')", "failed: first second", True),
        ("import sys; sys.exit(3)", "failed: exit code 3", True),
        ("import sys; sys.exit('only text')", "failed: only text", True),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV", False),
        ("import os; os._exit(0)", "failed: it ended with exit code 0", False),
        ("import time; time.sleep(60)", "did not finish within 1 seconds", False),
    ],
)
def test_a_warm_program_that_fails(code, reason, stays):
    code = f"import os, sys\nif sys.argv[1:]: print(os.getpid())\nelse:\n    {code}"
    with warm_programs():
        before = run_program(code, ["which"], name="it")
        with pytest.raises(ProgramError) as caught:
            run_program(code, [], name="it", timeout=1 if "sleep" in code else 60)
        assert str(caught.value) == f"it {reason}"
        assert (run_program(code, ["which"], name="it") == before) is stays


def test_ctrl_c_while_a_warm_program_runs_ends_it():
    code = "import os, signal, time; os.kill(os.getppid(), signal.SIGINT); time.sleep(600)"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with warm_programs(), pytest.raises(KeyboardInterrupt):
            run_program(code, [], name="it")
    finally:
        signal.signal(signal.SIGINT, before)
