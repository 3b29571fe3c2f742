"""`tf-lottery doctor --gpu`: the whole self-test on a processor, what it prints, and exit codes."""

import getpass
import json
import platform
from pathlib import Path

import pytest
import tensorflow as tf

from tf_lottery.training import device_self_test

NAMES = [
    "pruned weights",
    "start weights",
    "resumed training",
    "repeated training",
    "mixed_float16",
    "mixed_bfloat16",
    "matmul and TF32",
    "XLA",
    "placement",
    "speed of the engine",
    "speed of fit",
    "memory",
]
WITHOUT_VERDICT = {"speed of the engine", "speed of fit", "memory"}
OUTCOME = {
    "device": "GPU",
    "versions": {"python": "3.12.1"},
    "build": {"cuda": "12.5.1", "cudnn": "9"},
    "cards": [{"name": "Card X", "compute_capability": "9.0"}],
    "checks": [
        {"name": "masks", "ok": True, "value": 0, "unit": "values", "detail": "none"},
        {"name": "XLA", "ok": False, "value": None, "unit": "", "detail": "RuntimeError: no kernel"},
        {"name": "speed", "ok": None, "value": 123.456, "unit": "steps/s", "detail": "300 steps"},
    ],
}


@pytest.mark.slow
def test_the_whole_self_test_on_a_processor(shell, tmp_path):
    done = shell("doctor", "--gpu", "--device", "cpu", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["schema"], document["device"], document["cards"]) == ("tf-lottery.doctor-gpu/1", "CPU", [])
    assert [check["name"] for check in document["checks"]] == NAMES
    assert {check["name"] for check in document["checks"] if check["ok"] is None} == WITHOUT_VERDICT
    speeds = [check["value"] for check in document["checks"] if check["name"].startswith("speed")]
    assert len(speeds) == 2
    assert all(speed > 0 for speed in speeds)
    for private in (platform.node(), str(Path.home()), str(tmp_path), f'"{getpass.getuser()}"'):
        assert private not in done.stdout


def test_without_a_gpu(invoke, monkeypatch):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    result = invoke("doctor", "--gpu")
    assert result.exit_code == 6
    assert "sees none" in result.stderr
    assert "--device cpu" in result.stderr


@pytest.mark.parametrize("as_json", [True, False])
def test_a_failed_check_is_printed_and_fails(invoke, monkeypatch, as_json):
    monkeypatch.setattr(device_self_test, "run_self_test", lambda device: OUTCOME)
    result = invoke("doctor", "--gpu", *(["--json"] if as_json else []))
    assert result.exit_code == 1
    assert "Failed on the GPU: XLA." in result.stderr
    if as_json:
        assert json.loads(result.stdout) == {"schema": "tf-lottery.doctor-gpu/1", **OUTCOME}
    else:
        for text in ("Card X (compute capability 9.0)", "cuda 12.5.1, cudnn 9", "fail", "no kernel", "123.5"):
            assert text in result.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--device", "cpu"), "--device says on what"),
        (("--gpu", "digits-mlp"), "--gpu checks a device"),
        (("--gpu", "--data-dir", "."), "--data-dir is for"),
        (("--gpu", "--target", "micro"), "--target says where"),
    ],
)
def test_options_that_do_not_go_together(invoke, arguments, reason):
    result = invoke("doctor", *arguments)
    assert result.exit_code == 2
    assert reason in result.stderr
